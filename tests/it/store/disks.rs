//! Disks that are full, read-only or not ours: a clear error with the way out, nothing lost, and never a panic.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use shipmate::store::{Healed, Ledger, LedgerError, StoreError, audit, export_to};
use tempfile::tempdir;

use super::fixture::*;
use crate::disk::{Disk, is_root};

/// Records messages until the disk is full; how many were acknowledged, and what was said.
async fn hear_until_full(ledger: &Ledger) -> (usize, String) {
    for number in 1.. {
        let message = said(&number.to_string(), &"x".repeat(5000));
        if let Err(error) = ledger.heard(message, at(0)).await {
            return (number - 1, error.to_string());
        }
    }
    unreachable!()
}

fn inbox(folder: &Path) -> usize {
    Ledger::open(folder).unwrap().0.inbox().unwrap().len()
}

#[tokio::test]
async fn a_disk_that_fills_up_ends_the_ledger_and_loses_nothing() {
    let disk = Disk::new(8);
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    ledger.open_room(room(), at(0)).await.unwrap();
    disk.fill();
    let (acknowledged, said) = hear_until_full(&ledger).await;
    assert!(said.contains(&format!("the disk of {}", disk.path().display())) && said.contains("free some space"), "{said}");
    assert!(matches!(ledger.inbox(), Err(LedgerError::Failed(_))), "what is durable isn't known");
    assert!(ledger.trouble().unwrap().contains("free some space"));
    drop(ledger);
    disk.free();
    let (ledger, recovery) = Ledger::open(&disk.data()).unwrap();
    assert!(!recovery.is_alarming(), "{:?}", recovery.story());
    assert!(ledger.inbox().unwrap().len() >= acknowledged);
    ledger.heard(super::fixture::said("after", "!apps"), at(0)).await.unwrap();
}

#[tokio::test]
async fn a_store_on_a_full_disk_can_be_audited_and_exported_and_is_whole_when_there_is_space() {
    let disk = Disk::new(8);
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    let (acknowledged, _) = {
        ledger.open_room(room(), at(0)).await.unwrap();
        disk.fill();
        hear_until_full(&ledger).await
    };
    drop(ledger);
    let mut refused = Vec::new();
    for _ in 0..3 {
        refused.extend(Ledger::open(&disk.data()).err());
    }
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|error| matches!(error, LedgerError::Store(StoreError::Full(_)))), "{refused:?}");
    let facts = audit(&disk.data(), &[]).unwrap().head.seq;
    assert!(facts > acknowledged as u64);
    let mut exported = Vec::new();
    assert!(export_to(&disk.data(), &mut exported).unwrap().facts >= facts);
    disk.free();
    assert!(inbox(&disk.data()) >= acknowledged);
}

#[tokio::test]
async fn a_store_that_is_made_anew_on_a_full_disk_is_left_as_it_was() {
    let disk = Disk::new(8);
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    for number in 0..50 {
        ledger.heard(said(&number.to_string(), &"x".repeat(5000)), at(0)).await.unwrap();
    }
    drop(ledger);
    fs::remove_dir_all(disk.data().join("store")).unwrap();
    let journal = fs::read(disk.data().join("journal.jsonl")).unwrap();
    disk.fill();
    for _ in 0..2 {
        let refused = Ledger::open(&disk.data()).unwrap_err();
        assert!(matches!(refused, LedgerError::Store(StoreError::Full(_))), "{refused}");
        assert!(!disk.data().join("store.unfinished").exists() && !disk.data().join("store").exists());
        assert!(fs::read(disk.data().join("journal.jsonl")).unwrap() == journal);
    }
    disk.free();
    let (ledger, recovery) = Ledger::open(&disk.data()).unwrap();
    assert!(matches!(recovery.healed[..], [Healed::StoreRebuilt { kept: None, .. }]), "{:?}", recovery.story());
    assert_eq!(ledger.inbox().unwrap().len(), 50);
}

#[tokio::test]
async fn a_read_only_disk_is_told_and_what_is_there_can_be_taken_away() {
    let disk = Disk::new(16);
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    ledger.heard(said("1", "!apps"), at(0)).await.unwrap();
    drop(ledger);
    disk.make_read_only();
    let refused = Ledger::open(&disk.data()).unwrap_err().to_string();
    assert!(refused.contains("is on a read-only file system: mount it writable"), "{refused}");
    let refused = Ledger::open(&disk.path().join("new")).unwrap_err().to_string();
    assert!(refused.contains("is on a read-only file system: mount it writable"), "{refused}");
    assert_eq!(audit(&disk.data(), &[]).unwrap().head.seq, 1);
    assert_eq!(export_to(&disk.data(), Vec::new()).unwrap().messages, 1);
    disk.make_writable();
    assert_eq!(inbox(&disk.data()), 1);
}

