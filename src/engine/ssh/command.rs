//! A command for a host, as a value. This is the only place where text becomes shell text.
//!
//! SSH knows no argument lists: sshd hands one text to the login shell. So each word is quoted here, and what arrives at
//! the program is what stood in the value, whatever characters it has.

use std::fmt;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCommand {
    program: String,
    arguments: Vec<String>,
}

/// A word with a NUL byte, which no shell and no program can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a word of the command has a NUL byte in it")]
pub struct NulByte;

impl RemoteCommand {
    /// A program without arguments.
    pub fn new(program: impl Into<String>) -> RemoteCommand {
        RemoteCommand { program: program.into(), arguments: Vec::new() }
    }

    /// The words of a setting, the program first; `None` if there are none.
    pub fn from_words(words: &[String]) -> Option<RemoteCommand> {
        let (program, arguments) = words.split_first()?;
        Some(RemoteCommand { program: program.clone(), arguments: arguments.to_vec() })
    }

    /// A shell script of our own; its arguments are `$1`, `$2`, ...
    pub fn script(text: impl Into<String>) -> RemoteCommand {
        RemoteCommand::new("sh").arg("-c").arg(text).arg("shipmate")
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<String>) -> RemoteCommand {
        self.arguments.push(argument.into());
        self
    }

    /// The command as text that a POSIX shell reads back as exactly these words.
    ///
    /// # Errors
    /// When a word has a NUL byte.
    pub fn line(&self) -> Result<String, NulByte> {
        shlex::try_join(std::iter::once(self.program.as_str()).chain(self.arguments.iter().map(String::as_str)))
            .map_err(|_| NulByte)
    }
}

/// For messages: the quoted words, cut where they get long.
impl fmt::Display for RemoteCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::domain::names::printable(&self.line().unwrap_or_else(|_| self.program.clone()), 200))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(RemoteCommand::new("echo").arg("a\0b").line(), Err(NulByte));
    }

    #[test]
    fn no_words_are_no_command() {
        assert_eq!(RemoteCommand::from_words(&[]), None);
    }

    fn echoed(words: &[String]) -> Vec<String> {
        let command = words.iter().fold(RemoteCommand::new("printf").arg(r"%s\0"), |command, word| command.arg(word));
        let output = Command::new("sh").arg("-c").arg(command.line().unwrap()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn shell_syntax_arrives_as_text() {
        let words = ["$(touch /tmp/pwned)", "`id`", "a'b\"c", "", "-n", "*", "~", "\n", "x; rm -rf /", "!!", "\\", "é\u{202e}"]
            .map(String::from);
        assert_eq!(echoed(&words), words);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_argument_survives_a_real_shell(words in prop::collection::vec("[^\0]{0,20}", 1..6)) {
            prop_assert_eq!(echoed(&words), words);
        }
    }
}
