//! The socket itself: where it is, who gets through, and what is done about one that a dead bot left.
//!
//! The socket is open to the folder's owner and to its group; whoever the folder itself doesn't let in can't reach it at all.
//! So `chmod 700` keeps it to the bot's own user (and root), and `chmod 710` with `chgrp` lets a group in, who then see nothing
//! else of the folder. Others never get through. What somebody may do once inside is a matter of the fleet file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::client::{self, Hall};

/// The socket's name in the store's folder.
const NAME: &str = "shipmate.sock";

/// How many may be connected at a time.
const CLIENTS: usize = 64;

/// How long to wait when accepting fails, usually because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no local chat.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else has the socket's name.
    #[error("{0} is not a socket, and the local chat needs that name: move it away")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("the local chat's socket {0} can't be made: {1}; a short SHIPMATE_STORE in which the bot may write is what it needs")]
    Refused(PathBuf, io::Error),
}

/// Where the socket of a store is.
pub fn socket(store: &Path) -> PathBuf {
    store.join(NAME)
}

/// The name of a user of this system.
pub fn system_user(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// Makes the socket. One that is there already was left by a bot that is dead, for the store can be only one's.
pub(super) fn open(path: &Path) -> Result<UnixListener, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(OpenError::NotASocket(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(|error| OpenError::Refused(path.to_owned(), error))?,
        // Whatever else is wrong, binding will say.
        Err(_) => {}
    }
    let made = || {
        let listener = UnixListener::bind(path)?;
        let folder = fs::metadata(path.parent().unwrap_or(Path::new(".")))?;
        // A socket of another group than the folder's would let in whom the folder never meant.
        let mode = if lchown(path, None, Some(folder.gid())).is_ok() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(listener)
    };
    made().map_err(|error| OpenError::Refused(path.to_owned(), error))
}

/// Serves everybody who comes, until the chat is dropped.
pub(super) async fn welcome(listener: UnixListener, hall: Arc<Hall>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hall.open.cancelled() => return,
        };
        match (accepted, places.clone().try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let hall = hall.clone();
                tokio::spawn(async move {
                    client::serve(hall, stream).await;
                    drop(place);
                });
            }
            (Ok((stream, _)), Err(_)) => {
                client::refuse(stream, format!("{CLIENTS} clients are connected already; close one of them"))
            }
            (Err(error), _) => {
                tracing::warn!(%error, "a client of the local chat can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
