//! A channel, and what is known of what was said in it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serenity::all::MessageId;
use tokio::time::Instant;

use super::listen::REMEMBERED;
use super::snowflake::{first_at, written_at};
use crate::domain::message::RoomId;

/// How far before the newest message is looked for missed ones: Discord doesn't tell them strictly in the order of their numbers.
const OVERLAP: Duration = Duration::from_secs(10);

/// How late a message may be told.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// How long what people say may wait for what was missed before it.
const HOLD: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Room {
    /// What it is called.
    pub name: RoomId,
    /// From which time on messages are passed on.
    begin: MessageId,
    /// The newest message that was passed on.
    newest: MessageId,
    /// The newest that the bot was told that all before it was passed on.
    told: MessageId,
    /// What was written after the one and before the other was missed, and isn't read.
    pub not_read: Option<(MessageId, MessageId)>,
    /// Those that were passed on.
    passed: BTreeSet<MessageId>,
    /// Something may have been missed after the newest one, since when.
    behind: Option<Instant>,
    /// How far what was missed has been fetched.
    fetched: Option<MessageId>,
}

impl Room {
    /// A room whose messages are passed on from `begin` on, as far as they aren't older than the oldest that are read back.
    pub fn new(name: RoomId, begin: MessageId, oldest: MessageId) -> Room {
        let not_read = (begin < oldest).then_some((begin, oldest));
        let begin = begin.max(oldest);
        Room { name, begin, newest: begin, told: begin, not_read, passed: BTreeSet::new(), behind: None, fetched: None }
    }

    /// From where on the messages before one are looked for that were told after it.
    pub fn before(message: MessageId) -> MessageId {
        first_at(written_at(message) - OVERLAP)
    }

    /// Up to which message all was passed on, if that is news.
    pub fn up_to(&mut self) -> Option<MessageId> {
        if self.behind.is_some() || self.newest <= self.told {
            return None;
        }
        self.told = self.newest;
        Some(self.newest)
    }

    /// Whether a message should have been told by now, and wasn't.
    pub fn has_missed(&self, message: MessageId, now: Timestamp) -> bool {
        self.behind.is_none() && message > self.newest && now.duration_since(written_at(message)) > LATE
    }

    /// Something may have been missed.
    pub fn falls_behind(&mut self) {
        self.behind = self.behind.or_else(|| Some(Instant::now()));
    }

    /// What was missed has been fetched.
    pub fn is_up_to_date(&mut self) {
        self.behind = None;
        self.newest = self.newest.max(self.fetched.take().unwrap_or(self.newest));
    }

    /// What was missed has been fetched up to a message. Whether that is farther than before.
    pub fn is_fetched_to(&mut self, message: MessageId) -> bool {
        // As long as that goes on, what is said waits.
        self.behind = Some(Instant::now());
        self.fetched.replace(message).is_none_or(|before| before < message)
    }

    /// Whether a part of what was missed has been fetched.
    pub fn is_being_fetched(&self) -> bool {
        self.fetched.is_some()
    }

    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether what is said waits until what was missed before it has been fetched, which brings it too.
    pub fn holds(&self) -> bool {
        self.behind.is_some_and(|since| since.elapsed() < HOLD)
    }

    /// After which message missed ones are looked for.
    pub fn missed_after(&self) -> MessageId {
        self.fetched.unwrap_or_else(|| Room::before(self.newest).max(self.begin))
    }

    /// Whether a message wasn't passed on yet.
    pub fn is_new(&mut self, message: MessageId) -> bool {
        // What was missed is looked for from the last one before the gap.
        if self.behind.is_none() {
            self.newest = self.newest.max(message);
        }
        let new = self.passed.insert(message);
        while self.passed.len() > REMEMBERED {
            self.passed.pop_first();
        }
        new
    }
}
