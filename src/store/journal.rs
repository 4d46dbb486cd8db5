//! The journal: a file with one line for each fact, which is all that a store can be made from.
//!
//! It is only ever appended to, and synced after each write, so it is its own backup: copy it at any moment, a cut last line does
//! no harm. Its first line says what it is; the lines are those of `chain`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::{BrokenChain, Entry, Head};
use super::{SCHEMA, StoreError};

/// The file's name in the data folder.
pub(super) const FILE: &str = "journal.jsonl";

/// Its name while it is made, until it is whole.
const FRESH: &str = "journal.jsonl.new";

/// How much is read at once from the end to find the last line; doubled until it is found.
const TAIL: u64 = 64 * 1024;

/// Up to this size the whole chain is checked at each start; that takes a few hundredths of a second.
const CHECK_ALL: u64 = 8 << 20;

/// What a file of lines is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The store's own.
    Journal,
    /// Made by `shipmate export`; it has a last line that says so.
    Export,
}

/// The first line.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Header {
    pub shipmate: Kind,
    pub schema: u32,
}

impl Header {
    pub(super) fn line(kind: Kind) -> String {
        let Header { shipmate, schema } = Header { shipmate: kind, schema: SCHEMA };
        let kind = match shipmate {
            Kind::Journal => "journal",
            Kind::Export => "export",
        };
        format!("{{\"shipmate\":\"{kind}\",\"schema\":{schema}}}\n")
    }
}

/// The journal, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// That of its first line.
    schema: u32,
}

/// What stands in the data folder.
pub(super) enum Found {
    /// No journal, or one that was never begun.
    Missing,
    /// A journal that ends with this fact; so many bytes of a line that was never finished were cut off.
    Whole { journal: Journal, last: Head, cut: u64 },
    /// A journal that can't be right. It has so many lines after the first.
    Broken { why: String, lines: u64 },
}

impl Journal {
    /// Looks for the journal of a folder. A last line without its end is cut off: it was never acknowledged.
    pub(super) fn find(folder: &Path) -> Result<Found, StoreError> {
        let path = folder.join(FILE);
        let told = |error: io::Error| StoreError::io(&path, &error);
        let mut file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(told(error)),
        };
        let length = file.metadata().map_err(told)?.len();
        let (last, end) = last_line(&mut file, length).map_err(told)?;
        if end == 0 {
            return Ok(Found::Missing);
        }
        let lines = match Lines::open(&path) {
            Err(ReadError::Broken(broken)) => return Ok(Found::Broken { why: broken.to_string(), lines: count_lines(&path)? }),
            Err(ReadError::Store(error)) => return Err(error),
            Ok(lines) => lines,
        };
        let schema = lines.header.schema;
        let checked = if length <= CHECK_ALL {
            lines.last_head()
        } else {
            Entry::read_alone(&last).map(|entry| entry.head()).map_err(|why| ReadError::Broken(BrokenChain { seq: 0, why }))
        };
        let last = match checked {
            Ok(last) => last,
            Err(ReadError::Broken(broken)) => return Ok(Found::Broken { why: broken.to_string(), lines: count_lines(&path)? }),
            Err(ReadError::Store(error)) => return Err(error),
        };
        if end < length {
            file.set_len(end).and_then(|()| file.sync_all()).map_err(told)?;
        }
        Ok(Found::Whole { journal: Journal { path: path.clone(), file, schema }, last, cut: length - end })
    }

    /// Makes a journal of `entries`, in place of the one that may be there.
    pub(super) fn create(folder: &Path, entries: impl Iterator<Item = Result<Entry, StoreError>>) -> Result<Journal, StoreError> {
        let (path, fresh) = (folder.join(FILE), folder.join(FRESH));
        let told = |error: io::Error| StoreError::io(&path, &error);
        let mut bytes = Header::line(Kind::Journal).into_bytes();
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh).map_err(told)?;
        for entry in entries {
            entry?.write(&mut bytes);
            if bytes.len() as u64 > TAIL {
                file.write_all(&bytes).map_err(told)?;
                bytes.clear();
            }
        }
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(told)?;
        fs::rename(&fresh, &path).and_then(|()| sync_folder(folder)).map_err(told)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(told)?;
        Ok(Journal { path, file, schema: SCHEMA })
    }

    /// Says in the first line that a shipmate of today writes here, so that an older one refuses. All other lines stay as they are,
    /// byte by byte. It becomes another file, whole at every moment.
    pub(super) fn raise_schema(&mut self) -> Result<(), StoreError> {
        if self.schema == SCHEMA {
            return Ok(());
        }
        let (path, fresh) = (&self.path, self.path.with_file_name(FRESH));
        let folder = path.parent().unwrap_or(Path::new("."));
        let raise = || {
            let mut old = BufReader::new(File::open(path)?);
            old.skip_until(b'\n')?;
            let mut new = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
            new.write_all(Header::line(Kind::Journal).as_bytes())?;
            io::copy(&mut old, &mut new)?;
            new.sync_all()?;
            fs::rename(&fresh, path)?;
            sync_folder(folder)?;
            OpenOptions::new().append(true).open(path)
        };
        let raised = raise();
        if raised.is_err() {
            // On a full disk its space is needed; the first error is the one to tell.
            let _ = fs::remove_file(&fresh);
        }
        self.file = raised.map_err(|error| StoreError::io(path, &error))?;
        self.schema = SCHEMA;
        Ok(())
    }

    /// Appends lines; when it returns, they survive a power cut.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(lines).and_then(|()| self.file.sync_data()).map_err(|error| StoreError::io(&self.path, &error))
    }
}

