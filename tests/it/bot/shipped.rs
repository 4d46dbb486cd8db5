//! Every shipped command that acts, whatever action of it fails, and with everything done twice: how it ended stands in every room,
//! once, and is what the hosts and the ledger have. That a bot that dies in between ends the same way is in `dying`.

use shipmate::domain::deployment::FailureKind;
use shipmate::engine::rehearsal::Fault;

use super::fleet;
use super::stage::{Room, Stage};
use crate::sample::*;

/// What people type for each.
fn typed(command: &str) -> &'static str {
    match command {
        "deploy" => "!deploy antisocial build-43",
        "revert" => "!revert antisocial",
        "restart" => "!restart antisocial",
        "run" => "!run antisocial migrate",
        other => panic!("how is {other} typed?"),
    }
}

/// build-42 runs by #2, build-41 ran before; two rooms see it.
async fn about(twice: bool) -> Stage {
    let mut stage = Stage::bare(&fleet("", ""), vec![Room::new("room", "terminal"), Room::new("other", "discord")]);
    stage.twice = twice;
    stage.start().await;
    stage.deploy(1, "build-41").await;
    stage.deploy(2, "build-42").await;
    stage.rehearsal.turn_page();
    stage
}

fn runs(stage: &Stage) -> Vec<String> {
    ["web@appserver1", "web@appserver2"]
        .into_iter()
        .map(|place| stage.rehearsal.running(&target(place)).iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        .collect()
}

/// Types a command and waits for its end, #3, in all rooms; what they say about it last.
async fn ends(stage: &Stage, command: &str, phase: &str) -> Vec<String> {
    stage.say("anna", typed(command)).await;
    stage.recorded(|| stage.newest() == 3).await;
    stage.reaches_at_last(3, phase).await;
    let mut last = Vec::new();
    for room in &stage.rooms {
        stage.shows_all_in(room).await;
        let about: Vec<String> = room.texts().into_iter().filter(|text| text.contains("#3 ")).collect();
        // The live message, in its last state, and the closing one.
        assert_eq!(about.len(), 2, "{command}: {about:#?}");
        last.push(about.last().unwrap().clone());
    }
    assert!(stage.rehearsal.violations().is_empty(), "{:?}", stage.rehearsal.violations());
    last
}

#[tokio::test(start_paused = true)]
async fn whatever_action_fails_the_rooms_say_that_all_is_as_it_was() {
    for (command, ..) in shipped() {
        let well = about(false).await;
        ends(&well, &command, "succeeded").await;
        let lines = well.rehearsal.transcript();
        assert!(!lines.is_empty());
        for line in lines {
            let action = line.strip_prefix("apply ").unwrap_or_else(|| panic!("{line}"));
            for after in [false, true] {
                let stage = about(false).await;
                let before = runs(&stage);
                let fault = Fault::apply(action).fails(FailureKind::Refused);
                stage.rehearsal.fault(if after { fault.after() } else { fault });
                if action.starts_with("prune") {
                    ends(&stage, &command, "succeeded").await;
                    continue;
                }
                for said in ends(&stage, &command, "undone").await {
                    assert!(said.contains(action) && said.contains("failed"), "{command}, {action}: {said}");
                }
                assert_eq!(runs(&stage), before, "{command}: {action} failed, after it acted: {after}");
                assert!(stage.ledger.lock(&name("antisocial"), &name("production")).unwrap().is_none());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_twice_is_told_once() {
    for (command, ..) in shipped() {
        let (once, twice) = (about(false).await, about(true).await);
        let (said_once, said_twice) = (ends(&once, &command, "succeeded").await, ends(&twice, &command, "succeeded").await);
        let title = |said: &[String]| {
            said.iter().map(|text| text.lines().next().unwrap().rsplit_once(", ").unwrap().0.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(title(&said_twice), title(&said_once), "all but the time that it took");
        assert_eq!(runs(&twice), runs(&once), "{command}");
    }
}