#[test]
fn a_journal_that_cant_be_a_file_is_told() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("journal.jsonl")).unwrap();
    let refused = Ledger::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("journal.jsonl: ") && refused.contains("see that the disk is well"), "{refused}");
}

#[test]
fn no_action_may_start_while_the_disk_is_nearly_full() {
    assert_eq!(Ledger::in_memory().refuses_actions(), None);
    let disk = Disk::new(400);
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    assert_eq!(ledger.refuses_actions(), None);
    disk.resize(100);
    let why = ledger.refuses_actions().unwrap();
    assert!(why.starts_with("only 9") && why.contains("MiB are free on the disk of "), "{why}");
    assert!(why.ends_with("so no action starts: free some space, 200 MiB are needed"), "{why}");
    disk.resize(400);
    assert_eq!(ledger.refuses_actions(), None);
}

/// The program, with a store and a fleet of one app whose host is nowhere.
fn shipmate(folder: &Path, store: &Path) -> Command {
    program_in(Path::new(env!("CARGO_BIN_EXE_shipmate")), folder, store)
}

fn program_in(program: &Path, folder: &Path, store: &Path) -> Command {
    let fleet = "[apps.blog]\nimage = \"registry.invalid/blog\"\n[apps.blog.environments.production.roles.web]\nhosts = [\"h.invalid\"]\nhealth = { running = \"1s\" }\n";
    fs::write(folder.join("fleet.toml"), fleet).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", folder).env("SHIPMATE_TERMINAL_USER", "anna").env("SHIPMATE_STORE", store);
    command.env("SHIPMATE_LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    command
}

#[test]
fn a_bot_beside_another_one_on_the_same_store_ends_at_once() {
    let folder = tempdir().unwrap();
    let store = folder.path().join("data");
    let (ledger, _) = Ledger::open(&store).unwrap();
    let output = shipmate(folder.path(), &store).output().unwrap();
    let expected =
        format!("shipmate: another shipmate runs on {}: stop that one, or give this one a store of its own\n", store.display());
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
    drop(ledger);
}

#[test]
fn a_store_of_another_user_is_told_by_each_command() {
    let folder = tempdir().unwrap();
    let store = folder.path().join("data");
    drop(Ledger::open(&store).unwrap());
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(&store.join("journal.jsonl"), 0o000);
    allow(&store.join("lock"), 0o000);
    // Root may read everything, so then it is somebody else who asks: who must reach the program, wherever it was built.
    allow(folder.path(), 0o755);
    let program = folder.path().join("shipmate");
    fs::copy(env!("CARGO_BIN_EXE_shipmate"), &program).unwrap();
    for arguments in [&["run"][..], &["export"], &["audit", "verify"]] {
        let mut command = program_in(&program, folder.path(), &store);
        if is_root() {
            command.uid(65534).gid(65534);
        }
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(&format!("shipmate: no permission for {}", store.display())), "{arguments:?}: {said}");
        assert!(said.contains("make it writable for the user"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_bot_whose_disk_is_nearly_full_refuses_to_deploy_and_says_so_on_healthz() {
    let (folder, disk) = (tempdir().unwrap(), Disk::new(100));
    // Nobody else takes the port in the moment between.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = shipmate(folder.path(), &disk.data());
    let command = command.env("SHIPMATE_LISTEN", listen.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut bot = command.stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = bot.stdin.take().unwrap();
    writeln!(stdin, "!deploy blog build-1").unwrap();
    let mut lines = BufReader::new(bot.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The first line is what was typed.
    let refusal = lines.nth(1).unwrap();
    assert!(refusal.contains("MiB are free") && refusal.contains("so no action starts: free some space"), "{refusal}");
    let mut health = TcpStream::connect(listen).unwrap();
    write!(health, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    health.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("so no action starts"), "{said}");
    drop(stdin);
    assert!(bot.wait().unwrap().success());
}

#[test]
fn a_bot_whose_disk_is_full_ends_with_its_own_exit_status_and_no_panic() {
    let (folder, disk) = (tempdir().unwrap(), Disk::new(8));
    let mut command = shipmate(folder.path(), &disk.data());
    let mut bot = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = bot.stdin.take().unwrap();
    writeln!(stdin, "!apps").unwrap();
    let mut lines = BufReader::new(bot.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.nth(1).unwrap().contains("apps"));
    disk.fill();
    // It may die while it is spoken to.
    let _ = stdin.write_all(format!("!apps {}\n", "x".repeat(5000)).repeat(50).as_bytes());
    drop(stdin);
    lines.for_each(drop);
    let output = bot.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(said.contains("is full: free some space") && !said.contains("panicked"), "{said}");
}
