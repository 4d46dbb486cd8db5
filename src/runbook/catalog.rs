//! The set of commands: the embedded one, or a folder that replaces it as a whole.
//!
//! A folder never mixes with the embedded set, so what a team reads in its folder is all that its bot does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Runbook, Work, file};
use crate::domain::names::CommandName;
use crate::problem::{Problem, Problems};

/// The embedded set: the name of each command and its file.
const EMBEDDED: &[(&str, &str)] = &[
    ("approvals", include_str!("../../commands/approvals.toml")),
    ("approve", include_str!("../../commands/approve.toml")),
    ("apps", include_str!("../../commands/apps.toml")),
    ("builds", include_str!("../../commands/builds.toml")),
    ("can", include_str!("../../commands/can.toml")),
    ("cancel", include_str!("../../commands/cancel.toml")),
    ("deploy", include_str!("../../commands/deploy.toml")),
    ("freeze", include_str!("../../commands/freeze.toml")),
    ("help", include_str!("../../commands/help.toml")),
    ("history", include_str!("../../commands/history.toml")),
    ("keep", include_str!("../../commands/keep.toml")),
    ("link", include_str!("../../commands/link.toml")),
    ("lock", include_str!("../../commands/lock.toml")),
    ("locks", include_str!("../../commands/locks.toml")),
    ("logs", include_str!("../../commands/logs.toml")),
    ("plan", include_str!("../../commands/plan.toml")),
    ("queue", include_str!("../../commands/queue.toml")),
    ("reject", include_str!("../../commands/reject.toml")),
    ("restart", include_str!("../../commands/restart.toml")),
    ("retry", include_str!("../../commands/retry.toml")),
    ("revert", include_str!("../../commands/revert.toml")),
    ("run", include_str!("../../commands/run.toml")),
    ("show", include_str!("../../commands/show.toml")),
    ("skip", include_str!("../../commands/skip.toml")),
    ("status", include_str!("../../commands/status.toml")),
    ("undo", include_str!("../../commands/undo.toml")),
    ("unlink", include_str!("../../commands/unlink.toml")),
    ("unlock", include_str!("../../commands/unlock.toml")),
    ("why", include_str!("../../commands/why.toml")),
];

/// All commands of a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    runbooks: BTreeMap<CommandName, Arc<Runbook>>,
}

impl Catalog {
    /// The set that the binary carries. It has no problems as long as this crate's tests pass.
    pub fn builtin() -> Result<Catalog, Problems> {
        Catalog::read(
            EMBEDDED.iter().map(|(name, source)| (format!("commands/{name}.toml"), (*name).to_owned(), (*source).to_owned())),
        )
    }

    /// The set of a folder: each `NAME.toml` in it is the command NAME. Anything else in the folder is left alone.
    pub fn load(folder: &Path) -> Result<Catalog, Problems> {
        let trouble = |path: &Path, error: io::Error| Problem::new(path.display().to_string(), format!("can't be read: {error}"));
        let mut files = Vec::new();
        let mut problems = Vec::new();
        let entries = fs::read_dir(folder).map_err(|error| Problems(vec![trouble(folder, error)]))?;
        for entry in entries {
            let path = entry.map_err(|error| Problems(vec![trouble(folder, error)]))?.path();
            let (Some(stem), Some("toml")) = (path.file_stem(), path.extension().and_then(|extension| extension.to_str())) else {
                continue;
            };
            match fs::read_to_string(&path) {
                Ok(source) => files.push((path.display().to_string(), stem.to_string_lossy().into_owned(), source)),
                Err(error) => problems.push(trouble(&path, error)),
            }
        }
        if files.is_empty() && problems.is_empty() {
            problems.push(Problem::new(folder.display().to_string(), "no commands here: it takes one NAME.toml for each"));
        }
        match Catalog::read(files) {
            Ok(catalog) if problems.is_empty() => Ok(catalog),
            Ok(_) => Err(sorted(problems)),
            Err(Problems(more)) => Err(sorted(problems.into_iter().chain(more).collect())),
        }
    }

    /// Reads files given as (file, command, content).
    fn read(files: impl IntoIterator<Item = (String, String, String)>) -> Result<Catalog, Problems> {
        let mut runbooks = BTreeMap::new();
        let mut problems = Vec::new();
        for (file, name, source) in files {
            match file::read(&file, &name, &source) {
                Ok(runbook) => {
                    runbooks.insert(runbook.name.clone(), Arc::new(runbook));
                }
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(Catalog { runbooks }) } else { Err(sorted(problems)) }
    }

    /// All commands: those that act, then the others, each by name.
    pub fn runbooks(&self) -> impl Iterator<Item = &Arc<Runbook>> {
        let acts = |runbook: &Arc<Runbook>| matches!(runbook.work, Work::Steps { .. });
        let others = self.runbooks.values().filter(move |runbook| !acts(runbook));
        self.runbooks.values().filter(move |runbook| acts(runbook)).chain(others)
    }

    /// The command with this name.
    pub fn get(&self, name: &CommandName) -> Option<&Arc<Runbook>> {
        self.runbooks.get(name)
    }

    /// The command with this name, in any case.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Runbook>> {
        self.get(&name.to_lowercase().parse().ok()?)
    }

    /// The names of all commands.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.runbooks.keys().map(CommandName::as_str)
    }
}

/// By file and line.
fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort();
    Problems(problems)
}
