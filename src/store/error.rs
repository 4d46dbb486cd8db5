//! What can go wrong with the store, told so that the reader knows the way out.
//!
//! The errors can be cloned, since one failed write answers all callers of its batch.

use std::io;
use std::path::{Path, PathBuf};

use super::{BrokenChain, Summary};
use crate::domain::deployment::IllegalTransition;
use crate::domain::environment_lock::EnvironmentLock;
use crate::domain::names::DeploymentId;

/// Why the store can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("another shipmate runs on {}: stop that one, or give this one a store of its own", .0.display())]
    Locked(PathBuf),
    /// The file system refuses this user.
    #[error("no permission for {}: make it writable for the user that shipmate runs as (chown -R), or set another store path", .0.display())]
    Denied(PathBuf),
    /// The file system can't be written.
    #[error("{} is on a read-only file system: mount it writable, or set another store path", .0.display())]
    ReadOnly(PathBuf),
    /// No space is left.
    #[error("the disk of {} is full: free some space and start again; nothing that was acknowledged is lost", .0.display())]
    Full(PathBuf),
    /// The path can't be a folder.
    #[error("{} is not a folder: set the store path to a folder", .0.display())]
    NotAFolder(PathBuf),
    /// A newer shipmate wrote it.
    #[error("{} was written by a newer shipmate (schema {found}; this one knows {known}): install that version again", path.display())]
    Newer {
        /// The store or the journal.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A line of the journal is whole and says something that this shipmate never heard of. Nothing was changed.
    #[error("{}: {broken}, though nothing is wrong with it: a newer shipmate wrote it; install that version again", path.display())]
    UnknownFact {
        /// The journal.
        path: PathBuf,
        /// Which line, and why it can't be read.
        broken: BrokenChain,
    },
    /// What is there isn't what was written. The next start makes the store again from the journal.
    #[error("the store is damaged ({0}): start shipmate again, it makes the store anew from the journal")]
    Damaged(String),
    /// Neither the store nor the journal is whole, so history can't be put together by itself.
    #[error(
        "{} is damaged ({why}), and what is missing can't be taken from elsewhere: put back a copy of its journal.jsonl, or \
         `shipmate import` a copy into an empty folder", path.display()
    )]
    Lost {
        /// The data folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A value is longer than a row may be. A mistake of ours.
    #[error("a row of {0} bytes is longer than {max} bytes", max = super::MAX_VALUE)]
    TooLong(usize),
    /// Any other error of the operating system.
    #[error("{}: {why}: see that the disk is well and that shipmate may read and write there, then start it again", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl StoreError {
    /// The meaning of an error of the operating system.
    pub(super) fn io(path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked(path),
            io::ErrorKind::PermissionDenied => StoreError::Denied(path),
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(path),
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => StoreError::NotAFolder(path),
            _ => StoreError::Io { path, why: error.to_string() },
        }
    }
}

/// Why the ledger didn't take or tell something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An earlier write failed, so nobody knows what is durable; only a new start does.
    #[error("nothing can be recorded any more until shipmate is started again: {0}")]
    Failed(String),
    /// The event can't happen to the deployment as it is.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// There never was such a deployment.
    #[error("there is no deployment {0}")]
    NoSuchDeployment(DeploymentId),
    /// Another deployment has taken the environment over from this one, which is stuck.
    #[error("{by} has taken its environment over")]
    TakenOver {
        /// Which.
        by: DeploymentId,
    },
    /// An id of a chat or a text of a fact isn't fit to be kept.
    #[error("can't be recorded: {0}")]
    Unfit(String),
}

/// Why a deployment was not requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Another one holds the lock of the app's environment.
    #[error("{} of {} in {} holds the lock", by.id, by.app, by.environment)]
    Locked {
        /// Which.
        by: Box<Summary>,
    },
    /// A person, or the policy, put a lock on the environment.
    #[error("the environment is locked: {}", lock.reason)]
    EnvironmentLocked {
        /// Which.
        lock: Box<EnvironmentLock>,
    },
    /// The ledger didn't take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        RequestError::Ledger(error.into())
    }
}

/// Errors that may be the store's own. After one of those it isn't known what holds, whatever the caller makes of it.
pub(super) trait MayBeStore {
    fn store(&self) -> Option<&StoreError>;
}

impl MayBeStore for LedgerError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            LedgerError::Store(error) => Some(error),
            LedgerError::Failed(_)
            | LedgerError::Illegal(_)
            | LedgerError::NoSuchDeployment(_)
            | LedgerError::TakenOver { .. }
            | LedgerError::Unfit(_) => None,
        }
    }
}

impl MayBeStore for RequestError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            RequestError::Ledger(error) => error.store(),
            RequestError::Locked { .. } | RequestError::EnvironmentLocked { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_say_the_way_out() {
        let said = |kind: io::ErrorKind| StoreError::io(Path::new("/data"), &kind.into()).to_string();
        assert!(said(io::ErrorKind::StorageFull).starts_with("the disk of /data is full: free some space"));
        assert!(said(io::ErrorKind::ReadOnlyFilesystem).starts_with("/data is on a read-only file system: mount it writable"));
        assert!(said(io::ErrorKind::PermissionDenied).starts_with("no permission for /data: make it writable"));
        assert!(said(io::ErrorKind::WouldBlock).starts_with("another shipmate runs on /data: stop that one"));
        assert!(said(io::ErrorKind::NotADirectory).starts_with("/data is not a folder: set the store path"));
        assert!(said(io::ErrorKind::TimedOut).starts_with("/data: "));
    }
}
