//! Export and import: the same history on the other side, or a clear refusal and nothing at all.

use std::fs;
use std::path::Path;

use shipmate::store::{
    Direction, Key, Ledger, SCHEMA, SledStore, Store as _, TransferError, export, export_to, import, import_from,
};
use tempfile::{TempDir, tempdir};

use super::fixture::*;

async fn fill(ledger: &Ledger) {
    ledger.open_room(room(), at(0)).await.unwrap();
    for number in 1..=5 {
        ledger.built(build(number), vec![number.to_string()], at(0)).await.unwrap();
        ledger.heard(said(&number.to_string(), "!deploy blog"), at(0)).await.unwrap();
        let id = request(ledger, deploy(number, None)).await;
        succeed(ledger, id).await;
    }
}

async fn store() -> TempDir {
    let folder = tempdir().unwrap();
    fill(&Ledger::open(folder.path()).unwrap().0).await;
    folder
}

fn exported(folder: &Path) -> String {
    let mut bytes = Vec::new();
    export_to(folder, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rows(folder: &Path) -> Vec<(Key, Vec<u8>)> {
    SledStore::open(folder).unwrap().0.scan(Vec::new()..vec![255], Direction::Forward, usize::MAX).unwrap()
}

fn refused(text: &str) -> String {
    let folder = tempdir().unwrap();
    let error = import_from(folder.path(), text.as_bytes()).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
    error.to_string()
}

#[tokio::test]
async fn history_comes_back_the_same() {
    let (here, there) = (store().await, tempdir().unwrap());
    let file = there.path().join("history.jsonl");
    let out = export(here.path(), Some(&file)).unwrap();
    assert_eq!((out.builds, out.deployments, out.messages), (5, 5, 5));
    let folder = there.path().join("data");
    assert_eq!(import(&folder, Some(&file)).unwrap(), out);
    assert_eq!(exported(&folder), fs::read_to_string(&file).unwrap());
    assert!(rows(&folder) == rows(here.path()));
    assert_eq!(fs::read(folder.join("journal.jsonl")).unwrap(), fs::read(here.path().join("journal.jsonl")).unwrap());
}

#[tokio::test]
async fn a_running_bot_can_be_exported_from() {
    let folder = tempdir().unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    fill(&ledger).await;
    let running = exported(folder.path());
    drop(ledger);
    assert_eq!(running, exported(folder.path()));
}

#[tokio::test]
async fn a_copy_of_a_journal_can_be_imported_even_if_its_last_line_is_cut() {
    let (here, there) = (store().await, tempdir().unwrap());
    let journal = fs::read(here.path().join("journal.jsonl")).unwrap();
    import_from(there.path(), &journal[..]).unwrap();
    assert!(rows(there.path()) == rows(here.path()));
    let there = tempdir().unwrap();
    let whole = Ledger::open(here.path()).unwrap().0.head().seq;
    assert_eq!(import_from(there.path(), &journal[..journal.len() - 9]).unwrap().facts, whole - 1);
}

#[tokio::test]
async fn what_isnt_whole_is_refused_and_leaves_nothing() {
    let whole = exported(store().await.path());
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    assert!(refused(&cut).starts_with("the export is cut: it ends after record "), "{}", refused(&cut));
    let last = lines[lines.len() - 1];
    let shorter = [&lines[..lines.len() - 2], &[last, ""]].concat().join("\n");
    assert!(refused(&shorter).starts_with("the export's last line speaks of "), "{}", refused(&shorter));
    let gap = [&lines[..5], &lines[6..]].concat().join("\n") + "\n";
    assert!(refused(&gap).starts_with("record 5 is missing: 6 stands in its place"), "{}", refused(&gap));
    let changed = whole.replacen("build-3", "build-4", 1);
    assert!(refused(&changed).contains("was changed: its hash doesn't fit"), "{}", refused(&changed));
    assert!(refused("").contains("the file is empty"), "{}", refused(""));
    assert!(refused("hello\n").contains("doesn't say that the file is shipmate's"), "{}", refused("hello\n"));
    let newer = whole.replacen(&format!("\"schema\":{SCHEMA}"), "\"schema\":99", 1);
    assert!(refused(&newer).contains("newer shipmate (schema 99"), "{}", refused(&newer));
    let more = format!("{whole}{}\n", lines[1]);
    let stray = format!("record {} stands after the export's last line; nothing was imported", lines.len() - 1);
    assert_eq!(refused(&more), stray);
    // In a journal such a line would hide what follows.
    let journal = [&[&*lines[0].replace("export", "journal")], &lines[1..5], &[last], &lines[5..]].concat().join("\n") + "\n";
    assert!(refused(&journal).starts_with("record 5 is not a record ("), "{}", refused(&journal));
}

#[tokio::test]
async fn a_folder_with_anything_in_it_is_left_alone() {
    let here = store().await;
    let before = rows(here.path());
    let text = exported(here.path());
    assert!(matches!(import_from(here.path(), text.as_bytes()), Err(TransferError::NotEmpty(_))));
    assert!(rows(here.path()) == before);
}

#[tokio::test]
async fn a_folder_without_a_store_isnt_exported_as_an_empty_one() {
    let folder = tempdir().unwrap();
    assert!(matches!(export_to(folder.path(), Vec::new()), Err(TransferError::NoStore(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
