//! After a failure people choose; after a success health is watched; what is stuck asks.

use shipmate::domain::deployment::{Event, FailureKind};
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Fault};

use std::time::Duration;

use super::fleet;
use super::stage::{Room, Stage};
use crate::sample::*;

const HOLD: &str = "on_failure = { hold = \"10m\", quorum = 1 }";

/// build-41 runs, and build-42 fails at the second host.
async fn holding() -> Stage {
    let stage = Stage::new(&fleet(HOLD, "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#2 deploy", "holding", "healthy web@appserver2 failed", "how does it go on?", "everything is put back in"]).await;
    stage
}

fn runs(stage: &Stage, host: &str) -> Vec<String> {
    stage.rehearsal.running(&target(&format!("web@{host}"))).iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn another_try_goes_on_where_it_failed() {
    let stage = holding().await;
    assert_eq!(runs(&stage, "appserver1"), ["build-42"], "nothing is put back while people think");
    stage.say("anna", "!retry").await;
    stage.sees(&["#2 antisocial production runs build-42"]).await;
    assert_eq!((runs(&stage, "appserver1"), runs(&stage, "appserver2")), (vec!["build-42".into()], vec!["build-42".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_host_can_be_left_out_and_runs_what_it_ran() {
    let stage = holding().await;
    let (live, _) = stage.sees(&["#2 deploy", "holding"]).await;
    stage.room.react("anna", "⏭", &live).await;
    stage.sees(&["#2 antisocial production runs build-42", "without appserver2"]).await;
    assert_eq!((runs(&stage, "appserver1"), runs(&stage, "appserver2")), (vec!["build-42".into()], vec!["build-41".into()]));
    let records = stage.ledger.records(&name("antisocial"), &name("production")).unwrap();
    let recorded: Vec<String> = records.iter().map(|(target, record)| format!("{target} {}", record.current.tag)).collect();
    assert_eq!(recorded, ["web@appserver1 build-42", "web@appserver2 build-41"]);
    assert!(stage.rehearsal.violations().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_died_is_left_out_and_told_of_when_it_is_back() {
    let mut stage = Stage::bare(&fleet("on_failure = { hold = \"10m\" }", ""), vec![Room::new("room", "terminal")]);
    stage.habits().drift_every = Duration::from_millis(200);
    stage.start().await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.rehearsal.hanging().await;
    stage.rehearsal.lose(&name("appserver2"));
    stage.rehearsal.go_on();
    stage.sees(&["#2", "holding"]).await;
    stage.say("anna", "!skip").await;
    stage.sees(&["#2 antisocial production runs build-42", "without appserver2"]).await;
    assert_eq!(runs(&stage, "appserver1"), ["build-42"]);
    stage.sees(&["is not as recorded", "appserver2"]).await;
    stage.rehearsal.bring_back(&name("appserver2"));
    // What it runs now, nobody knows beforehand; it is not what should run there alone.
    stage.sees(&["is not as recorded", "web@appserver2", "!deploy antisocial build-42"]).await;
    assert_eq!(stage.room.count(&["is as recorded again"]), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_word_everything_is_put_back() {
    let stage = holding().await;
    stage.later(601).await;
    stage.sees(&["#2", "healthy web@appserver2 failed", "Put back"]).await;
    assert_eq!((runs(&stage, "appserver1"), runs(&stage, "appserver2")), (vec!["build-41".into()], vec!["build-41".into()]));
}

#[tokio::test(start_paused = true)]
async fn everything_can_be_left_as_it_is() {
    let stage = holding().await;
    stage.say("dora", "!keep").await;
    stage.sees(&["dora may not"]).await;
    stage.say("anna", "!keep").await;
    stage.sees(&["#2", "left as it is by anna"]).await;
    assert!(stage.ledger.lock(&name("antisocial"), &name("production")).unwrap().is_none());
    assert_eq!(runs(&stage, "appserver1"), ["build-42"]);
    stage.deploy(3, "build-43").await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_keeps_hosts_from_being_left_out() {
    let stage = Stage::new(&fleet("on_failure = { hold = \"10m\", quorum = 2 }", "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["holding"]).await;
    stage.say("anna", "!skip").await;
    stage.sees(&["1 hosts of `web` would be left, and the policy wants 2"]).await;
    stage.say("anna", "!undo").await;
    stage.sees(&["#2", "Put back"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_can_be_put_back_again_or_left() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.rehearsal.fault(Fault::undo("start web@appserver2").fails(FailureKind::Refused));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#2", "is STUCK"]).await;
    stage.say("berta", "!undo 2").await;
    stage.sees(&["#2 puts everything back, by berta"]).await;
    stage.reaches(2, "undone").await;
    assert_eq!((runs(&stage, "appserver1"), runs(&stage, "appserver2")), (vec!["build-41".into()], vec!["build-41".into()]));
    stage.deploy(3, "build-43").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_can_be_tried_again() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.rehearsal.fault(Fault::undo("start web@appserver2").fails(FailureKind::Refused));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#2", "is STUCK", "`!retry 2`"]).await;
    stage.say("anna", "!retry 2").await;
    stage.sees(&["#2 antisocial production runs build-42"]).await;
    assert!(stage.ledger.lock(&name("antisocial"), &name("production")).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cross_at_the_closing_message_reverts_while_it_is_watched() {
    let stage = Stage::new(&fleet("bake = \"10m\"", "")).await;
    stage.deploy(1, "build-41").await;
    stage.deploy(2, "build-42").await;
    let (closing, _) = stage.sees(&["#2 antisocial production runs build-42"]).await;
    stage.room.react("dora", "❌", &closing).await;
    stage.sees(&["dora may not"]).await;
    stage.room.react("berta", "❌", &closing).await;
    stage.sees(&["#2 is reverted: berta says that it isn't well"]).await;
    stage.sees(&["#3 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stay_healthy_is_reverted() {
    let stage = Stage::new(&fleet("bake = \"10m\"", "")).await;
    stage.deploy(1, "build-41").await;
    // It turns ill when somebody looks for the second time.
    stage.rehearsal.fault(Fault::apply("healthy web@appserver1").nth(2).fails(FailureKind::Unhealthy));
    stage.deploy(2, "build-42").await;
    stage.sees(&["#2 is reverted, since it didn't stay well", "web@appserver1"]).await;
    stage.sees(&["#3 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_stays_well_is_kept_and_a_cross_comes_too_late() {
    let stage = Stage::new(&fleet("bake = \"1s\"", "")).await;
    stage.deploy(1, "build-41").await;
    stage.later(2).await;
    stage.sees(&["#1 stayed well and is kept"]).await;
    let (closing, _) = stage.sees(&["#1 antisocial production runs build-41"]).await;
    stage.room.react("anna", "❌", &closing).await;
    stage.rehearsal.push(&release("build-42"), Behaviour::good());
    stage.deploy(2, "build-42").await;
    assert_eq!(stage.room.count(&["is reverted"]), 0);
}

#[tokio::test(start_paused = true)]
async fn the_authors_of_what_failed_are_called_if_the_policy_says_so() {
    for (policy, said) in [("mention_authors = true", "since build-41: @dora"), ("mention_authors = false", "since build-41: Dora")]
    {
        let stage = Stage::new(&fleet(policy, "")).await;
        for tag in ["build-41", "build-42"] {
            stage.announce(tag, "main").await;
        }
        stage.deploy(1, "build-41").await;
        stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
        stage.say("anna", "!deploy antisocial build-42").await;
        stage.sees(&["#2", "healthy web@appserver2 failed", "Put back", said]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_emojis_say_what_the_words_say() {
    let stage = holding().await;
    let (live, text) = stage.sees(&["#2 deploy", "holding"]).await;
    assert!(["🔁", "⏭", "⏪", "✋"].iter().all(|emoji| text.contains(emoji)), "{text}");
    stage.room.react("dora", "✋", &live).await;
    stage.sees(&["dora may not"]).await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.room.react("anna", "🔁", &live).await;
    // It fails once more, and asks once more.
    let failures = || {
        let events = stage.ledger.events(DeploymentId(2)).unwrap();
        events.into_iter().filter(|(_, event)| matches!(event, Event::ActionFailed { .. })).count()
    };
    stage.recorded(|| failures() == 2).await;
    stage.reaches(2, "holding").await;
    stage.room.react("anna", "⏪", &live).await;
    stage.sees(&["#2", "Put back"]).await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.say("anna", "!deploy antisocial build-43").await;
    let (live, _) = stage.sees(&["#3 deploy", "holding"]).await;
    stage.room.react("berta", "✋", &live).await;
    stage.sees(&["#3", "left as it is by berta"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_can_be_left_and_another_life_still_asks() {
    let mut stage = Stage::new(&fleet("", "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.rehearsal.fault(Fault::undo("start web@appserver2").fails(FailureKind::Refused));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#2", "is STUCK"]).await;
    stage.kill().await;
    stage.start().await;
    stage.sees(&["I was away", "#2 is stuck and keeps its environment", "`!retry 2`", "`!undo 2`", "`!keep 2`"]).await;
    stage.say("anna", "!keep 2").await;
    stage.sees(&["#2", "left as it is by anna"]).await;
    assert!(stage.ledger.lock(&name("antisocial"), &name("production")).unwrap().is_none());
    stage.deploy(3, "build-43").await;
}

#[tokio::test(start_paused = true)]
async fn who_thinks_while_the_bot_dies_is_asked_by_the_next_and_not_for_longer() {
    let mut stage = holding().await;
    stage.later(300).await;
    stage.kill().await;
    stage.start().await;
    stage.later(200).await;
    assert_eq!(stage.state(2).phase.word(), "holding");
    stage.later(101).await;
    stage.sees(&["#2", "healthy web@appserver2 failed", "Put back"]).await;
}

#[tokio::test(start_paused = true)]
async fn health_is_watched_on_by_the_next_life() {
    let mut stage = Stage::new(&fleet("bake = \"10m\"", "")).await;
    stage.deploy(1, "build-41").await;
    stage.deploy(2, "build-42").await;
    stage.kill().await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver1").fails(FailureKind::Unhealthy));
    stage.start().await;
    stage.sees(&["#2 is reverted, since it didn't stay well", "web@appserver1"]).await;
    stage.sees(&["#3 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_turns_ill_in_the_next_life_is_reverted_too() {
    let mut stage = Stage::new(&fleet("bake = \"10m\"", "")).await;
    stage.deploy(1, "build-41").await;
    stage.deploy(2, "build-42").await;
    stage.kill().await;
    stage.start().await;
    stage.later(60).await;
    assert_eq!(stage.room.count(&["is reverted"]), 0);
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2").fails(FailureKind::Unhealthy));
    stage.sees(&["#2 is reverted, since it didn't stay well", "web@appserver2"]).await;
    stage.sees(&["#3 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn another_life_hears_how_it_goes_on() {
    let mut stage = holding().await;
    let (live, _) = stage.sees(&["#2 deploy", "holding"]).await;
    stage.kill().await;
    stage.start().await;
    stage.sees(&["I was away", "going on with #2"]).await;
    assert_eq!((stage.state(2).phase.word(), runs(&stage, "appserver1")), ("holding", vec!["build-42".into()]));
    stage.room.react("anna", "🔁", &live).await;
    stage.sees(&["#2 antisocial production runs build-42"]).await;
    assert_eq!((runs(&stage, "appserver1"), runs(&stage, "appserver2")), (vec!["build-42".into()], vec!["build-42".into()]));
    assert!(stage.rehearsal.violations().is_empty());
}
