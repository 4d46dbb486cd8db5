//! What the adapter remembers while the process lives: what was posted, what is gone, whose emoji an event is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use matrix_sdk::ruma::{EventId, OwnedEventId, OwnedUserId};
use tokio::time::Instant;

use crate::domain::message::{Account, MessageRef, RoomId};

/// How many posts are remembered.
const POSTED: usize = 256;

/// How many of everything else.
const REMEMBERED: usize = 4096;

/// The newest things of a kind.
#[derive(Debug)]
pub(super) struct Seen<T> {
    known: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Seen<T> {
        Seen { known: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl<T: Ord + Clone> Seen<T> {
    /// Remembers something; whether it is new.
    pub fn insert(&mut self, what: T) -> bool {
        if !self.known.insert(what.clone()) {
            return false;
        }
        self.order.push_back(what);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Whether it is remembered.
    pub fn contains(&self, what: &T) -> bool {
        self.known.contains(what)
    }
}

/// An emoji that somebody put to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reaction {
    /// Which message.
    pub to: MessageRef,
    /// Who.
    pub author: Account,
    /// The emoji, without variation selectors.
    pub emoji: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was posted last, by its mark: a key stays used when its message is deleted.
    posted: VecDeque<(String, MessageRef)>,
    /// The rooms in which a message may stand that nobody recorded: of an earlier life.
    pub unsure: BTreeSet<RoomId>,
    /// Messages that are there, as far as anybody said.
    pub there: Seen<MessageRef>,
    /// Files that are in threads, or can't be, by their marks.
    pub beside: Seen<String>,
    /// Messages that are deleted.
    pub gone: Seen<MessageRef>,
    reactions: BTreeMap<OwnedEventId, Reaction>,
    order: VecDeque<OwnedEventId>,
    /// For whom nothing is looked up, until when: it took too long.
    pub slow: BTreeMap<OwnedUserId, Instant>,
    /// The threads that messages were written in: where their answers belong.
    threads: BTreeMap<String, OwnedEventId>,
}

impl Memory {
    /// The message that was posted with this mark.
    pub fn posted(&self, mark: &str) -> Option<MessageRef> {
        self.posted.iter().find(|(known, _)| known == mark).map(|(_, message)| message.clone())
    }

    /// Something was posted.
    pub fn post(&mut self, mark: String, message: MessageRef) {
        self.unsure.remove(&message.room);
        self.there.insert(message.clone());
        self.posted.push_front((mark, message));
        self.posted.truncate(POSTED);
    }

    /// Somebody reacted, with this event.
    pub fn react(&mut self, event: OwnedEventId, reaction: Reaction) {
        if self.reactions.insert(event.clone(), reaction).is_none() {
            self.order.push_back(event);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.reactions.remove(&oldest);
        }
    }

    /// A reaction's event is gone: what it was, and whether the same is still there by another event.
    pub fn unreact(&mut self, event: &EventId) -> Option<(Reaction, bool)> {
        let reaction = self.reactions.remove(event)?;
        let still_there = self.reactions.values().any(|other| *other == reaction);
        Some((reaction, still_there))
    }

    /// A message was written in a thread.
    pub fn in_thread(&mut self, message: &EventId, root: OwnedEventId) {
        if self.threads.len() >= REMEMBERED {
            self.threads.clear();
        }
        self.threads.insert(message.to_string(), root);
    }

    /// The thread that a message was written in.
    pub fn thread_of(&self, message: &str) -> Option<OwnedEventId> {
        self.threads.get(message).cloned()
    }
}
