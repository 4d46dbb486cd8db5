//! Messages whose keys haven't come yet.
//!
//! Whoever wrote one is told once, not for each message of the same key. When the key comes the message is passed on, with the time
//! at which it was really written: the bot decides whether it is still meant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{TimelineEvent, UnableToDecryptInfo};
use matrix_sdk::ruma::events::room::encrypted::OriginalSyncRoomEncryptedEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::{EventId, OwnedEventId, OwnedUserId, UserId};

use super::memory::Seen;

/// How many messages of a room may wait for their keys.
const WAITING: usize = 256;

/// What can't be read of a room.
#[derive(Default)]
pub(super) struct Unread {
    waiting: BTreeMap<OwnedEventId, (Raw<OriginalSyncRoomEncryptedEvent>, Timestamp)>,
    told: Seen<(OwnedUserId, Option<String>)>,
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
    ) -> bool {
        if self.waiting.len() >= WAITING {
            // The order of ids is none of time, but any will do.
            self.waiting.pop_first();
        }
        self.waiting.insert(id, (event.raw().clone().cast_unchecked(), written));
        self.told.insert((sender.to_owned(), why.session_id.clone()))
    }

    /// A message isn't meant any more: it was removed, or changed `by` somebody, which counts if they wrote it.
    pub fn forget(&mut self, id: &EventId, by: Option<&UserId>) {
        let is_of = |by: &UserId, raw: &Raw<OriginalSyncRoomEncryptedEvent>| {
            raw.get_field::<OwnedUserId>("sender").ok().flatten().is_some_and(|sender| sender == by)
        };
        if self.waiting.get(id).is_some_and(|(raw, _)| by.is_none_or(|by| is_of(by, raw))) {
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
        for (id, (raw, written)) in &self.waiting {
            match room.decrypt_event(raw, None).await {
                Ok(event) if !event.kind.is_utd() => readable.push((id.clone(), event, *written)),
                Ok(_) | Err(_) => {}
            }
        }
        readable.iter().for_each(|(id, _, _)| drop(self.waiting.remove(id)));
        readable.sort_by_key(|(_, _, written)| *written);
        readable.into_iter().map(|(_, event, written)| (event, written)).collect()
    }
}
