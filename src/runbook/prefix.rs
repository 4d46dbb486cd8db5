//! What commands begin with; a setting.

use std::fmt;
use std::str::FromStr;

use crate::domain::names::printable;

/// What a command line starts with: a sign such as `!`, which the command follows at once, or a name such as `shipmate`
/// or `@shipmate`, which a space follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// A command as it is typed: `!deploy`, `shipmate deploy`.
    pub fn typed(&self, command: &str) -> String {
        if self.is_name() { format!("{} {command}", self.0) } else { format!("{}{command}", self.0) }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_name(&self) -> bool {
        self.0.ends_with(|c: char| c.is_alphanumeric() || c == '>')
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Prefix("!".to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let good = (1..=64).contains(&text.chars().count())
            && text == printable(text, 64)
            && !text.contains(|c: char| c.is_whitespace() || c == '`')
            // A quoted line (`> …`) is never a command.
            && !text.starts_with('>');
        if good { Ok(Prefix(text.to_owned())) } else { Err(InvalidPrefix(printable(text, 40).replace('`', "'"))) }
    }
}

/// Why a text can't be the prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` can't be the prefix of commands: use 1 to 64 characters without spaces and backticks, and not `>` first")]
pub struct InvalidPrefix(String);
