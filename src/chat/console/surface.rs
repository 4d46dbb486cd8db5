//! What messages are shown on: plain lines for pipes and logs, or a [`Screen`](super::screen::Screen).

use std::collections::HashMap;

use jiff::Timestamp;

use crate::chat::Reply;
use crate::chat::news::Told;
use crate::chat::text::{self, Part, TextLine};

/// Shows messages. Every method answers the text that has to be written to the output.
pub(super) trait Surface: Send {
    /// A person begins to speak: at the start, and whenever it is another one.
    fn speaks(&mut self, name: &str);
    /// The input is read from now on.
    fn open(&mut self) -> String;
    /// A line of input was read.
    fn entered(&mut self, line: &str) -> String;
    /// A line was a message.
    fn said(&mut self, number: u64, name: &str, text: &str) -> String;
    /// The bot's message is new, or was changed. Shows nothing if it looks as before.
    fn show(&mut self, number: u64, view: View<'_>, now: Timestamp) -> String;
    /// Something that isn't a message.
    fn note(&mut self, text: &str) -> String;
    /// The message won't be changed any more.
    fn forget(&mut self, number: u64);
    /// The input is at its end; messages may still come.
    fn close(&mut self) -> String;
}

/// A message of the bot.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub reply: &'a Reply,
    /// The reactions to it.
    pub reactions: Option<&'a str>,
    /// Whether this is how it stays.
    pub last: bool,
}

impl View<'_> {
    /// Its lines; `label` stands before the title.
    pub fn lines(&self, label: &str, width: Option<usize>) -> Vec<TextLine> {
        let mut lines = text::lines(self.reply, label, width);
        lines.extend(self.reactions.map(|reactions| TextLine { part: Part::Text, text: format!("  {reactions}") }));
        lines
    }
}

/// One line for each change: `m3 <anna> !deploy antisocial`, `m4 ▸ #1 ...`, `m4   web  pull`, `-- a note`.
#[derive(Default)]
pub(super) struct Lines {
    told: HashMap<u64, Told>,
}

impl Surface for Lines {
    fn speaks(&mut self, _: &str) {}

    fn open(&mut self) -> String {
        String::new()
    }

    fn entered(&mut self, _: &str) -> String {
        String::new()
    }

    fn said(&mut self, number: u64, name: &str, text: &str) -> String {
        format!("m{number} <{name}> {}\n", text::clean(text))
    }

    fn show(&mut self, number: u64, view: View<'_>, now: Timestamp) -> String {
        let lines = view.lines("", None).into_iter().map(|line| line.text).collect();
        let news = self.told.entry(number).or_default().news(lines, view.last, now);
        news.iter().map(|line| format!("m{number} {line}\n")).collect()
    }

    fn note(&mut self, text: &str) -> String {
        format!("-- {}\n", text::clean(text))
    }

    fn forget(&mut self, number: u64) {
        self.told.remove(&number);
    }

    fn close(&mut self) -> String {
        String::new()
    }
}
