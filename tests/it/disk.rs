//! A small disk of a test's own, in memory, that can be filled and made read-only. It needs root or sudo, as the rig does.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The disk; gone when it is dropped. Whatever is open on it should be dropped before.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    pub fn new(mib: u64) -> Disk {
        let disk = Disk { folder: tempfile::tempdir().unwrap() };
        let size = format!("size={mib}m,mode=0777");
        as_root(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "shipmate-test"]).arg(disk.folder.path()));
        disk
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where a test keeps its store.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn resize(&self, mib: u64) {
        self.remount(&format!("size={mib}m"));
    }

    pub fn make_read_only(&self) {
        self.remount("ro");
    }

    pub fn make_writable(&self) {
        self.remount("rw");
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            let full = loop {
                if let Err(error) = file.write_all(&vec![1; size]) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        }
    }

    /// Takes all but so much.
    pub fn fill_all_but(&self, kib: u64) {
        self.fill();
        let file = File::options().write(true).open(self.path().join("filler")).unwrap();
        file.set_len(file.metadata().unwrap().len() - kib * 1024).unwrap();
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }

    fn remount(&self, options: &str) {
        as_root(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that fails may have something open.
        as_root(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_root(command: &Command) {
    let mut run = Command::new(if is_root() { command.get_program() } else { "sudo".as_ref() });
    if !is_root() {
        run.arg("-n").arg(command.get_program());
    }
    let status = run.args(command.get_args()).status().unwrap();
    assert!(status.success() || std::thread::panicking(), "{command:?} needs root or sudo");
}
