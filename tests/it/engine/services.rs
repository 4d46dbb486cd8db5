//! Particular containers and services: out of memory, docker-runner, ports that the engine chooses.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::plan::{Action, Origin};
use shipmate::domain::spec::{HealthCheck, HostPort, Millis, RouterSpec, Service, ServiceCommands};
use shipmate::engine::ssh::{SshEngine, SshSettings};

use super::scene::{Scene, fails, tag_files};
use super::ssh::{RigWorld, open};
use super::world::{Company, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_out_of_memory_says_so() {
    let world = open(Company::Shared).await;
    let scene = Scene::new(&world).await.env("web", "LEAK", "$(head -c 64000000 /dev/zero | tr '\\0' a)").with("web", |role| {
        if let Service::Docker(container) = &mut role.service {
            container.options.memory = Some(16 << 20);
        }
    });
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let failed = scene.apply(&plan, &scene.task(&web, &["migrate"], Millis::seconds(30))).await;
    let failure = fails(failed, FailureKind::Signal { signal: Some(9) });
    assert!(failure.message.contains("out of memory"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_docker_runner_runs_is_switched_by_its_tag_file() {
    let world = open(Company::Alone).await;
    let words = |line: &str| vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()];
    let mut scene = Scene::new(&world).await.with("web", |role| {
        let container = role.container().clone();
        let (start, stop) = (words("start antisocial"), words("stop antisocial"));
        let status = words("status antisocial | grep -q start/running");
        role.service = Service::Commands(ServiceCommands { start, stop, status, port: Some(8000), container });
    });
    scene.spec.tag_folder = Some("/var/www/antisocial".into());
    let web = scene.web();
    let start = Action::Start { target: web.clone(), container: None, origin: Origin::Kept };
    let stop = Action::Stop { target: web.clone(), container: None, undo: true };
    let healthy = Action::Healthy { target: web.clone(), container: None };
    let address = world.host(1).1.address + ":8000";
    for tag in ["build-41", "build-42"] {
        let plan = scene.plan(tag, Vec::new()).await;
        scene.apply(&plan, &scene.pull(&web)).await.unwrap();
        scene.twice(&plan, &stop).await;
        scene.twice(&plan, &scene.record(&web, tag_files(Some(tag), None), tag_files(None, None))).await;
        scene.twice(&plan, &start).await;
        let note = scene.twice(&plan, &healthy).await.note.unwrap();
        assert!(note.contains("200 OK"), "{note}");
        assert_eq!(world.serves(&address).await.as_deref(), Some(tag));
        assert_eq!(scene.observe().await.tag(&web).map(|tag| tag.as_str().to_owned()).as_deref(), Some(tag));
    }
    let plan = scene.plan("build-42", Vec::new()).await;
    scene.undo_twice(&plan, &start).await;
    assert_eq!(world.serves(&address).await, None);
}

/// A host whose engine has a bridge, in a network of its own, with sshd and registry there.
struct Bridged {
    unshare: Child,
    folder: tempfile::TempDir,
}

impl Bridged {
    fn new(world: &RigWorld) -> Bridged {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let (dir, state, net) = (folder.path().display(), world.rig.variable("RIG_STATE"), world.rig.variable("RIG_NET"));
        let script = format!(
            "set -e; mount -t tmpfs tmpfs /run; mkdir /run/sshd; ip link set lo up
             docker-registry serve {state}/registry/config.yml >{dir}/registry.log 2>&1 &
             /usr/sbin/sshd -D -e -f {state}/hosts/1/ssh/sshd_config 2>{dir}/sshd.log &
             exec dockerd -H unix://{dir}/docker.sock --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid --bip 10.77.0.1/24 --iptables=false \
               --ip6tables=false --ip-forward=false --ip-masq=false --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /shipmate-rig-{net}/bridged >{dir}/dockerd.log 2>&1"
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "sh", "-c", &script]);
        let unshare = command.stdin(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !folder.path().join("docker.sock").exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "the engine comes up; see {dir}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Bridged { unshare, folder }
    }

    async fn scene(&self, world: &RigWorld, port: HostPort) -> Scene {
        let inside = format!("/proc/{}/ns/net", self.unshare.id());
        let address = world.host(1).1.address;
        let rigs = std::fs::read_to_string(world.rig.variable("RIG_SSH_CONFIG")).unwrap();
        let config = self.folder.path().join("ssh_config");
        let proxy = format!("ProxyCommand nsenter --net={inside} busybox nc {address} {}", world.rig.variable("RIG_SSH_PORT"));
        std::fs::write(&config, format!("Host appserver1\n {proxy}\n{rigs}")).unwrap();
        let engine = SshEngine::start(SshSettings { ssh_config: Some(config), ..world.settings() }).await.unwrap();
        let mut host = world.host(1);
        host.1.docker_socket = self.folder.path().join("docker.sock").display().to_string();
        let scene = Scene { engine: Box::new(engine), ..Scene::new(world).await }.on(host);
        let mut scene = scene.env("web", "BIND", "0.0.0.0:8000").with("web", |role| {
            if let Service::Docker(container) = &mut role.service {
                container.networks = Vec::new();
                if let Some(publish) = &mut container.publish {
                    publish.host = port;
                }
            }
            let told = |verb: &str| {
                ["sh", "-c", &format!("echo {verb} \"$1\" >> {}", told(self.folder.path())), "lb", "{address}"]
                    .map(String::from)
                    .to_vec()
            };
            let (name, host, deadline) = ("lb".to_owned(), role.hosts[0].clone(), Millis::seconds(9));
            role.router = Some(RouterSpec { name, host, join: told("join"), leave: told("leave"), deadline });
        });
        let web = scene.web().host;
        scene.spec.hosts.retain(|host, _| *host == web);
        scene
    }
}

fn told(folder: &Path) -> String {
    folder.join("told").display().to_string()
}

impl Drop for Bridged {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // The kernel lets go of the mounts a moment after the last process.
        for _ in 0..100 {
            if std::fs::remove_dir_all(self.folder.path()).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_port_is_found_asked_and_told_to_the_balancer() {
    let world = open(Company::Shared).await;
    let bridged = Bridged::new(&world);
    let scene = bridged.scene(&world, HostPort::Ephemeral).await;
    let web = scene.web();
    let mut seen = Vec::new();
    for tag in ["build-41", "build-42"] {
        let plan = scene.plan(tag, Vec::new()).await;
        scene.apply(&plan, &scene.pull(&web)).await.unwrap();
        let start =
            Action::Start { target: web.clone(), container: Some(scene.container(&web, tag)), origin: Origin::New { port: None } };
        scene.twice(&plan, &start).await;
        let note = scene.twice(&plan, &scene.healthy(&web, tag)).await.note.unwrap();
        assert!(note.contains("200 OK"), "{note}");
        scene.apply(&plan, &scene.join(&web, tag)).await.unwrap();
        let port = scene.observe().await.running(&web).unwrap().port.unwrap();
        seen.push(format!("join {}:{port}", world.host(1).1.address));
    }
    let lines = || std::fs::read_to_string(told(bridged.folder.path())).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(), seen);
    assert_ne!(seen[0], seen[1]);
    // Once it is stopped it has no port any more, but the balancer still has to be told which one it was.
    let plan = scene.plan("build-42", Vec::new()).await;
    scene.apply(&plan, &scene.stop(&web, "build-42")).await.unwrap();
    assert_eq!(scene.observe().await.containers(&web).next().unwrap().port, None);
    scene.undo_twice(&plan, &scene.join(&web, "build-42")).await;
    assert_eq!(lines().last().unwrap(), &seen[1].replace("join", "leave"));
    // A bot that never knew it says what a person has to do.
    let stranger = bridged.scene(&world, HostPort::Ephemeral).await;
    let stranger = Scene { engine: stranger.engine, ..scene };
    let failure = fails(stranger.undo(&plan, &stranger.join(&web, "build-42")).await, FailureKind::Missing);
    assert!(failure.message.contains("by hand"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_that_is_taken_is_told() {
    let world = open(Company::Shared).await;
    let bridged = Bridged::new(&world);
    let scene = bridged
        .scene(&world, HostPort::Fixed(vec![8000]))
        .await
        .with("web", |role| role.health = HealthCheck::Running { after: Millis(0) });
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    scene.twice(&plan, &scene.start(&web, "build-41")).await;
    let second = Action::Start {
        target: web.clone(),
        container: Some(scene.container(&web, "second")),
        origin: Origin::New { port: Some(scene.port) },
    };
    let failure = fails(scene.apply(&plan, &second).await, FailureKind::Refused);
    assert!(failure.message.contains("its port is taken"), "{failure:?}");
    scene.undo_twice(&plan, &second).await;
    assert_eq!(scene.observe().await.containers(&web).count(), 1);
}
