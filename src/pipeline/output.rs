//! What actions say while they run: the last line for the live message, all of it (bounded) for a file.
//!
//! This is the one sink for the output of other programs, so it is also where secrets are taken out, before anything is
//! kept or shown.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::domain::deployment::{Failure, Outcome};
use crate::domain::names::{DeploymentId, printable};
use crate::domain::plan::ActionIndex;
use crate::engine::Output;
use crate::secret::Redactor;

/// How much of the beginning, and how much of the end, of an action's output is kept, in bytes.
const KEPT_EACH_END: usize = 256 * 1024;

/// How many of the last lines go into a failure's message.
const LAST_LINES: usize = 20;

/// The longest line that a message shows, in characters.
const LINE_WIDTH: usize = 200;

/// What each running action last said, by deployment and action.
pub type Notes = BTreeMap<(DeploymentId, ActionIndex), Note>;

/// What a running action last said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// Its last word: a line, or how far it is.
    pub last: String,
    /// Its last lines, where people asked for the output by a command.
    pub lines: Vec<String>,
}

/// The output of all deployments: files in a folder, and notes of what runs now.
#[derive(Clone)]
pub struct Outputs {
    folder: Arc<PathBuf>,
    redactor: Redactor,
    notes: watch::Sender<Notes>,
}

impl Outputs {
    /// Output below `folder`, without the secrets that `redactor` knows.
    pub fn new(folder: PathBuf, redactor: Redactor) -> Self {
        Outputs { folder: Arc::new(folder), redactor, notes: watch::Sender::new(Notes::new()) }
    }

    /// What each running action last said; changes whenever one says something.
    pub fn notes(&self) -> watch::Receiver<Notes> {
        self.notes.subscribe()
    }

    /// The file with an action's output. It exists only if the action wrote any.
    pub fn file(&self, id: DeploymentId, action: ActionIndex) -> PathBuf {
        self.folder.join(id.0.to_string()).join(format!("{}.log", action.0))
    }

    /// Removes the output of deployments older than `age`, by the files' own time.
    pub fn expire(&self, age: std::time::Duration) -> std::io::Result<usize> {
        let mut removed = 0;
        let folders = match fs::read_dir(self.folder.as_path()) {
            Ok(folders) => folders,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        for folder in folders {
            let folder = folder?;
            if folder.metadata()?.modified()?.elapsed().is_ok_and(|old| old > age) {
                fs::remove_dir_all(folder.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Takes the output of an action that is applied.
    ///
    /// `streamed` = its last lines are shown while it runs.
    pub(super) fn of_apply(&self, id: DeploymentId, action: ActionIndex, streamed: bool) -> ActionOutput {
        self.open(id, action, self.file(id, action), streamed)
    }

    /// Takes the output of an action that is undone; what it said when it was applied stays.
    pub(super) fn of_undo(&self, id: DeploymentId, action: ActionIndex) -> ActionOutput {
        self.open(id, action, self.file(id, action).with_extension("undo.log"), false)
    }

    fn open(&self, id: DeploymentId, index: ActionIndex, file: PathBuf, streamed: bool) -> ActionOutput {
        ActionOutput { outputs: self.clone(), id, index, file, streamed, kept: Mutex::new(Kept::default()) }
    }

    /// Drops the notes of a deployment that is over.
    pub(super) fn forget(&self, id: DeploymentId) {
        self.notes.send_if_modified(|notes| {
            let before = notes.len();
            notes.retain(|(of, _), _| *of != id);
            notes.len() != before
        });
    }

    /// The text without secrets.
    pub fn redact(&self, text: &str) -> String {
        self.redactor.redact(text).into_owned()
    }
}

/// The output of one action.
pub(super) struct ActionOutput {
    outputs: Outputs,
    id: DeploymentId,
    index: ActionIndex,
    file: PathBuf,
    streamed: bool,
    kept: Mutex<Kept>,
}

/// The first and the last part of an output.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: usize,
    last: VecDeque<String>,
}

impl Kept {
    fn push(&mut self, line: &str) {
        let bytes = line.bytes().chain([b'\n']);
        if self.head.len() + line.len() < KEPT_EACH_END && self.tail.is_empty() {
            self.head.extend(bytes);
        } else {
            self.tail.extend(bytes);
            let over = self.tail.len().saturating_sub(KEPT_EACH_END);
            self.tail.drain(..over);
            self.dropped += over;
        }
        self.last.push_back(printable(line, LINE_WIDTH));
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut all = self.head.clone();
        if self.dropped > 0 {
            all.extend(format!("\n[{} bytes left out]\n", self.dropped).bytes());
        }
        all.extend(&self.tail);
        all
    }
}

impl Output for ActionOutput {
    fn line(&self, line: &str) {
        let line = self.outputs.redact(line);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(&line);
        if !line.trim().is_empty() {
            self.note(&line);
        }
    }

    fn progress(&self, note: &str) {
        self.note(&self.outputs.redact(note));
    }
}

impl ActionOutput {
    fn note(&self, note: &str) {
        let note = printable(note.trim(), LINE_WIDTH);
        let lines = if self.streamed { self.last_lines() } else { Vec::new() };
        self.outputs.notes.send_modify(|notes| {
            notes.insert((self.id, self.index), Note { last: note, lines });
        });
    }

    fn last_lines(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last.iter().cloned().collect()
    }

    /// The action's result with what it wrote; its last lines only where people asked for them.
    pub(super) fn complete(&self, outcome: Outcome, with_output: bool) -> Outcome {
        let note = outcome.note.map(|note| self.outputs.redact(&note));
        let output = if with_output { self.last_lines() } else { Vec::new() };
        Outcome { note, output_hash: self.write(), output }
    }

    /// The action's failure with what it wrote, free of secrets.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        let output_hash = self.write();
        let lines: Vec<String> = if failure.output.is_empty() {
            self.last_lines()
        } else {
            failure.output.iter().map(|line| printable(&self.outputs.redact(line), LINE_WIDTH)).collect()
        };
        let output = lines.into_iter().rev().take(LAST_LINES).rev().collect();
        Failure { kind: failure.kind, message: self.outputs.redact(&failure.message), output, output_hash }
    }

    /// Writes the file and returns its hash. A full disk must not fail the deployment: then only the output is lost, and
    /// the log says so.
    fn write(&self) -> Option<String> {
        let bytes = self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes();
        if bytes.is_empty() {
            return None;
        }
        let file = &self.file;
        let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, &bytes));
        match written {
            Ok(()) => Some(hex::encode(Sha256::digest(&bytes))),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the output of an action could not be kept");
                None
            }
        }
    }
}
