//! Private registries: the bot's own password, the host's `docker login`, and neither.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use shipmate::domain::deployment::FailureKind;
use shipmate::engine::ResolveError;
use shipmate::engine::ssh::registries::Login;
use shipmate::engine::ssh::{SshEngine, SshSettings};
use shipmate::secret::{Redactor, Secret};

use super::scene::{Scene, fails};
use super::ssh::{RigWorld, open};
use super::world::{Company, World, port};

/// With the signs that make URL-safe base64 differ from the other one, at each place of a triple.
const PASSWORD: &str = "~~~???>>>-sentinel";

/// The rig's registry, behind a password.
struct Guarded {
    nginx: Child,
    registry: String,
    _folder: tempfile::TempDir,
}

impl Guarded {
    fn new(world: &RigWorld) -> Guarded {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let registry = format!("127.0.{}.251:{}", world.rig.variable("RIG_NET"), port());
        std::fs::write(folder.path().join("users"), format!("anna:{{PLAIN}}{PASSWORD}\n")).unwrap();
        let behind = world.rig.variable("RIG_REGISTRY");
        let config = format!(
            "user root; worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/log warn; events {{ worker_connections 64; }}
             http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
               server {{ listen {registry}; client_max_body_size 0; auth_basic registry; auth_basic_user_file {dir}/users;
                 location / {{ proxy_pass http://{behind}; proxy_set_header Host $http_host; proxy_set_header Authorization ''; }} }} }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let nginx = PathBuf::from("/usr/sbin/nginx");
        let mut command = Command::new(nginx);
        command.arg("-e").arg(folder.path().join("log")).arg("-c").arg(folder.path().join("nginx.conf"));
        let nginx = command.stdin(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(&registry).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "the guarded registry comes up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Guarded { nginx, registry, _folder: folder }
    }

    async fn scene(&self, world: &RigWorld, login: Option<Login>, redactor: &Redactor) -> Scene {
        let registries = login.map(|login| (self.registry.clone(), login)).into_iter().collect();
        let engine = SshEngine::start(SshSettings { registries, redactor: redactor.clone(), ..world.settings() }).await.unwrap();
        let mut scene = Scene { engine: Box::new(engine), ..Scene::new(world).await };
        scene.spec.image = world.image().as_str().replace(world.rig.variable("RIG_REGISTRY"), &self.registry).parse().unwrap();
        // One host, so that it is clear whose login counts.
        let web = scene.web().host;
        scene.spec.hosts.retain(|host, _| *host == web);
        scene
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // TERM: the master takes its workers with it.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

async fn let_in(scene: &Scene) {
    let plan = scene.plan("build-52", Vec::new()).await;
    let web = scene.web();
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    assert!(scene.seen(&web).await.images.contains(&plan.release.digest));
    scene.apply(&plan, &scene.prune(&web, Vec::new(), vec![plan.image_reference()])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bots_own_password_opens_a_registry() {
    let world = open(Company::Shared).await;
    let guarded = Guarded::new(&world);
    let redactor = Redactor::default();
    let login = |password: &str| Some(Login::Password { username: "anna".into(), password: Secret::new(password).unwrap() });
    let_in(&guarded.scene(&world, login(PASSWORD), &redactor).await).await;
    assert_eq!(redactor.redact(&format!("-p {PASSWORD}")), "-p ***");

    let digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    for login in [None, login("wrong")] {
        let scene = guarded.scene(&world, login, &redactor).await;
        let refused = scene.engine.resolve(&scene.spec, &"build-52".parse().unwrap()).await.unwrap_err();
        assert!(matches!(&refused, ResolveError::Unavailable(why) if why.contains("docker login")), "{refused:?}");
        let plan = scene.plan_of("build-52", std::clone::Clone::clone(&digest), Vec::new());
        let failure = fails(scene.apply(&plan, &scene.pull(&scene.web())).await, FailureKind::Refused);
        assert!(failure.message.contains("docker login"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_login_opens_a_registry() {
    let world = open(Company::Shared).await;
    let guarded = Guarded::new(&world);
    let config = |text: &str| {
        world.rig.on(
            "appserver1",
            &format!("mkdir -p ~/.docker; printf %s {} > ~/.docker/config.json", shlex::try_quote(text).unwrap()),
        );
    };
    let redactor = Redactor::default();
    let scene = guarded.scene(&world, Some(Login::Host), &redactor).await;
    config("{}");
    let none = scene.engine.resolve(&scene.spec, &"build-52".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&none, ResolveError::Unavailable(why) if why.contains("there is no login")), "{none:?}");

    let auth = base64::engine::general_purpose::STANDARD.encode(format!("anna:{PASSWORD}"));
    config(&format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, guarded.registry));
    let_in(&scene).await;
    assert_eq!(redactor.redact(PASSWORD), "***");

    let helper = format!(
        "#!/bin/sh\n[ \"$1 $(cat)\" = 'get {}' ] || exit 1\nprintf '{{\"ServerURL\":\"\",\"Username\":\"anna\",\"Secret\":\"%s\"}}' '{PASSWORD}'\n",
        guarded.registry
    );
    let path = "/usr/local/sbin/docker-credential-rig";
    world.rig.on("appserver1", &format!("printf %s {} > {path}; chmod +x {path}", shlex::try_quote(&helper).unwrap()));
    config(&format!(r#"{{"credHelpers":{{"{}":"rig"}}}}"#, guarded.registry));
    let_in(&scene).await;
    world.rig.on("appserver1", &format!("rm -f {path} ~/.docker/config.json"));
}
