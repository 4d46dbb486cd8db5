//! When the disk doesn't do what it should, or can't be used at all.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use shipmate::store::{Change, Direction, Key, Ledger, LedgerError, MemoryStore, SCHEMA, SledStore, Store, StoreError};
use tempfile::tempdir;

use super::fixture::*;

/// A store that can be told to fail.
#[derive(Default)]
struct Failing {
    rows: MemoryStore,
    writes: AtomicBool,
    reads: AtomicBool,
    distrusted: AtomicBool,
}

impl Store for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.reads.load(Ordering::SeqCst) {
            true => Err(StoreError::Damaged("as told".into())),
            false => self.rows.get(key),
        }
    }

    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.rows.scan(range, direction, limit)
    }

    fn write(&self, changes: Vec<Change>, lines: &[u8]) -> Result<(), StoreError> {
        match self.writes.load(Ordering::SeqCst) {
            true => Err(StoreError::Full(PathBuf::from("/data"))),
            false => self.rows.write(changes, lines),
        }
    }

    fn distrust(&self, _why: &str) {
        self.distrusted.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_failed_write_is_the_end() {
    let store = Arc::new(Failing::default());
    let ledger = Ledger::over(store.clone()).unwrap();
    let id = request(&ledger, deploy(1, None)).await;
    let mut woken = ledger.subscribe();
    store.writes.store(true, Ordering::SeqCst);
    let error = ledger.deployment(id, started(TASK), at(1)).await.unwrap_err();
    assert!(error.to_string().contains("the disk of /data is full"), "{error}");
    store.writes.store(false, Ordering::SeqCst);
    assert!(matches!(ledger.deployment(id, started(START), at(1)).await, Err(LedgerError::Failed(_))));
    assert!(matches!(ledger.state(id), Err(LedgerError::Failed(_))), "what is durable isn't known");
    assert!(ledger.trouble().is_some() && ledger.health().failure.is_some());
    woken.changed().await.unwrap();
    drop(ledger);
    let ledger = Ledger::over(store).unwrap();
    assert_eq!(ledger.events(id).unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_row_is_the_end_and_noted_for_the_next_start() {
    for by_writer in [true, false] {
        let store = Arc::new(Failing::default());
        let ledger = Ledger::over(store.clone()).unwrap();
        store.reads.store(true, Ordering::SeqCst);
        if by_writer {
            assert!(ledger.heard(said("1", "!apps"), at(0)).await.is_err());
        } else {
            assert!(matches!(
                ledger.summary(shipmate::domain::names::DeploymentId(1)),
                Err(LedgerError::Store(StoreError::Damaged(_)))
            ));
            assert!(store.distrusted.load(Ordering::SeqCst));
        }
        store.reads.store(false, Ordering::SeqCst);
        assert!(matches!(ledger.heard(said("2", "!apps"), at(0)).await, Err(LedgerError::Failed(_))));
    }
}

#[tokio::test]
async fn a_second_bot_on_the_same_store_is_refused() {
    let folder = tempdir().unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    let refused = Ledger::open(folder.path()).unwrap_err();
    assert_eq!(refused, LedgerError::Store(StoreError::Locked(folder.path().to_owned())));
    assert!(refused.to_string().starts_with("another shipmate runs on "), "{refused}");
    ledger.heard(said("1", "!apps"), at(0)).await.unwrap();
    for _ in 0..20 {
        drop(Ledger::open(folder.path()).unwrap_err());
    }
    drop(ledger);
    assert_eq!(Ledger::open(folder.path()).unwrap().0.inbox().unwrap().len(), 1);
}

#[tokio::test]
async fn a_folder_that_cant_be_used_is_named_with_the_way_out() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = Ledger::open(&file).unwrap_err().to_string();
    assert!(refused.contains("is not a folder"), "{refused}");
    let refused = Ledger::open(&file.join("below")).unwrap_err().to_string();
    assert!(refused.contains("is not a folder"), "{refused}");

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere; then there is nothing to see here.
    if fs::write(closed.join("probe"), "").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        let refused = Ledger::open(&closed).unwrap_err().to_string();
        assert!(refused.contains("no permission for"), "{refused}");
    }
}

#[tokio::test]
async fn a_newer_store_is_refused() {
    let folder = tempdir().unwrap();
    drop(Ledger::open(folder.path()).unwrap());
    let journal = folder.path().join("journal.jsonl");
    fs::write(&journal, "{\"shipmate\":\"journal\",\"schema\":99}\n").unwrap();
    let refused = Ledger::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains(&format!("was written by a newer shipmate (schema 99; this one knows {SCHEMA})")), "{refused}");
    // The rows alone say it too: the journal may be an older copy that someone put back.
    let folder = tempdir().unwrap();
    let (store, _) = SledStore::open(folder.path()).unwrap();
    store.write(vec![(b"mhead".to_vec(), Some(br#"{"schema":99,"in":"another form"}"#.to_vec()))], b"").unwrap();
    drop(store);
    let refused = Ledger::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("was written by a newer shipmate (schema 99;"), "{refused}");
    assert!(refused.ends_with("install that version again"), "{refused}");
}
