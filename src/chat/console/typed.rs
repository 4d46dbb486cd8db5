//! What a person types: a message, or one of the terminal's own commands, which begin with a slash.

use crate::chat::board::number;
use crate::chat::emoji;
use crate::domain::names::{PersonName, printable};
use crate::nearest::nearest;

/// What `/help` says.
pub(super) const HELP: &[&str] = &[
    "/as NAME                 speak as somebody else",
    "/react EMOJI [MESSAGE]   react to a message, such as m4; left out: the bot's newest. `yes` is ✅, `no` is ❌",
    "/unreact EMOJI [MESSAGE] take a reaction back",
    "/edit [MESSAGE] TEXT     change what you said; an edited message is never a command",
    "/delete MESSAGE          remove a message, whosever it is",
    "/quit                    leave; so does the end of the input",
];

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing.
    Nothing,
    /// A message.
    Say(String),
    /// Somebody else speaks from now on; `None` asks who it is.
    As(Option<String>),
    /// A reaction; to the bot's newest message if none is named.
    React {
        /// The emoji, without variation selectors.
        emoji: String,
        /// The number of the message.
        message: Option<u64>,
    },
    /// A reaction is taken back; from the bot's newest message if none is named.
    Unreact {
        /// The emoji, without variation selectors.
        emoji: String,
        /// The number of the message.
        message: Option<u64>,
    },
    /// A message is removed.
    Delete {
        /// The number of the message.
        message: u64,
    },
    /// A message is changed; the speaker's newest if none is named.
    Edit {
        /// The number of the message.
        message: Option<u64>,
        /// The new text.
        text: String,
    },
    /// The list of these commands.
    Help,
    /// The person goes.
    Quit,
    /// Not understood; says why.
    Wrong(String),
}

/// Reads a line.
pub(super) fn read(line: &str) -> Typed {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return if line.is_empty() { Typed::Nothing } else { Typed::Say(line.to_owned()) };
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match (name, rest) {
        ("as", "") => Typed::As(None),
        ("as", name) => match name.to_lowercase().parse::<PersonName>() {
            Ok(name) => Typed::As(Some(name.to_string())),
            Err(error) => Typed::Wrong(error.to_string()),
        },
        ("react", rest) => match reaction(rest, "/react EMOJI [MESSAGE]") {
            Ok((emoji, message)) => Typed::React { emoji, message },
            Err(why) => Typed::Wrong(why),
        },
        ("unreact", rest) => match reaction(rest, "/unreact EMOJI [MESSAGE]") {
            Ok((emoji, message)) => Typed::Unreact { emoji, message },
            Err(why) => Typed::Wrong(why),
        },
        ("delete", "") => Typed::Wrong("/delete MESSAGE".to_owned()),
        ("delete", rest) => match message(rest) {
            Ok(message) => Typed::Delete { message },
            Err(why) => Typed::Wrong(why),
        },
        ("edit", "") => Typed::Wrong("/edit [MESSAGE] TEXT".to_owned()),
        // Here only with its letter, for a text may begin with a number.
        ("edit", rest) => match rest
            .strip_prefix('m')
            .and_then(|rest| rest.split_once(char::is_whitespace))
            .map(|(first, text)| (number(first), text))
        {
            Some((Some(message), text)) => Typed::Edit { message: Some(message), text: text.trim().to_owned() },
            _ => Typed::Edit { message: None, text: rest.to_owned() },
        },
        ("help", _) => Typed::Help,
        ("quit" | "exit", _) => Typed::Quit,
        (other, _) => {
            let hint = match nearest(other, ["as", "react", "unreact", "edit", "delete", "help", "quit"]) {
                Some(name) => format!("did you mean `/{name}`?"),
                None => "`/help` lists them".to_owned(),
            };
            Typed::Wrong(format!("no command `/{}` in this terminal; {hint}", printable(other, 20)))
        }
    }
}

/// An emoji, and the message that it is about if one is named.
fn reaction(rest: &str, usage: &str) -> Result<(String, Option<u64>), String> {
    let mut words = rest.split_whitespace();
    let (Some(word), named, None) = (words.next(), words.next(), words.next()) else {
        return Err(usage.to_owned());
    };
    let emoji = emoji::read(word)?;
    Ok((emoji, named.map(message).transpose()?))
}

fn message(text: &str) -> Result<u64, String> {
    number(text).ok_or_else(|| format!("`{}` is no message; they are called m1, m2, ...", printable(text, 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_or_a_command_of_the_terminal() {
        let wrong = |text: &str| Typed::Wrong(text.to_owned());
        let react = |emoji: &str, message| Typed::React { emoji: emoji.to_owned(), message };
        for (line, expected) in [
            ("", Typed::Nothing),
            (" !deploy antisocial \r", Typed::Say("!deploy antisocial".to_owned())),
            ("/as Bert", Typed::As(Some("bert".to_owned()))),
            ("/as", Typed::As(None)),
            ("/react ✅", react("✅", None)),
            ("/react ✔\u{fe0f} m12", react("✔", Some(12))),
            ("/react yes 12", react("✅", Some(12))),
            ("/react :x: M12", react("❌", Some(12))),
            ("/react", wrong("/react EMOJI [MESSAGE]")),
            ("/react m12", wrong("`m12` is no emoji; `yes` is ✅, `no` is ❌")),
            ("/react ✅ x", wrong("`x` is no message; they are called m1, m2, ...")),
            ("/unreact no m4", Typed::Unreact { emoji: "❌".to_owned(), message: Some(4) }),
            ("/unreact ✔\u{fe0f}", Typed::Unreact { emoji: "✔".to_owned(), message: None }),
            ("/unreact", wrong("/unreact EMOJI [MESSAGE]")),
            ("/delete m4", Typed::Delete { message: 4 }),
            ("/delete", wrong("/delete MESSAGE")),
            ("/delete that", wrong("`that` is no message; they are called m1, m2, ...")),
            ("/edit m3 so what", Typed::Edit { message: Some(3), text: "so what".to_owned() }),
            ("/edit so what", Typed::Edit { message: None, text: "so what".to_owned() }),
            ("/edit 3 apples", Typed::Edit { message: None, text: "3 apples".to_owned() }),
            ("/edit so", Typed::Edit { message: None, text: "so".to_owned() }),
            ("/edit", wrong("/edit [MESSAGE] TEXT")),
            ("/help", Typed::Help),
            ("/quit", Typed::Quit),
            ("/qiut", wrong("no command `/qiut` in this terminal; did you mean `/quit`?")),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
