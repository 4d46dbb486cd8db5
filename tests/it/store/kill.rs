//! kill -9 at any moment: what was acknowledged is there after the next start.
//!
//! The test starts itself again as the one who writes; that one says on its standard output what was acknowledged.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use shipmate::store::Ledger;
use tempfile::tempdir;

use super::fixture::*;

/// Names the folder to write to, for the one who writes.
const FOLDER: &str = "SHIPMATE_TEST_KILL_FOLDER";

/// The number that it goes on from.
const FROM: &str = "SHIPMATE_TEST_KILL_FROM";

const ROUNDS: u64 = 20;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        // Some are killed while they open the store.
        let more = if round % 5 == 4 { 0 } else { 1 + 7 * round };
        acknowledged = write_until_killed(folder.path(), acknowledged, more);
        let (ledger, recovery) = Ledger::open(folder.path()).unwrap();
        assert!(!recovery.is_alarming(), "{:?}", recovery.story());
        let inbox = ledger.inbox().unwrap();
        assert!(inbox.len() as u64 >= acknowledged, "{} of {acknowledged} after round {round}", inbox.len());
        assert!((1..).zip(&inbox).all(|(n, message)| message.at.id == format!("{n}")));
        acknowledged = inbox.len() as u64;
    }
}

/// The newest number that was acknowledged, when it was killed after so many `more`.
fn write_until_killed(folder: &Path, from: u64, more: u64) -> u64 {
    let (_, test) = concat!(module_path!(), "::writer").split_once("::").unwrap();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--ignored"])
        .env(FOLDER, folder)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acks = lines.filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok());
    let reached = acks.by_ref().find(|number| *number >= from + more);
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What it said before it died.
    acks.max().or(reached).unwrap()
}

#[test]
#[ignore = "the part of the one who is killed"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut number: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // libtest has begun a line.
        println!("\nack {number}");
        let (ledger, _) = Ledger::open(Path::new(&folder)).unwrap();
        assert!(ledger.inbox().unwrap().len() as u64 >= number);
        loop {
            number += 1;
            ledger.heard(said(&number.to_string(), &"x".repeat(number as usize % 9000)), at(0)).await.unwrap();
            println!("ack {number}");
        }
    });
}
