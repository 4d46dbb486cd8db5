//! What is known of a room while somebody listens: how far that was passed on, and what was missed since.

use jiff::{SignedDuration, Timestamp};
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::{EventId, OwnedEventId};
use tokio::time::Instant;

use super::event::origin;
use super::memory::Seen;
use super::unread::Unread;
use crate::domain::message::{MessageRef, RoomId};

/// How many events are fetched at once, and how many pages at most; the newest count.
const PAGE: u32 = 100;
const PAGES: usize = 20;

/// How much older than the last one an event may seem before the search for that ends: clocks differ.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

/// A room, and what is known of it.
pub(super) struct Place {
    /// What the bot calls it.
    pub name: RoomId,
    /// What is older than this is none of the bot's business.
    pub begin: Timestamp,
    /// The newest event that was passed on with nothing missing before it, and when it was written.
    pub newest: Option<(OwnedEventId, Timestamp)>,
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
    /// One of which nothing is known.
    pub fn new(name: RoomId, begin: Timestamp) -> Place {
        let (passed, unread) = (Seen::default(), Unread::default());
        Place { name, begin, newest: None, passed, unread, is_in: false, behind: None, connected: false }
    }

    /// Something may have been missed.
    pub fn falls_behind(&mut self) {
        self.behind = Some(Instant::now());
        self.connected = false;
    }

    /// One of its messages.
    pub fn reference(&self, event: &EventId) -> MessageRef {
        MessageRef { room: self.name.clone(), id: event.to_string() }
    }
}

/// The events after the newest one, the oldest first.
pub(super) async fn missed(room: &Room, place: &Place) -> matrix_sdk::Result<Vec<TimelineEvent>> {
    let floor = place.newest.as_ref().map_or(place.begin, |(_, written)| *written - SLACK);
    let mut missed = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..PAGES {
        let mut options = MessagesOptions::backward().from(from.as_deref());
        options.limit = PAGE.into();
        let page = room.messages(options).await?;
        let mut all_old = !page.chunk.is_empty();
        for event in page.chunk {
            if place.newest.as_ref().is_some_and(|(newest, _)| event.event_id().as_ref() == Some(newest)) {
                missed.reverse();
                return Ok(missed);
            }
            all_old &= origin(&event).is_some_and(|written| written < floor);
            missed.push(event);
        }
        match page.end {
            // One old event alone says nothing: whoever wrote it may have a wrong clock.
            Some(end) if !all_old && from.as_ref() != Some(&end) => from = Some(end),
            _ => {
                missed.reverse();
                return Ok(missed);
            }
        }
    }
    tracing::warn!(room = %place.name, events = missed.len(), "more was missed than is fetched; the newest count");
    missed.reverse();
    Ok(missed)
}
