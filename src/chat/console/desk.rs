//! What the listener and the bot's posts share: the board, what it is shown on, and who speaks.

use std::io;

use jiff::Timestamp;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::ROOM;
use super::surface::{Surface, View};
use crate::chat::board::{Author, Board};
use crate::chat::{ChatError, ChatEvent};
use crate::domain::message::{Account, Message};

/// What the listener and the bot's posts share.
pub(super) struct Desk {
    pub board: Board,
    pub surface: Box<dyn Surface>,
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    pub speaker: String,
}

impl Desk {
    /// Writes to the output.
    pub async fn write(&mut self, text: &str) -> Result<(), ChatError> {
        let unavailable = |error: io::Error| ChatError::Unavailable(format!("the terminal can't be written to: {error}"));
        if text.is_empty() {
            return Ok(());
        }
        self.output.write_all(text.as_bytes()).await.map_err(unavailable)?;
        self.output.flush().await.map_err(unavailable)
    }

    /// Adds a message to the board.
    pub fn add(&mut self, author: Author) {
        for number in self.board.add(author) {
            self.surface.forget(number);
        }
    }

    /// What shows a message of the bot as it is on the board.
    pub fn show(&mut self, number: u64, last: bool, now: Timestamp) -> String {
        let Some(entry) = self.board.get(number) else { return String::new() };
        let Author::Bot(reply) = &entry.author else { return String::new() };
        self.surface.show(number, View { reply, reactions: entry.reaction_line().as_deref(), last }, now)
    }

    /// Writes what shows a message. When that fails, the next try shows all of it.
    pub async fn present(&mut self, number: u64, out: &str) -> Result<(), ChatError> {
        let written = self.write(out).await;
        if written.is_err() {
            self.surface.forget(number);
        }
        written
    }

    /// The speaker said something.
    pub fn say(&mut self, text: String, received: Timestamp) -> (String, Vec<ChatEvent>) {
        let number = self.board.next();
        let out = self.surface.said(number, &self.speaker, &text);
        let message =
            Message { at: self.board.reference(number), author: account(&self.speaker), text: text.clone(), received, doubt: None };
        self.add(Author::Person { name: self.speaker.clone(), text });
        (out, vec![ChatEvent::Message(message)])
    }

    /// The speaker reacts.
    pub fn react(&mut self, emoji: String, message: Option<u64>, now: Timestamp) -> (String, Vec<ChatEvent>) {
        let Some((number, entry)) = self.reacted_to(message).and_then(|number| Some((number, self.board.get_mut(number)?))) else {
            return (self.nothing_to_react_to(message), Vec::new());
        };
        match entry.react(Some(&self.speaker), &emoji) {
            Ok(true) => {}
            Ok(false) => return (String::new(), Vec::new()),
            Err(why) => return (self.surface.note(&why), Vec::new()),
        }
        let out = match &entry.author {
            Author::Bot(_) => self.show(number, false, now),
            Author::Person { .. } => self.surface.note(&format!("m{number} {emoji} {}", self.speaker)),
        };
        (out, vec![ChatEvent::Reacted { to: self.board.reference(number), author: account(&self.speaker), emoji }])
    }

    /// The speaker takes a reaction back.
    pub fn unreact(&mut self, emoji: String, message: Option<u64>, now: Timestamp) -> (String, Vec<ChatEvent>) {
        let Some((number, entry)) = self.reacted_to(message).and_then(|number| Some((number, self.board.get_mut(number)?))) else {
            return (self.nothing_to_react_to(message), Vec::new());
        };
        if !entry.unreact(Some(&self.speaker), &emoji) {
            return (self.surface.note(&format!("m{number} has no {emoji} of {}", self.speaker)), Vec::new());
        }
        // Where nothing is redrawn, what is no longer there shows by no line of the message.
        let note = self.surface.note(&format!("m{number} {emoji} taken back by {}", self.speaker));
        let out = format!("{note}{}", self.show(number, false, now));
        (out, vec![ChatEvent::Unreacted { to: self.board.reference(number), author: account(&self.speaker), emoji }])
    }

    /// The message that a reaction is about: the bot's newest if none is named.
    fn reacted_to(&self, named: Option<u64>) -> Option<u64> {
        named.or_else(|| self.board.newest(|author| matches!(author, Author::Bot(_))))
    }

    fn nothing_to_react_to(&mut self, named: Option<u64>) -> String {
        let why = named.map_or_else(|| "there is nothing to react to yet".to_owned(), |number| format!("no message `m{number}`"));
        self.surface.note(&why)
    }

    /// The speaker removes a message, whosever it is, as those who run a room can.
    pub fn delete(&mut self, number: u64) -> (String, Vec<ChatEvent>) {
        let message = self.board.reference(number);
        if !self.board.remove(number) {
            return (self.surface.note(&format!("no message `m{number}`")), Vec::new());
        }
        self.surface.forget(number);
        (self.surface.note(&format!("m{number} deleted by {}", self.speaker)), vec![ChatEvent::Deleted { message }])
    }

    /// The speaker changes a message of theirs.
    pub fn edit(&mut self, message: Option<u64>, new: String) -> String {
        let speaker = self.speaker.clone();
        let own = |author: &Author| matches!(author, Author::Person { name, .. } if *name == speaker);
        let wanted = message.or_else(|| self.board.newest(own));
        let entry = wanted.and_then(|number| Some((number, self.board.get_mut(number)?))).filter(|(_, entry)| own(&entry.author));
        let note = match entry {
            Some((number, entry)) => {
                let note = format!("m{number} <{speaker}, edited> {new}");
                entry.author = Author::Person { name: speaker, text: new };
                note
            }
            None => format!("no message of {speaker}{}", message.map(|number| format!(" is `m{number}`")).unwrap_or_default()),
        };
        self.surface.note(&note)
    }
}

/// The account of a person in this room.
pub(super) fn account(name: &str) -> Account {
    Account(format!("{ROOM}:{name}"))
}
