//! The names and ids of the domain, each its own type.
//!
//! A value of these types exists only if its grammar holds, so text that came from a chat or a webhook can't travel
//! on as a tag, a host or an app without having been checked, and serde checks again what it reads back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name; the message is meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct InvalidName {
    /// The refused text, shortened and without control characters.
    pub text: String,
    what: &'static str,
    rule: &'static str,
}

impl InvalidName {
    fn new(text: &str, what: &'static str, rule: &'static str) -> Self {
        InvalidName { text: printable(text, 40), what, rule }
    }
}

/// `text` without control, bidirectional and zero-width characters, cut to `limit` characters: safe to show to people.
pub fn printable(text: &str, limit: usize) -> String {
    let clean = |c: &char| !c.is_control() && !is_invisible(*c);
    let mut shown: String = text.chars().filter(clean).take(limit).collect();
    if text.chars().filter(clean).nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that change how others are shown, or show nothing: bidirectional controls, zero-width signs, tags.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{2800}' | '\u{3164}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text is the full id of a user of Matrix: `@anna:example.org`.
pub fn is_matrix_user(text: &str) -> bool {
    let parts = text.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic());
    text.len() <= 255 && parts.is_some_and(|(name, server)| is_part(name) && is_part(server) && !server.contains(['@', '/']))
}

/// Whether a text is the id of a room of Matrix: `!id:example.org`, or `!id` alone from room version 12 on.
pub fn is_matrix_room(text: &str) -> bool {
    let id = text.strip_prefix('!');
    text.len() <= 255 && id.is_some_and(|id| !id.is_empty() && !id.starts_with(':') && id.chars().all(|c| c.is_ascii_graphic()))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok($type(text.to_owned())) } else { Err(InvalidName::new(text, $what, $rule)) }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

fn is_slug(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

const SLUG: &str = "use up to 63 of a-z, 0-9, `_`, `.`, `-`, a letter or digit first";

name!(
    /// An app of the fleet: `antisocial`.
    AppName, "an app name", SLUG, is_slug
);
name!(
    /// Where an app runs: `production`.
    EnvironmentName, "an environment name", SLUG, is_slug
);
name!(
    /// A part of an app that runs as its own containers: `web`, `worker`, `beat`.
    RoleName, "a role name", SLUG, is_slug
);
name!(
    /// A task that runs once a deployment: `migrate`.
    TaskName, "a task name", SLUG, is_slug
);
name!(
    /// A person of the fleet file: `anna`. One person may have several accounts.
    PersonName, "a person's name", SLUG, is_slug
);
name!(
    /// A group of people that commands are allowed to: `deployers`.
    GroupName, "a group name", SLUG, is_slug
);
name!(
    /// A chat command: `deploy`.
    CommandName, "a command name", SLUG, is_slug
);
name!(
    /// An SSH destination as the user's ssh_config knows it: `appserver1`, `deploy@10.0.0.7`.
    HostName, "a host name", "use up to 255 of A-Z, a-z, 0-9, `_`, `.`, `@`, `:`, `-`, a letter or digit first",
    |text| text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@:-".contains(c))
);
name!(
    /// An image tag; the grammar is that of the OCI distribution specification.
    Tag, "a tag", "use up to 128 of A-Z, a-z, 0-9, `_`, `.`, `-`, and neither `.` nor `-` first",
    |text| text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
);
name!(
    /// The content address of an image: `sha256:…`.
    Digest, "a digest", "it is `sha256:` and 64 hexadecimal digits",
    |text| text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && is_hex(hex))
);
name!(
    /// A commit, abbreviated or whole, in lower-case hexadecimal.
    CommitSha, "a commit", "it is 7 to 64 hexadecimal digits in lower case",
    |text| (7..=64).contains(&text.len()) && is_hex(text)
);
name!(
    /// An image repository with its registry, without tag or digest: `registry.example.org:5000/thraxil/antisocial`.
    Repository, "an image repository", "it is `[registry[:port]/]path` in lower case, without tag or digest",
    is_repository
);

impl Digest {
    /// The first 12 hexadecimal digits, as Docker shows it.
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

impl CommitSha {
    /// The first 8 digits.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(8)]
    }
}

impl Repository {
    /// The registry's address as Docker decides it: the first part if it has a dot, a colon, or is `localhost`; else Docker Hub.
    pub fn registry(&self) -> &str {
        match self.0.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => "docker.io",
        }
    }
}

fn is_repository(text: &str) -> bool {
    let part_ok = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
    };
    let registry_ok = |part: &str| {
        let (host, port) = part.split_once(':').unwrap_or((part, "0"));
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
            && !host.starts_with(['-', '.'])
            && port.parse::<u16>().is_ok()
    };
    if text.len() > 255 {
        return false;
    }
    match text.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            registry_ok(first) && path.split('/').all(part_ok)
        }
        _ => text.split('/').all(part_ok),
    }
}

/// The number by which people call a deployment: `#42`. Counted from 1, for all apps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for DeploymentId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let number = text.strip_prefix('#').unwrap_or(text);
        match number.parse() {
            Ok(id) if id > 0 => Ok(DeploymentId(id)),
            _ => Err(InvalidName::new(text, "a deployment", "it is a number such as 42 or #42")),
        }
    }
}
