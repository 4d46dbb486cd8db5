//! The hash chain: what a line of the journal is, and how a line proves that it follows the one before.
//!
//! A line is one JSON object, its fields always in this order:
//!
//! ```text
//! {"seq":7,"at":"2026-11-03T10:11:12.345Z","prev":"<64 hex>","hash":"<64 hex>","fact":{...}}
//! ```
//!
//! and its hash is over text that stands in the line, byte by byte, so that it can be checked without knowing the facts, with
//! nothing but `sha256sum`, and for lines that an older or newer shipmate wrote:
//!
//! ```text
//! hash = sha256(prev LF seq LF at LF fact)
//! ```
//!
//! where `prev` is the hash of the line before in hexadecimal (64 zeros before the first), LF is a line feed, and `fact` is the
//! JSON of the fact exactly as it stands in the line. `seq` counts from 1 without a gap.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Fact;

/// A SHA-256, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub(super) [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Hash, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Hash(bytes))
    }
}

/// The newest fact: its place in the chain and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its place, counted from 1; 0 = nothing happened yet.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// The head of an empty chain.
    pub const GENESIS: Head = Head { seq: 0, hash: Hash([0; 32]) };
}

/// As rooms are told and `shipmate audit` is asked: `SEQ:HASH`.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A text that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a head is SEQ:HASH as the room was told: the record's number, a colon, and 64 hexadecimal digits")]
pub struct InvalidHead;

impl FromStr for Head {
    type Err = InvalidHead;
    fn from_str(text: &str) -> Result<Head, InvalidHead> {
        let (seq, hash) = text.split_once(':').ok_or(InvalidHead)?;
        let head = Head {
            seq: seq.parse().map_err(|_| InvalidHead)?,
            hash: hash.to_owned().try_into().map_err(|_: hex::FromHexError| InvalidHead)?,
        };
        // There is no record 0, so there would be nothing to compare with.
        if head.seq == 0 && head != Head::GENESIS { Err(InvalidHead) } else { Ok(head) }
    }
}

/// One link of the chain: a fact, when it happened, and the proof of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, counted from 1.
    pub seq: u64,
    /// When it was recorded, as it stands in the line.
    pub at: String,
    /// The hash of the entry before.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
    /// The fact's JSON, as it stands in the line.
    pub fact: String,
}

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} {why}")]
pub struct BrokenChain {
    /// The place of the first record that isn't right.
    pub seq: u64,
    /// What is wrong with it.
    pub why: String,
}

/// The JSON of a line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    seq: u64,
    at: String,
    prev: Hash,
    hash: Hash,
    #[serde(borrow)]
    fact: &'a RawValue,
}

impl Entry {
    /// The entry that follows `head`.
    pub fn after(head: Head, at: String, fact: String) -> Entry {
        let seq = head.seq + 1;
        Entry { seq, hash: link(head.hash, seq, &at, &fact), at, prev: head.hash, fact }
    }

    /// The entry that follows `head`, read from its line.
    ///
    /// # Errors
    /// When the line isn't one, or is another one, or was changed.
    pub fn read(line: &[u8], head: Head) -> Result<Entry, BrokenChain> {
        let seq = head.seq + 1;
        let broken = |why: String| BrokenChain { seq, why };
        let entry = Entry::read_alone(line).map_err(broken)?;
        if entry.seq != seq {
            return Err(broken(format!("is missing: {} stands in its place", entry.seq)));
        }
        if entry.prev != head.hash {
            return Err(broken("doesn't follow the record before it".to_owned()));
        }
        Ok(entry)
    }

