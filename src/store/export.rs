//! All history out as lines, and in again.
//!
//! An export is the journal's lines between a first line that says what it is and a last one that says how much there must be, so
//! that a cut file is noticed. While a bot runs, the store is locked; then the journal is read, which is as complete. So it is when
//! the store can't be written: on a full or read-only disk, or by a user who may only read. A copy of a journal can be imported
//! too: a backup made with `cp` is as good.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::{BrokenChain, Entry, Hash, Head};
use super::journal::{self, Header, Journal, Kind, Lines, ReadError};
use super::overlay::Overlay;
use super::{Fact, Ledger, LedgerError, SledStore, StoreError, facts, recovery};
use crate::domain::deployment::Event;

/// Where an import is put together before it becomes the store.
const STAGING: &str = "import.unfinished";

/// What went out or came in; also the last line of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// How many facts.
    pub facts: u64,
    /// How many of them announced a build.
    pub builds: u64,
    /// How many of them requested a deployment.
    pub deployments: u64,
    /// How many of them were commands.
    pub messages: u64,
    /// The hash of the last one.
    pub head: Hash,
}

/// The last line of an export.
#[derive(Serialize, Deserialize)]
struct End {
    end: Exported,
}

/// Why history didn't go out or come in.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to export.
    #[error("there is no store in {}: check the store path", .0.display())]
    NoStore(PathBuf),
    /// Import needs a folder with nothing in it.
    #[error("{} isn't empty: import only into an empty folder, by another store path or after moving this one away", .0.display())]
    NotEmpty(PathBuf),
    /// A line isn't right; nothing was imported.
    #[error("{broken}; nothing was imported")]
    Broken {
        /// Which line, and what is wrong.
        #[from]
        broken: BrokenChain,
    },
    /// The last line of an export isn't there; nothing was imported.
    #[error("the export is cut: it ends after record {0} without its last line; nothing was imported")]
    Cut(u64),
    /// The last line of an export says something else than the lines before; nothing was imported.
    #[error(
        "the export's last line speaks of {said} records, and there are {found}, or they end with another hash; nothing was imported"
    )]
    Differs {
        /// What the last line says.
        said: u64,
        /// What is there.
        found: u64,
    },
    /// What was imported can't be used.
    #[error("{0}; nothing was imported")]
    Refused(LedgerError),
    /// A file can't be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What the last line of an export says, if this is one.
pub(super) fn end(line: &[u8]) -> Option<Exported> {
    serde_json::from_slice(line).ok().map(|End { end }| end)
}

impl Exported {
    fn none() -> Exported {
        Exported { facts: 0, builds: 0, deployments: 0, messages: 0, head: Head::GENESIS.hash }
    }

    fn count(&mut self, entry: &Entry) -> Result<(), BrokenChain> {
        let (_, fact) = entry.open()?;
        self.facts += 1;
        self.head = entry.hash;
        match fact {
            Fact::Built { completes: None, .. } => self.builds += 1,
            Fact::Deployment { event: Event::Requested { .. }, .. } => self.deployments += 1,
            Fact::Heard { .. } => self.messages += 1,
            _ => {}
        }
        Ok(())
    }
}

