//! What the bot knows of those who command it, for life: whose identity it saw first, and which commands it heard.
//!
//! Both are files beside the keys of the bot's device, and lost only with them: then what was encrypted before is lost too.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use matrix_sdk::ruma::UserId;
use sha2::{Digest as _, Sha256};

use super::folder::Folder;

/// The identities: an account and its key on each line. People remove the lines of those who made themselves a new one.
const IDENTITIES: &str = "identities.txt";
const ABOUT_IDENTITIES: &str = "# The identity of each account as the bot saw it first. Another one isn't believed: if somebody has reset \
     theirs, ask them in person, and remove their line; then the bot takes the new one.\n";

/// The commands: digests of the author, of the message and of its event on each line, the newest last.
const COMMANDS: &str = "commands.txt";

/// How many commands of each author are remembered at least; the file has up to twice as many of each.
const REMEMBERED: usize = 4096;

/// Whether this is the identity of an account that was seen first; from now on it is if there was none.
pub(super) fn is_first_identity(folder: &Folder, user: &UserId, key: &str) -> io::Result<bool> {
    let known = text(folder, IDENTITIES)?;
    if let Some(first) = identity(&known, user) {
        return Ok(first == key);
    }
    let begin = if known.is_empty() { ABOUT_IDENTITIES } else { known.as_str() };
    let gap = if begin.ends_with('\n') { "" } else { "\n" };
    folder.write(IDENTITIES, format!("{begin}{gap}{user} {key}\n").as_bytes())?;
    Ok(true)
}

/// Whether an identity of an account was seen.
pub(super) fn has_identity(folder: &Folder, user: &UserId) -> io::Result<bool> {
    Ok(identity(&text(folder, IDENTITIES)?, user).is_some())
}

fn identity<'a>(known: &'a str, user: &UserId) -> Option<&'a str> {
    known.lines().filter_map(|line| line.trim().split_once(' ')).find(|(of, _)| *of == user.as_str()).map(|(_, key)| key)
}

/// Whether a message of an author came by this event first; from now on it did if it is new. Each has a memory of their own:
/// nobody makes the bot forget what others said.
pub(super) fn is_first_event(folder: &Folder, by: &str, message: &str, event: &str) -> io::Result<bool> {
    let (by, message, event) = (digest(by), digest(message), digest(event));
    let known = text(folder, COMMANDS)?;
    let begin = format!("{by} ");
    let theirs: Vec<&str> = known.lines().filter(|line| line.starts_with(&begin)).collect();
    let mut events = theirs.iter().filter_map(|line| line.strip_prefix(&begin)?.split_once(' '));
    if let Some((_, first)) = events.find(|(known, _)| *known == message) {
        return Ok(first == event);
    }
    let line = format!("{by} {message} {event}\n");
    if theirs.len() >= 2 * REMEMBERED {
        let mut old = theirs.len() - REMEMBERED;
        let mut is_kept = |line: &&str| {
            let forgotten = line.starts_with(&begin) && old > 0;
            old -= usize::from(forgotten);
            !forgotten
        };
        let newest: Vec<&str> = known.lines().filter(|line| is_kept(line)).collect();
        folder.write(COMMANDS, format!("{}\n{line}", newest.join("\n")).as_bytes())?;
        return Ok(true);
    }
    // A line that a crash cut short ends here.
    let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.path().join(COMMANDS))?;
    file.write_all(format!("{gap}{line}").as_bytes())?;
    file.sync_all()?;
    if known.is_empty() {
        fs::File::open(folder.path())?.sync_all()?;
    }
    Ok(true)
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

fn text(folder: &Folder, name: &str) -> io::Result<String> {
    match fs::read_to_string(folder.path().join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use matrix_sdk::ruma::user_id;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        (place, folder)
    }

    fn is_for_the_bot_alone(folder: &Folder, name: &str) {
        assert_eq!(fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_first_identity_counts_until_somebody_removes_its_line() {
        let (_place, folder) = folder();
        let (anna, ben) = (user_id!("@anna:x"), user_id!("@ben:x"));
        assert!(!has_identity(&folder, anna).unwrap());
        assert!(is_first_identity(&folder, anna, "one").unwrap() && is_first_identity(&folder, ben, "two").unwrap());
        assert!(is_first_identity(&folder, anna, "one").unwrap() && has_identity(&folder, anna).unwrap());
        assert!(!is_first_identity(&folder, anna, "other").unwrap());
        is_for_the_bot_alone(&folder, IDENTITIES);
        let left: Vec<String> =
            text(&folder, IDENTITIES).unwrap().lines().filter(|line| !line.contains("anna")).map(str::to_owned).collect();
        fs::write(folder.path().join(IDENTITIES), left.join("\n")).unwrap();
        assert!(is_first_identity(&folder, anna, "other").unwrap() && !is_first_identity(&folder, ben, "other").unwrap());
    }

    #[test]
    fn a_message_has_one_event_for_life() {
        let (_place, folder) = folder();
        assert!(
            is_first_event(&folder, "@anna:x", "session:1", "$a").unwrap()
                && is_first_event(&folder, "@anna:x", "session:2", "$b").unwrap()
        );
        assert!(is_first_event(&folder, "@anna:x", "session:1", "$a").unwrap());
        assert!(!is_first_event(&folder, "@anna:x", "session:1", "$b").unwrap());
        is_for_the_bot_alone(&folder, COMMANDS);
        // A crash leaves half a line.
        let mut file = OpenOptions::new().append(true).open(folder.path().join(COMMANDS)).unwrap();
        file.write_all(b"0123").unwrap();
        assert!(
            is_first_event(&folder, "@anna:x", "session:3", "$c").unwrap()
                && !is_first_event(&folder, "@anna:x", "session:3", "$d").unwrap()
        );
    }

    #[test]
    fn the_oldest_commands_are_forgotten() {
        let (_place, folder) = folder();
        let line = |n: usize| {
            let [by, message, event] = ["@anna:x", &format!("session:{n}"), &format!("${n}")].map(digest);
            format!("{by} {message} {event}\n")
        };
        fs::write(folder.path().join(COMMANDS), (0..2 * REMEMBERED).map(line).collect::<String>()).unwrap();
        assert!(!is_first_event(&folder, "@anna:x", "session:0", "$copy").unwrap());
        // Somebody else's are none of hers, and make the bot forget none of hers.
        assert!(is_first_event(&folder, "@mallory:x", "session:0", "$other").unwrap());
        assert!(!is_first_event(&folder, "@anna:x", "session:0", "$copy").unwrap());
        assert!(is_first_event(&folder, "@anna:x", "session:new", "$new").unwrap());
        assert_eq!(text(&folder, COMMANDS).unwrap().lines().count(), REMEMBERED + 2);
        assert!(!is_first_event(&folder, "@anna:x", &format!("session:{}", REMEMBERED), "$copy").unwrap());
        assert!(!is_first_event(&folder, "@anna:x", "session:new", "$copy").unwrap());
    }
}
