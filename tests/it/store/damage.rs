//! Damage to the files: whatever is broken, nothing that was acknowledged is lost, and the start tells what it did.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use shipmate::store::{Direction, Healed, Key, Ledger, LedgerError, SledStore, Store as _, StoreError};
use tempfile::{TempDir, tempdir};

use super::fixture::*;

/// A store with some history, closed.
async fn store() -> (TempDir, Vec<(Key, Vec<u8>)>) {
    let folder = tempdir().unwrap();
    let (ledger, recovery) = Ledger::open(folder.path()).unwrap();
    assert_eq!(recovery.story(), None);
    ledger.open_room(room(), at(0)).await.unwrap();
    for number in 1..=20 {
        ledger.built(build(number), vec![number.to_string()], at(0)).await.unwrap();
        let id = request(&ledger, deploy(number, number.checked_sub(1))).await;
        match number % 5 {
            0 => undo(&ledger, id).await,
            _ => succeed(&ledger, id).await,
        };
    }
    let id = request(&ledger, deploy(99, Some(19))).await;
    ledger.deployment(id, started(TASK), at(1)).await.unwrap();
    drop(ledger);
    // Looked at in a copy: sled moves its tail at each start.
    let other = tempdir().unwrap();
    copy(folder.path(), other.path());
    let rows = rows(other.path());
    (folder, rows)
}

fn rows(folder: &Path) -> Vec<(Key, Vec<u8>)> {
    let (store, recovery) = SledStore::open(folder).unwrap();
    assert_eq!(recovery.story(), None, "opened twice, the second time all is well");
    store.scan(Vec::new()..vec![255], Direction::Forward, usize::MAX).unwrap()
}

/// Opens a damaged store, and returns what was healed once everything is as it was.
fn heal(folder: &Path, whole: &[(Key, Vec<u8>)]) -> Vec<Healed> {
    let (ledger, recovery) = Ledger::open(folder).unwrap();
    drop(ledger);
    assert!(rows(folder) == whole, "{:?}", recovery.story());
    recovery.healed
}

fn db(folder: &Path) -> PathBuf {
    folder.join("store/db")
}

/// Where sled's data ends; the file is longer.
fn end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_store_that_is_gone_is_made_anew_from_the_journal() {
    let (folder, whole) = store().await;
    for gone in ["store", "store/db"] {
        match gone {
            "store" => fs::remove_dir_all(folder.path().join(gone)).unwrap(),
            _ => fs::remove_file(folder.path().join(gone)).unwrap(),
        }
        let healed = heal(folder.path(), &whole);
        assert!(matches!(&healed[..], [Healed::StoreRebuilt { kept, .. }] if kept.is_some() == (gone != "store")), "{healed:?}");
    }
}

#[tokio::test]
async fn a_cut_or_changed_tail_of_the_store_is_healed() {
    for size in [1, 100, 4096, 60_000] {
        let (folder, whole) = store().await;
        change(&db(folder.path()), |bytes| bytes.truncate(end(bytes) - size));
        heal(folder.path(), &whole);
    }
    for back in [10, 700, 3000, 30_000] {
        let (folder, whole) = store().await;
        change(&db(folder.path()), |bytes| {
            let place = end(bytes) - back;
            bytes[place] ^= 0x10;
        });
        heal(folder.path(), &whole);
    }
}

#[tokio::test]
async fn damage_in_the_middle_of_the_store_is_healed() {
    for part in 0..16 {
        let (folder, whole) = store().await;
        if part % 2 == 0 {
            // With a snapshot sled believes in pages that it hasn't read.
            rows(folder.path());
        }
        change(&db(folder.path()), |bytes| {
            let place = end(bytes) * part / 16;
            bytes[place..place + 2048].fill(0);
        });
        let healed = heal(folder.path(), &whole);
        if let [Healed::StoreRebuilt { kept: Some(kept), records, .. }] = &healed[..] {
            assert!(kept.starts_with(folder.path()) && kept.join("db").exists());
            assert!(*records > 150);
        }
    }
    let (folder, whole) = store().await;
    change(&db(folder.path()), |bytes| bytes.fill(0x5a));
    assert!(!heal(folder.path(), &whole).is_empty());
}

