//! The kept stores of earlier schemas (`tests/data/stores`): whatever an earlier shipmate wrote can be read for ever.
//!
//! A kept store is three files that its own version made: the journal, the rows, and the export. A fourth says what that version
//! told of it. While the newest kept schema is today's, the same tests hold without an upgrade.

mod maker;
mod told;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shipmate::store::{Entry, Fact, Healed, Ledger, LedgerError, SCHEMA, StoreError, export_to, import_from};
use tempfile::{TempDir, tempdir};

use super::fixture::{at, said};
use crate::disk::Disk;

/// The file with what the store's own version told of it.
const TOLD: &str = "told.txt";

fn folder_of(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/stores/schema-{schema}"))
}

/// A kept store, and a copy that may be opened.
struct Kept {
    schema: u32,
    copy: TempDir,
}

/// Every schema before today's, and today's once it is kept.
fn kept() -> impl Iterator<Item = Kept> {
    (1..=SCHEMA).filter(|schema| *schema < SCHEMA || folder_of(*schema).exists()).map(Kept::unpack)
}

impl Kept {
    fn unpack(schema: u32) -> Kept {
        let (from, copy) = (folder_of(schema), tempdir().unwrap());
        fs::copy(from.join("journal.jsonl"), copy.path().join("journal.jsonl")).unwrap();
        let mut tar = Command::new("tar");
        assert!(tar.arg("-xzf").arg(from.join("store.tar.gz")).arg("-C").arg(copy.path()).status().unwrap().success());
        Kept { schema, copy }
    }

    fn path(&self) -> &Path {
        self.copy.path()
    }

    fn journal(&self) -> PathBuf {
        self.path().join("journal.jsonl")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(folder_of(self.schema).join(name)).unwrap()
    }

    /// The facts of the export, each as its line stands there.
    fn facts(&self) -> Vec<String> {
        facts(&self.file("export.jsonl"))
    }

    fn records(&self) -> u64 {
        self.facts().len() as u64
    }

    /// What a start does to a store of this schema when nothing is wrong with it.
    fn upgrade(&self) -> Vec<Healed> {
        match self.schema < SCHEMA {
            true => vec![Healed::Upgraded { from: self.schema, records: self.records() }],
            false => Vec::new(),
        }
    }

    /// Opens it; nothing may be missing, and the next start finds nothing to do.
    #[track_caller]
    fn opens(&self) -> Vec<Healed> {
        let (ledger, recovery) = Ledger::open(self.path()).unwrap();
        assert_eq!(told::all(&ledger), self.file(TOLD));
        drop(ledger);
        assert_eq!(facts(&exported(self.path())), self.facts());
        assert_eq!(header(&self.journal()), format!("{{\"shipmate\":\"journal\",\"schema\":{SCHEMA}}}"));
        let (ledger, second) = Ledger::open(self.path()).unwrap();
        assert_eq!(second.story(), None);
        assert_eq!(told::all(&ledger), self.file(TOLD));
        let mut left: Vec<_> = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.retain(|name| !name.to_string_lossy().contains(".corrupt-"));
        left.sort();
        assert_eq!(left, ["journal.jsonl", "lock", "store"], "nothing is left lying about");
        recovery.healed
    }
}

/// All lines but the first and the last.
fn facts(export: &str) -> Vec<String> {
    let lines: Vec<&str> = export.lines().collect();
    lines[1..lines.len() - 1].iter().map(|&line| line.to_owned()).collect()
}

fn exported(folder: &Path) -> String {
    let mut bytes = Vec::new();
    export_to(folder, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn header(journal: &Path) -> String {
    fs::read_to_string(journal).unwrap().lines().next().unwrap().to_owned()
}

/// Every file of a folder with what is in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn the_store_of_each_schema_opens_and_nothing_is_lost() {
    assert!(kept().next().is_some());
    for kept in kept() {
        assert_eq!(kept.opens(), kept.upgrade());
    }
}

#[test]
fn a_kept_store_has_a_bit_of_everything() {
    let export = Kept::unpack(1).file("export.jsonl");
    for fact in ["built", "heard", "answered", "deployment", "room_opened", "posted", "settled"] {
        assert!(export.contains(&format!("\"fact\":{{\"fact\":\"{fact}\"")), "{fact}");
    }
    for event in [
        "requested",
        "action_started",
        "action_done",
        "action_failed",
        "cancel_asked",
        "undo_started",
        "undo_done",
        "undo_failed",
        "mended",
    ] {
        assert!(export.contains(&format!("\"event\":\"{event}\"")), "{event}");
    }
    for action in ["preflight", "pull", "task", "leave", "drain", "stop", "start", "healthy", "join", "wait", "record", "prune"] {
        assert!(export.contains(&format!("\"do\":\"{action}\"")), "{action}");
    }
    assert!(export.contains("\"completes\":"), "a build that a second notice completes");
}

#[test]
fn an_old_fact_says_the_same_when_it_is_read_and_written_again() {
    for kept in kept() {
        for line in kept.facts() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let fact: Fact = serde_json::from_value(line["fact"].clone()).unwrap();
            // Hashes of plans are taken from what is written again: neither a lost field nor a new one may show.
            assert_eq!(serde_json::to_value(&fact).unwrap(), line["fact"]);
        }
    }
}

