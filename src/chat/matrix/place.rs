//! What is known of a room while somebody listens: how far that was passed on.

use jiff::{SignedDuration, Timestamp};
use matrix_sdk::ruma::{EventId, OwnedEventId};
use tokio::time::Instant;

use super::memory::Seen;
use super::unread::Unread;
use crate::domain::message::{MessageRef, RoomId};

/// How much older than the last one an event may seem that came after it: clocks differ.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

/// A room, and what is known of it.
pub(super) struct Place {
    /// What the bot calls it.
    pub name: RoomId,
    /// The newest event that was passed on with nothing missing before it.
    pub newest: Option<OwnedEventId>,
    /// What seems older than this is none of the bot's business where nobody knows the newest event any more.
    pub floor: Timestamp,
    /// The newest point that the bot was told.
    told: Option<OwnedEventId>,
    /// Those that were passed on.
    pub passed: Seen<OwnedEventId>,
    /// What can't be read yet.
    pub unread: Unread,
    /// The bot is in it.
    pub is_in: bool,
    /// Something may have been missed after the newest one; when it is fetched.
    pub behind: Option<Instant>,
    /// Told that the room is there since something was missed.
    pub connected: bool,
}

impl Place {
    /// One in which all up to this event was passed on by an earlier life, if that is known, and else all before this time.
    pub fn new(name: RoomId, newest: Option<OwnedEventId>, floor: Timestamp) -> Place {
        let (passed, unread, told) = (Seen::default(), Unread::default(), newest.clone());
        Place { name, newest, floor, told, passed, unread, is_in: false, behind: None, connected: false }
    }

    /// Something may have been missed.
    pub fn falls_behind(&mut self) {
        self.behind = Some(Instant::now());
        self.connected = false;
    }

    /// All up to this event was passed on, or is about to be.
    pub fn comes_to(&mut self, event: OwnedEventId, written: Timestamp) {
        self.floor = self.floor.max(written - SLACK);
        self.newest = Some(event);
    }

    /// The event up to which nothing has to be passed on again, if that is a new one.
    pub fn news(&mut self, now: Timestamp) -> Option<OwnedEventId> {
        if self.behind.is_some() {
            return None;
        }
        // What may be read soon isn't passed on yet.
        let mark = self.unread.waits_after(now).unwrap_or_else(|| self.newest.clone())?;
        let is_new = self.told.replace(mark.clone()).as_ref() != Some(&mark);
        is_new.then_some(mark)
    }

    /// One of its messages.
    pub fn reference(&self, event: &EventId) -> MessageRef {
        MessageRef { room: self.name.clone(), id: event.to_string() }
    }
}
