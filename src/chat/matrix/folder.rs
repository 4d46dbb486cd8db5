//! What the bot keeps of its session: the folder beside its own store.
//!
//! The session and the keys of its device belong together: each is worth nothing without the other, so what is there of only one
//! is never passed over. Everything is readable for the bot alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folder of the SDK's databases.
const STORE: &str = "store";
/// Where databases are put that no session belongs to.
const ASIDE: &str = "store.old";
/// The database that has the keys of the device.
const KEYS: &str = "matrix-sdk-crypto.sqlite3";
/// What the databases are encrypted with, as hexadecimal digits.
const STORE_KEY: &str = "store.key";
/// The session.
const SESSION: &str = "session.json";
/// What gets the keys back; people move it to a safer place.
const RECOVERY: &str = "recovery-key.txt";
/// There while that is being made.
const RECOVERY_BEGUN: &str = "recovery-key.begun";
/// Beside the databases: the device whose keys they have.
const DEVICE: &str = "device.txt";

/// A session: whose, on which device, and what proves it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The full user id.
    pub user: String,
    /// The device.
    pub device: String,
    /// The access token.
    pub token: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, which is made if it isn't there.
    pub fn open(path: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Folder { path: path.to_path_buf() })
    }

    /// The folder as it is, for a look: it may not be there.
    pub fn at(path: &Path) -> Folder {
        Folder { path: path.to_path_buf() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the databases.
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Where the recovery key is written.
    pub fn recovery(&self) -> PathBuf {
        self.path.join(RECOVERY)
    }

    /// The session of the last run, if there was one.
    pub fn session(&self) -> io::Result<Option<Kept>> {
        match fs::read(self.path.join(SESSION)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a session.
    pub fn keep(&self, session: &Kept) -> io::Result<()> {
        self.write(SESSION, &serde_json::to_vec(session)?)?;
        if self.device()?.as_deref() != Some(&session.device) {
            fs::write(self.store().join(DEVICE), &session.device)?;
        }
        Ok(())
    }

    /// The device whose keys the databases have; `None` = nobody's yet.
    pub fn device(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.store().join(DEVICE)) {
            Ok(device) => Ok(Some(device.trim().to_owned()).filter(|device| !device.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A recovery key is about to be made.
    pub fn begin_recovery(&self) -> io::Result<()> {
        self.write(RECOVERY_BEGUN, b"")
    }

    /// Whether a recovery key was being made, and nobody knows whether it was.
    pub fn makes_recovery(&self) -> bool {
        self.path.join(RECOVERY_BEGUN).exists()
    }

    /// Keeps the recovery key until people have taken it: where it is.
    pub fn keep_recovery(&self, key: &str) -> io::Result<PathBuf> {
        self.write(RECOVERY, format!("{key}\n").as_bytes())?;
        fs::remove_file(self.path.join(RECOVERY_BEGUN))?;
        Ok(self.recovery())
    }

    /// Whether the keys of a device are there, with what opens them.
    pub fn has_keys(&self) -> bool {
        self.store().join(KEYS).exists() && self.path.join(STORE_KEY).exists()
    }

    /// Puts databases aside that are nobody's: a login that failed left them, and a new device must not find them.
    pub fn begin_anew(&self) -> io::Result<()> {
        let (store, aside) = (self.store(), self.path.join(ASIDE));
        if !store.exists() {
            return Ok(());
        }
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::rename(store, aside)
    }

    /// What the databases are encrypted with; made at the first start.
    pub fn store_key(&self) -> io::Result<[u8; 32]> {
        let mut key = [0; 32];
        match fs::read_to_string(self.path.join(STORE_KEY)) {
            Ok(text) => {
                let bad = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{STORE_KEY} isn't 64 hexadecimal digits"));
                hex::decode_to_slice(text.trim(), &mut key).map_err(bad)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
                self.write(STORE_KEY, hex::encode(key).as_bytes())?;
            }
            Err(error) => return Err(error),
        }
        Ok(key)
    }

    /// Writes a file as a whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        fs::File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_kept_is_there_again_and_for_the_bot_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("matrix")).unwrap();
        assert!(folder.session().unwrap().is_none());
        let session = Kept { user: "@bot:x".to_owned(), device: "D".to_owned(), token: "secret".to_owned() };
        fs::create_dir(folder.store()).unwrap();
        folder.keep(&session).unwrap();
        assert_eq!(folder.device().unwrap().as_deref(), Some("D"));
        let key = folder.store_key().unwrap();
        let again = Folder::open(folder.path()).unwrap();
        assert!(again.session().unwrap().as_ref() == Some(&session) && again.store_key().unwrap() == key);
        assert_eq!(mode(folder.path()), 0o700);
        for name in [SESSION, STORE_KEY] {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn databases_without_a_session_are_put_aside() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        for round in 0..2 {
            fs::create_dir(folder.store()).unwrap();
            fs::write(folder.store().join(KEYS), round.to_string()).unwrap();
            folder.begin_anew().unwrap();
            assert!(!folder.has_keys());
        }
        assert_eq!(fs::read_to_string(folder.path().join(ASIDE).join(KEYS)).unwrap(), "1");
    }
}
