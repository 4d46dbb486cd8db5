//! Every sentence that the bot says, as pure functions from what is known to a [`Reply`].
//!
//! Text that came from outside (commit messages, authors, output) goes through [`text`] or [`code`] first.

mod access;
mod answers;
mod builds;
mod changed;
mod choose;
mod deployment;
mod doubt;
mod drift;
mod link;
mod links;
mod locks;
mod news;
mod notice;
mod page;
mod plan;
mod votes;
mod why;

pub use access::*;
pub use answers::*;
pub use builds::*;
pub use changed::*;
pub use choose::*;
pub use deployment::*;
pub use doubt::*;
pub use drift::*;
pub use link::*;
pub use links::*;
pub use locks::*;
pub use notice::*;
pub use page::*;
pub use plan::*;
pub use votes::*;
pub use why::*;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::chat::{Block, Reply, Tone};
use crate::domain::names::printable;
use crate::domain::spec::Millis;

/// The longest foreign text inside a sentence, in characters.
const TEXT_LIMIT: usize = 200;

/// How many of a list stand in a sentence.
const LIST_LIMIT: usize = 10;

/// A reply of one line.
pub fn line(tone: Tone, title: impl Into<String>) -> Reply {
    Reply { tone, title: title.into(), body: Vec::new() }
}

/// Foreign text inside a sentence: one line, nothing invisible, no backticks.
pub fn text(foreign: &str) -> String {
    printable(&foreign.replace('`', "'"), TEXT_LIMIT)
}

/// A value that people may copy.
pub fn code(value: impl std::fmt::Display) -> String {
    format!("`{}`", text(&value.to_string()))
}

/// A list inside a sentence: `anna, ben and 3 more`. The items are foreign text.
fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LIST_LIMIT).map(|item| text(&item.to_string())).collect();
    match items.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// How many there are of something: `1 failure`, `2 failures`.
fn counted(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A span of time as people say it: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn span(Millis(millis): Millis) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..=9 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago something was: `just now`, `5 min ago`, `3 d ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=59 => "just now".to_owned(),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A moment by the clock of a zone: `Mon 2026-11-30 08:00 Europe/Berlin`.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    let shown = at.to_zoned(zone.clone());
    let offset = || shown.strftime("%:z").to_string();
    format!("{} {}", shown.strftime("%a %F %R"), zone.iana_name().map_or_else(offset, str::to_owned))
}

/// The time between two instants; 0 when the clock went back.
pub(crate) fn between(start: Timestamp, end: Timestamp) -> Millis {
    Millis(u64::try_from(end.duration_since(start).as_millis()).unwrap_or(0))
}

fn lines<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> impl Iterator<Item = Block> {
    texts.into_iter().map(|text| Block::Line(text.into()))
}

fn table<S: Into<String>>(header: &[&str], rows: impl IntoIterator<Item = Vec<S>>) -> Block {
    let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
    Block::Table { header: header.iter().map(|name| (*name).to_owned()).collect(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_speech() {
        let said: Vec<String> = [0, 450, 12_300, 185_000, 7_800_000, 180_000_000].map(|millis| span(Millis(millis))).into();
        assert_eq!(said, ["0.0 s", "0.4 s", "12 s", "3 min 5 s", "2 h 10 min", "2 d 2 h"]);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(&["a", "b\n`c`"]), "a, b'c'");
        assert_eq!(listed(&(1..=12).collect::<Vec<_>>()), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }

    #[test]
    fn foreign_text_can_neither_break_out_of_code_nor_hide() {
        assert_eq!(code("a`b\u{202e}c\nd"), "`a'bcd`");
    }
}
