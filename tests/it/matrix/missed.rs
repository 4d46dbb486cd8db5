//! What was written while nobody listened, or too fast: all of it that matters is passed on, once, from the newest mark on.

use futures_util::future::join_all;
use jiff::SignedDuration;
use shipmate::chat::ChatEvent;
use tokio::sync::mpsc;

use super::wire::Wire;
use super::*;
use crate::chat_contract::soon;

/// How far a life came.
pub(super) type Marks = BTreeMap<RoomId, String>;

/// What the bot hears from these marks on, and the marks.
pub(super) fn goes_on(meeting: &Meeting, marks: &Marks, since: Option<Timestamp>) -> mpsc::Receiver<ChatEvent> {
    let (to, events) = mpsc::channel(1000);
    let (chat, marks) = (meeting.chat(), marks.clone());
    tokio::spawn(async move { chat.listen_from(to, marks, since).await });
    events
}

/// The messages up to the one that says this, and the newest mark after it.
pub(super) async fn texts_until(events: &mut mpsc::Receiver<ChatEvent>, last: &str) -> (Vec<String>, Marks) {
    let mut texts: Vec<String> = Vec::new();
    loop {
        match soon(events.recv()).await {
            Some(ChatEvent::Message(message)) => texts.push(message.text),
            Some(ChatEvent::UpTo { room, mark }) if texts.last().is_some_and(|text| text == last) => {
                return (texts, [(room, mark)].into());
            }
            Some(ChatEvent::Connected { .. } | ChatEvent::UpTo { .. }) => {}
            other => panic!("{other:?} after {texts:?}"),
        }
    }
}

/// So many commands of anna's at once, with as much talk in between; the commands in the order of the room.
async fn floods(meeting: &Meeting, commands: usize) -> Vec<String> {
    let bodies: Vec<Value> =
        (0..2 * commands).map(|n| text(&if n % 2 == 0 { format!("!missed {n}") } else { format!("talk {n}") })).collect();
    for some in bodies.chunks(25) {
        join_all(some.iter().map(|body| meeting.anna.sends_openly(&meeting.room, "m.room.message", body.clone()))).await;
    }
    let all = |anna: &Person| {
        let heard = anna.heard(&meeting.room).into_iter().filter(|heard| heard.kind == "m.room.message");
        let bodies: Vec<String> = heard.map(|heard| heard.content["body"].as_str().unwrap().to_owned()).collect();
        (bodies.iter().filter(|body| body.contains(' ')).count() == 2 * commands).then_some(bodies)
    };
    let bodies = meeting.anna.until("all of them", all).await;
    bodies.into_iter().filter(|body| body.starts_with("!missed ")).collect()
}

#[tokio::test]
async fn of_five_hundred_messages_at_once_no_command_is_lost_in_this_life_or_the_next() {
    let mut meeting = Meeting::plain().await;
    let wire = Wire::to(meeting.server).await;
    // So it takes as many pages as five thousand would.
    wire.pages_have(10);
    meeting.matrix = Arc::new(Matrix::new(Parts { homeserver: wire.url.clone(), ..meeting.parts() }).unwrap());
    let since = Timestamp::now() - SignedDuration::from_secs(1);
    let mut events = goes_on(&meeting, &Marks::new(), None);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: meeting.room() }));
    meeting.say("bert", "before").await;
    assert_eq!(texts_until(&mut events, "before").await.0, ["before"]);
    wire.holds_news(true);
    let missed = floods(&meeting, 250).await;
    wire.holds_news(false);
    meeting.say("bert", "live").await;
    let (texts, marks) = texts_until(&mut events, "live").await;
    // The homeserver may have told the newest or the oldest as they came.
    let commands: Vec<&String> = texts.iter().filter(|text| text.starts_with('!')).collect();
    assert!(commands == missed.iter().collect::<Vec<_>>(), "{texts:?}");
    assert!(texts.len() < 500, "talk that was missed is not kept: {}", texts.len());
    drop(events);

    // Whoever has no mark goes by the time, and whoever has one by that.
    meeting.restart().await;
    let mut events = goes_on(&meeting, &Marks::new(), Some(since));
    meeting.say("bert", "!live").await;
    let (texts, _) = texts_until(&mut events, "!live").await;
    assert!(texts[..250] == missed && texts.len() <= 252, "{texts:?}");
    drop(events);
    meeting.restart().await;
    let mut events = goes_on(&meeting, &marks, Some(since));
    assert_eq!(texts_until(&mut events, "!live").await.0, ["!live"]);
}

