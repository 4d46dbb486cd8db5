//! The local chat over its real socket.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::chat::local::wire::{self, FromBot, PROTOCOL, ToBot};
use shipmate::chat::local::{Local, OpenError, ROOM, socket, system_user};
use shipmate::chat::{Audience, Became, Block, Chat, ChatError, ChatEvent, Reply, Tone};
use shipmate::domain::message::{Account, MessageRef, RoomId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::chat_contract::{People, chat_contract};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn room() -> RoomId {
    RoomId(ROOM.to_owned())
}

fn reply(title: &str) -> Reply {
    Reply { tone: Tone::Busy, title: title.to_owned(), body: vec![Block::Line("a line".to_owned())] }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("it takes too long")
}

/// A connection to the bot.
struct Client {
    heard: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Client {
    async fn connect(store: &Path) -> Client {
        let (read, write) = UnixStream::connect(socket(store)).await.unwrap().into_split();
        Client { heard: BufReader::new(read).lines(), write }
    }

    /// The next line of the bot; `None` when it hung up.
    async fn next(&mut self) -> Option<FromBot> {
        let line = soon(self.heard.next_line()).await.unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn send(&mut self, what: &ToBot) {
        self.write.write_all(wire::line(what).as_bytes()).await.unwrap();
    }

    /// Says something; the name of the message.
    async fn say(&mut self, text: &str) -> String {
        self.send(&ToBot::Say { text: text.to_owned() }).await;
        self.taken().await
    }

    /// The message that the bot took the last line as, past whatever it shows.
    async fn taken(&mut self) -> String {
        loop {
            match self.next().await {
                Some(FromBot::Taken { message }) => return message,
                Some(FromBot::Shown { .. } | FromBot::Changed { .. } | FromBot::Became { .. }) => {}
                other => panic!("not taken: {other:?}"),
            }
        }
    }
}

/// A bot's side, and users of its machine, all of whom the system takes for whoever the test says.
struct Machine {
    local: Arc<Local>,
    store: tempfile::TempDir,
    connecting: Arc<Mutex<String>>,
    clients: tokio::sync::Mutex<BTreeMap<String, Client>>,
    /// Sees what everybody sees.
    watch: tokio::sync::Mutex<(Client, Vec<(String, String)>)>,
}

impl Machine {
    async fn new() -> Machine {
        let store = tempfile::tempdir().unwrap();
        let connecting = Arc::new(Mutex::new("watch".to_owned()));
        let name = connecting.clone();
        let local = Arc::new(Local::open(store.path(), move |_| Some(name.lock().unwrap().clone()), now).unwrap());
        let mut watch = Client::connect(store.path()).await;
        assert_eq!(watch.next().await, Some(FromBot::Hello { protocol: PROTOCOL, account: "local:watch".to_owned() }));
        Machine { local, store, connecting, clients: Default::default(), watch: tokio::sync::Mutex::new((watch, Vec::new())) }
    }

    /// A connection of a user, after the bot's hello.
    async fn connect(&self, who: &str) -> Client {
        who.clone_into(&mut self.connecting.lock().unwrap());
        let mut client = Client::connect(self.store.path()).await;
        assert_eq!(client.next().await, Some(FromBot::Hello { protocol: PROTOCOL, account: format!("local:{who}") }));
        client
    }

    /// A user does something over a connection of their own.
    async fn does(&self, who: &str, what: &ToBot) {
        let mut clients = self.clients.lock().await;
        if !clients.contains_key(who) {
            clients.insert(who.to_owned(), self.connect(who).await);
        }
        let client = clients.get_mut(who).unwrap();
        client.send(what).await;
        client.taken().await;
    }

    /// The name by which users know a message of the bot.
    fn name(message: &MessageRef) -> String {
        let (run, short) = message.id.split_once('-').unwrap();
        format!("{short}-{}", &run[..4])
    }

    async fn listen(&self) -> mpsc::Receiver<ChatEvent> {
        let (to, mut events) = mpsc::channel(100);
        let local = self.local.clone();
        tokio::spawn(async move { local.listen(to, None).await });
        assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
        events
    }
}

#[async_trait]
impl People for Machine {
    fn chat(&self) -> Arc<dyn Chat> {
        self.local.clone()
    }

    fn room(&self) -> RoomId {
        room()
    }

    fn account(&self, who: &str) -> Account {
        Account(format!("{ROOM}:{who}"))
    }

    async fn say(&self, who: &str, text: &str) {
        self.does(who, &ToBot::Say { text: text.to_owned() }).await;
    }

    /// What was said here can't be changed.
    async fn edit(&self, _: &str, _: &str) {}

    async fn react(&self, who: &str, to: &MessageRef, emoji: &str) {
        self.does(who, &ToBot::React { message: Machine::name(to), emoji: emoji.to_owned() }).await;
    }

    async fn unreact(&self, who: &str, to: &MessageRef, emoji: &str) {
        self.does(who, &ToBot::Unreact { message: Machine::name(to), emoji: emoji.to_owned() }).await;
    }

    async fn seen(&self) -> Vec<String> {
        let (client, seen) = &mut *self.watch.lock().await;
        // The bot's lines come in order: what was shown before this is said came before it is taken.
        client.send(&ToBot::Say { text: "?".to_owned() }).await;
        loop {
            match client.next().await {
                Some(FromBot::Shown { message, lines, .. }) => seen.push((message, lines.join("\n"))),
                Some(FromBot::Changed { message, lines, .. }) => {
                    seen.iter_mut().find(|(known, _)| *known == message).unwrap().1 = lines.join("\n");
                }
                Some(FromBot::Taken { .. }) => return seen.iter().map(|(_, text)| text.clone()).collect(),
                other => panic!("{other:?}"),
            }
        }
    }
}

mod contract {
    use super::*;
    chat_contract!(Machine::new());
}

#[tokio::test]
async fn answers_go_to_whoever_asked_and_the_rest_to_everybody() {
    let machine = Machine::new().await;
    let mut events = machine.listen().await;
    let (mut anna, mut bert) = (machine.connect("anna").await, machine.connect("bert").await);
    let asked = anna.say("!deploy antisocial").await;
    let Some(ChatEvent::Message(message)) = events.recv().await else { panic!() };
    assert_eq!((message.author.0.as_str(), message.text.as_str()), ("local:anna", "!deploy antisocial"));
    let chat: &dyn Chat = &*machine.local;
    let hint = chat.answer(&message.at, Audience::Author, &reply("the newest is build-42"), "1").await.unwrap();
    let live = chat.answer(&message.at, Audience::Room, &reply("#1 running"), "2").await.unwrap();
    let news = chat.post(&room(), &reply("build-43 is there"), "3").await.unwrap();
    chat.became(&message.at, Became::Started).await;
    chat.edit(&hint, &reply("the newest was build-42"), true).await.unwrap();
    chat.edit(&live, &reply("#1 done"), true).await.unwrap();
    chat.became(&message.at, Became::Succeeded).await;
    let (hint, live, news) = (Machine::name(&hint), Machine::name(&live), Machine::name(&news));
    let lines = |title: &str| vec![format!("▸ {title}"), "  a line".to_owned()];
    let shown = |message: &String, to: Option<&String>, whom, title: &str| FromBot::Shown {
        message: message.clone(),
        to: to.cloned(),
        whom,
        lines: lines(title),
    };
    let changed = |message: &String, title: &str| FromBot::Changed { message: message.clone(), lines: lines(title), last: true };
    for expected in [
        shown(&hint, Some(&asked), Audience::Author, "the newest is build-42"),
        shown(&live, Some(&asked), Audience::Room, "#1 running"),
        shown(&news, None, Audience::Room, "build-43 is there"),
        FromBot::Became { message: asked.clone(), what: Became::Started },
        changed(&hint, "the newest was build-42"),
        changed(&live, "#1 done"),
        FromBot::Became { message: asked.clone(), what: Became::Succeeded },
    ] {
        assert_eq!(anna.next().await, Some(expected));
    }
    for expected in [
        shown(&live, Some(&asked), Audience::Room, "#1 running"),
        shown(&news, None, Audience::Room, "build-43 is there"),
        changed(&live, "#1 done"),
    ] {
        assert_eq!(bert.next().await, Some(expected));
    }
    // Whoever asked has gone: the answer is for nobody, and no trouble.
    drop(anna);
    chat.answer(&message.at, Audience::Author, &reply("too late"), "4").await.unwrap();
    let last = chat.post(&room(), &reply("last"), "5").await.unwrap();
    assert_eq!(bert.next().await, Some(shown(&Machine::name(&last), None, Audience::Room, "last")));
}

#[tokio::test]
async fn nobody_is_told_of_a_reaction_before_the_bot_is_done_with_all_of_them() {
    let machine = Machine::new().await;
    let mut events = machine.listen().await;
    let chat: &dyn Chat = &*machine.local;
    let message = chat.post(&room(), &reply("approve?"), "1").await.unwrap();
    let name = Machine::name(&message);
    let (mut anna, mut bert) = (machine.connect("anna").await, machine.connect("bert").await);
    for client in [&mut anna, &mut bert] {
        client.send(&ToBot::React { message: name.clone(), emoji: "yes".to_owned() }).await;
        assert_eq!(client.taken().await, name);
        assert!(matches!(events.recv().await, Some(ChatEvent::Reacted { .. })));
    }
    chat.became(&message, Became::Answered).await;
    chat.answer(&message, Audience::Author, &reply("bert may not"), "2").await.unwrap();
    chat.became(&message, Became::Refused).await;
    let told = FromBot::Became { message: name.clone(), what: Became::Refused };
    for client in [&mut anna, &mut bert] {
        let mut until = Vec::new();
        while until.last() != Some(&told) {
            until.push(client.next().await.unwrap());
        }
        assert!(until.iter().any(|event| matches!(event, FromBot::Shown { lines, .. } if lines[0].contains("bert may not"))));
    }
    // What is there already is as it should be, and the bot isn't asked.
    anna.send(&ToBot::React { message: name.clone(), emoji: "✅".to_owned() }).await;
    anna.taken().await;
    assert_eq!(anna.next().await, Some(FromBot::Became { message: name, what: Became::Answered }));
}

#[tokio::test]
async fn nobody_has_endless_emojis_at_a_message() {
    let machine = Machine::new().await;
    let mut events = machine.listen().await;
    let post = machine.local.post(&room(), &reply("approve?"), "1").await.unwrap();
    let (mut anna, mut bert) = (machine.connect("anna").await, machine.connect("bert").await);
    let react = |emoji: &str| ToBot::React { message: Machine::name(&post), emoji: emoji.to_owned() };
    for emoji in ["🍎", "🍐", "🍊", "🍋", "🍌", "🍉", "🍇", "🍓"] {
        anna.send(&react(emoji)).await;
        anna.taken().await;
        assert!(matches!(events.recv().await, Some(ChatEvent::Reacted { .. })));
    }
    anna.send(&react("✅")).await;
    loop {
        match anna.next().await {
            Some(FromBot::Changed { .. }) => {}
            Some(FromBot::Wrong { why }) => break assert_eq!(why, "you have 8 emojis there: take one back first"),
            other => panic!("{other:?}"),
        }
    }
    bert.send(&react("✅")).await;
    bert.taken().await;
    assert!(matches!(events.recv().await, Some(ChatEvent::Reacted { emoji, .. }) if emoji == "✅"));
}

#[tokio::test]
async fn what_is_wrong_is_told_in_its_turn_and_the_talk_goes_on() {
    let machine = Machine::new().await;
    let mut events = machine.listen().await;
    let post = machine.local.post(&room(), &reply("approve?"), "1").await.unwrap();
    let mut anna = machine.connect("anna").await;
    let mine = anna.say("one").await;
    let react = |message: &str, emoji: &str| wire::line(&ToBot::React { message: message.to_owned(), emoji: emoji.to_owned() });
    for (line, expected) in [
        ("hello\n".to_owned(), "this is no line of version 1: expected value"),
        ("{\"shout\":{}}\n".to_owned(), "this is no line of version 1: unknown variant `shout`"),
        ("{\"say\":{\"text\":\" \"}}\n".to_owned(), "there is nothing in it"),
        (wire::line(&ToBot::Say { text: "x".repeat(20_000) }), "this is no line of version 1: EOF"),
        (react("m99-0000", "✅"), "the bot has no message `m99-0000`; it forgets them when it starts anew"),
        (react("m1", "✅"), "the bot has no message `m1`"),
        (react(&mine, "✅"), "the bot has no message `m2-"),
        (react(&Machine::name(&post), "maybe"), "`maybe` is no emoji; `yes` is ✅, `no` is ❌"),
        (wire::line(&ToBot::Unreact { message: Machine::name(&post), emoji: "✅".to_owned() }), "you have no ✅ there"),
    ] {
        anna.write.write_all(line.as_bytes()).await.unwrap();
        match anna.next().await {
            Some(FromBot::Wrong { why }) => assert!(why.starts_with(expected), "{why}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    anna.say("two").await;
    for expected in ["one", "two"] {
        assert!(matches!(events.recv().await, Some(ChatEvent::Message(message)) if message.text == expected));
    }
    // The bot doesn't listen any more.
    drop(events);
    loop {
        anna.send(&ToBot::Say { text: "three".to_owned() }).await;
        match anna.next().await {
            Some(FromBot::Taken { .. }) => {}
            Some(FromBot::Wrong { why }) => break assert_eq!(why, "the bot is about to end and takes nothing more"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_holds_up_nobody() {
    let machine = Machine::new().await;
    let mut deaf = machine.connect("deaf").await;
    let body = vec![Block::Output("x".repeat(10_000))];
    let big = Reply { tone: Tone::Info, title: "much".to_owned(), body };
    let mut bert = machine.connect("bert").await;
    for number in 0..1000 {
        soon(machine.local.post(&room(), &big, &number.to_string())).await.unwrap();
        // Bert keeps up.
        assert!(matches!(bert.next().await, Some(FromBot::Shown { .. })));
    }
    let mut read = 0;
    // What was written before it was dropped is still there to read, and then the end.
    while let Ok(Some(_)) = soon(deaf.heard.next_line()).await {
        read += 1;
    }
    assert!(read < 1000, "{read}");
}

#[tokio::test]
async fn the_number_of_connections_is_limited() {
    let machine = Machine::new().await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(machine.connect("anna").await);
    }
    let mut one_more = Client::connect(machine.store.path()).await;
    let expected = FromBot::Wrong { why: "anna has 16 connections already; close one of them".to_owned() };
    assert_eq!(one_more.next().await, Some(expected));
    assert_eq!(one_more.next().await, None);
    // With the one that watches and these, 64 are connected.
    for who in ["bert", "carl", "dora"] {
        for _ in 0..16 - usize::from(who == "dora") {
            clients.push(machine.connect(who).await);
        }
    }
    let mut one_more = Client::connect(machine.store.path()).await;
    let expected = FromBot::Wrong { why: "64 clients are connected already; close one of them".to_owned() };
    assert_eq!(one_more.next().await, Some(expected));
    clients.clear();
    // A place is free again as soon as the bot has seen that one was left.
    let free = async {
        loop {
            let mut again = Client::connect(machine.store.path()).await;
            if matches!(again.next().await, Some(FromBot::Hello { .. })) {
                break;
            }
        }
    };
    soon(free).await;
}

#[tokio::test]
async fn a_user_without_a_name_is_not_let_in() {
    let store = tempfile::tempdir().unwrap();
    let _local = Local::open(store.path(), |_| None, now).unwrap();
    let mut client = Client::connect(store.path()).await;
    let Some(FromBot::Wrong { why }) = client.next().await else { panic!() };
    assert!(why.ends_with("has no name on the bot's machine, so nobody knows who you are"), "{why}");
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn the_system_knows_who_speaks() {
    let store = tempfile::tempdir().unwrap();
    let _local = Local::open(store.path(), system_user, now).unwrap();
    let whoami = std::process::Command::new("id").arg("-un").output().unwrap();
    let name = String::from_utf8(whoami.stdout).unwrap();
    let mut client = Client::connect(store.path()).await;
    assert_eq!(client.next().await, Some(FromBot::Hello { protocol: PROTOCOL, account: format!("local:{}", name.trim()) }));
    assert_eq!(system_user(u32::MAX - 7), None);
}

#[tokio::test]
async fn a_socket_of_a_dead_bot_is_taken_over_and_anything_else_is_left_alone() {
    let store = tempfile::tempdir().unwrap();
    let path = socket(store.path());
    // Dropped without being closed, as by a crash.
    drop(Local::open(store.path(), |_| Some("anna".to_owned()), now).unwrap());
    assert!(path.exists());
    let local = Local::open(store.path(), |_| Some("anna".to_owned()), now).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(matches!(Client::connect(store.path()).await.next().await, Some(FromBot::Hello { .. })));
    local.close().unwrap();
    assert!(!path.exists());

    std::fs::write(&path, "notes").unwrap();
    let refused = Local::open(store.path(), |_| None, now).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::NotASocket(_)), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    let nowhere = Local::open(&store.path().join("nowhere"), |_| None, now).map(drop).unwrap_err();
    assert!(matches!(nowhere, OpenError::Refused(..)), "{nowhere}");
}

#[tokio::test]
async fn a_post_without_anybody_connected_is_taken_and_known_again() {
    let store = tempfile::tempdir().unwrap();
    let local = Local::open(store.path(), |_| Some("anna".to_owned()), now).unwrap();
    let message = local.post(&room(), &reply("early"), "1").await.unwrap();
    let mut client = Client::connect(store.path()).await;
    assert!(matches!(client.next().await, Some(FromBot::Hello { .. })));
    assert_eq!(local.post(&room(), &reply("early"), "1").await.unwrap(), message);
    local.edit(&message, &reply("late"), true).await.unwrap();
    assert!(matches!(client.next().await, Some(FromBot::Changed { message: name, .. }) if name == Machine::name(&message)));
    let elsewhere = local.post(&RoomId("discord:1".to_owned()), &reply("x"), "2").await;
    assert!(matches!(elsewhere, Err(ChatError::Unavailable(_))));
}
