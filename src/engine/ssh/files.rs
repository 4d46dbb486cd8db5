//! The TAG and REVERT files of a host, which its docker-runner scripts source.

use super::act::Act;
use super::command::RemoteCommand;
use super::limits::SCRIPT;
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::{HostName, Tag};
use crate::domain::plan::TagFiles;

/// Each file is written beside itself and renamed: whoever reads it at any moment finds the old one or the new one, whole.
const RECORD: &str = r#"set -e; umask 022; mkdir -p -- "$1"; cd -- "$1"
put() { if [ -n "$2" ]; then printf 'export TAG=%s\n' "$2" > ".$1.$$"; mv -f -- ".$1.$$" "$1"; else rm -f -- "$1"; fi; }
put REVERT "$3"; put TAG "$2""#;

impl Act<'_> {
    pub(super) async fn record(self, host: &HostName, folder: &str, files: &TagFiles) -> Result<Outcome, Failure> {
        let link = self.engine.links.get(host).await?;
        let recorded = link.ask(&command(folder, files), SCRIPT).await;
        recorded.map_err(|failure| match failure.kind {
            FailureKind::Exit { .. } => {
                let why = failure.output.join("; ");
                Failure { message: format!("can't write TAG and REVERT in {folder} on {host}: {why}"), ..failure }
            }
            _ => failure,
        })?;
        Ok(Outcome::default())
    }
}

fn command(folder: &str, files: &TagFiles) -> RemoteCommand {
    let text = |tag: &Option<Tag>| tag.as_ref().map_or(String::new(), Tag::to_string);
    RemoteCommand::script(RECORD).arg(folder).arg(text(&files.tag)).arg(text(&files.revert))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn files_are_written_replaced_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("it's a new folder");
        let record = |tag: Option<&str>, revert: Option<&str>| {
            let files = TagFiles { tag: tag.map(|t| t.parse().unwrap()), revert: revert.map(|t| t.parse().unwrap()) };
            let line = command(folder.to_str().unwrap(), &files).line().unwrap();
            assert!(Command::new("sh").arg("-c").arg(line).status().unwrap().success());
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| name == "TAG" || name == "REVERT"), "{left:?}");
            (read("TAG"), read("REVERT"))
        };
        let text = |tag: &str| Some(format!("export TAG={tag}\n"));
        assert_eq!(record(Some("build-42"), Some("build-41")), (text("build-42"), text("build-41")));
        assert_eq!(record(Some("build-43"), None), (text("build-43"), None));
        assert_eq!(record(None, None), (None, None));
    }
}
