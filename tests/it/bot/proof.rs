//! Who proves what they typed: where approvals are typed, only what was surely typed by its author counts. And what can't be read.

use shipmate::chat::ChatEvent;
use shipmate::domain::deployment::Found;
use shipmate::domain::message::{Account, Doubt, Message, MessageRef, RoomId};

use super::stage::Stage;
use super::{fleet, votes};
use crate::sample::name;

const TYPED: &str =
    r#"approval = { votes = 1, groups = ["approvers"], strength = "typed", emergency = { groups = ["deployers"] } }"#;

/// Somebody types something, of which nobody can be sure that it was them.
async fn say_doubtfully(stage: &Stage, who: &str, text: &str, doubt: Doubt) -> Message {
    let said = Message { doubt: Some(doubt), ..stage.room.say(who, "nothing", stage.now()).await };
    let at = MessageRef { id: format!("{}-doubtful", said.at.id), ..said.at };
    let said = Message { at, text: text.to_owned(), ..said };
    stage.room.event(ChatEvent::Message(said.clone())).await;
    said
}

#[tokio::test(start_paused = true)]
async fn a_typed_approval_counts_only_if_it_is_proven_who_typed_it() {
    let stage = Stage::new(&fleet(TYPED, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (_, text) = stage.sees(&["deploy antisocial production", "needs"]).await;
    let code = text.split("plan `").nth(1).unwrap().split('`').next().unwrap().to_owned();
    for (doubt, why) in [
        (Doubt::NotEncrypted, "this wasn't encrypted"),
        (Doubt::UnsignedDevice, "your device isn't signed by your account"),
        (Doubt::ChangedIdentity, "identity has changed"),
        (Doubt::UnknownDevice, "which of your devices"),
        (Doubt::Unchecked, "type it again in a minute"),
    ] {
        say_doubtfully(&stage, "berta", &format!("!approve {code}"), doubt).await;
        stage.sees(&["#1: your vote doesn't count: here it must be proven who typed it", why]).await;
    }
    assert!(stage.rehearsal.transcript().is_empty() && stage.state(1).votes.is_empty());
    stage.say("berta", &format!("!approve {code}")).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).votes[&name("berta")].found, Found::Typed);
}

#[tokio::test(start_paused = true)]
async fn a_no_stops_it_whoever_typed_it() {
    let stage = Stage::new(&fleet(TYPED, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["needs 1 vote"]).await;
    say_doubtfully(&stage, "berta", "!reject 1", Doubt::NotEncrypted).await;
    stage.sees(&["rejected by berta"]).await;
}

#[tokio::test(start_paused = true)]
async fn elsewhere_nobody_has_to_prove_anything() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    say_doubtfully(&stage, "anna", "!deploy antisocial build-42", Doubt::NotEncrypted).await;
    stage.sees(&["needs 1 vote"]).await;
    say_doubtfully(&stage, "berta", "!approve 1", Doubt::NotEncrypted).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn there_is_no_way_around_the_proof() {
    let stage = Stage::new(&fleet(TYPED, "")).await;
    say_doubtfully(&stage, "anna", "!deploy antisocial build-42 --emergency \"it burns\"", Doubt::UnsignedDevice).await;
    stage.sees(&["an emergency does without votes, so it must be proven who asks for it"]).await;
    // Another account of a person could vote in their name.
    stage.say("mallory", "!link").await;
    let (_, text) = stage.sees(&["to make", "terminal:mallory"]).await;
    let code = text.split("!link ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    say_doubtfully(&stage, "berta", &format!("!link {code}"), Doubt::NotEncrypted).await;
    stage.sees(&["an account gets your rights by this"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
    stage.say("berta", &format!("!link {code}")).await;
    stage.sees(&["is berta's from now on"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_read_is_answered_once_and_done_when_it_can_be_if_it_is_young() {
    let mut stage = Stage::new(&fleet("", "")).await;
    let said = stage.room.say("anna", "nothing", stage.now()).await;
    let at = |id: &str| MessageRef { id: id.to_owned(), ..said.at.clone() };
    let unreadable = |id: &str| ChatEvent::Unreadable { message: at(id), author: said.author.clone() };
    stage.room.event(unreadable("young")).await;
    stage.sees(&["I could not read that, terminal:anna"]).await;
    let young = Message { at: at("young"), text: "!deploy antisocial build-42".to_owned(), ..said.clone() };
    stage.room.event(ChatEvent::Message(young)).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    stage.room.event(unreadable("old")).await;
    stage.room.sees_times(2, &["I could not read that"]).await;
    let old = Message { at: at("old"), text: "!deploy antisocial build-43".to_owned(), ..said.clone() };
    stage.later(600).await;
    stage.room.event(ChatEvent::Message(old)).await;
    stage.sees(&["was not run", "!deploy antisocial build-43"]).await;
    // The service tells of them again after a restart.
    stage.stop().await;
    stage.start().await;
    for id in ["young", "old"] {
        stage.room.event(unreadable(id)).await;
    }
    stage.say("anna", "!history antisocial").await;
    stage.sees(&["build-42", "#1"]).await;
    assert_eq!(stage.room.count(&["I could not read that"]), 2);
    assert_eq!(stage.newest(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_kept_in_the_journal_and_old_journals_have_none() {
    let room = RoomId("matrix:!a:x".to_owned());
    let at = MessageRef { room, id: "$1".to_owned() };
    let (author, received) = (Account("matrix:@anna:x".to_owned()), "2026-11-25T10:00:00Z".parse().unwrap());
    let said = Message { at, author, text: "!apps".to_owned(), received, doubt: Some(Doubt::NotEncrypted) };
    let json = serde_json::to_string(&said).unwrap();
    assert!(json.ends_with(r#","doubt":"not_encrypted"}"#), "{json}");
    assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), said);
    let old = json.replace(r#","doubt":"not_encrypted""#, "");
    assert_eq!(serde_json::from_str::<Message>(&old).unwrap(), Message { doubt: None, ..said });
}