#[test]
fn an_old_export_and_an_old_journal_can_be_imported() {
    for kept in kept() {
        for file in ["export.jsonl", "journal.jsonl"] {
            let there = tempdir().unwrap();
            let imported = import_from(there.path(), kept.file(file).as_bytes()).unwrap();
            assert_eq!(imported.facts, kept.records());
            assert_eq!(facts(&exported(there.path())), kept.facts());
            assert_eq!(told::all(&Ledger::open(there.path()).unwrap().0), kept.file(TOLD));
        }
    }
}

#[tokio::test]
async fn after_an_upgrade_old_and_new_facts_stand_in_one_journal() {
    for kept in kept() {
        let (ledger, _) = Ledger::open(kept.path()).unwrap();
        ledger.heard(said("new", "!apps"), at(0)).await.unwrap();
        let new = told::all(&ledger);
        drop(ledger);
        let lines = fs::read_to_string(kept.journal()).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[1..lines.len() - 1], kept.facts());
        fs::remove_dir_all(kept.path().join("store")).unwrap();
        let (ledger, recovery) = Ledger::open(kept.path()).unwrap();
        assert!(matches!(recovery.healed[..], [Healed::StoreRebuilt { .. }]), "{:?}", recovery.story());
        assert_eq!(told::all(&ledger), new);
    }
}

