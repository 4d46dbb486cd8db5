//! The terminal chat on pipes.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::chat::console::{Console, Look, ROOM, Size};
use shipmate::chat::{Block, Chat, ChatError, ChatEvent, Reply, Tone};
use shipmate::domain::message::{Account, MessageRef, RoomId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::chat_contract::{Erasers, People, chat_contract};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn room() -> RoomId {
    RoomId(ROOM.to_owned())
}

fn reply(title: &str, lines: &[&str]) -> Reply {
    Reply { tone: Tone::Busy, title: title.to_owned(), body: lines.iter().map(|line| Block::Line((*line).to_owned())).collect() }
}

/// A console, the pipe into it, and all that came out of it so far.
struct Pipe {
    console: Arc<Console>,
    input: tokio::sync::Mutex<Option<DuplexStream>>,
    output: Arc<Mutex<String>>,
    end: tokio::task::JoinHandle<()>,
}

impl Pipe {
    fn new(look: Look) -> Pipe {
        let (input, theirs) = tokio::io::duplex(1 << 20);
        let (ours, mut out) = tokio::io::duplex(1 << 20);
        let output = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&output);
        let end = tokio::spawn(async move {
            let mut bytes = vec![0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes).await {
                collected.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let console = Arc::new(Console::new(theirs, ours, look, "anna", now));
        Pipe { console, input: tokio::sync::Mutex::new(Some(input)), output, end }
    }

    async fn types(&self, text: &str) {
        self.input.lock().await.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    async fn hangs_up(&self) {
        self.input.lock().await.take();
    }

    async fn listen(&self) -> mpsc::Receiver<ChatEvent> {
        let (to, mut events) = mpsc::channel(100);
        let console = Arc::clone(&self.console);
        tokio::spawn(async move { console.listen(to, None).await });
        assert_eq!(events.recv().await, Some(ChatEvent::Connected { room: room() }));
        events
    }

    /// Types these lines and waits until all are dealt with.
    async fn plays(self, script: &str) -> String {
        let mut events = self.listen().await;
        self.types(script).await;
        self.hangs_up().await;
        while events.recv().await.is_some() {}
        self.all().await
    }

    /// Everything that came out until the console went away.
    async fn all(self) -> String {
        drop(self.console);
        self.end.await.unwrap();
        Arc::into_inner(self.output).unwrap().into_inner().unwrap()
    }
}

#[async_trait]
impl People for Pipe {
    fn chat(&self) -> Arc<dyn Chat> {
        Arc::clone(&self.console) as Arc<dyn Chat>
    }

    fn room(&self) -> RoomId {
        room()
    }

    fn account(&self, who: &str) -> Account {
        Account(format!("{ROOM}:{who}"))
    }

    async fn say(&self, who: &str, text: &str) {
        self.types(&format!("/as {who}\n{text}\n")).await;
    }

    async fn edit(&self, who: &str, text: &str) {
        self.types(&format!("/as {who}\n/edit {text}\n")).await;
    }

    async fn react(&self, who: &str, to: &MessageRef, emoji: &str) {
        let (_, short) = to.id.rsplit_once('-').unwrap();
        self.types(&format!("/as {who}\n/react {emoji} {short}\n")).await;
    }

    async fn unreact(&self, who: &str, to: &MessageRef, emoji: &str) {
        let (_, short) = to.id.rsplit_once('-').unwrap();
        self.types(&format!("/as {who}\n/unreact {emoji} {short}\n")).await;
    }

    async fn seen(&self) -> Vec<String> {
        let mut seen: Vec<(String, String)> = Vec::new();
        for line in self.output.lock().unwrap().lines() {
            let Some((id, text)) = line.split_once(' ').filter(|(id, text)| id.starts_with('m') && !text.starts_with('<')) else {
                continue;
            };
            match seen.iter_mut().find(|(known, _)| known == id) {
                Some((_, all)) => *all = format!("{all}\n{text}"),
                None => seen.push((id.to_owned(), text.to_owned())),
            }
        }
        seen.into_iter().map(|(_, text)| text).collect()
    }
}

#[async_trait]
impl Erasers for Pipe {
    async fn delete(&self, who: &str, message: &MessageRef) {
        let (_, short) = message.id.rsplit_once('-').unwrap();
        self.types(&format!("/as {who}\n/delete {short}\n")).await;
    }
}

mod contract {
    use super::*;
    chat_contract!(async { Pipe::new(Look::Lines) }, erasers);
}

#[tokio::test]
async fn a_conversation_in_a_pipe_reads_like_a_log() {
    let pipe = Pipe::new(Look::Lines);
    let mut events = pipe.listen().await;
    pipe.types("!deploy antisocial build-42\n").await;
    let Some(ChatEvent::Message(_)) = events.recv().await else { panic!() };
    let table = |rows: &[[&str; 3]]| Block::Table {
        header: ["target", "step", "time"].map(str::to_owned).to_vec(),
        rows: rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect(),
    };
    let live = |title: &str, tone, rows: &[[&str; 3]]| Reply { tone, title: title.to_owned(), body: vec![table(rows)] };
    let first = live("#1 antisocial", Tone::Busy, &[["web@a", "pull", "1 s"], ["web@b", "", ""]]);
    let message = pipe.console.post(&room(), &first, "1").await.unwrap();
    pipe.console.react(&message, "✅").await.unwrap();
    for (last, tone, title, rows) in [
        (false, Tone::Busy, "#1 antisocial", [["web@a", "pull", "2 s"], ["web@b", "", ""]]),
        (false, Tone::Busy, "#1 antisocial", [["web@a", "healthy", "3 s"], ["web@b", "pull", "1 s"]]),
        (true, Tone::Good, "#1 antisocial runs build-42", [["web@a", "healthy", "3 s"], ["web@b", "healthy", "2 s"]]),
    ] {
        pipe.console.edit(&message, &live(title, tone, &rows), last).await.unwrap();
    }
    pipe.types("/as bert\n/react yes\nwell\u{1b}[2J done\n/edit better done\n/quti\n").await;
    for _ in 0..2 {
        events.recv().await.unwrap();
    }
    pipe.hangs_up().await;
    assert_eq!(events.recv().await, Some(ChatEvent::Closed));
    assert_eq!(events.recv().await, None);
    assert_eq!(
        pipe.all().await,
        "\
m1 <anna> !deploy antisocial build-42
m2 ▸ #1 antisocial
m2   target  step  time
m2   web@a   pull  1 s
m2   web@b
m2   ✅
m2   web@a   healthy  3 s
m2   web@b   pull     1 s
m2 ✔ #1 antisocial runs build-42
m2   web@b   healthy  2 s
-- you are bert
m2   ✅ bert
m3 <bert> well[2J done
-- m3 <bert, edited> better done
-- no command `/quti` in this terminal; did you mean `/quit`?
"
    );
}

#[tokio::test]
async fn what_can_not_be_done_is_told() {
    let said = Pipe::new(Look::Lines)
        .plays("/react yes\n/edit x\n/as\n/as Bad Name\nhello\n/as bert\n/edit m1 mine now\n/react yes m9\n")
        .await;
    assert_eq!(
        said,
        "\
-- there is nothing to react to yet
-- no message of anna
-- you are anna
-- `bad name` is not a person's name: use up to 63 of a-z, 0-9, `_`, `.`, `-`, a letter or digit first
m1 <anna> hello
-- you are bert
-- no message of bert is `m1`
-- no message `m9`
"
    );
}

#[tokio::test]
async fn what_is_taken_back_and_what_is_deleted_shows() {
    let pipe = Pipe::new(Look::Lines);
    let mut events = pipe.listen().await;
    pipe.console.post(&room(), &reply("approve?", &[]), "1").await.unwrap();
    pipe.types("/react yes\n/as bert\n/react yes\n/unreact yes\n/unreact yes\n").await;
    pipe.types("/as anna\n/unreact ✅ m1\n/unreact yes m9\n/react no\nwell\n/delete m2\n/delete m2\n/delete 1\n/react yes\n").await;
    pipe.hangs_up().await;
    let mut short = Vec::new();
    while let Some(event) = events.recv().await {
        short.push(match event {
            ChatEvent::Message(message) => message.text,
            ChatEvent::Reacted { author, emoji, .. } => format!("+{emoji} {author}"),
            ChatEvent::Unreacted { author, emoji, .. } => format!("-{emoji} {author}"),
            ChatEvent::Deleted { message } => format!("deleted {}", message.id.rsplit_once('-').unwrap().1),
            ChatEvent::Connected { .. } => panic!("it was connected all the time"),
            ChatEvent::Announced { .. } => unreachable!("nobody has webhooks here"),
            ChatEvent::Unreadable { message, author } => format!("unreadable {} {author}", message.id),
            ChatEvent::Closed => "closed".to_owned(),
            ChatEvent::NotRead { .. } | ChatEvent::UpTo { .. } => "what only other chats tell".to_owned(),
        });
    }
    let (anna, bert) = ("terminal:anna", "terminal:bert");
    let expected = [
        format!("+✅ {anna}"),
        format!("+✅ {bert}"),
        format!("-✅ {bert}"),
        format!("-✅ {anna}"),
        format!("+❌ {anna}"),
        "well".to_owned(),
        "deleted m2".to_owned(),
        "deleted m1".to_owned(),
        "closed".to_owned(),
    ];
    assert_eq!(short, expected);
    assert_eq!(
        pipe.all().await,
        "\
m1 ▸ approve?
m1   ✅ anna
-- you are bert
m1   ✅ anna, bert
-- m1 ✅ taken back by bert
m1   ✅ anna
-- m1 has no ✅ of bert
-- you are anna
-- m1 ✅ taken back by anna
-- no message `m9`
m1   ❌ anna
m2 <anna> well
-- m2 deleted by anna
-- no message `m2`
-- m1 deleted by anna
-- there is nothing to react to yet
"
    );
}

#[tokio::test]
async fn help_lists_the_commands_of_the_terminal() {
    let said = Pipe::new(Look::Lines).plays("/help\n").await;
    assert_eq!(said.lines().count(), 6);
    assert!(said.starts_with("-- /as NAME "), "{said}");
}

#[tokio::test]
async fn quitting_ends_the_talk_and_nothing_after_it_is_read() {
    let pipe = Pipe::new(Look::Lines);
    let mut events = pipe.listen().await;
    pipe.types("one\n/quit\ntwo\n").await;
    assert!(matches!(events.recv().await, Some(ChatEvent::Message(message)) if message.text == "one"));
    assert_eq!(events.recv().await, Some(ChatEvent::Closed));
    assert_eq!(events.recv().await, None);
    // The bot may still have something to say.
    pipe.console.post(&room(), &reply("bye", &[]), "1").await.unwrap();
    assert_eq!(pipe.all().await, "m1 <anna> one\nm2 ▸ bye\n");
}

#[tokio::test]
async fn the_last_line_counts_without_a_line_break() {
    assert_eq!(Pipe::new(Look::Lines).plays("!apps").await, "m1 <anna> !apps\n");
}

#[tokio::test]
async fn a_message_of_an_earlier_run_is_gone() {
    let (yesterday, today) = (Pipe::new(Look::Lines), Pipe::new(Look::Lines));
    let old = yesterday.console.post(&room(), &reply("x", &[]), "1").await.unwrap();
    let new = today.console.post(&room(), &reply("x", &[]), "1").await.unwrap();
    assert_ne!(old, new);
    assert_eq!(today.console.edit(&old, &reply("y", &[]), true).await, Err(ChatError::Gone(old)));
}

#[tokio::test]
async fn what_a_person_said_is_not_the_bots_to_edit() {
    let pipe = Pipe::new(Look::Lines);
    let mut events = pipe.listen().await;
    pipe.types("hello `you`\n").await;
    let Some(ChatEvent::Message(message)) = events.recv().await else { panic!() };
    assert_eq!(pipe.console.edit(&message.at, &reply("y", &[]), true).await, Err(ChatError::Gone(message.at.clone())));
    pipe.console.react(&message.at, "👀").await.unwrap();
    drop(events);
    pipe.hangs_up().await;
    while Arc::strong_count(&pipe.console) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pipe.all().await, "m1 <anna> hello `you`\n-- 👀 to anna's `hello 'you'`\n");
}

#[tokio::test]
async fn only_the_newest_thousand_messages_are_remembered() {
    let pipe = Pipe::new(Look::Lines);
    let first = pipe.console.post(&room(), &reply("0", &[]), "0").await.unwrap();
    for number in 1..=1000 {
        pipe.console.post(&room(), &reply("x", &[]), &number.to_string()).await.unwrap();
    }
    assert_eq!(pipe.console.reactions(&first).await, Err(ChatError::Gone(first)));
}

#[tokio::test]
async fn an_output_that_is_gone_is_told_to_who_posts_and_the_talk_goes_on() {
    let (mut input, theirs) = tokio::io::duplex(1024);
    let (ours, output) = tokio::io::duplex(1024);
    drop(output);
    let console = Arc::new(Console::new(theirs, ours, Look::Lines, "anna", now));
    let told = console.post(&room(), &reply("x", &[]), "1").await;
    assert!(matches!(told, Err(ChatError::Unavailable(_))), "{told:?}");
    let (to, mut events) = mpsc::channel(10);
    let listener = Arc::clone(&console);
    tokio::spawn(async move { listener.listen(to, None).await });
    assert_eq!(events.recv().await, Some(ChatEvent::Connected { room: room() }));
    input.write_all(b"!apps\n").await.unwrap();
    assert!(matches!(events.recv().await, Some(ChatEvent::Message(_))));
}

#[tokio::test]
async fn there_is_one_listener_and_one_room() {
    let pipe = Pipe::new(Look::Lines);
    let _events = pipe.listen().await;
    tokio::task::yield_now().await;
    let (to, _rest) = mpsc::channel(1);
    assert!(matches!(pipe.console.listen(to, None).await, Err(ChatError::Unavailable(_))));
    assert_eq!(pipe.console.rooms(), [room()]);
    let elsewhere = pipe.console.post(&RoomId("discord:1".to_owned()), &reply("x", &[]), "1").await;
    assert!(matches!(elsewhere, Err(ChatError::Unavailable(_))));
}

#[tokio::test]
async fn on_a_terminal_there_is_a_prompt_and_notes_stand_above_it() {
    let size = || Size { columns: 80, rows: 24 };
    let pipe = Pipe::new(Look::Screen { size: Box::new(size), colour: false });
    let notes = pipe.console.notes();
    let mut events = pipe.listen().await;
    pipe.types("hello\n").await;
    events.recv().await.unwrap();
    assert!(notes.line("a line of the log"));
    while !pipe.output.lock().unwrap().contains("log") {
        tokio::task::yield_now().await;
    }
    pipe.types("/as bert\n/quit\n").await;
    assert_eq!(events.recv().await, Some(ChatEvent::Closed));
    assert_eq!(events.recv().await, None);
    assert!(!notes.line("too late"));
    let insert = |text: &str| format!("\x1bD\x1b[1A\x1b7\r\x1b[1L{text}\x1b8\x1b[1B");
    let expected = format!("anna> anna> {}bert> {}\r\x1b[K", insert("  a line of the log"), insert("  you are bert"));
    assert_eq!(pipe.all().await, expected);
}
