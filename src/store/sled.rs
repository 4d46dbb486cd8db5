//! The store on disk: rows in sled, lines in the journal.
//!
//! sled 0.34's own flush isn't durable (it never calls fsync), and damage can make it panic. So each write is followed by a sync
//! of sled's file, and every call into sled is fenced. All rows are in one tree, since a batch is atomic on one tree only. No other
//! feature of sled is used, on purpose: some of them hang.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::healed::Recovery;
use super::journal::{Journal, sync_folder};
use super::recovery;
use super::{Change, Direction, Key, MAX_VALUE, Store, StoreError};

/// How much of the store sled keeps in memory. An idle bot shall stay small, and what is asked often is little.
const CACHE: u64 = 16 << 20;

/// sled's folder in the data folder.
pub(super) const FOLDER: &str = "store";

/// Its file; sled has a lock on it.
const DB: &str = "db";

/// Says that something read from the store can't be right.
const SUSPECT: &str = "store.suspect";

/// The store on disk, open.
pub struct SledStore {
    folder: PathBuf,
    rows: sled::Db,
    /// After the rows, so that it is dropped after them.
    file: DbFile,
    /// The journal, and the file that is locked as long as the store is open; `None` until both are brought to the same fact.
    journal: Mutex<Option<(Journal, File)>>,
}

/// How long a locked file is tried again. A process that this one has just forked holds the locks of its parent until it
/// becomes another program, and so do a bot and the threads of rows that are just ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The wait between two tries.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// sled's file once more, to sync it. Its end waits for that of sled's threads, which go on for a while when the rows are
/// dropped: until then they have the lock, take space, and may make files.
struct DbFile(File);

impl Drop for DbFile {
    fn drop(&mut self) {
        // Whoever opens it next waits too.
        let _ = lock_patiently(&self.0);
    }
}

/// What opening the rows came to.
pub(super) enum Rows {
    /// There are none.
    Missing,
    /// Here they are.
    Open(Box<SledStore>),
    /// They can't be read.
    Damaged(String),
}

/// Takes the data folder for this process, and makes it if there is none.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    fs::create_dir_all(folder).map_err(|error| StoreError::io(folder, &error))?;
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| StoreError::io(&path, &error))?;
    lock_file(&file, &path, folder)?;
    Ok(file)
}

/// Locks a file of the data folder.
fn lock_file(file: &File, path: &Path, folder: &Path) -> Result<(), StoreError> {
    lock_patiently(file).map_err(|error| match error {
        fs::TryLockError::WouldBlock => StoreError::Locked(folder.to_owned()),
        fs::TryLockError::Error(error) => StoreError::io(path, &error),
    })
}

/// Waits until no other has sled's file: sled takes a locked one for a broken one.
fn wait_until_free(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FOLDER).join(DB);
    match File::open(&path) {
        Ok(file) => lock_file(&file, &path, folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(&path, &error)),
    }
}

/// Locks a file, and tries again for a while as long as another has it.
fn lock_patiently(file: &File) -> Result<(), fs::TryLockError> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_RETRY),
            done => return done,
        }
    }
}

/// Opens the rows, if there are any; the folder must be locked.
pub(super) fn open_rows(folder: &Path) -> Result<Rows, StoreError> {
    let path = folder.join(FOLDER);
    if !path.exists() {
        return Ok(Rows::Missing);
    }
    if !path.join(DB).exists() {
        // sled would silently make a new one, or take the rest for damage.
        return Ok(Rows::Damaged("its main file is gone".to_owned()));
    }
    make_rows(folder)
}

/// Opens the rows, and makes them if there are none.
pub(super) fn make_rows(folder: &Path) -> Result<Rows, StoreError> {
    let path = folder.join(FOLDER);
    let told = |error: io::Error| StoreError::io(&path, &error);
    wait_until_free(folder)?;
    remove_half_snapshots(&path).map_err(told)?;
    let opened = fenced(folder, || {
        let rows = sled::Config::new().path(&path).cache_capacity(CACHE).open()?;
        rows.flush()?;
        Ok(rows)
    });
    let rows = match opened {
        Ok(rows) => rows,
        Err(error) => {
            // The first error is the one to tell.
            let _ = wait_until_free(folder);
            return if let StoreError::Damaged(why) = error { Ok(Rows::Damaged(why)) } else { Err(error) };
        }
    };
    let file = DbFile(File::open(path.join(DB)).map_err(told)?);
    file.0.sync_all().and_then(|()| sync_folder(&path)).and_then(|()| sync_folder(folder)).map_err(told)?;
    Ok(Rows::Open(Box::new(SledStore { folder: folder.to_owned(), rows, file, journal: Mutex::default() })))
}