/// Writes all history of a folder's store to a file, or to standard output.
///
/// # Errors
/// When the store or the file can't be used.
pub fn export(folder: &Path, to: Option<&Path>) -> Result<Exported, TransferError> {
    let Some(path) = to else {
        return export_to(folder, io::stdout().lock());
    };
    let told = |error| TransferError::File { path: path.to_owned(), error };
    // Under another name until it is whole: a failed export must not cost an older one.
    let unfinished = path.with_added_extension("unfinished");
    let file = File::create(&unfinished).map_err(told)?;
    let exported = export_to(folder, &file).and_then(|exported| {
        file.sync_all().and_then(|()| fs::rename(&unfinished, path)).map_err(told)?;
        Ok(exported)
    });
    if exported.is_err() {
        // It may not even be there; the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    exported
}

/// Writes all history of a folder's store.
///
/// # Errors
/// When the store can't be used, or the history can't be written.
pub fn export_to(folder: &Path, to: impl Write) -> Result<Exported, TransferError> {
    if !folder.join(journal::FILE).exists() && !folder.join("store").exists() {
        return Err(TransferError::NoStore(folder.to_owned()));
    }
    let to = BufWriter::new(to);
    match SledStore::open(folder) {
        Ok((store, recovery)) => {
            if let Some(story) = recovery.story() {
                tracing::warn!("{story}");
            }
            let last = recovery::head(&store)?.seq;
            let rows = Overlay::new(&store);
            write_lines(facts::entries(&rows, Head::GENESIS, last).map(|entry| Ok(entry?)), to)
        }
        // It can't be opened, but read: the way out from a disk that is full or dying.
        Err(StoreError::Locked(_) | StoreError::ReadOnly(_) | StoreError::Full(_) | StoreError::Denied(_)) => {
            let mut lines = Lines::open(&folder.join(journal::FILE))?;
            let entries = std::iter::from_fn(move || match lines.next() {
                Ok(entry) => entry.map(|entry| Ok(entry?)),
                Err(error) => Some(Err(error.into())),
            });
            write_lines(entries, to)
        }
        Err(error) => Err(error.into()),
    }
}

fn write_lines(entries: impl Iterator<Item = Result<Entry, TransferError>>, mut to: impl Write) -> Result<Exported, TransferError> {
    let told = |error| TransferError::File { path: "the export".into(), error };
    let mut exported = Exported::none();
    to.write_all(Header::line(Kind::Export).as_bytes()).map_err(told)?;
    let mut line = Vec::new();
    for entry in entries {
        let entry = entry?;
        exported.count(&entry)?;
        line.clear();
        entry.write(&mut line);
        to.write_all(&line).map_err(told)?;
    }
    serde_json::to_writer(&mut to, &End { end: exported }).map_err(|error| told(error.into()))?;
    to.write_all(b"\n").and_then(|()| to.flush()).map_err(told)?;
    Ok(exported)
}

/// Reads history that was exported, or a copy of a journal, from a file or from standard input, into an empty folder.
///
/// # Errors
/// When the folder isn't empty, or the history isn't whole; then the folder is as it was.
pub fn import(folder: &Path, from: Option<&Path>) -> Result<Exported, TransferError> {
    match from {
        None => import_from(folder, io::stdin().lock()),
        Some(path) => {
            let file = File::open(path).map_err(|error| TransferError::File { path: path.to_owned(), error })?;
            import_from(folder, BufReader::new(file))
        }
    }
}

/// Reads history that was exported, or a copy of a journal, into an empty folder.
///
/// # Errors
/// When the folder isn't empty, or the history isn't whole; then the folder is as it was.
pub fn import_from(folder: &Path, from: impl BufRead) -> Result<Exported, TransferError> {
    let told = |error: io::Error| TransferError::Store(StoreError::io(folder, &error));
    fs::create_dir_all(folder).map_err(told)?;
    let staging = folder.join(STAGING);
    // What an import that was killed has left.
    let _ = fs::remove_dir_all(&staging);
    if fs::read_dir(folder).map_err(told)?.next().is_some() {
        return Err(TransferError::NotEmpty(folder.to_owned()));
    }
    fs::create_dir(&staging).map_err(told)?;
    let imported = import_into(&staging, from).and_then(|imported| {
        for name in ["store", journal::FILE] {
            fs::rename(staging.join(name), folder.join(name)).map_err(told)?;
        }
        journal::sync_folder(folder).map_err(told)?;
        Ok(imported)
    });
    let removed = fs::remove_dir_all(&staging).map_err(told);
    let imported = imported?;
    removed.map(|()| imported)
}

fn import_into(staging: &Path, from: impl BufRead) -> Result<Exported, TransferError> {
    let mut lines = Lines::read(Path::new("the import"), from)?;
    let kind = lines.header.shipmate;
    let mut imported = Exported::none();
    let mut end = None;
    let mut failure = None;
    let entries = std::iter::from_fn(|| match lines.next() {
        Err(error) => Some(Err(error)),
        Ok(None) => None,
        Ok(Some(Ok(entry))) => match imported.count(&entry) {
            Ok(()) => Some(Ok(entry)),
            Err(broken) => {
                failure = Some(broken);
                None
            }
        },
        Ok(Some(Err(broken))) => {
            // In a journal nothing but records may stand: what follows would be left out.
            end = self::end(lines.line()).filter(|_| kind == Kind::Export);
            failure = end.is_none().then_some(broken);
            None
        }
    });
    drop(Journal::create(staging, entries)?);
    if let Some(broken) = failure {
        return Err(broken.into());
    }
    if end.is_some() && !lines.is_at_end()? {
        return Err(lines.stray().into());
    }
    match (kind, end) {
        (Kind::Export, None) => return Err(TransferError::Cut(imported.facts)),
        (_, Some(end)) if end != imported => return Err(TransferError::Differs { said: end.facts, found: imported.facts }),
        (Kind::Export | Kind::Journal, _) => {}
    }
    let (ledger, _) = Ledger::open(staging).map_err(TransferError::Refused)?;
    if ledger.head() != (Head { seq: imported.facts, hash: imported.head }) {
        return Err(TransferError::Differs { said: imported.facts, found: ledger.head().seq });
    }
    drop(ledger);
    // sled's first start after many writes reads all of them again; better here than when the bot starts.
    SledStore::open(staging)?;
    Ok(imported)
}

impl From<ReadError> for TransferError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broken(broken) => broken.into(),
            ReadError::Store(error) => error.into(),
        }
    }
}
