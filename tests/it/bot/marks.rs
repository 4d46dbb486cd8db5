//! How far a chat has come: the next life goes on from there, and no life passes over what wasn't dealt with.

use shipmate::domain::deployment::Event;
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::Fault;

use super::fleet;
use super::stage::Stage;

/// Waits until the ledger has this mark.
async fn keeps(stage: &Stage, mark: &str) {
    let kept = || stage.ledger.marks(&[shipmate::domain::message::RoomId("room".to_owned())]).unwrap();
    stage.recorded(|| kept().values().any(|kept| kept == mark)).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_life_goes_on_from_the_newest_mark() {
    let mut stage = Stage::new(&fleet("", "")).await;
    assert_eq!(stage.room.mark(), None);
    stage.say("anna", "!queue").await;
    stage.room.is_told_up_to("one").await;
    stage.say("anna", "!apps").await;
    stage.room.is_told_up_to("two").await;
    stage.sees(&["antisocial"]).await;
    keeps(&stage, "two").await;
    let facts = stage.ledger.head().seq;
    stage.room.is_told_up_to("two").await;
    stage.later(60).await;
    assert_eq!(stage.ledger.head().seq, facts, "it is written once");
    stage.kill().await;
    stage.start().await;
    assert_eq!(stage.room.mark().as_deref(), Some("two"));
    stage.room.is_told_up_to("three").await;
    keeps(&stage, "three").await;
    stage.stop().await;
    stage.start().await;
    assert_eq!(stage.room.mark().as_deref(), Some("three"));
}

#[tokio::test(start_paused = true)]
async fn a_mark_counts_only_when_what_an_emoji_asked_for_before_it_is_done() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.room.is_told_up_to("before").await;
    keeps(&stage, "before").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    let (live, _) = stage.sees(&["#1 deploy", "running"]).await;
    stage.rehearsal.hanging().await;
    stage.room.is_down(true);
    // A cancel that can't be answered yet.
    stage.room.react("anna", "❌", &live).await;
    stage.room.is_told_up_to("after").await;
    let asked = |event: &Event| matches!(event, Event::CancelAsked { .. });
    stage.recorded(|| stage.ledger.events(DeploymentId(1)).unwrap().iter().any(|(_, event)| asked(event))).await;
    stage.later(15).await;
    stage.say("anna", "!apps").await;
    stage.later(15).await;
    keeps(&stage, "before").await;
    stage.room.is_down(false);
    keeps(&stage, "after").await;
}

#[tokio::test(start_paused = true)]
async fn a_room_is_told_what_was_not_read() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.room.tells_nothing_before("2026-11-25T08:15:00Z".parse().unwrap()).await;
    let (_, text) = stage.sees(&["I did not read what is from before Wed 2026-11-25 08:15", "1 h ago"]).await;
    assert!(text.contains("still means it, type it again"), "{text}");
}
