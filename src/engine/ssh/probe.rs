//! One look at a host by one command: free space, TAG and REVERT, and whether the services that commands manage run.
//!
//! It is a script made of constants and quoted words, so that all of it costs one round trip, and it is the first
//! command on a new connection.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::command::{NulByte, RemoteCommand};
use super::limits::STATUS_SECONDS;
use crate::domain::names::{RoleName, Tag};
use crate::domain::plan::TagFiles;

/// What to look at.
#[derive(Debug, Default)]
pub struct Probe<'a> {
    /// Where TAG and REVERT lie.
    pub tag_folder: Option<&'a str>,
    /// The status commands of the services that commands manage.
    pub services: BTreeMap<&'a RoleName, RemoteCommand>,
}

/// What was seen.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Probed {
    /// Where the engine keeps its data, as far as its configuration file says it.
    pub root: String,
    /// The free space there, in MiB.
    pub free_mib: Option<u64>,
    /// What the TAG and REVERT files say.
    pub tag_files: TagFiles,
    /// Which services run.
    pub services: BTreeMap<RoleName, bool>,
}

/// `free PATH`: the free KiB where a path lies, or will lie; read by [`parse`].
const FREE: &str = r#"free() { p=$1; until [ -e "$p" ] || [ "$p" = / ]; do p=$(dirname -- "$p"); done
  df -Pk -- "$p" 2>/dev/null | { read -r _; read -r _ _ _ kib _; echo "free=$kib"; }; }"#;

const ROOT: &str = r#"root=$(sed -n 's/.*"data-root" *: *"\([^"]*\)".*/\1/p' /etc/docker/daemon.json 2>/dev/null | head -n 1)
root=${root:-/var/lib/docker}; echo "root=$root"; free "$root""#;

const TAGS: &str =
    r#"for f in TAG REVERT; do [ ! -f "$1/$f" ] || { printf '%s=' $f; head -c 400 -- "$1/$f" | tr '\n' ' '; echo; }; done"#;

impl Probe<'_> {
    /// The probe as a command.
    ///
    /// # Errors
    /// When a word has a NUL byte.
    pub fn command(&self) -> Result<RemoteCommand, NulByte> {
        let mut script = format!("{FREE}\n{ROOT}\n");
        if self.tag_folder.is_some() {
            let _infallible = writeln!(script, "{TAGS}");
        }
        if !self.services.is_empty() {
            // A status command that hangs must not hide the host.
            let _infallible = writeln!(
                script,
                "limit() {{ if command -v timeout >/dev/null; then timeout {STATUS_SECONDS} \"$@\"; else \"$@\"; fi; }}"
            );
        }
        for (role, status) in &self.services {
            let _infallible = writeln!(script, "limit {} >/dev/null 2>&1 </dev/null; echo \"service={role} $?\"", status.line()?);
        }
        script.push(':');
        Ok(RemoteCommand::script(script).arg(self.tag_folder.unwrap_or_default()))
    }
}

/// The free space where `path` lies, as a command; its answer is for [`parse`].
pub fn free_space(path: &str) -> RemoteCommand {
    RemoteCommand::script(format!("{FREE}\nfree \"$1\"")).arg(path)
}

/// Reads what a probe printed.
pub fn parse(answer: &str) -> Probed {
    let mut probed = Probed::default();
    for (key, value) in answer.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "root" => value.clone_into(&mut probed.root),
            "free" => probed.free_mib = value.trim().parse::<u64>().ok().map(|kib| kib / 1024),
            "TAG" => probed.tag_files.tag = tag(value),
            "REVERT" => probed.tag_files.revert = tag(value),
            "service" => {
                if let Some((role, status)) = value.split_once(' ')
                    && let Ok(role) = role.parse()
                {
                    probed.services.insert(role, status.trim() == "0");
                }
            }
            _ => (),
        }
    }
    probed
}

/// `export TAG=build-42`, as docker-runner scripts source it. Anything else is as good as no file.
fn tag(text: &str) -> Option<Tag> {
    let text = text.trim();
    let value = text.strip_prefix("export ").unwrap_or(text).trim_start().strip_prefix("TAG=")?;
    value.trim_matches(['"', '\'']).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(command: &RemoteCommand) -> Probed {
        let output = Command::new("sh").arg("-c").arg(command.line().unwrap()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        parse(&String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn one_script_sees_space_tags_and_services() {
        let folder = tempfile::Builder::new().prefix("a folder's $HOME").tempdir().unwrap();
        std::fs::write(folder.path().join("TAG"), "export TAG=build-42\n").unwrap();
        std::fs::write(folder.path().join("REVERT"), "export TAG=\"build-41\"\n").unwrap();
        let (web, beat) = ("web".parse().unwrap(), "beat".parse().unwrap());
        let words = |text: &str| RemoteCommand::from_words(&text.split(' ').map(String::from).collect::<Vec<_>>()).unwrap();
        let services = BTreeMap::from([(&web, words("test -n it's")), (&beat, words("test -z $(touch)"))]);
        let probed = run(&Probe { tag_folder: folder.path().to_str(), services }.command().unwrap());
        assert!(probed.free_mib.is_some_and(|mib| mib > 0), "{probed:?}");
        assert_eq!(probed.root, "/var/lib/docker");
        let tag = |text: &str| Some(text.parse().unwrap());
        assert_eq!(probed.tag_files, TagFiles { tag: tag("build-42"), revert: tag("build-41") });
        assert_eq!(probed.services, BTreeMap::from([(web, true), (beat, false)]));
    }

    #[test]
    fn a_host_without_files_and_services_has_none() {
        let probed = run(&Probe { tag_folder: Some("/nonexistent"), ..Probe::default() }.command().unwrap());
        assert_eq!((probed.tag_files, probed.services), (TagFiles::default(), BTreeMap::new()));
    }

    #[test]
    fn the_space_of_a_folder_that_is_still_to_be_made_is_that_of_its_parent() {
        assert!(run(&free_space("/var/not/there yet")).free_mib.is_some());
    }

    #[test]
    fn a_tag_file_with_anything_else_in_it_counts_as_none() {
        for text in ["", "export TAG=", "TAG=$(id)", "rm -rf /", "export TAG=a b"] {
            assert_eq!(tag(text), None, "{text}");
        }
        assert_eq!(tag(" export TAG=build-42 \n"), "build-42".parse().ok());
    }
}
