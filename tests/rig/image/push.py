#!/usr/bin/env python3
"""push.py REGISTRY REPOSITORY [--filler-mib M]: make the test images and push those that are not there, or differ.

It speaks the registry's HTTP API itself: no Docker engine, no base image. Layer 1 = busybox, shared by all tags;
layer 2 = run.sh, behaviour, TAG and M MiB of noise, own to the tag. See run.sh for what each variable does."""
import argparse, gzip, hashlib, http.client, io, json, pathlib, platform, random, subprocess, tarfile

HERE = pathlib.Path(__file__).parent
BEHAVIOUR = {
    "build-41": "", "build-42": "", "build-43": "",                                     # good
    "build-44": "MIGRATE_RC=1", "build-45": "RUN_RC=3", "build-46": "SICK=1",           # each fails in its own way
    "build-47": "START_SECS=5", "build-48": "DEAF=1", "build-49": "MIGRATE_SECS=600",
    "build-50": "", "build-51": "", "build-52": "", "build-53": "",                     # good
    "build-54": "MIGRATE_SIGNAL=9", "build-55": "MIGRATE_NOISE_KIB=1024", "build-56": "LEAK=SECRET_KEY",
}
DEFAULTS = {"START_SECS": "1.0", "MIGRATE_SECS": "0.5", "STATIC_SECS": "0.3"}
LABEL = "shipmate.rig.recipe"    # what the image was made from; the same recipe = nothing to do
MEDIA = "application/vnd.docker."


class Registry:
    def __init__(self, address, repository):
        self.connection, self.path = http.client.HTTPConnection(address, timeout=60), f"/v2/{repository}"

    def call(self, method, path, body=None, headers={}, expect=(200, 201, 202, 404)):
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        answer.data = answer.read()
        if answer.status not in expect:
            raise SystemExit(f"push.py: {method} {path}: {answer.status} {answer.data.decode(errors='replace')}")
        return answer

    def recipe(self, tag):
        """The recipe that this tag was made from, or None."""
        r = self.call("GET", f"{self.path}/manifests/{tag}", headers={"Accept": MEDIA + "distribution.manifest.v2+json"})
        if r.status != 200:
            return None
        r = self.call("GET", f"{self.path}/blobs/{json.loads(r.data)['config']['digest']}")
        return json.loads(r.data)["config"].get("Labels", {}).get(LABEL) if r.status == 200 else None

    def blob(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if self.call("HEAD", f"{self.path}/blobs/{digest}").status == 404:
            location = self.call("POST", f"{self.path}/blobs/uploads/").getheader("Location")
            location = "/v2/" + location.split("/v2/", 1)[1]
            location += ("&" if "?" in location else "?") + "digest=" + digest
            self.call("PUT", location, data, {"Content-Type": "application/octet-stream"}, expect=(201,))
        return dict(size=len(data), digest=digest)

    def image(self, tag, layers, config):
        """layers: (sha256 of the tar, the tar gzipped)"""
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        config = dict(architecture=arch, os="linux", created="2015-12-06T03:44:44Z", config=config,
                      rootfs=dict(type="layers", diff_ids=["sha256:" + d for d, _ in layers]), history=[dict(created_by="rig") for _ in layers])
        manifest = dict(schemaVersion=2, mediaType=MEDIA + "distribution.manifest.v2+json",
                        config=dict(mediaType=MEDIA + "container.image.v1+json", **self.blob(json.dumps(config).encode())),
                        layers=[dict(mediaType=MEDIA + "image.rootfs.diff.tar.gzip", **self.blob(z)) for _, z in layers])
        self.call("PUT", f"{self.path}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": manifest["mediaType"]}, expect=(201,))


def layer(files):
    """files: {path: (mode, bytes), (mode, None) for a folder, or the target of a link}. Reproducible: every time is 0."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in sorted(files):
            f, info = files[path], tarfile.TarInfo(path)
            if isinstance(f, str):
                info.type, info.linkname = tarfile.SYMTYPE, f
                tar.addfile(info)
            elif f[1] is None:
                info.type, info.mode = tarfile.DIRTYPE, f[0]
                tar.addfile(info)
            else:
                info.mode, info.size = f[0], len(f[1])
                tar.addfile(info, io.BytesIO(f[1]))
    raw = raw.getvalue()
    return hashlib.sha256(raw).hexdigest(), gzip.compress(raw, 1, mtime=0)


def base_layer(busybox):    # /bin/busybox of the package busybox-static
    names = subprocess.run(["/bin/busybox", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return layer({"bin": (0o755, None), "tmp": (0o1777, None), "etc": (0o755, None), "etc/passwd": (0o644, b"root:x:0:0::/:/bin/sh\n"),
                  "bin/busybox": (0o755, busybox), **{f"bin/{n}": "busybox" for n in names if n != "busybox"}})


def app_layer(tag, behaviour, filler, run):
    noise = random.Random(tag)    # can't be compressed, the same at every run, own to the tag
    defaults = "".join(f"{k}={v}\n" for k, v in DEFAULTS.items())
    return layer({"run.sh": (0o755, run), "app": (0o755, None), "app/TAG": (0o644, f"{tag}\n".encode()),
                  "app/behaviour": (0o644, f"{defaults}{behaviour}\n".encode()),
                  **{f"app/noise{i:03}": (0o644, noise.randbytes(1 << 20)) for i in range(filler)}})


def config(recipe):
    return dict(Env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "APP=antisocial"], Entrypoint=["/run.sh"], Cmd=["run"],
                ExposedPorts={"8000/tcp": {}}, WorkingDir="/app", Labels={LABEL: recipe},
                Healthcheck=dict(Test=["CMD", "/run.sh", "health"], Interval=10**9, Timeout=2 * 10**9, StartPeriod=10 * 10**9, Retries=2))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("registry")
    args.add_argument("repository")
    args.add_argument("--filler-mib", type=int, default=2)
    args = args.parse_args()
    registry, run, busybox = Registry(args.registry, args.repository), (HERE / "run.sh").read_bytes(), pathlib.Path("/bin/busybox").read_bytes()
    common = hashlib.sha256(pathlib.Path(__file__).read_bytes() + run + busybox).hexdigest()
    base = None
    for tag, behaviour in BEHAVIOUR.items():
        recipe = hashlib.sha256(f"{common} {tag} {behaviour} {args.filler_mib}".encode()).hexdigest()
        if registry.recipe(tag) != recipe:
            base = base or base_layer(busybox)
            registry.image(tag, [base, app_layer(tag, behaviour, args.filler_mib, run)], config(recipe))


main()