/// Makes the entries of a folder itself survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Moves the journal out of the way; where to, if there was one.
pub(super) fn put_away(folder: &Path, name: &str) -> Result<Option<PathBuf>, StoreError> {
    let (path, away) = (folder.join(FILE), folder.join(name));
    match fs::rename(&path, &away) {
        Ok(()) => Ok(Some(away)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(&path, &error)),
    }
}

/// The last whole line, and where it ends; what follows is a line that was never finished.
fn last_line(file: &mut File, length: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut window = TAIL;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(usize::MAX)];
        file.read_exact(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map(|place| place + 1);
        let begin = end.and_then(|end| bytes[..end - 1].iter().rposition(|byte| *byte == b'\n')).map(|place| place + 1);
        match (begin.or((start == 0).then_some(0)), end) {
            (Some(begin), Some(end)) => return Ok((bytes[begin..end].to_vec(), start + end as u64)),
            (Some(_), None) => return Ok((Vec::new(), 0)),
            (None, _) => window *= 2,
        }
    }
}

fn count_lines(path: &Path) -> Result<u64, StoreError> {
    let told = |error: io::Error| StoreError::io(path, &error);
    let mut file = BufReader::new(File::open(path).map_err(told)?);
    let mut lines: u64 = 0;
    loop {
        let bytes = file.fill_buf().map_err(told)?;
        if bytes.is_empty() {
            return Ok(lines.saturating_sub(1));
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = bytes.len();
        file.consume(read);
    }
}

/// Why a file of lines can't be read on.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What stands there isn't right.
    Broken(BrokenChain),
    /// It can't be read, or a newer shipmate wrote it.
    Store(StoreError),
}

/// A file of lines, read from its beginning; each line is checked to follow the one before.
pub(super) struct Lines<R> {
    path: PathBuf,
    from: R,
    pub header: Header,
    head: Head,
    line: Vec<u8>,
}

impl Lines<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| ReadError::Store(StoreError::io(path, &error)))?;
        Lines::read(path, BufReader::with_capacity(1 << 20, file))
    }
}

impl<R: BufRead> Lines<R> {
    /// Reads the first line. `path` is for errors only.
    pub(super) fn read(path: &Path, from: R) -> Result<Self, ReadError> {
        let broken = |why: &str| ReadError::Broken(BrokenChain { seq: 0, why: why.to_owned() });
        let mut lines = Lines {
            path: path.to_owned(),
            from,
            header: Header { shipmate: Kind::Journal, schema: SCHEMA },
            head: Head::GENESIS,
            line: Vec::new(),
        };
        if !lines.next_line()? {
            return Err(broken("is not there: the file is empty"));
        }
        lines.header = serde_json::from_slice(&lines.line).map_err(|_| broken("doesn't say that the file is shipmate's"))?;
        match lines.header.schema {
            1..=SCHEMA => Ok(lines),
            0 => Err(broken("has no valid schema")),
            found => Err(ReadError::Store(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA })),
        }
    }

    /// The next entry, or the line that is there instead of one; `None` at the end, or at a last line without its end.
    pub(super) fn next(&mut self) -> Result<Option<Result<Entry, BrokenChain>>, StoreError> {
        if !self.next_line()? {
            return Ok(None);
        }
        let entry = Entry::read(&self.line, self.head);
        if let Ok(entry) = &entry {
            self.head = entry.head();
        }
        Ok(Some(entry))
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> Result<bool, StoreError> {
        Ok(!self.next_line()? && self.line.is_empty())
    }

    /// What is wrong when something follows an export's last line.
    pub(super) fn stray(&self) -> BrokenChain {
        BrokenChain { seq: self.head.seq + 1, why: "stands after the export's last line".to_owned() }
    }

    /// The line that [`Lines::next`] read.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads to the end.
    fn last_head(mut self) -> Result<Head, ReadError> {
        while let Some(entry) = self.next()? {
            entry.map_err(ReadError::Broken)?;
        }
        Ok(self.head)
    }

    fn next_line(&mut self) -> Result<bool, StoreError> {
        self.line.clear();
        self.from.read_until(b'\n', &mut self.line).map_err(|error| StoreError::io(&self.path, &error))?;
        Ok(self.line.last() == Some(&b'\n'))
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        ReadError::Store(error)
    }
}
