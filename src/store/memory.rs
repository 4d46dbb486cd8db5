//! The store that forgets: for tests and for trying things out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use super::{Change, Direction, Key, MAX_VALUE, Store, StoreError};

/// Rows in memory; the journal's lines go nowhere.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<BTreeMap<Key, Vec<u8>>>,
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let rows = rows.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => rows.take(limit).collect(),
            Direction::Backward => rows.rev().take(limit).collect(),
        })
    }

    fn write(&self, changes: Vec<Change>, _lines: &[u8]) -> Result<(), StoreError> {
        if let Some(length) = changes.iter().filter_map(|(_, value)| Some(value.as_ref()?.len())).find(|length| *length > MAX_VALUE)
        {
            return Err(StoreError::TooLong(length));
        }
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn distrust(&self, _why: &str) {}
}
