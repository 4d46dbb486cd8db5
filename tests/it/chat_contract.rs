//! What every chat has to keep, run on each of them.
//!
//! An implementation gives [`People`], the other side of the chat, and gets one test for each clause by `chat_contract!`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::chat::{Block, Chat, ChatError, ChatEvent, Reply, Tone};
use shipmate::domain::message::{Account, Message, MessageRef, RoomId};
use tokio::sync::mpsc;

/// The people in a room that the bot is in, and what they see.
#[async_trait]
pub trait People: Send + Sync {
    /// The bot's side.
    fn chat(&self) -> Arc<dyn Chat>;
    /// The room.
    fn room(&self) -> RoomId;
    /// The account of a person.
    fn account(&self, who: &str) -> Account;
    /// A person writes.
    async fn say(&self, who: &str, text: &str);
    /// A person changes the newest message that they wrote.
    async fn edit(&self, who: &str, text: &str);
    /// A person reacts.
    async fn react(&self, who: &str, to: &MessageRef, emoji: &str);
    /// A person takes a reaction back.
    async fn unreact(&self, who: &str, to: &MessageRef, emoji: &str);
    /// The bot's messages as people see them, oldest first.
    async fn seen(&self) -> Vec<String>;
    /// The service delivers again what it has delivered. Nothing to do where that can't happen.
    async fn deliver_again(&self) {}
}

/// A room in which messages can be removed.
#[async_trait]
pub trait Erasers: People {
    /// A person who may do so removes a message.
    async fn delete(&self, who: &str, message: &MessageRef);
}

/// One test for each clause; `$people` makes a fresh room, one of [`Erasers`] where the platform lets anybody remove messages.
macro_rules! chat_contract {
    ($people:expr, erasers) => {
        $crate::chat_contract::chat_contract!($people);
        $crate::chat_contract::chat_contract!(@each $people,
            what_was_deleted_is_gone,
        );
    };
    ($people:expr) => {
        $crate::chat_contract::chat_contract!(@each $people,
            the_room_is_connected_before_anything_else,
            what_people_say_arrives_once_and_in_order,
            an_edit_of_a_person_is_no_message,
            a_post_is_seen_and_an_edit_changes_it,
            a_key_is_shown_once,
            a_reaction_goes_round,
            a_reaction_can_be_taken_back,
            a_message_that_is_not_there_is_gone,
            nothing_in_a_reply_is_more_than_text,
            the_listener_ends_when_nobody_hears,
            an_account_has_the_roles_of_its_platform_only,
        );
    };
    (@each $people:expr, $($clause:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $clause() {
            $crate::chat_contract::$clause($people.await).await;
        })+
    };
}
pub(crate) use chat_contract;

/// A reply with a line.
pub fn reply(title: &str) -> Reply {
    Reply { tone: Tone::Info, title: title.to_owned(), body: vec![Block::Line("a line".to_owned())] }
}

/// How long a chat may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What people do from now on; the room is connected.
async fn listen(people: &impl People) -> mpsc::Receiver<ChatEvent> {
    heard(people.chat(), &people.room(), None).await
}

/// What a chat hears in its one room, after it told that the room is there.
pub async fn heard(chat: Arc<dyn Chat>, room: &RoomId, since: Option<Timestamp>) -> mpsc::Receiver<ChatEvent> {
    let (to, told) = mpsc::channel(1000);
    tokio::spawn(async move { chat.listen(to, since).await });
    let mut events = without_marks(told);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room.clone() }));
    events
}

/// What a chat tells of people, and not how far it has come.
pub fn without_marks(mut told: mpsc::Receiver<ChatEvent>) -> mpsc::Receiver<ChatEvent> {
    let (to, events) = mpsc::channel(1000);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = to.closed() => return,
                event = told.recv() => match event {
                    Some(ChatEvent::UpTo { .. }) => {}
                    Some(event) => drop(to.send(event).await),
                    None => return,
                },
            }
        }
    });
    events
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

