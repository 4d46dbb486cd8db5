//! Reaching a host and its engine, and what people are told when that fails.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::plan::{Action, TagFiles};
use shipmate::domain::spec::Millis;
use shipmate::engine::ssh::{SshEngine, SshSettings};

use super::scene::{Scene, fails};
use super::ssh::{RigWorld, open};
use super::world::{Company, port};

fn preflight(scene: &Scene) -> Action {
    Action::Preflight { host: scene.web().host, min_free_mib: 1 }
}

/// What preflight says of a host with another Docker socket.
async fn said(scene: &Scene, socket: &str) -> Result<(), String> {
    let mut plan = scene.plan_of("build-41", format!("sha256:{}", "0".repeat(64)).parse().unwrap(), Vec::new());
    plan.hosts.get_mut(&scene.web().host).unwrap().docker_socket = socket.to_owned();
    match scene.apply(&plan, &preflight(scene)).await {
        Ok(_) => Ok(()),
        failed => Err(fails(failed, FailureKind::Unreachable).message),
    }
}

const SOCKET: &str = "/var/run/docker.sock";

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_be_reached_comes_with_the_line_to_change() {
    let world = open(Company::Shared).await;
    let forbidden = Scene::new(&world).await.on(world.host(4));
    let message = said(&forbidden, SOCKET).await.unwrap_err();
    assert!(message.contains("`AllowStreamLocalForwarding yes`") && message.contains("/etc/ssh/sshd_config"), "{message}");
    assert!(message.contains("appserver4"), "{message}");

    let scene = Scene::new(&world).await;
    let message = said(&scene, "/run/none.sock").await.unwrap_err();
    assert!(
        message.contains("no Docker Engine at /run/none.sock") && message.contains("systemctl enable --now docker"),
        "{message}"
    );

    world.rig.on("appserver1", "rm -f /run/dead.sock; python3 -c 'import socket; socket.socket(1).bind(\"/run/dead.sock\")'");
    let message = said(&scene, "/run/dead.sock").await.unwrap_err();
    assert!(message.contains("is down") && message.contains("systemctl start docker"), "{message}");
    said(&scene, SOCKET).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_right_to_the_socket_is_told_the_group_and_it_counts_at_once() {
    let world = open(Company::Shared).await;
    let (state, port) = (world.rig.variable("RIG_STATE"), port());
    // The rig's keys lie where root alone can read, so this user gets an sshd that reads others.
    let sshd = format!(
        "sed 's#^AuthorizedKeysFile.*#AuthorizedKeysFile /run/keys#; s#^Port.*#Port {port}#; s#^PidFile.*#PidFile /run/second.pid#'"
    );
    world.rig.on(
        "appserver2",
        &format!(
            "! id shipmate >/dev/null 2>&1 || userdel shipmate; useradd -M -s /bin/sh -p '*' shipmate; cp {state}/id.pub /run/keys
             {sshd} {state}/hosts/2/ssh/sshd_config > /run/second.conf; /usr/sbin/sshd -f /run/second.conf"
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "Host limited\n HostName 127.0.{}.2\n HostKeyAlias appserver2\n Port {port}\n User shipmate",
        world.rig.variable("RIG_NET")
    );
    let (_, host) = world.host(2);
    let scene = configured(&world, folder.path(), &config).await.on(("limited".parse().unwrap(), host));
    let message = said(&scene, SOCKET).await.unwrap_err();
    assert!(message.contains("`usermod -aG docker shipmate`"), "{message}");
    world.rig.on("appserver2", "usermod -aG docker shipmate");
    said(&scene, SOCKET).await.unwrap();
    // Nor may it write everywhere.
    let plan = scene.plan("build-41", Vec::new()).await;
    let record = Action::Record {
        host: scene.web().host,
        folder: "/root/no".into(),
        after: TagFiles::default(),
        before: TagFiles::default(),
    };
    let failure = scene.apply(&plan, &record).await.unwrap_err();
    assert!(failure.message.contains("/root/no") && failure.message.contains("Permission denied"), "{failure:?}");
    drop(scene);
    world
        .rig
        .on("appserver2", "kill $(cat /run/second.pid); rm -f /run/keys /run/second.conf; userdel -f shipmate 2>/dev/null; true");
}

/// A scene with an SSH configuration that stands before the rig's.
async fn configured(world: &RigWorld, folder: &Path, config: &str) -> Scene {
    let path = folder.join("ssh_config");
    let mut rigs = fs::read_to_string(world.rig.variable("RIG_SSH_CONFIG")).unwrap().replace("Host appserver* balancer", "Host *");
    if config.starts_with("IdentityFile") {
        // Keys add up; the rig's own must not help.
        rigs = rigs.replace("IdentityFile", "# IdentityFile");
    }
    fs::write(&path, format!("{config}\nMatch all\n{rigs}")).unwrap();
    let engine = SshEngine::start(SshSettings { ssh_config: Some(path), ..world.settings() }).await.unwrap();
    Scene { engine: Box::new(engine), ..Scene::new(world).await }
}

/// What preflight says with an SSH configuration that stands before the rig's.
async fn dialled(world: &RigWorld, folder: &Path, config: &str) -> String {
    said(&configured(world, folder, config).await, SOCKET).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_not_to_connect_is_told_apart_and_how_to_mend_it() {
    let world = open(Company::Shared).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let keygen = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file("stranger")]).status().unwrap();
    assert!(keygen.success());
    fs::write(file("empty"), "").unwrap();
    let stranger = fs::read_to_string(file("stranger.pub")).unwrap();
    fs::write(file("changed"), format!("appserver1 {stranger}")).unwrap();
    let cases = [
        (format!("UserKnownHostsFile {}", file("empty")), "isn't known"),
        (format!("UserKnownHostsFile {}", file("changed")), "shows another host key than the one in"),
        (format!("IdentityFile {}", file("stranger")), "authorized_keys"),
        ("Host appserver1\n HostName no-such-host.invalid".to_owned(), "has no address"),
        ("Host appserver1\n Port 9".to_owned(), "nothing accepts SSH"),
        ("NoSuchOption yes".to_owned(), "ssh doesn't take its configuration"),
    ];
    for (config, expected) in cases {
        let message = dialled(&world, folder.path(), &config).await;
        assert!(message.contains(expected), "{config}: {message}");
    }
}

/// The ssh processes whose control socket lies below a directory.
fn masters(below: &Path) -> usize {
    let output = Command::new("pgrep").args(["-fc", &format!("ssh: {}|-S {}", below.display(), below.display())]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// Waits until something outside holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_all_and_is_closed_when_nobody_needs_it() {
    let world = open(Company::Shared).await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let settings = SshSettings { control_parent: Some(folder.path().to_owned()), ..world.settings() };
    let scene = Scene { engine: Box::new(SshEngine::start(settings).await.unwrap()), ..Scene::new(&world).await };
    let plan = scene.plan("build-41", Vec::new()).await;
    let looks = (0..30).map(|_| async { scene.apply(&plan, &preflight(&scene)).await.unwrap() });
    futures_util::future::join_all(looks).await;
    assert_eq!(masters(folder.path()), 1);
    scene.engine.rest().await;
    until("the connection is closed", || masters(folder.path()) == 0).await;
    scene.apply(&plan, &preflight(&scene)).await.unwrap();
    drop(scene);
    until("the connection goes with its engine", || masters(folder.path()) == 0).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_bot_left_behind_is_ended_by_the_next() {
    let world = open(Company::Shared).await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let dead = folder.path().join("shipmate-ssh-killed/abcdef");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.with_file_name("lock"), "").unwrap();
    let config = world.rig.variable("RIG_SSH_CONFIG");
    let ssh = Command::new("ssh")
        .args(["-F", config, "-MNf", "-S"])
        .arg(dead.join("master"))
        .args(["-o", "ControlPersist=60", "appserver1"])
        .status();
    assert!(ssh.unwrap().success() && masters(folder.path()) == 1);
    let settings = SshSettings { control_parent: Some(folder.path().to_owned()), ..world.settings() };
    let _engine = SshEngine::start(settings).await.unwrap();
    until("the orphan ends", || masters(folder.path()) == 0).await;
    assert!(!dead.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_connection_broke_is_lost_and_its_result_is_taken_afterwards() {
    let world = open(Company::Alone).await;
    let scene = Scene::new(&world).await.env("web", "MIGRATE_SECS", "2");
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis::seconds(60));
    let (result, ()) = tokio::join!(scene.apply(&plan, &task), async {
        until("it runs", || scene.heard.has("migrate begins")).await;
        world.rig.does(&["cut", "1"]);
    });
    fails(result, FailureKind::Lost);
    scene.heard.take();
    scene.apply(&plan, &task).await.unwrap();
    let output = scene.heard.take();
    assert_eq!((output.matches("migrate begins").count(), output.matches("migrate done").count()), (1, 1), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_given_up_and_found_again() {
    let world = open(Company::Alone).await;
    let scene = Scene::new(&world).await;
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &preflight(&scene)).await.unwrap();
    world.rig.does(&["freeze", "1"]);
    let began = Instant::now();
    let silent = scene.apply(&plan, &scene.pull(&web)).await;
    let gave_up = began.elapsed();
    let dialled = scene.apply(&plan, &preflight(&scene)).await;
    let refused = began.elapsed() - gave_up;
    world.rig.does(&["thaw", "1"]);
    assert!(matches!(silent.as_ref().unwrap_err().kind, FailureKind::Lost | FailureKind::Timeout), "{silent:?}");
    assert!(gave_up < Duration::from_secs(35), "{gave_up:?}");
    fails(dialled, FailureKind::Unreachable);
    assert!(refused < Duration::from_secs(20), "{refused:?}");
    scene.apply(&plan, &preflight(&scene)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_is_down_is_found_before_anything_is_touched() {
    let world = open(Company::Alone).await;
    let scene = Scene::new(&world).await.with_router(&world);
    let plan = scene.plan("build-41", Vec::new()).await;
    world.rig.does(&["kill", "balancer"]);
    let result = scene.apply(&plan, &preflight(&scene)).await;
    world.rig.does(&["start", "balancer"]);
    assert!(fails(result, FailureKind::Unreachable).message.contains("balancer"));
    scene.apply(&plan, &preflight(&scene)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn people_on_the_host_see_tags() {
    // A host's tags of the image are everybody's: alone, so that nobody else pulls or prunes meanwhile.
    let world = open(Company::Alone).await;
    let scene = Scene::new(&world).await;
    let worker = scene.target("worker", 1);
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&worker)).await.unwrap();
    scene.apply(&plan, &scene.start(&worker, "build-41")).await.unwrap();
    let shown = world.rig.on("appserver3", &format!("docker ps --filter name={} --format '{{{{.Image}}}}'", scene.spec.app));
    assert_eq!(shown.trim(), format!("{}:build-41", world.rig.variable("RIG_IMAGE")));
    world.rig.on("appserver3", &format!("docker image inspect {}:build-41 >/dev/null", world.rig.variable("RIG_IMAGE")));
    // The tag alone, once it is another's, or nobody's, decides nothing.
    let other = scene.plan("build-42", Vec::new()).await;
    scene.apply(&other, &scene.pull(&worker)).await.unwrap();
    let (image, app) = (world.rig.variable("RIG_IMAGE"), &scene.spec.app);
    let twin = scene.plan("build-43", Vec::new()).await;
    // Whatever another test left of it.
    let digest = plan_digest(&twin);
    world.rig.on("appserver3", &format!("docker rmi -f {image}:build-43 {image}@{digest} >/dev/null 2>&1; true"));
    world.rig.on("appserver3", &format!("docker tag {image}:build-42 {image}:build-43; docker rmi {image}:build-42"));
    fails(scene.apply(&twin, &scene.start(&worker, "build-43")).await, FailureKind::Missing);
    scene.apply(&other, &scene.start(&worker, "build-42")).await.unwrap();
    let running = world.rig.on("appserver3", &format!("docker inspect -f '{{{{.Config.Image}}}}' {app}-test-worker-build-42-n1"));
    assert!(running.trim().ends_with(plan_digest(&other)), "{running}");
    scene.apply(&other, &scene.pull(&worker)).await.unwrap();
    world.rig.on("appserver3", &format!("docker image inspect {image}:build-42 >/dev/null; docker rmi {image}:build-43"));
}

fn plan_digest(plan: &shipmate::domain::plan::Plan) -> &str {
    plan.release.digest.as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_at_preflight_and_at_the_pull() {
    let world = open(Company::Shared).await;
    let scene = Scene::new(&world).await.on(world.host(5));
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    world.rig.does(&["fill", "5", "1"]);
    let preflight = Action::Preflight { host: web.host.clone(), min_free_mib: 50 };
    let space = scene.apply(&plan, &preflight).await;
    let pulled = scene.apply(&plan, &scene.pull(&web)).await;
    world.rig.does(&["unfill", "5"]);
    let message = fails(space, FailureKind::DiskFull).message;
    assert!(message.contains("appserver5") && message.contains("50 MiB"), "{message}");
    fails(pulled, FailureKind::DiskFull);
    scene.apply(&plan, &preflight).await.unwrap();
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    scene.apply(&plan, &scene.prune(&web, Vec::new(), vec![plan.image_reference()])).await.unwrap();
}
