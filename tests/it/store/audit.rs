//! The audit: what is unbroken is told with its head, and whatever else is named by its first wrong record.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use shipmate::store::{Entry, Head, Ledger, audit, export};
use tempfile::{TempDir, tempdir};

use super::fixture::*;

/// A store of one room, three builds and a deployment, closed.
async fn store() -> TempDir {
    let folder = tempdir().unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    ledger.open_room(room(), at(-60)).await.unwrap();
    for number in 1..=3 {
        ledger.built(build(number), vec![number.to_string()], at(0)).await.unwrap();
    }
    let id = request(&ledger, deploy(1, None)).await;
    succeed(&ledger, id).await;
    drop(ledger);
    folder
}

fn refused(path: &Path, expected: &[Head]) -> String {
    audit(path, expected).unwrap_err().to_string()
}

/// The heads after each record of a journal.
fn heads(journal: &str) -> Vec<Head> {
    let mut head = Head::GENESIS;
    let next = |line: &str| {
        head = Entry::read(line.as_bytes(), head).unwrap().head();
        head
    };
    journal.lines().skip(1).map(next).collect()
}

/// A journal of these lines, and what is said of it.
fn of_lines(lines: &[&str]) -> String {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("journal.jsonl"), lines.join("\n") + "\n").unwrap();
    let said = refused(folder.path(), &[]);
    let path = folder.path().join("journal.jsonl").display().to_string();
    said.strip_prefix(&format!("{path}, ")).unwrap_or(&said).to_owned()
}

#[tokio::test]
async fn an_unbroken_journal_is_told_with_its_head_and_its_span() {
    let folder = store().await;
    let audited = audit(folder.path(), &[]).unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    assert_eq!(audited.head, ledger.head());
    assert_eq!(audited.span, Some((at(-60).to_string(), at(1).to_string())));
    assert_eq!(audited.unfinished, 0);
    drop(ledger);
    let empty = tempdir().unwrap();
    drop(Ledger::open(empty.path()).unwrap());
    let audited = audit(empty.path(), &[]).unwrap();
    assert_eq!((audited.head, audited.span), (Head::GENESIS, None));
}

