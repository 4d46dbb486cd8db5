//! Commands on hosts, as the balancer's and the services' are: how each end is told, and that words arrive as they are.

use std::time::{Duration, Instant};

use shipmate::domain::deployment::{Failure, FailureKind, Outcome};
use shipmate::domain::plan::Action;
use shipmate::domain::spec::{Millis, RouterSpec};
use shipmate::engine::ssh::command::RemoteCommand;
use shipmate::engine::ssh::control::ControlDir;
use shipmate::engine::ssh::exec::{Ended, Within};
use shipmate::engine::ssh::links::Links;

use super::reach::until;
use super::scene::{Scene, fails};
use super::ssh::{RigWorld, open};
use super::world::Company;

/// Runs a command on appserver1, as a balancer's.
async fn run(world: &RigWorld, words: &[&str], deadline: Millis) -> (Result<Outcome, Failure>, String) {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let router = RouterSpec { name: "lb".into(), host: world.host(1).0, join: words, leave: Vec::new(), deadline };
    let scene = Scene::new(world).await.with("web", |role| role.router = Some(router));
    let plan = scene.plan_of("build-41", format!("sha256:{}", "0".repeat(64)).parse().unwrap(), Vec::new());
    let action = Action::Join { target: scene.web(), container: None, undo: true };
    let result = scene.apply(&plan, &action).await;
    (result, scene.heard.take())
}

const SOON: Millis = Millis::seconds(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_a_command_are_told_apart() {
    let world = open(Company::Shared).await;
    let (result, output) = run(&world, &["printf", "%s|", "a b", "$(id)", "{app}", "'", "{host}"], SOON).await;
    result.unwrap();
    assert!(output.starts_with("a b|$(id)|app") && output.ends_with("|'|appserver1|"), "{output}");
    let (result, output) = run(&world, &["sh", "-c", "echo out; echo err >&2; exit 3"], SOON).await;
    let failure = fails(result, FailureKind::Exit { status: 3 });
    assert!(output.contains("out") && output.contains("err") && failure.output.len() == 2, "{failure:?}");
    // An exit status that looks like a signal is an exit status.
    fails(run(&world, &["sh", "-c", "exit 137"], SOON).await.0, FailureKind::Exit { status: 137 });
    fails(run(&world, &["sh", "-c", "exit 255"], SOON).await.0, FailureKind::Exit { status: 255 });
    fails(run(&world, &["no-such-program"], SOON).await.0, FailureKind::Exit { status: 127 });
    fails(run(&world, &["sh", "-c", "kill -9 $$"], SOON).await.0, FailureKind::Signal { signal: None });
    fails(run(&world, &["sh", "-c", "kill -15 $$"], SOON).await.0, FailureKind::Signal { signal: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_overruns_its_deadline_is_ended_with_its_children() {
    let world = open(Company::Shared).await;
    let began = Instant::now();
    let (result, output) = run(&world, &["sh", "-c", "echo begins; sleep 4711 & sleep 4712"], Millis::seconds(1)).await;
    fails(result, FailureKind::Timeout);
    assert!(output.contains("begins") && began.elapsed() < Duration::from_secs(8), "{output} {:?}", began.elapsed());
    assert_eq!(world.rig.on("appserver1", "pgrep -fc 'sleep 471[12]' || true").trim(), "0");
    // One that ignores TERM gets KILL.
    let (result, _) = run(&world, &["sh", "-c", "trap '' TERM; while :; do sleep 0.4713; done"], Millis::seconds(1)).await;
    fails(result, FailureKind::Timeout);
    assert_eq!(world.rig.on("appserver1", "pgrep -fc 'sleep 0.471[3]' || true").trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_leaves_a_child_behind_has_ended_all_the_same() {
    let world = open(Company::Shared).await;
    // The child holds the outputs open, as a carelessly started daemon does.
    let (result, _) = run(&world, &["sh", "-c", "sleep 5 & exit 0"], Millis::seconds(2)).await;
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_connection_broke_is_lost() {
    let world = open(Company::Alone).await;
    let runs = || world.rig.on("appserver1", "pgrep -fc 'sleep 5.047[3]' || true").trim() != "0";
    let ((result, _), ()) = tokio::join!(run(&world, &["sleep", "5.0473"], SOON), async {
        until("it runs", runs).await;
        world.rig.does(&["cut", "1"]);
    });
    fails(result, FailureKind::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_a_deadline_of_its_own() {
    let world = open(Company::Shared).await;
    let links = Links::new(world.settings().ssh_config, ControlDir::create("/tmp".as_ref()).unwrap());
    let link = links.get(&world.host(1).0).await.unwrap();
    let within = Within { silence: Some(Duration::from_millis(700)), total: Duration::from_secs(20) };
    let command = |text: &str| RemoteCommand::script(text);
    let mut lines = 0;
    let talking = command("for i in 1 2 3 4 5; do echo $i; sleep 0.3; done");
    assert_eq!(link.run(&talking, within, &mut |_, _| lines += 1).await, Ended::Exit(0));
    assert_eq!(lines, 5);
    let silent = link.run(&command("echo 1; sleep 20"), within, &mut |_, _| ()).await;
    assert_eq!(silent, Ended::Timeout(Duration::from_millis(700)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_passed_on_in_order() {
    let world = open(Company::Shared).await;
    let (result, output) = run(&world, &["sh", "-c", "seq 1 200000"], SOON).await;
    result.unwrap();
    let numbers: Vec<u32> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() == 200_000 && numbers.is_sorted());
}
