//! The messages of a room that only this process keeps: who said which, and who reacted how.
//!
//! A message's id has a random part that is new in each run, for the store remembers ids beyond a restart: `m3` of today
//! isn't `m3` of yesterday. People see and type the short form.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::chat::Reply;
use crate::domain::message::{MessageRef, RoomId};

/// How many messages are remembered; older ones are gone.
const REMEMBERED: usize = 1000;

/// How many reactions one person may have at a message.
const REACTIONS_EACH: usize = 8;

/// One message.
#[derive(Debug)]
pub(super) struct Entry {
    /// Whose it is.
    pub author: Author,
    /// Who reacted how, in order; `None` = the bot.
    pub reactions: Vec<(Option<String>, String)>,
}

/// Whose message it is, and what it says.
#[derive(Debug)]
pub(super) enum Author {
    /// The bot's.
    Bot(Reply),
    /// A person's.
    Person {
        /// Who.
        name: String,
        /// What.
        text: String,
    },
}

/// All messages of this run.
pub(super) struct Board {
    room: RoomId,
    run: String,
    next: u64,
    entries: BTreeMap<u64, Entry>,
    keys: HashMap<String, u64>,
}

impl Board {
    pub fn new(room: RoomId, now: Timestamp) -> Board {
        let mut run = [0; 8];
        if getrandom::fill(&mut run).is_err() {
            // No entropy: two runs don't start in the same nanosecond.
            run = (now.as_nanosecond() as u64).to_be_bytes();
        }
        Board { room, run: hex::encode(run), next: 1, entries: BTreeMap::new(), keys: HashMap::new() }
    }

    /// The number that the next message gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a message with the number that [`next`](Board::next) told; answers those that are now forgotten.
    pub fn add(&mut self, author: Author) -> Vec<u64> {
        self.entries.insert(self.next, Entry { author, reactions: Vec::new() });
        self.next += 1;
        let kept = self.next.saturating_sub(REMEMBERED as u64);
        let rest = self.entries.split_off(&kept);
        let forgotten = std::mem::replace(&mut self.entries, rest);
        self.keys.retain(|_, number| *number >= kept);
        forgotten.into_keys().collect()
    }

    /// Remembers that `key` was posted as this message.
    pub fn posted(&mut self, key: &str, number: u64) {
        self.keys.insert(key.to_owned(), number);
    }

    /// The message that was posted with this key.
    pub fn with_key(&self, key: &str) -> Option<u64> {
        self.keys.get(key).copied()
    }

    /// Takes a message away; false if it isn't there. Its key stays used.
    pub fn remove(&mut self, number: u64) -> bool {
        self.entries.remove(&number).is_some()
    }

    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    /// The newest message that `wanted` accepts.
    pub fn newest(&self, wanted: impl Fn(&Author) -> bool) -> Option<u64> {
        self.entries.iter().rev().find(|(_, entry)| wanted(&entry.author)).map(|(number, _)| *number)
    }

    /// The id that the rest of Shipmate knows a message by.
    pub fn reference(&self, number: u64) -> MessageRef {
        MessageRef { room: self.room.clone(), id: format!("{}-m{number}", self.run) }
    }

    /// A message's short name, for those who may still have it after a restart: no message of another run is likely to have it.
    pub fn name(&self, number: u64) -> String {
        format!("m{number}-{}", self.mark())
    }

    /// The number of a message of this run, by its short name.
    pub fn named(&self, name: &str) -> Option<u64> {
        let (short, run) = name.split_once('-')?;
        number(short).filter(|number| run == self.mark() && self.entries.contains_key(number))
    }

    /// The beginning of the random part.
    fn mark(&self) -> &str {
        self.run.get(..4).unwrap_or(&self.run)
    }

    /// The number of a message of this run that is still remembered.
    pub fn find(&self, message: &MessageRef) -> Option<u64> {
        let (run, short) = message.id.split_once('-')?;
        let number = number(short)?;
        (message.room == self.room && run == self.run && self.entries.contains_key(&number)).then_some(number)
    }
}

impl Entry {
    /// Adds a reaction; false if it is there already.
    ///
    /// # Errors
    /// If the person has as many there as one may have.
    pub fn react(&mut self, who: Option<&str>, emoji: &str) -> Result<bool, String> {
        let reaction = (who.map(str::to_owned), emoji.to_owned());
        if self.reactions.contains(&reaction) {
            return Ok(false);
        }
        if who.is_some() && self.reactions.iter().filter(|(by, _)| by.as_deref() == who).count() >= REACTIONS_EACH {
            return Err(format!("you have {REACTIONS_EACH} emojis there: take one back first"));
        }
        self.reactions.push(reaction);
        Ok(true)
    }

    /// Takes a reaction back; false if it isn't there.
    pub fn unreact(&mut self, who: Option<&str>, emoji: &str) -> bool {
        let before = self.reactions.len();
        self.reactions.retain(|(by, given)| (by.as_deref(), given.as_str()) != (who, emoji));
        self.reactions.len() < before
    }

    /// The reactions as people read them: each emoji with the people who gave it.
    pub fn reaction_line(&self) -> Option<String> {
        let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
        for (who, emoji) in &self.reactions {
            let place = parts.iter().position(|(known, _)| known == emoji).unwrap_or_else(|| {
                parts.push((emoji, Vec::new()));
                parts.len() - 1
            });
            parts[place].1.extend(who.as_deref());
        }
        let shown: Vec<String> = parts.iter().map(|(emoji, who)| format!("{emoji} {}", who.join(", ")).trim().to_owned()).collect();
        if shown.is_empty() { None } else { Some(shown.join("   ")) }
    }
}

/// The number of a message as people type it: `m12`, `12`.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(['m', 'M']).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}