#[tokio::test]
async fn the_first_broken_record_is_named_with_its_line_and_what_is_wrong() {
    let folder = store().await;
    let journal = fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    let lines: Vec<&str> = journal.lines().collect();
    let with = |place: usize, line: &str| {
        let mut changed = lines.clone();
        changed[place] = line;
        of_lines(&changed)
    };
    let fourth = lines[4];
    let said = with(4, &fourth.replacen("build-3", "build-9", 1));
    assert_eq!(said, "line 5: record 4 was changed: its hash doesn't fit");
    let said = with(4, &fourth.replacen("2026-", "2025-", 1));
    assert_eq!(said, "line 5: record 4 was changed: its hash doesn't fit");
    assert!(with(4, "not a record").starts_with("line 5: record 4 is not a record ("), "{}", with(4, "not a record"));
    assert!(with(4, "").starts_with("line 5: record 4 is not a record ("));
    let gap = [&lines[..4], &lines[5..]].concat();
    assert_eq!(of_lines(&gap), "line 5: record 4 is missing: 5 stands in its place");
    let twice = [&lines[..5], &lines[4..]].concat();
    assert_eq!(of_lines(&twice), "line 6: record 5 is missing: 4 stands in its place");
    // Another history: whole in itself, but it doesn't hang on this one.
    let stranger = Entry::after(Head { seq: 3, ..Head::GENESIS }, at(0).to_string(), r#"{"fact":"room_opened","room":"x"}"#.into());
    let mut line = Vec::new();
    stranger.write(&mut line);
    let said = with(4, std::str::from_utf8(&line).unwrap().trim_end());
    assert_eq!(said, "line 5: record 4 doesn't follow the record before it");
    // Only the first one is named.
    let both = with(4, "x");
    let mut changed = lines.clone();
    (changed[4], changed[6]) = ("x", "y");
    assert_eq!(of_lines(&changed), both);
    assert_eq!(of_lines(&lines[1..]), "line 1: record 0 doesn't say that the file is shipmate's");
    assert!(of_lines(&[&lines[..5], &[r#"{"end":{}}"#], &lines[5..]].concat()).starts_with("line 6: record 5 is not a record"));
}

#[tokio::test]
async fn every_byte_of_a_journal_counts() {
    let folder = tempdir().unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    ledger.open_room(room(), at(0)).await.unwrap();
    ledger.built(build(1), vec!["1".into()], at(0)).await.unwrap();
    drop(ledger);
    let path = folder.path().join("journal.jsonl");
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for place in first..whole.len() - 1 {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(audit(folder.path(), &[]).is_err(), "byte {place}");
    }
}

#[tokio::test]
async fn while_the_bot_runs_an_unfinished_line_is_passed_over() {
    let folder = store().await;
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    ledger.heard(said("1", "!apps"), at(2)).await.unwrap();
    assert_eq!(audit(folder.path(), &[]).unwrap().head, ledger.head());
    let copy = folder.path().join("copy.jsonl");
    let journal = fs::read(folder.path().join("journal.jsonl")).unwrap();
    let last = journal[..journal.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in [1, 2, 100, journal.len() - last - 1] {
        fs::write(&copy, &journal[..journal.len() - cut]).unwrap();
        let audited = audit(&copy, &[]).unwrap();
        assert_eq!((audited.head.seq, audited.unfinished), (ledger.head().seq - 1, journal.len() - last - cut));
    }
}

#[tokio::test]
async fn heads_that_were_posted_must_be_in_it() {
    let folder = store().await;
    let journal = fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    let heads = heads(&journal);
    audit(folder.path(), &heads).unwrap();
    audit(folder.path(), &[Head::GENESIS]).unwrap();
    let other = Head { seq: 3, hash: heads[4].hash };
    let said = refused(folder.path(), &[heads[0], other]);
    assert!(said.contains(&format!("record 3 has the hash {} and not the expected {}", heads[2].hash, heads[4].hash)), "{said}");
    // A tail that was cut off, or a history that was made anew, is a chain too; only the posted head shows it.
    let (newest, cut) = (heads[heads.len() - 1], folder.path().join("cut.jsonl"));
    let lines: Vec<&str> = journal.lines().collect();
    fs::write(&cut, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    audit(&cut, &[]).unwrap();
    let said = refused(&cut, &[newest]);
    assert!(said.contains(&format!("record {} was expected and isn't there", newest.seq)), "{said}");
}

#[tokio::test]
async fn an_export_is_checked_to_its_last_line() {
    let folder = store().await;
    let file = folder.path().join("history.jsonl");
    export(folder.path(), Some(&file)).unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let audited = audit(&file, &[]).unwrap();
    assert_eq!(audited, audit(folder.path(), &[]).unwrap());
    let lines: Vec<&str> = whole.lines().collect();
    let write = |lines: &[&str], end: &str| fs::write(&file, lines.join("\n") + end).unwrap();
    let count = lines.len();
    write(&lines[..count - 1], "\n");
    assert!(refused(&file, &[]).contains("the export is cut: it ends after record 11"), "{}", refused(&file, &[]));
    write(&lines, "");
    assert!(refused(&file, &[]).contains("the export is cut"), "{}", refused(&file, &[]));
    write(&[&lines[..count - 2], &lines[count - 1..]].concat(), "\n");
    assert!(refused(&file, &[]).contains("speaks of 11 records, and there are 10"), "{}", refused(&file, &[]));
    write(&[&lines[..], &lines[1..2]].concat(), "\n");
    assert!(refused(&file, &[]).ends_with("line 14: record 12 stands after the export's last line"), "{}", refused(&file, &[]));
}

#[test]
fn what_isnt_there_is_told() {
    let folder = tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        assert_eq!(refused(&path, &[]), format!("there is no journal at {}: check the path", path.display()));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

fn shipmate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
    let command = command.current_dir(folder).env_clear().args(["audit", "verify"]).args(arguments);
    command.env("SHIPMATE_STORE", "data").env("SHIPMATE_TERMINAL_USER", "anna").output().unwrap()
}

#[tokio::test]
async fn the_command_tells_and_its_exit_status_too() {
    let store = store().await;
    let folder = tempdir().unwrap();
    fs::rename(store.path(), folder.path().join("data")).unwrap();
    let journal = folder.path().join("data/journal.jsonl");
    let head = audit(&journal, &[]).unwrap().head.to_string();
    // The bot runs.
    let (ledger, _) = Ledger::open(&folder.path().join("data")).unwrap();
    let output = shipmate(folder.path(), &["--expect", &head]);
    let said = String::from_utf8(output.stdout).unwrap();
    let expected =
        format!("11 records from {} to {}, an unbroken chain\nevery expected head is in it (1)\nhead {head}\n", at(-60), at(1));
    assert_eq!((said.as_str(), output.status.code()), (expected.as_str(), Some(0)));
    drop(ledger);
    let output = shipmate(folder.path(), &["--expect", "11"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("a head is SEQ:HASH"));
    assert_eq!(output.status.code(), Some(2));
    let text = fs::read_to_string(&journal).unwrap().replacen("build-2", "build-7", 1);
    fs::write(&journal, text).unwrap();
    let output = shipmate(folder.path(), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "shipmate: data/journal.jsonl, line 4: record 3 was changed: its hash doesn't fit\n");
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
}

#[tokio::test]
async fn a_file_is_checked_without_any_settings() {
    let folder = store().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
    let output = command.current_dir(folder.path()).env_clear().args(["audit", "verify", "journal.jsonl"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