#[tokio::test]
async fn an_unfinished_line_is_cut_off() {
    let (folder, whole) = store().await;
    let journal = folder.path().join("journal.jsonl");
    let before = fs::read(&journal).unwrap();
    OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"{\"seq\":9999,\"at\":\"20").unwrap();
    assert_eq!(heal(folder.path(), &whole), [Healed::TornLine { bytes: 20 }]);
    assert_eq!(fs::read(&journal).unwrap(), before);
}

#[tokio::test]
async fn a_journal_that_is_behind_catches_up() {
    let (folder, whole) = store().await;
    let journal = folder.path().join("journal.jsonl");
    let before = fs::read(&journal).unwrap();
    let ends: Vec<usize> = before.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1).collect();
    for lost in [1, 7, ends.len() - 1] {
        fs::write(&journal, &before[..ends[ends.len() - 1 - lost]]).unwrap();
        assert_eq!(heal(folder.path(), &whole), [Healed::JournalCaughtUp { records: lost as u64 }]);
        assert_eq!(fs::read(&journal).unwrap(), before);
    }
}

#[tokio::test]
async fn a_store_that_is_behind_catches_up() {
    let (folder, _) = store().await;
    let older = tempdir().unwrap();
    copy(&folder.path().join("store"), &older.path().join("store"));
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    for number in 1..=5 {
        ledger.heard(said(&number.to_string(), "!apps"), at(0)).await.unwrap();
    }
    drop(ledger);
    let whole = rows(folder.path());
    fs::remove_dir_all(folder.path().join("store")).unwrap();
    copy(&older.path().join("store"), &folder.path().join("store"));
    assert_eq!(heal(folder.path(), &whole), [Healed::StoreCaughtUp { records: 5 }]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_or_changed_is_made_anew_from_the_store() {
    let (folder, whole) = store().await;
    let journal = folder.path().join("journal.jsonl");
    let before = fs::read(&journal).unwrap();
    fs::remove_file(&journal).unwrap();
    assert!(matches!(&heal(folder.path(), &whole)[..], [Healed::JournalRebuilt { kept: None, .. }]));
    assert_eq!(fs::read(&journal).unwrap(), before);
    for place in [before.len() / 2, before.len() - 300] {
        change(&journal, |bytes| bytes[place] ^= 1);
        assert!(matches!(&heal(folder.path(), &whole)[..], [Healed::JournalRebuilt { kept: Some(_), .. }]));
        assert_eq!(fs::read(&journal).unwrap(), before);
    }
}

#[tokio::test]
async fn damage_to_both_is_told_and_nothing_is_touched() {
    let (folder, _) = store().await;
    let journal = folder.path().join("journal.jsonl");
    change(&journal, |bytes| {
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
    });
    change(&db(folder.path()), |bytes| bytes.fill(0x5a));
    let left = fs::read(&journal).unwrap();
    for _ in 0..2 {
        let LedgerError::Store(error @ StoreError::Lost { .. }) = Ledger::open(folder.path()).unwrap_err() else { panic!() };
        assert!(error.to_string().contains("the journal: record "), "{error}");
        assert_eq!(fs::read(&journal).unwrap(), left);
        assert!(db(folder.path()).exists());
    }
}

#[tokio::test]
async fn a_half_written_snapshot_is_removed() {
    let (folder, whole) = store().await;
    let snapshot = folder.path().join("store/snap.00000000000FFFFF.generating");
    fs::write(&snapshot, "half").unwrap();
    assert_eq!(heal(folder.path(), &whole), []);
    assert!(!snapshot.exists());
}

#[tokio::test]
async fn no_row_is_in_a_file_of_its_own() {
    let (folder, _) = store().await;
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    let mut plan = deploy(1, None);
    plan.environment = "staging".parse().unwrap();
    plan.warnings = vec!["x".repeat(1 << 20)];
    request(&ledger, plan).await;
    assert_eq!(ledger.trouble(), None);
    assert_eq!(fs::read_dir(folder.path().join("store/blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unfinished_deployment_goes_on_after_a_start() {
    let (folder, _) = store().await;
    fs::remove_dir_all(folder.path().join("store")).unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    let [id] = ledger.open_deployments().unwrap()[..] else { panic!() };
    assert_eq!(ledger.state(id).unwrap().unwrap().in_flight().collect::<Vec<_>>(), [TASK]);
    ledger.deployment(id, done(TASK), at(2)).await.unwrap();
    assert_eq!(ledger.events(id).unwrap().len(), 3);
}
