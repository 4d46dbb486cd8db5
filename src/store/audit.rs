//! The audit: a journal, or an export, is read from its first line to its last and proven to be one unbroken chain.
//!
//! It opens no store, takes no lock and writes nothing, so it can be done while the bot runs, on a copy, and on a disk that is full
//! or read-only. A chain proves that nothing in its middle was changed; that it wasn't made anew as a whole, or its end cut off,
//! is proven by heads that stand elsewhere: the ones that the bot posted in a room.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{BrokenChain, Entry, Head};
use super::export;
use super::journal::{self, Kind, Lines, ReadError};
use super::{Hash, StoreError};

/// What an unbroken history consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The newest fact; its number is how many there are.
    pub head: Head,
    /// When the first and the newest fact were recorded; `None` without any.
    pub span: Option<(String, String)>,
    /// How many bytes of a last line without its end follow; the bot writes it at this moment, or died while it did.
    pub unfinished: usize,
}

/// Why a history isn't what it should be.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is nothing to read.
    #[error("there is no journal at {}: check the path", .0.display())]
    NoJournal(PathBuf),
    /// It can't be read, or a newer shipmate wrote it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first record that isn't right.
    #[error("{}, line {line}: {broken}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Which record, and what is wrong with it.
        broken: BrokenChain,
    },
    /// The last line of an export isn't there.
    #[error("{}: the export is cut: it ends after record {seq} without its last line", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// The last record that is there.
        seq: u64,
    },
    /// The last line of an export says something else than the lines before.
    #[error(
        "{}: the export's last line speaks of {said} records, and there are {found}, or they end with another hash",
        path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// What the last line says.
        said: u64,
        /// What is there.
        found: u64,
    },
    /// An expected head is that of another history.
    #[error(
        "{}: record {} has the hash {found} and not the expected {}: this history was made anew, by someone or from a copy",
        path.display(), expected.seq, expected.hash
    )]
    OtherHistory {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: Head,
        /// What is there.
        found: Hash,
    },
    /// An expected head isn't there any more.
    #[error(
        "{}: record {} was expected and isn't there: the history ends with record {last}, so its end was lost",
        path.display(), expected.seq
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: Head,
        /// The last record that is there.
        last: u64,
    },
}

/// Checks every record of a data folder's journal, or of a file (an export, a copy of a journal), and that it has the heads that
/// are expected of it.
///
/// # Errors
/// With the first record that isn't right, or the first expectation that isn't met.
pub fn audit(path: &Path, expected: &[Head]) -> Result<Audited, AuditError> {
    let journal = path.join(journal::FILE);
    let path = match path.is_dir() {
        true if journal.exists() => &journal,
        true => return Err(AuditError::NoJournal(path.to_owned())),
        false => path,
    };
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AuditError::NoJournal(path.to_owned()),
        _ => StoreError::io(path, &error).into(),
    })?;
    Audit { path, expected }.read(BufReader::with_capacity(1 << 20, file))
}

struct Audit<'a> {
    path: &'a Path,
    expected: &'a [Head],
}

impl Audit<'_> {
    fn read(&self, from: impl BufRead) -> Result<Audited, AuditError> {
        let mut lines = Lines::read(self.path, from).map_err(|error| match error {
            ReadError::Broken(broken) => self.broken(1, broken),
            ReadError::Store(error) => error.into(),
        })?;
        let mut found = Audited { head: Head::GENESIS, span: None, unfinished: 0 };
        while let Some(entry) = lines.next()? {
            match entry {
                Ok(entry) => self.add(&mut found, &entry)?,
                Err(broken) if lines.header.shipmate == Kind::Export => {
                    self.end(lines.line(), &found, broken)?;
                    return if lines.is_at_end()? {
                        self.whole(found)
                    } else {
                        Err(self.broken(found.head.seq + 3, lines.stray()))
                    };
                }
                Err(broken) => return Err(self.broken(found.head.seq + 2, broken)),
            }
        }
        match lines.header.shipmate {
            Kind::Export => Err(AuditError::Cut { path: self.path.to_owned(), seq: found.head.seq }),
            Kind::Journal => self.whole(Audited { unfinished: lines.line().len(), ..found }),
        }
    }

    fn add(&self, found: &mut Audited, entry: &Entry) -> Result<(), AuditError> {
        found.head = entry.head();
        let first = found.span.take().map_or_else(|| entry.at.clone(), |(first, _)| first);
        found.span = Some((first, entry.at.clone()));
        match self.expected.iter().find(|expected| expected.seq == entry.seq && expected.hash != entry.hash) {
            Some(expected) => Err(AuditError::OtherHistory { path: self.path.to_owned(), expected: *expected, found: entry.hash }),
            None => Ok(()),
        }
    }

    /// A line of an export that is no record: right if it is the last one.
    fn end(&self, line: &[u8], found: &Audited, broken: BrokenChain) -> Result<(), AuditError> {
        let said = export::end(line).ok_or_else(|| self.broken(found.head.seq + 2, broken))?;
        match (said.facts, said.head) == (found.head.seq, found.head.hash) {
            true => Ok(()),
            false => Err(AuditError::Differs { path: self.path.to_owned(), said: said.facts, found: found.head.seq }),
        }
    }

    fn whole(&self, found: Audited) -> Result<Audited, AuditError> {
        match self.expected.iter().find(|expected| expected.seq > found.head.seq) {
            Some(expected) => Err(AuditError::TooShort { path: self.path.to_owned(), expected: *expected, last: found.head.seq }),
            None => Ok(found),
        }
    }

    fn broken(&self, line: u64, broken: BrokenChain) -> AuditError {
        AuditError::Broken { path: self.path.to_owned(), line, broken }
    }
}
