//! Who can be sure of what somebody wrote: devices, identities, keys that come late, and copies.

use std::fs;

use shipmate::chat::ChatEvent;
use shipmate::domain::message::Doubt;

use super::adapter::{behind, heard};
use super::wire::Wire;
use super::*;
use crate::chat_contract::{message, said, soon};

#[tokio::test]
async fn who_wrote_a_message_is_proven_by_a_device_that_its_owner_signed() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let unsigned = meeting.anna.on_an_unsigned_device().await;
    unsigned.is_in(&meeting.room).await;
    unsigned.looks_up(&meeting.bot.id).await;
    meeting.say("anna", "!approve signed").await;
    unsigned.sends(&meeting.room, "m.room.message", text("!approve unsigned")).await;
    meeting.anna.sends_openly(&meeting.room, "m.room.message", text("!approve open")).await;
    let mut doubts = Vec::new();
    for _ in 0..3 {
        let heard = message(&mut events).await;
        assert_eq!(heard.author, meeting.account("anna"));
        doubts.push((heard.text, heard.doubt));
    }
    let (unsigned, open) = (Some(Doubt::UnsignedDevice), Some(Doubt::NotEncrypted));
    let expected = [("!approve signed", None), ("!approve unsigned", unsigned), ("!approve open", open)];
    assert_eq!(doubts, expected.map(|(text, doubt)| (text.to_owned(), doubt)));
}

#[tokio::test]
async fn what_cant_be_read_is_said_once_and_passed_on_when_its_key_comes() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let wire = Wire::to(meeting.server).await;
    let slow = meeting.joined_by("carl", &wire.url).await;
    slow.looks_up(&meeting.bot.id).await;
    wire.keeps_keys();
    let sent = slow.sends(&meeting.room, "m.room.message", text("!deploy one")).await;
    slow.sends(&meeting.room, "m.room.message", text("!deploy two")).await;
    let unreadable = ChatEvent::Unreadable { message: meeting.message(&sent), author: account(&slow.id) };
    assert_eq!(soon(events.recv()).await, Some(unreadable));
    meeting.say("anna", "meanwhile").await;
    let meanwhile = message(&mut events).await;
    assert_eq!(meanwhile.text, "meanwhile");
    wire.gives_keys().await;
    for expected in ["!deploy one", "!deploy two"] {
        let late = message(&mut events).await;
        assert_eq!((late.text.as_str(), late.author), (expected, account(&slow.id)));
        assert!(late.received < meanwhile.received, "it was written before");
    }
}

#[tokio::test]
async fn what_was_removed_or_changed_by_its_author_while_it_could_not_be_read_is_not_run() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let wire = Wire::to(meeting.server).await;
    let slow = meeting.joined_by("carl", &wire.url).await;
    slow.looks_up(&meeting.bot.id).await;
    wire.keeps_keys();
    let mut sent = Vec::new();
    for words in ["!deploy removed", "!deploy changed", "!deploy meant"] {
        sent.push(slow.sends(&meeting.room, "m.room.message", text(words)).await);
    }
    slow.redacts(&meeting.room, &sent[0]).await;
    slow.sends(&meeting.room, "m.room.message", edit(&sent[1], "lunch?")).await;
    // Somebody else's edit changes nothing.
    meeting.send("anna", edit(&sent[2], "lunch?")).await;
    meeting.say("anna", "meanwhile").await;
    let mut next = async || loop {
        if let Some(ChatEvent::Message(message)) = soon(events.recv()).await {
            return message.text;
        }
    };
    assert_eq!(next().await, "meanwhile");
    wire.gives_keys().await;
    assert_eq!(next().await, "!deploy meant");
    meeting.say("anna", "and nothing else").await;
    assert_eq!(next().await, "and nothing else");
}

#[tokio::test]
async fn a_device_that_is_gone_proves_nothing() {
    let mut meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    meeting.matrix = Arc::new(behind(&wire, meeting.parts()));
    let mut events = heard(&meeting, None).await;
    let carl = meeting.joined_by("carl", &meeting.server.url).await;
    carl.looks_up(&meeting.bot.id).await;
    carl.sends(&meeting.room, "m.room.message", text("!approve there")).await;
    let first = message(&mut events).await;
    assert_eq!((first.text.as_str(), first.doubt), ("!approve there", None));
    wire.holds_news(true);
    carl.sends(&meeting.room, "m.room.message", text("!approve gone")).await;
    carl.logs_out().await;
    wire.holds_news(false);
    let second = message(&mut events).await;
    assert_eq!((second.text.as_str(), second.doubt), ("!approve gone", Some(Doubt::UnknownDevice)));
}

#[tokio::test]
async fn a_homeserver_that_doesnt_tell_what_proves_a_command_leaves_it_unproven() {
    let mut meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    meeting.matrix = Arc::new(behind(&wire, meeting.parts()));
    let mut events = heard(&meeting, None).await;
    for at in ["/keys/query", "/event/"] {
        wire.says_instead(at, 403, "M_FORBIDDEN");
        meeting.say("anna", "!approve").await;
        assert_eq!(message(&mut events).await.doubt, Some(Doubt::Unchecked), "{at}");
        wire.is_well();
    }
    meeting.say("anna", "!approve").await;
    assert_eq!(message(&mut events).await.doubt, None);
}

#[tokio::test]
async fn another_identity_than_the_first_proves_nothing_until_people_say_so() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let file = meeting.store.path().join("identities.txt");
    assert!(fs::read_to_string(&file).unwrap().contains(&meeting.bert.id), "of whom the fleet file has");
    let carl = meeting.joined_by("carl", &meeting.server.url).await;
    let mut doubt = async |device: &Person, words: &str| {
        device.looks_up(&meeting.bot.id).await;
        device.sends(&meeting.room, "m.room.message", text(words)).await;
        let heard = message(&mut events).await;
        assert_eq!(heard.text, words);
        heard.doubt
    };
    assert_eq!(doubt(&carl, "!approve first").await, None);
    // Somebody got at the account, who has none of its keys.
    let other = carl.on_an_unsigned_device().await;
    other.is_in(&meeting.room).await;
    other.resets_identity().await;
    assert_eq!(doubt(&other, "!approve second").await, Some(Doubt::ChangedIdentity));
    let known = fs::read_to_string(&file).unwrap();
    let left: Vec<&str> = known.lines().filter(|line| !line.contains(&carl.id)).collect();
    fs::write(&file, left.join("\n")).unwrap();
    assert_eq!(doubt(&other, "!approve third").await, None);
}

#[tokio::test]
async fn a_copy_of_a_command_is_none_in_this_life_or_the_next() {
    let mut meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let first = meeting.send("anna", text("!deploy once")).await;
    assert_eq!(message(&mut events).await.at.id, first);
    let path = format!("/_matrix/client/v3/rooms/{}/event/{}", part(&meeting.room), part(&first));
    let copy = meeting.anna.asks(&path).await["content"].clone();
    assert!(copy["ciphertext"].is_string(), "{copy}");
    meeting.anna.sends_openly(&meeting.room, "m.room.encrypted", copy.clone()).await;
    // Whoever types the same again means it.
    let again = meeting.send("anna", text("!deploy once")).await;
    let heard_again = message(&mut events).await;
    assert_eq!((heard_again.at.id, heard_again.doubt), (again, None));
    drop(events);
    meeting.restart().await;
    let mut events = heard(&meeting, None).await;
    meeting.anna.sends_openly(&meeting.room, "m.room.encrypted", copy).await;
    meeting.say("anna", "!deploy later").await;
    assert_eq!(said(&mut events).await, "!deploy later");
}
