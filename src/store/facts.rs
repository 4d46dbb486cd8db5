//! Facts as rows: several in one row when they are short, one in several rows when it is long.
//!
//! sled keeps some 400 bytes of every 16 rows in memory, however small its cache, and most facts are short. So a group of facts
//! that follow each other is one text, cut into parts of the longest value that a row may have. Only its last part changes.

use jiff::Timestamp;

use super::chain::{BrokenChain, Entry, Hash, Head};
use super::overlay::Overlay;
use super::{Fact, LedgerError, MAX_VALUE, StoreError, rows};

/// How many facts are in a group.
const GROUP: u64 = 8;

/// The longest fact, in bytes: far above any plan, far below what makes a write slow.
const MAX_FACT: usize = 8 << 20;

/// A fact as it stands in the rows. Its predecessor's hash stands with the predecessor.
#[derive(Debug, Clone)]
pub(super) struct StoredFact {
    seq: u64,
    at: String,
    hash: Hash,
    fact: String,
}

impl StoredFact {
    /// What happened, and when.
    pub(super) fn open(self) -> Result<(Timestamp, Fact), StoreError> {
        self.entry(Hash([0; 32])).open().map_err(|broken: BrokenChain| StoreError::Damaged(broken.to_string()))
    }

    pub(super) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    fn entry(self, prev: Hash) -> Entry {
        Entry { seq: self.seq, at: self.at, prev, hash: self.hash, fact: self.fact }
    }

    /// Reads the fact at the beginning of `bytes`, and takes it off.
    fn read(seq: u64, bytes: &mut &[u8]) -> Option<StoredFact> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (hash, record) = record.split_first_chunk()?;
        let ([length], record) = record.split_first_chunk()?;
        let (at, fact) = record.split_at_checked(usize::from(*length))?;
        *bytes = rest;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(StoredFact { seq, at: text(at)?, hash: Hash(*hash), fact: text(fact)? })
    }

    fn write(entry: &Entry, to: &mut Vec<u8>) {
        // `check` has seen to it that the lengths fit.
        let length = u32::try_from(32 + 1 + entry.at.len() + entry.fact.len()).unwrap_or(u32::MAX);
        to.extend(length.to_be_bytes());
        to.extend(entry.hash.0);
        to.push(u8::try_from(entry.at.len()).unwrap_or(u8::MAX));
        to.extend(entry.at.bytes());
        to.extend(entry.fact.bytes());
    }
}

/// Whether a fact can be kept at all.
///
/// # Errors
/// When it is too long.
pub(super) fn check(entry: &Entry) -> Result<(), LedgerError> {
    match entry.fact.len() {
        length if length > MAX_FACT => Err(LedgerError::Unfit(format!("{length} bytes are too long for a record"))),
        _ => Ok(()),
    }
}

/// Adds the newest fact to the rows.
pub(super) fn add(rows: &mut Overlay<'_>, entry: &Entry) -> Result<(), StoreError> {
    let group = group(entry.seq);
    let mut bytes = text(rows, group)?;
    let unchanged = bytes.len() / MAX_VALUE;
    StoredFact::write(entry, &mut bytes);
    for (part, bytes) in bytes.chunks(MAX_VALUE).enumerate().skip(unchanged) {
        rows.put(rows::facts(group, part), bytes.to_vec())?;
    }
    Ok(())
}

/// A fact, if there is one of this number.
pub(super) fn get(rows: &Overlay<'_>, seq: u64) -> Result<Option<StoredFact>, StoreError> {
    let Some(place) = seq.checked_sub(1).map(|place| place % GROUP) else {
        return Ok(None);
    };
    Ok(read_group(rows, group(seq))?.into_iter().nth(usize::try_from(place).unwrap_or(usize::MAX)))
}

/// A fact that must be there.
pub(super) fn must_get(rows: &Overlay<'_>, seq: u64) -> Result<StoredFact, StoreError> {
    get(rows, seq)?.ok_or_else(|| StoreError::Damaged(format!("record {seq} is missing")))
}

/// The entries after `head` up to number `last`, each proven to follow the one before; the first one that isn't is the end.
pub(super) fn entries<'a>(rows: &'a Overlay<'_>, head: Head, last: u64) -> impl Iterator<Item = Result<Entry, StoreError>> + 'a {
    let mut head = head;
    let mut at_hand = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if head.seq >= last {
            return None;
        }
        let entry = next_entry(rows, head, &mut at_hand);
        head = entry.as_ref().map_or(Head { seq: last, ..head }, Entry::head);
        Some(entry)
    })
}

fn next_entry(rows: &Overlay<'_>, head: Head, at_hand: &mut std::vec::IntoIter<StoredFact>) -> Result<Entry, StoreError> {
    let seq = head.seq + 1;
    if at_hand.as_slice().first().is_none_or(|fact| fact.seq != seq) {
        let mut group = read_group(rows, group(seq))?;
        group.retain(|fact| fact.seq >= seq);
        *at_hand = group.into_iter();
    }
    let stored = at_hand.next().ok_or_else(|| StoreError::Damaged(format!("record {seq} is missing")))?;
    let right = Entry::after(head, stored.at.clone(), stored.fact.clone());
    if right.hash == stored.hash { Ok(right) } else { Err(StoreError::Damaged(format!("record {seq} was changed"))) }
}

fn group(seq: u64) -> u64 {
    seq.saturating_sub(1) / GROUP
}

fn text(rows: &Overlay<'_>, group: u64) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    for part in 0.. {
        let Some(bytes) = rows.get(&rows::facts(group, part))? else {
            break;
        };
        text.extend(&bytes);
        if bytes.len() < MAX_VALUE {
            break;
        }
    }
    Ok(text)
}

fn read_group(rows: &Overlay<'_>, group: u64) -> Result<Vec<StoredFact>, StoreError> {
    let text = text(rows, group)?;
    let (mut rest, mut facts) = (&text[..], Vec::new());
    for seq in group * GROUP + 1.. {
        if rest.is_empty() {
            break;
        }
        facts.push(StoredFact::read(seq, &mut rest).ok_or_else(|| StoreError::Damaged(format!("record {seq} is cut")))?);
    }
    Ok(facts)
}
