//! The private directory of one run: control sockets of ssh, forwarded Docker sockets, ssh's logs.
//!
//! Whoever can open these sockets is root on the fleet, so the directory is for its owner alone. A run that was killed
//! leaves its directory, and ssh processes that listen in it, behind; the next run recognises the dead by a file lock,
//! which the kernel frees whatever the end was, and clears up after them.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use openssh::Session;
use tempfile::TempDir;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::limits::LOCAL;

const PREFIX: &str = "shipmate-ssh-";
const LOCK: &str = "lock";

/// A unix socket's path may have 107 bytes; ssh adds 17 while it makes one, and we name them `/shipmate-ssh-123456/123456/master`.
const LONGEST_PARENT: usize = 107 - 17 - 34;

/// The directory; it and all in it goes when this is dropped.
#[derive(Debug)]
pub struct ControlDir {
    path: PathBuf,
    _lock: File,
}

impl ControlDir {
    /// Makes the directory of this run in `parent`.
    ///
    /// # Errors
    /// When it can't be made, or when `parent`'s path is too long for sockets in it.
    pub fn create(parent: &Path) -> io::Result<ControlDir> {
        if parent.as_os_str().len() > LONGEST_PARENT {
            let message = format!("{} is too long for sockets in it: choose one of up to {LONGEST_PARENT} bytes", parent.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        fs::create_dir_all(parent)?;
        // It gets its final name only when it is locked: at no moment could another run take it for a dead one's.
        let fresh = tempfile::Builder::new().prefix(".new-").make_in(parent, |path| DirBuilder::new().mode(0o700).create(path))?;
        let lock = File::create_new(fresh.path().join(LOCK))?;
        lock.lock()?;
        let name = fresh.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let path = parent.join(name.replacen(".new-", PREFIX, 1));
        let (_, fresh) = fresh.keep().map_err(|error| error.error)?;
        fs::rename(&fresh, &path)?;
        Ok(ControlDir { path, _lock: lock })
    }

    /// A directory in it, for one connection.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn for_link(&self) -> io::Result<TempDir> {
        let private = Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix("").rand_bytes(6).permissions(private).tempdir_in(&self.path)
    }

    /// Ends the ssh processes of dead runs and removes their directories. Mends nothing else, so it reports nothing.
    pub async fn clear_dead(parent: &Path) {
        for path in dead_runs(parent) {
            debug!(path = %path.display(), "clearing up after a run that was killed");
            for master in fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path().join("master")) {
                if master.exists() {
                    let session = Session::resume_mux(master.into_boxed_path(), None);
                    let _gone_or_deaf = timeout(LOCAL, session.close()).await;
                }
            }
            if let Err(error) = fs::remove_dir_all(&path) {
                warn!(path = %path.display(), %error, "can't remove what a dead run left");
            }
        }
    }
}

impl Drop for ControlDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            warn!(path = %self.path.display(), %error, "can't remove the directory of the SSH connections");
        }
    }
}

fn dead_runs(parent: &Path) -> Vec<PathBuf> {
    let ours = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let candidates = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    let mine = candidates.filter(|entry| entry.path().symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == ours));
    mine.map(|entry| entry.path()).filter(|path| is_dead(path)).collect()
}

fn is_dead(run: &Path) -> bool {
    match File::open(run.join(LOCK)).map(|lock| lock.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => false,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_its_owner_alone_and_goes_with_its_run() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let control = ControlDir::create(parent.path()).unwrap();
        let path = control.path.clone();
        let link = control.for_link().unwrap();
        for dir in [path.as_path(), link.path()] {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        }
        drop((link, control));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_dead_are_cleared_away_and_the_living_are_not() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let alive = ControlDir::create(parent.path()).unwrap();
        let dead = parent.path().join("shipmate-ssh-dead00");
        fs::create_dir_all(dead.join("abcdef")).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        fs::write(dead.join("abcdef/master"), "no socket any more").unwrap();
        ControlDir::clear_dead(parent.path()).await;
        assert!(alive.path.exists() && !dead.exists());
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused() {
        let error = ControlDir::create(Path::new(&format!("/tmp/{}", "x".repeat(80)))).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
