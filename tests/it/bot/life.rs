//! A life of the bot: a ledger of its own over the store that all lives share. When the bot is killed its ledger fails, so that
//! what it did beside its main task (deployments, the gate, the rooms) ends with it and doesn't go on in the next life's stead.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use shipmate::domain::message::RoomId;
use shipmate::store::{Change, Direction, Key, Ledger, MemoryStore, Store, StoreError};

use super::time::at_rest;

/// The store as one life has it.
struct Lent {
    inner: Arc<MemoryStore>,
    over: AtomicBool,
}

impl Store for Lent {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.inner.scan(range, direction, limit)
    }

    fn write(&self, changes: Vec<Change>, lines: &[u8]) -> Result<(), StoreError> {
        if self.over.load(Ordering::SeqCst) {
            return Err(StoreError::Io { path: "the store".into(), why: "the bot was killed".into() });
        }
        self.inner.write(changes, lines)
    }

    fn distrust(&self, _why: &str) {}
}

/// A life, to be ended.
pub struct Life(Arc<Lent>);

impl Life {
    /// The first one, on a new store.
    pub fn first() -> (Life, Ledger) {
        Life::on(Arc::default())
    }

    fn on(inner: Arc<MemoryStore>) -> (Life, Ledger) {
        let lent = Arc::new(Lent { inner, over: AtomicBool::new(false) });
        let ledger = Ledger::over(lent.clone()).unwrap();
        (Life(lent), ledger)
    }

    /// Ends it when its ledger has written what it was handed so far; the next one.
    pub async fn end(&self, ledger: &Ledger) -> (Life, Ledger) {
        at_rest(ledger).await;
        self.0.over.store(true, Ordering::SeqCst);
        // A write that fails wakes everybody who waits for the ledger, and they find it dead.
        ledger.open_room(RoomId("nowhere".into()), Timestamp::UNIX_EPOCH).await.unwrap_err();
        Life::on(self.0.inner.clone())
    }
}