pub async fn message(events: &mut mpsc::Receiver<ChatEvent>) -> Message {
    match soon(events.recv()).await {
        Some(ChatEvent::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

/// What the next message says.
#[cfg(any(feature = "discord", feature = "matrix"))]
pub async fn said(events: &mut mpsc::Receiver<ChatEvent>) -> String {
    message(events).await.text
}

/// Waits until a chat is in trouble that says these words.
#[cfg(any(feature = "discord", feature = "matrix"))]
pub async fn trouble(chat: &dyn Chat, words: &str) {
    until(|| chat.trouble().is_some_and(|why| why.contains(words)), || format!("{words}: {:?}", chat.trouble())).await;
}

/// Waits until a chat is in no trouble.
#[cfg(feature = "matrix")]
pub async fn no_trouble(chat: &dyn Chat) {
    until(|| chat.trouble().is_none(), || format!("{:?}", chat.trouble())).await;
}

#[cfg(any(feature = "discord", feature = "matrix"))]
async fn until(is: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    until_within(PATIENCE, is, otherwise).await;
}

/// The same for what takes longer by its nature.
#[cfg(any(feature = "discord", feature = "matrix"))]
pub async fn until_within(patience: Duration, is: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(patience, wait).await.is_ok(), "{}", otherwise());
}

/// Waits until what people see is `good`.
async fn see(people: &impl People, good: impl Fn(&[String]) -> bool) -> Vec<String> {
    let wait = async {
        loop {
            let seen = people.seen().await;
            if good(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(seen) => seen,
        Err(_) => panic!("never seen; last: {:?}", people.seen().await),
    }
}

pub async fn the_room_is_connected_before_anything_else(people: impl People) {
    people.say("anna", "early").await;
    let mut events = listen(&people).await;
    people.say("anna", "late").await;
    // What was said before may be passed on or not, but never before the room is there.
    while message(&mut events).await.text != "late" {}
}

pub async fn what_people_say_arrives_once_and_in_order(people: impl People) {
    let mut events = listen(&people).await;
    for (who, text) in [("anna", "one"), ("bert", "two"), ("anna", "two")] {
        people.say(who, text).await;
    }
    people.deliver_again().await;
    people.say("bert", "last").await;
    let mut ids = Vec::new();
    for (who, text) in [("anna", "one"), ("bert", "two"), ("anna", "two"), ("bert", "last")] {
        let message = message(&mut events).await;
        assert_eq!((&message.author, message.text.as_str()), (&people.account(who), text));
        assert_eq!(message.at.room, people.room());
        assert!(!ids.contains(&message.at.id));
        ids.push(message.at.id);
    }
}

pub async fn an_edit_of_a_person_is_no_message(people: impl People) {
    let mut events = listen(&people).await;
    people.say("anna", "one").await;
    people.edit("anna", "!deploy antisocial").await;
    people.say("anna", "two").await;
    assert_eq!(message(&mut events).await.text, "one");
    assert_eq!(message(&mut events).await.text, "two");
}

pub async fn a_post_is_seen_and_an_edit_changes_it(people: impl People) {
    let chat = people.chat();
    let first = chat.post(&people.room(), &reply("first"), "key 1").await.unwrap();
    let second = chat.post(&people.room(), &reply("second"), "key 2").await.unwrap();
    assert_ne!(first, second);
    see(&people, |seen| seen.len() == 2 && seen[0].contains("first") && seen[1].contains("second")).await;
    chat.edit(&first, &reply("changed"), false).await.unwrap();
    chat.edit(&first, &reply("at its end"), true).await.unwrap();
    see(&people, |seen| seen.len() == 2 && seen[0].contains("at its end") && seen[1].contains("second")).await;
}

pub async fn a_key_is_shown_once(people: impl People) {
    let (chat, room) = (people.chat(), people.room());
    let shown = reply("only once");
    let (a, b) = tokio::join!(chat.post(&room, &shown, "same"), chat.post(&room, &shown, "same"));
    let again = chat.post(&room, &shown, "same").await;
    assert_eq!(a.as_ref().unwrap(), b.as_ref().unwrap());
    assert_eq!(a.unwrap(), again.unwrap());
    chat.post(&room, &reply("another"), "other").await.unwrap();
    let seen = see(&people, |seen| seen.iter().any(|text| text.contains("another"))).await;
    assert_eq!(seen.iter().filter(|text| text.contains("only once")).count(), 1);
}

pub async fn a_reaction_goes_round(people: impl People) {
    let mut events = listen(&people).await;
    let chat = people.chat();
    let message = chat.post(&people.room(), &reply("approve?"), "key").await.unwrap();
    for emoji in ["✅", "❌", "✅"] {
        chat.react(&message, emoji).await.unwrap();
    }
    assert_eq!(chat.reactions(&message).await.unwrap(), []);
    people.react("anna", &message, "✅").await;
    people.react("bert", &message, "✔\u{fe0f}").await;
    for (who, emoji) in [("anna", "✅"), ("bert", "✔")] {
        let expected = ChatEvent::Reacted { to: message.clone(), author: people.account(who), emoji: emoji.to_owned() };
        assert_eq!(soon(events.recv()).await, Some(expected));
    }
    let mut reactions = chat.reactions(&message).await.unwrap();
    reactions.sort();
    let mut expected = [(people.account("anna"), "✅".to_owned()), (people.account("bert"), "✔".to_owned())];
    expected.sort();
    assert_eq!(reactions, expected);
    chat.edit(&message, &reply("approved"), true).await.unwrap();
    assert_eq!(chat.reactions(&message).await.unwrap().len(), 2);
}

pub async fn a_reaction_can_be_taken_back(people: impl People) {
    let mut events = listen(&people).await;
    let chat = people.chat();
    let message = chat.post(&people.room(), &reply("approve?"), "key").await.unwrap();
    people.react("anna", &message, "✅").await;
    people.react("bert", &message, "✅").await;
    people.unreact("anna", &message, "✅").await;
    people.react("anna", &message, "✅").await;
    people.unreact("bert", &message, "✅").await;
    let given = |who: &str| ChatEvent::Reacted { to: message.clone(), author: people.account(who), emoji: "✅".to_owned() };
    let back = |who: &str| ChatEvent::Unreacted { to: message.clone(), author: people.account(who), emoji: "✅".to_owned() };
    for expected in [given("anna"), given("bert"), back("anna"), given("anna"), back("bert")] {
        assert_eq!(soon(events.recv()).await, Some(expected));
    }
    assert_eq!(chat.reactions(&message).await.unwrap(), [(people.account("anna"), "✅".to_owned())]);
}

pub async fn what_was_deleted_is_gone(people: impl Erasers) {
    let mut events = listen(&people).await;
    let chat = people.chat();
    let message = chat.post(&people.room(), &reply("approve?"), "key").await.unwrap();
    people.delete("anna", &message).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Deleted { message: message.clone() }));
    let gone = ChatError::Gone(message.clone());
    assert_eq!(chat.edit(&message, &reply("x"), false).await, Err(gone.clone()));
    assert_eq!(chat.react(&message, "✅").await, Err(gone.clone()));
    assert_eq!(chat.reactions(&message).await, Err(gone));
    // Whoever wants it back posts it with another key.
    assert_eq!(chat.post(&people.room(), &reply("approve?"), "key").await, Ok(message.clone()));
    assert_ne!(chat.post(&people.room(), &reply("approve?"), "key again").await, Ok(message));
}

pub async fn a_message_that_is_not_there_is_gone(people: impl People) {
    let chat = people.chat();
    let real = chat.post(&people.room(), &reply("here"), "key").await.unwrap();
    let nowhere =
        MessageRef { room: people.room(), id: real.id.chars().map(|c| if c.is_ascii_digit() { '7' } else { c }).collect() };
    let nowhere = if nowhere == real { MessageRef { id: format!("{}7", real.id), ..real } } else { nowhere };
    let gone = ChatError::Gone(nowhere.clone());
    assert_eq!(chat.edit(&nowhere, &reply("x"), true).await, Err(gone.clone()));
    assert_eq!(chat.react(&nowhere, "✅").await, Err(gone.clone()));
    assert_eq!(chat.reactions(&nowhere).await, Err(gone));
}

pub async fn nothing_in_a_reply_is_more_than_text(people: impl People) {
    let evil = "a\x1b[2Jb\u{202e}c\nd";
    let body = vec![
        Block::Line(evil.to_owned()),
        Block::Table { header: vec![evil.to_owned()], rows: vec![vec![evil.to_owned()]] },
        Block::Output(evil.to_owned()),
    ];
    let reply = Reply { tone: Tone::Bad, title: evil.to_owned(), body };
    people.chat().post(&people.room(), &reply, "key").await.unwrap();
    let seen = see(&people, |seen| seen.len() == 1).await;
    assert!(!seen[0].contains(['\x1b', '\u{202e}']), "{:?}", seen[0]);
}

pub async fn the_listener_ends_when_nobody_hears(people: impl People) {
    let (to, events) = mpsc::channel(1);
    let chat = people.chat();
    let listener = tokio::spawn(async move { chat.listen(to, None).await });
    drop(events);
    assert_eq!(soon(listener).await.unwrap(), Ok(()));
}

pub async fn an_account_has_the_roles_of_its_platform_only(people: impl People) {
    let (account, chat) = (people.account("anna"), people.chat());
    let (platform, _) = account.0.split_once(':').unwrap();
    let roles = chat.roles(&account).await.unwrap();
    assert!(roles.iter().all(|role| role.starts_with(&format!("{platform}:"))), "{roles:?}");
}
