//! The lines that the bot and its clients exchange over the local socket, each a JSON object.
//!
//! ```text
//! bot     {"hello":{"protocol":1,"account":"local:anna"}}
//! client  {"say":{"text":"!deploy antisocial build-42"}}
//! bot     {"taken":{"message":"m3-7f3a"}}
//! bot     {"became":{"message":"m3-7f3a","what":"started"}}
//! bot     {"shown":{"message":"m4-7f3a","to":"m3-7f3a","whom":"room","lines":["▸ #2 antisocial ..."]}}
//! bot     {"changed":{"message":"m4-7f3a","lines":["▸ #2 antisocial ..."],"last":false}}
//! client  {"react":{"message":"m4-7f3a","emoji":"❌"}}
//! ...
//! bot     {"became":{"message":"m3-7f3a","what":"succeeded"}}
//! ```
//!
//! The version counts for both directions: who meets another one than its own hangs up.

use serde::{Deserialize, Serialize};

use crate::chat::{Audience, Became};

/// The version of these lines; any change that an older program wouldn't understand makes a new one.
pub const PROTOCOL: u32 = 1;

/// A line of a client. Each is answered by `taken` or `wrong`, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToBot {
    /// The user says something.
    Say {
        /// What, on one line.
        text: String,
    },
    /// The user puts an emoji to a message.
    React {
        /// Which message.
        message: String,
        /// The emoji, or a word for it.
        emoji: String,
    },
    /// The user takes an emoji back.
    Unreact {
        /// From which message.
        message: String,
        /// The emoji, or a word for it.
        emoji: String,
    },
}

/// A line of the bot. Messages are known by their short names, which end with the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromBot {
    /// The first line.
    Hello {
        /// The version that the bot speaks.
        protocol: u32,
        /// Whom the bot takes the client for.
        account: String,
    },
    /// A line was taken.
    Taken {
        /// As which message; of a reaction, to which.
        message: String,
    },
    /// A line was not taken, or the client as a whole was not.
    Wrong {
        /// Why, and what to do.
        why: String,
    },
    /// The bot shows a new message.
    Shown {
        /// Which.
        message: String,
        /// The message that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Who sees it.
        whom: Audience,
        /// The message, without control characters.
        lines: Vec<String>,
    },
    /// The bot's message is another one now, or has other reactions.
    Changed {
        /// Which.
        message: String,
        /// All of it.
        lines: Vec<String>,
        /// Whether the bot is done with it.
        last: bool,
    },
    /// All that belongs to a message, or to a reaction, was shown.
    Became {
        /// Which message; of a reaction, to which.
        message: String,
        /// What became of it.
        what: Became,
    },
}

/// Something as a line, with its line break.
pub fn line(what: &impl Serialize) -> String {
    // Names and texts always are JSON.
    serde_json::to_string(what).map(|line| line + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_version_1_says() {
        assert_eq!(PROTOCOL, 1);
        let (message, to) = ("m4-7f3a".to_owned(), Some("m3-7f3a".to_owned()));
        let lines = vec!["▸ #2".to_owned()];
        for (event, expected) in [
            (
                FromBot::Hello { protocol: 1, account: "local:anna".to_owned() },
                r#"{"hello":{"protocol":1,"account":"local:anna"}}"#,
            ),
            (FromBot::Taken { message: message.clone() }, r#"{"taken":{"message":"m4-7f3a"}}"#),
            (FromBot::Wrong { why: "no".to_owned() }, r#"{"wrong":{"why":"no"}}"#),
            (
                FromBot::Shown { message: message.clone(), to, whom: Audience::Room, lines: lines.clone() },
                r#"{"shown":{"message":"m4-7f3a","to":"m3-7f3a","whom":"room","lines":["▸ #2"]}}"#,
            ),
            (
                FromBot::Shown { message: message.clone(), to: None, whom: Audience::Author, lines: lines.clone() },
                r#"{"shown":{"message":"m4-7f3a","whom":"author","lines":["▸ #2"]}}"#,
            ),
            (
                FromBot::Changed { message: message.clone(), lines, last: true },
                r#"{"changed":{"message":"m4-7f3a","lines":["▸ #2"],"last":true}}"#,
            ),
            (FromBot::Became { message, what: Became::Succeeded }, r#"{"became":{"message":"m4-7f3a","what":"succeeded"}}"#),
        ] {
            assert_eq!(line(&event), format!("{expected}\n"));
            assert_eq!(serde_json::from_str::<FromBot>(expected).unwrap(), event);
        }
        let (message, emoji) = ("m4-7f3a".to_owned(), "✅".to_owned());
        for (said, expected) in [
            (ToBot::Say { text: "!help".to_owned() }, r#"{"say":{"text":"!help"}}"#),
            (ToBot::React { message: message.clone(), emoji: emoji.clone() }, r#"{"react":{"message":"m4-7f3a","emoji":"✅"}}"#),
            (ToBot::Unreact { message, emoji }, r#"{"unreact":{"message":"m4-7f3a","emoji":"✅"}}"#),
        ] {
            assert_eq!(line(&said), format!("{expected}\n"));
            assert_eq!(serde_json::from_str::<ToBot>(expected).unwrap(), said);
        }
    }
}