/// sled takes a snapshot that it was writing when it died for a whole one, and then for damage (its issue 1527).
fn remove_half_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Moves the rows of a folder; where to, if there were any.
pub(super) fn move_rows(folder: &Path, to: &Path) -> Result<Option<PathBuf>, StoreError> {
    let path = folder.join(FOLDER);
    match fs::rename(&path, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(&path, &error)),
    }
    for folder in [Some(folder), to.parent()].into_iter().flatten() {
        sync_folder(folder).map_err(|error| StoreError::io(folder, &error))?;
    }
    Ok(Some(to.to_owned()))
}

/// Whether an earlier run read something that can't be right.
pub(super) fn is_suspect(folder: &Path) -> bool {
    folder.join(SUSPECT).exists()
}

/// The rows are right after all, or were made anew.
pub(super) fn clear_suspicion(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_file(folder.join(SUSPECT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&folder.join(SUSPECT), &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl SledStore {
    /// The store on disk of a folder, with all that it takes to bring rows and journal together.
    ///
    /// # Errors
    /// When the folder can't be used, or what is lost can't be taken from elsewhere.
    pub fn open(folder: &Path) -> Result<(SledStore, Recovery), StoreError> {
        recovery::open(folder)
    }

    /// From now on lines go to this journal.
    pub(super) fn attach(&mut self, journal: Journal, lock: File) {
        self.journal = Mutex::new(Some((journal, lock)));
    }

    /// Closes a store that may be damaged.
    pub(super) fn close(self) {
        let rows = self.rows;
        // It is put away next; what sled makes of its end doesn't matter.
        let _ = fenced(&self.folder, || {
            drop(rows);
            Ok(())
        });
    }

    /// Runs a call into sled; damage that it finds is noted for the next start.
    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        fenced(&self.folder, call).inspect_err(|error| {
            if let StoreError::Damaged(why) = error {
                self.distrust(why);
            }
        })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded(|| Ok(self.rows.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let owned = |row: sled::Result<(sled::IVec, sled::IVec)>| row.map(|(key, value)| (key.to_vec(), value.to_vec()));
        // Collecting ends at the first error: after one, sled's iterator yields errors for ever.
        self.guarded(|| match direction {
            Direction::Forward => self.rows.range(range).take(limit).map(owned).collect(),
            Direction::Backward => self.rows.range(range).rev().take(limit).map(owned).collect(),
        })
    }

    fn write(&self, changes: Vec<Change>, lines: &[u8]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) if value.len() > MAX_VALUE => return Err(StoreError::TooLong(value.len())),
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.guarded(|| {
            self.rows.apply_batch(batch)?;
            self.rows.flush()?;
            self.file.0.sync_data()?;
            Ok(())
        })?;
        if lines.is_empty() {
            return Ok(());
        }
        match &mut *self.journal.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((journal, _)) => journal.append(lines),
            None => Err(StoreError::Damaged("its journal isn't open".to_owned())),
        }
    }

    fn distrust(&self, why: &str) {
        // Without the note the next start finds the damage a little later.
        if let Err(error) = fs::write(self.folder.join(SUSPECT), why) {
            tracing::error!(%error, "can't note for the next start that the store is damaged");
        }
    }

    fn trouble(&self) -> Option<String> {
        let blobs = fs::read_dir(self.folder.join(FOLDER).join("blobs")).map_or(0, Iterator::count);
        (blobs > 0).then(|| {
            format!(
                "{blobs} rows are in files of their own, which sled doesn't sync: this is a mistake of shipmate, tell its makers"
            )
        })
    }
}

/// Runs a call into sled. sled panics on some damage, so a panic means the same as an error that tells of damage.
fn fenced<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| meaning(path, &error)),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Damaged(format!("sled panicked: {}", first_line(said.unwrap_or("for an unknown reason")))))
        }
    }
}

fn meaning(path: &Path, error: &sled::Error) -> StoreError {
    let error = match error {
        sled::Error::Io(error) => error,
        sled::Error::Corruption { .. } => return StoreError::Damaged("sled found it corrupted".to_owned()),
        other => return StoreError::Damaged(format!("sled says: {}", first_line(&other.to_string()))),
    };
    match StoreError::io(path, error) {
        StoreError::Io { why, .. } => StoreError::Damaged(format!("sled says: {}", first_line(&why))),
        known => known,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