#[tokio::test]
async fn when_more_was_missed_than_is_read_that_is_said_once_with_the_time() {
    let mut meeting = Meeting::plain().await;
    let wire = Wire::to(meeting.server).await;
    let since = Timestamp::now() - SignedDuration::from_secs(1);
    let missed = floods(&meeting, 125).await;
    let parts = || Parts { homeserver: wire.url.clone(), ..meeting.parts() };
    wire.pages_have(1);
    let matrix = Arc::new(Matrix::new(parts()).unwrap());
    meeting.matrix = matrix;
    let mut events = goes_on(&meeting, &Marks::new(), Some(since));
    // It fetches two hundred pages before it says anything.
    let first = tokio::time::timeout(4 * PATIENCE, events.recv()).await.expect("it never says anything");
    assert_eq!(first, Some(ChatEvent::Connected { room: meeting.room() }));
    let told = soon(events.recv()).await;
    let Some(ChatEvent::NotRead { room, before }) = &told else { panic!("{told:?}") };
    assert!(*room == meeting.room() && (since..Timestamp::now()).contains(before), "{told:?} {since} {}", meeting.room());
    let last = missed.last().unwrap();
    let (texts, marks) = texts_until(&mut events, last).await;
    assert!(texts.len() > 50 && missed.ends_with(&texts) && texts.len() < missed.len(), "{} of {}", texts.len(), missed.len());
    drop(events);
    meeting.restart().await;
    meeting.say("bert", "!next").await;
    let mut events = goes_on(&meeting, &marks, Some(since));
    assert_eq!(texts_until(&mut events, "!next").await.0, ["!next"], "it isn't said again");
}

#[tokio::test]
async fn what_was_written_after_a_mark_is_passed_on_whatever_its_time_and_nothing_before() {
    let mut meeting = Meeting::encrypted().await;
    let mut events = goes_on(&meeting, &Marks::new(), None);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: meeting.room() }));
    meeting.say("anna", "!deploy before").await;
    let (_, marks) = texts_until(&mut events, "!deploy before").await;
    drop(events);
    meeting.restart().await;
    for (who, words) in [("anna", "!deploy one"), ("bert", "!deploy two")] {
        meeting.say(who, words).await;
    }
    // By the time nothing of it would count, and then all of it.
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    for since in [later, Timestamp::now() - SignedDuration::from_hours(1)] {
        let mut events = goes_on(&meeting, &marks, Some(since));
        assert_eq!(texts_until(&mut events, "!deploy two").await.0, ["!deploy one", "!deploy two"]);
        drop(events);
        meeting.restart().await;
    }
    // A mark that the homeserver doesn't know says nothing.
    let unknown = Marks::from([(meeting.room(), "$nobody-knows-this-one".to_owned())]);
    let mut events = goes_on(&meeting, &unknown, Some(Timestamp::now() - SignedDuration::from_hours(1)));
    let (texts, _) = texts_until(&mut events, "!deploy two").await;
    assert_eq!(texts, ["!deploy before", "!deploy one", "!deploy two"]);
}

#[tokio::test]
async fn a_message_whose_key_comes_in_the_next_life_is_passed_on() {
    let mut meeting = Meeting::encrypted().await;
    let mut events = goes_on(&meeting, &Marks::new(), None);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: meeting.room() }));
    let wire = Wire::to(meeting.server).await;
    let carl = meeting.joined_by("carl", &wire.url).await;
    carl.looks_up(&meeting.bot.id).await;
    meeting.say("anna", "!deploy before").await;
    let (_, mut marks) = texts_until(&mut events, "!deploy before").await;
    wire.keeps_keys();
    carl.sends(&meeting.room, "m.room.message", text("!deploy late")).await;
    meeting.say("anna", "!deploy after").await;
    let mut after = false;
    while !after {
        match soon(events.recv()).await {
            Some(ChatEvent::Message(message)) => after = message.text == "!deploy after",
            Some(ChatEvent::UpTo { room, mark }) => drop(marks.insert(room, mark)),
            Some(ChatEvent::Unreadable { author, .. }) => assert_eq!(author, account(&carl.id)),
            other => panic!("{other:?}"),
        }
    }
    drop(events);
    wire.gives_keys().await;
    meeting.restart().await;
    let mut events = goes_on(&meeting, &marks, None);
    assert_eq!(texts_until(&mut events, "!deploy after").await.0, ["!deploy late", "!deploy after"]);
}