#[test]
fn old_rows_that_are_damaged_are_made_anew() {
    for kept in kept() {
        let db = kept.path().join("store/db");
        let length = fs::metadata(&db).unwrap().len();
        fs::write(&db, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
        let healed = kept.opens();
        assert!(matches!(healed[..], [Healed::StoreRebuilt { kept: Some(_), .. }]), "{healed:?}");
        fs::remove_dir_all(kept.path().join("store")).unwrap();
        let healed = kept.opens();
        assert!(matches!(healed[..], [Healed::StoreRebuilt { kept: None, .. }]), "{healed:?}");
    }
}

#[test]
fn what_only_the_old_rows_have_is_taken_from_them() {
    for kept in kept() {
        let journal = kept.file("journal.jsonl");
        let cut = journal.lines().rev().take(5).map(|line| line.len() + 1).sum::<usize>();
        fs::write(kept.journal(), &journal[..journal.len() - cut]).unwrap();
        let caught_up = vec![Healed::JournalCaughtUp { records: 5 }];
        assert_eq!(kept.opens(), [caught_up, kept.upgrade()].concat());

        let kept = Kept::unpack(kept.schema);
        fs::remove_file(kept.journal()).unwrap();
        let healed = kept.opens();
        assert!(matches!(healed[0], Healed::JournalRebuilt { kept: None, .. }), "{healed:?}");
        assert_eq!(healed[1..], kept.upgrade());
    }
}

#[tokio::test]
async fn what_only_the_journal_has_is_taken_from_it() {
    for kept in kept() {
        let (ledger, _) = Ledger::open(kept.path()).unwrap();
        ledger.heard(said("new", "!apps"), at(0)).await.unwrap();
        let new = told::all(&ledger);
        drop(ledger);
        let older = Kept::unpack(kept.schema);
        fs::copy(kept.journal(), older.journal()).unwrap();
        let (ledger, recovery) = Ledger::open(older.path()).unwrap();
        assert!(recovery.is_alarming(), "{:?}", recovery.story());
        assert_eq!(told::all(&ledger), new);
    }
}

#[test]
fn an_upgrade_that_was_broken_off_is_begun_again() {
    for kept in kept() {
        let unfinished = kept.path().join("store.unfinished");
        fs::create_dir_all(unfinished.join("store")).unwrap();
        fs::write(unfinished.join("store/db"), "half").unwrap();
        assert_eq!(kept.opens(), kept.upgrade());

        // After the journal's first line was raised, and before the new rows took the place of the old ones.
        let kept = Kept::unpack(kept.schema);
        let (old, new) = (format!("\"schema\":{}", kept.schema), format!("\"schema\":{SCHEMA}"));
        fs::write(kept.journal(), kept.file("journal.jsonl").replacen(&old, &new, 1)).unwrap();
        assert_eq!(kept.opens(), kept.upgrade());

        // In the moment in which there are none.
        let kept = Kept::unpack(kept.schema);
        fs::create_dir(kept.path().join("store.unfinished")).unwrap();
        fs::rename(kept.path().join("store"), kept.path().join("store.unfinished/older")).unwrap();
        let healed = kept.opens();
        assert!(matches!(healed[..], [Healed::StoreRebuilt { kept: None, .. }]), "{healed:?}");
    }
}

#[test]
fn an_upgrade_that_lacks_space_leaves_all_as_it_was() {
    // Where nothing is upgraded nothing is made anew.
    for kept in kept().filter(|kept| kept.schema < SCHEMA) {
        let disk = Disk::new(16);
        assert!(Command::new("cp").arg("-a").arg(kept.path()).arg(disk.data()).status().unwrap().success());
        // With nothing left the old rows can't even be opened; with a little the new ones are begun.
        for kib in [0, 64, 256] {
            disk.fill_all_but(kib);
            let refused = Ledger::open(&disk.data()).unwrap_err();
            assert!(matches!(refused, LedgerError::Store(StoreError::Full(_))), "{kib} KiB: {refused}");
            assert!(fs::read_to_string(disk.data().join("journal.jsonl")).unwrap() == kept.file("journal.jsonl"));
            let mut left: Vec<_> = fs::read_dir(disk.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["journal.jsonl", "lock", "store"], "{kib} KiB");
            disk.free();
        }
        let (ledger, recovery) = Ledger::open(&disk.data()).unwrap();
        assert_eq!(recovery.healed, kept.upgrade());
        assert_eq!(told::all(&ledger), kept.file(TOLD));
    }
}

/// Appends a line whose hash is right and whose fact nobody knows.
fn append_unknown_fact(journal: &Path) -> u64 {
    let text = fs::read_to_string(journal).unwrap();
    let mut head = shipmate::store::Head::GENESIS;
    for line in text.lines().skip(1) {
        head = Entry::read(line.as_bytes(), head).unwrap().head();
    }
    let entry = Entry::after(head, at(0).to_string(), r#"{"fact":"dreamt","of":"sheep"}"#.into());
    let mut line = Vec::new();
    entry.write(&mut line);
    OpenOptions::new().append(true).open(journal).unwrap().write_all(&line).unwrap();
    entry.seq
}

#[test]
fn a_fact_of_an_unknown_kind_is_refused_and_all_is_left_as_it_was() {
    for kept in kept() {
        let seq = append_unknown_fact(&kept.journal());
        let before = fs::read(kept.journal()).unwrap();
        for gone in [false, true] {
            if gone {
                fs::remove_dir_all(kept.path().join("store")).unwrap();
            }
            let refused = Ledger::open(kept.path()).unwrap_err();
            assert!(matches!(refused, LedgerError::Store(StoreError::UnknownFact { .. })), "{refused}");
            assert!(refused.to_string().contains(&format!("record {seq} is of an unknown kind")), "{refused}");
            assert!(refused.to_string().ends_with("install that version again"), "{refused}");
            assert!(fs::read(kept.journal()).unwrap() == before);
            assert_eq!(kept.path().join("store").exists(), !gone);
        }
    }
}

#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let newer = SCHEMA + 1;
    for kept in kept() {
        Ledger::open(kept.path()).unwrap();
        let journal = fs::read_to_string(kept.journal()).unwrap();
        fs::write(kept.journal(), journal.replacen(&format!("\"schema\":{SCHEMA}"), &format!("\"schema\":{newer}"), 1)).unwrap();
        let before = files(kept.path());
        let refused = Ledger::open(kept.path()).unwrap_err().to_string();
        let why = format!("was written by a newer shipmate (schema {newer}; this one knows {SCHEMA}): install that version again");
        assert!(refused.ends_with(&why), "{refused}");
        assert!(files(kept.path()) == before);
    }
}