    /// An entry whose predecessor isn't known; only its own hash is checked.
    pub(super) fn read_alone(line: &[u8]) -> Result<Entry, String> {
        let Line { seq, at, prev, hash, fact } =
            serde_json::from_slice(line).map_err(|error| format!("is not a record ({error})"))?;
        if hash != link(prev, seq, &at, fact.get()) {
            return Err("was changed: its hash doesn't fit".to_owned());
        }
        let entry = Entry { seq, at, prev, hash, fact: fact.get().to_owned() };
        // What the hash doesn't cover (a field more, the case of a digit) isn't free either.
        let mut written = Vec::with_capacity(line.len() + 1);
        entry.write(&mut written);
        if written.strip_suffix(b"\n") == Some(line.strip_suffix(b"\n").unwrap_or(line)) {
            Ok(entry)
        } else {
            Err("was changed: it isn't written as shipmate writes it".to_owned())
        }
    }

    /// Appends the line, with its line feed.
    pub fn write(&self, to: &mut Vec<u8>) {
        // Neither a timestamp nor a hash has anything to escape, and the fact is JSON already.
        let Entry { seq, at, prev, hash, fact } = self;
        to.extend(format!("{{\"seq\":{seq},\"at\":\"{at}\",\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"fact\":{fact}}}\n").bytes());
    }

    /// Where the chain is with this entry as its newest.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// What happened, and when.
    ///
    /// # Errors
    /// When this shipmate doesn't know such a fact.
    pub fn open(&self) -> Result<(Timestamp, Fact), BrokenChain> {
        let broken = |why: String| BrokenChain { seq: self.seq, why };
        let at = self.at.parse().map_err(|error| broken(format!("has no valid time ({error})")))?;
        let fact = serde_json::from_str(&self.fact).map_err(|error| broken(format!("is of an unknown kind ({error})")))?;
        Ok((at, fact))
    }
}

fn link(prev: Hash, seq: u64, at: &str, fact: &str) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(prev.to_string());
    hasher.update(format!("\n{seq}\n{at}\n"));
    hasher.update(fact);
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_checked_with_sha256sum() {
        let entry =
            Entry::after(Head::GENESIS, "2026-11-03T10:11:12Z".into(), r#"{"fact":"room_opened","room":"terminal"}"#.into());
        let text = format!("{}\n1\n2026-11-03T10:11:12Z\n{}", "0".repeat(64), entry.fact);
        assert_eq!(entry.hash.to_string(), hex::encode(Sha256::digest(text)));
    }

    #[test]
    fn a_head_reads_back() {
        let hash = Entry::after(Head::GENESIS, "2026-11-03T10:11:12Z".into(), "{}".into()).hash;
        let head = Head { seq: 1047, hash };
        assert_eq!(head.to_string(), format!("1047:{hash}"));
        assert_eq!(head.to_string().parse(), Ok(head));
        assert_eq!(Head::GENESIS.to_string().parse(), Ok(Head::GENESIS));
        for text in ["", "7", ":", "7:", &format!("x:{hash}"), &format!("7:{hash}0"), &format!("7: {hash}"), &format!("0:{hash}")] {
            assert_eq!(text.parse::<Head>(), Err(InvalidHead), "{text}");
        }
    }

    #[test]
    fn a_line_reads_back_and_any_change_is_noticed() {
        let entry =
            Entry::after(Head::GENESIS, "2026-11-03T10:11:12Z".into(), r#"{"fact":"room_opened","room":"terminal"}"#.into());
        let mut line = Vec::new();
        entry.write(&mut line);
        assert_eq!(Entry::read(&line, Head::GENESIS).as_ref(), Ok(&entry));
        assert_eq!(Entry::read(&line, entry.head()).unwrap_err().seq, 2);
        for (place, bit) in (0..line.len() - 1).flat_map(|place| [(place, 1), (place, 0x20)]) {
            let mut changed = line.clone();
            changed[place] ^= bit;
            assert!(Entry::read(&changed, Head::GENESIS).is_err(), "byte {place}");
        }
        let text = String::from_utf8(line).unwrap();
        for changed in [text.replacen('{', "{\"by\":\"me\",", 1), text.replacen(',', ", ", 1), text.replacen("T10", "\\u005410", 1)]
        {
            let said = Entry::read(changed.as_bytes(), Head::GENESIS).unwrap_err().to_string();
            assert_eq!(said, "record 1 was changed: it isn't written as shipmate writes it", "{changed}");
        }
    }
}
