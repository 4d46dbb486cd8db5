//! Messages whose keys haven't come yet.
//!
//! Whoever wrote one is told once, not for each message of the same key. When the key comes the message is passed on, with the time
//! at which it was really written: the bot decides whether it is still meant.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{TimelineEvent, UnableToDecryptInfo};
use matrix_sdk::ruma::events::room::encrypted::OriginalSyncRoomEncryptedEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::{EventId, OwnedEventId, OwnedUserId, UserId};

use super::memory::Seen;

/// How many messages of a room may wait for their keys.
const WAITING: usize = 256;

/// How long a next life still looks for the key of a message.
const MEANT_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What can't be read of a room.
#[derive(Default)]
pub(super) struct Unread {
    waiting: BTreeMap<OwnedEventId, Waiting>,
    told: Seen<(OwnedUserId, Option<String>)>,
    /// How many there ever were.
    count: u64,
}

/// A message that waits for its key.
struct Waiting {
    raw: Raw<OriginalSyncRoomEncryptedEvent>,
    written: Timestamp,
    /// The event before it.
    after: Option<OwnedEventId>,
    /// How many came before it.
    place: u64,
}

impl Unread {
    /// A message can't be read; whether its author should be told.
    pub fn add(
        &mut self,
        id: OwnedEventId,
        sender: &UserId,
        event: &TimelineEvent,
        why: &UnableToDecryptInfo,
        written: Timestamp,
        after: Option<OwnedEventId>,
    ) -> bool {
        if self.waiting.len() >= WAITING {
            // The order of ids is none of time, but any will do.
            self.waiting.pop_first();
        }
        self.count += 1;
        self.waiting.insert(id, Waiting { raw: event.raw().clone().cast_unchecked(), written, after, place: self.count });
        self.told.insert((sender.to_owned(), why.session_id.clone()))
    }

    /// The event before the first message that a next life has to look at again, as far as it is known: what waits, and is young
    /// enough that it may be meant when its key comes. `None` = there is no such message.
    pub fn waits_after(&self, now: Timestamp) -> Option<Option<OwnedEventId>> {
        let young = self.waiting.values().filter(|waiting| now.duration_since(waiting.written) < MEANT_FOR);
        young.min_by_key(|waiting| waiting.place).map(|first| first.after.clone())
    }

    /// A message isn't meant any more: it was removed, or changed `by` somebody, which counts if they wrote it.
    pub fn forget(&mut self, id: &EventId, by: Option<&UserId>) {
        let is_of = |by: &UserId, raw: &Raw<OriginalSyncRoomEncryptedEvent>| {
            raw.get_field::<OwnedUserId>("sender").ok().flatten().is_some_and(|sender| sender == by)
        };
        if self.waiting.get(id).is_some_and(|waiting| by.is_none_or(|by| is_of(by, &waiting.raw))) {
            self.waiting.remove(id);
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The messages that can be read by now, the oldest first.
    pub async fn readable(&mut self, room: &Room) -> Vec<(TimelineEvent, Timestamp)> {
        let mut readable = Vec::new();
        for (id, waiting) in &self.waiting {
            match room.decrypt_event(&waiting.raw, None).await {
                Ok(event) if !event.kind.is_utd() => readable.push((id.clone(), event, waiting.written)),
                Ok(_) | Err(_) => {}
            }
        }
        readable.iter().for_each(|(id, _, _)| drop(self.waiting.remove(id)));
        readable.sort_by_key(|(_, _, written)| *written);
        readable.into_iter().map(|(_, event, written)| (event, written)).collect()
    }
}
