//! The rows as they will be once the facts at hand are written: pending changes above a store.
//!
//! It also keeps the sum of all rows up to date: a hash of each row, added up, so that the order of the changes doesn't matter.
//! A store that lost a row, or shows an old one again, has another sum; sled itself doesn't notice such a loss.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rows;
use super::{Change, Key, Store, StoreError};

/// How many rows there are, and the sum of their hashes; the row that holds the sum isn't counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RowSum {
    pub rows: u64,
    #[serde(with = "hexadecimal")]
    pub sum: u128,
}

impl RowSum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update((key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let digest: [u8; 32] = hasher.finalize().into();
    digest[..16].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// JSON's numbers are too small for the sum.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(sum: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{sum:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(D::Error::custom)
    }
}

/// A row before and after.
struct Pending {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// Pending changes above a store.
pub(super) struct Overlay<'a> {
    store: &'a dyn Store,
    rows: BTreeMap<Key, Pending>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Overlay { store, rows: BTreeMap::new() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.rows.get(key) {
            Some(pending) => Ok(pending.after.clone()),
            None => self.store.get(key),
        }
    }

    pub(super) fn get_json<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(key)?.map(|value| rows::read_json(&value)).transpose()
    }

    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) -> Result<(), StoreError> {
        self.change(key, Some(value))
    }

    pub(super) fn put_json<T: Serialize>(&mut self, key: Key, value: &T) -> Result<(), StoreError> {
        self.put(key, rows::json(value)?)
    }

    pub(super) fn remove(&mut self, key: Key) -> Result<(), StoreError> {
        self.change(key, None)
    }

    /// What is to be written, and the sum of all rows after that.
    pub(super) fn into_changes(self, mut sum: RowSum) -> (Vec<Change>, RowSum) {
        let changed = self.rows.into_iter().filter(|(_, row)| row.before != row.after);
        let changes = changed.map(|(key, row)| {
            if let Some(value) = &row.before {
                sum.take(&key, value);
            }
            if let Some(value) = &row.after {
                sum.add(&key, value);
            }
            (key, row.after)
        });
        (changes.collect(), sum)
    }

    fn change(&mut self, key: Key, after: Option<Vec<u8>>) -> Result<(), StoreError> {
        if let Some(pending) = self.rows.get_mut(&key) {
            pending.after = after;
            return Ok(());
        }
        let before = self.store.get(&key)?;
        self.rows.insert(key, Pending { before, after });
        Ok(())
    }
}
