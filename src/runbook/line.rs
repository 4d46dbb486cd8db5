//! A chat line: whether it is a command at all, and its words.
//!
//! People paste, quote and decorate, phones turn quotes and dashes into typographic ones: all that is forgiven where the
//! meaning stays clear. No character is ever special to a shell here, so nothing needs to be escaped: a quote opens at the
//! start of a word or after `=`, closes before a space or at the end, and is an ordinary character anywhere else.

use super::Prefix;
use crate::domain::names::{is_invisible, printable};

/// The longest command line in characters; what Discord takes as a message.
pub(super) const LONGEST: usize = 2000;

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No command.
    Talk,
    /// Meant as a command, but not of a form that is read; says why.
    Refused(String),
    /// A command.
    Command {
        /// What follows the prefix.
        name: String,
        /// The rest.
        words: Words,
    },
}

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The word without its quotes.
    pub text: String,
    /// Whether it begins with a quote; such a word is never an option.
    pub quoted: bool,
    /// Where it begins in the line.
    start: usize,
}

/// The words of a line, which still knows how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    line: String,
    /// The words in order.
    pub list: Vec<Word>,
}

impl Words {
    /// Everything from the word at `index` to the end, as it was typed.
    pub fn from(&self, index: usize) -> &str {
        match &self.list[index..] {
            [only] if only.quoted => &only.text,
            [first, ..] => self.line[first.start..].trim_end(),
            [] => "",
        }
    }
}

/// Reads a message. `known` tells the names of commands, in any case.
pub(super) fn read(message: &str, prefix: &Prefix, known: impl Fn(&str) -> bool) -> Line {
    let message = message.trim();
    if message.starts_with("```") || message.starts_with('>') {
        return Line::Talk;
    }
    // The whole line as inline code.
    let message = if message.starts_with('`') { message.trim_matches('`').trim() } else { message };
    let Some(line) = after(prefix, message).filter(|line| line.starts_with(char::is_alphabetic)) else { return Line::Talk };
    if let Some((first, _)) = line.split_once('\n') {
        // Prose may begin with an exclamation mark; only a real command's name makes it worth an answer.
        let name = first.split_whitespace().next().unwrap_or_default();
        return if known(name) { Line::Refused("a command is a single line".to_owned()) } else { Line::Talk };
    }
    match check(line).and_then(|()| split(line)) {
        Err(why) => Line::Refused(why),
        Ok(mut words) => {
            let name = words.list.remove(0).text;
            Line::Command { name, words }
        }
    }
}

/// Refuses text that is too long, or that has characters which people can't see.
pub(super) fn check(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if length > LONGEST {
        return Err(format!("a command has at most {LONGEST} characters, and this one has {length}"));
    }
    match text.chars().find(|c| (c.is_control() && *c != '\t') || is_invisible(*c)) {
        Some(c) => Err(format!("a command has no control or invisible characters, and this one has U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

/// A text of the person, in backticks, so that it can't be more than text.
pub(super) fn code(text: &str) -> String {
    let shown = printable(text, 40).replace('`', "'");
    if shown.is_empty() { "the empty word".to_owned() } else { format!("`{shown}`") }
}

fn after<'l>(prefix: &Prefix, line: &'l str) -> Option<&'l str> {
    let (head, rest) = line.split_at_checked(prefix.as_str().len())?;
    if !prefix.is_name() {
        return (head == prefix.as_str()).then_some(rest);
    }
    // A name is addressed as people do: `Shipmate deploy`, `shipmate: deploy`.
    let rest = rest.strip_prefix([':', ',']).unwrap_or(rest);
    (head.eq_ignore_ascii_case(prefix.as_str()) && rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

/// Splits a line, which has at least one word.
pub(super) fn split(line: &str) -> Result<Words, String> {
    let mut list = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '`');
        if rest.is_empty() {
            break;
        }
        let start = line.len() - rest.len();
        let quoted = rest.starts_with(|c| quote(c).is_some());
        let mut text = String::new();
        // Whether a quote may open here, and how much of `text` is from quotes and therefore stays as it is.
        let (mut opens, mut kept) = (true, 0);
        while let Some(c) = rest.chars().next().filter(|c| !c.is_whitespace()) {
            match quote(c) {
                Some(kind) if opens => {
                    let (inside, after) =
                        enclosed(&rest[c.len_utf8()..], kind).ok_or_else(|| format!("a quote ({c}) isn't closed"))?;
                    text.push_str(inside);
                    (rest, kept) = (after, text.len());
                }
                _ => {
                    text.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
            opens = c == '=';
        }
        text.truncate(kept.max(text.trim_end_matches('`').len()));
        list.push(Word { text: if quoted { text } else { dashes(text) }, quoted, start });
    }
    Ok(Words { line: line.to_owned(), list })
}

/// Which of the two kinds of quotes it is, if any.
fn quote(c: char) -> Option<char> {
    match c {
        '"' | '“' | '”' | '„' | '‟' => Some('"'),
        '\'' | '‘' | '’' | '‚' | '‛' => Some('\''),
        _ => None,
    }
}

/// The text up to the closing quote, and what follows.
fn enclosed(text: &str, kind: char) -> Option<(&str, &str)> {
    text.char_indices().filter(|(_, c)| quote(*c) == Some(kind)).find_map(|(at, c)| {
        let after = &text[at + c.len_utf8()..];
        (after.is_empty() || after.starts_with(|next: char| next.is_whitespace() || next == '`')).then_some((&text[..at], after))
    })
}

/// Phones make one long dash of `--`.
fn dashes(word: String) -> String {
    match word.strip_prefix(['—', '–']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) => format!("--{rest}"),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap().list.into_iter().map(|word| word.text).collect()
    }

    fn read(message: &str) -> Line {
        super::read(message, &Prefix::default(), |name| name == "deploy")
    }

    fn with(prefix: &str, message: &str) -> Option<String> {
        match super::read(message, &prefix.parse().unwrap(), |name| name == "deploy") {
            Line::Command { name, .. } => Some(name),
            _ => None,
        }
    }

    #[test]
    fn quotes_group_words_also_typographic_ones() {
        assert_eq!(words(r#"a "b c" d"#), ["a", "b c", "d"]);
        assert_eq!(words("a “b c” ‘d e’ „f g“"), ["a", "b c", "d e", "f g"]);
        assert_eq!(words(r#"--subject="hello world" x"#), ["--subject=hello world", "x"]);
        assert_eq!(words(r#"-c 'print("a b")'"#), ["-c", r#"print("a b")"#]);
        assert_eq!(words(r#"a "" b"#), ["a", "", "b"]);
    }

    #[test]
    fn a_quote_inside_a_word_is_a_character() {
        assert_eq!(words("don't stop"), ["don't", "stop"]);
        assert_eq!(words("'don’t stop'"), ["don’t stop"]);
        assert_eq!(words(r#"{"a":1} 5""#), [r#"{"a":1}"#, r#"5""#]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told() {
        assert_eq!(split(r#"a "b c"#), Err("a quote (\") isn't closed".to_owned()));
        assert_eq!(split("a 'b"), Err("a quote (') isn't closed".to_owned()));
    }

    #[test]
    fn backticks_around_words_and_lines_are_forgiven() {
        assert_eq!(words("`a` b` `c `d e` ` f"), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(words("'`date`' x='`y`'"), ["`date`", "x=`y`"]);
        for line in ["`!deploy a`", "``!deploy a``", "`!deploy` a", "!deploy `a`", "!deploy a`"] {
            let Line::Command { name, words } = read(line) else { panic!("{line}") };
            assert_eq!((name.as_str(), words.list.len(), words.list[0].text.as_str()), ("deploy", 1, "a"), "{line}");
        }
    }

    #[test]
    fn long_dashes_of_phones_are_two_short_ones_again() {
        assert_eq!(words("—read –env a—b — '—x'"), ["--read", "--env", "a—b", "—", "—x"]);
    }

    #[test]
    fn talk_is_not_a_command() {
        for talk in ["", "!", "!!", "!?", "! deploy a", "!!deploy", "!5", "hi !deploy a", "deploy a", "> !deploy a", ">!deploy"] {
            assert_eq!(read(talk), Line::Talk, "{talk}");
        }
        for talk in ["```\n!deploy a\n```", "```!deploy a```", "!wow\nthat was close", "look:\n!deploy a", "¡deploy a"] {
            assert_eq!(read(talk), Line::Talk, "{talk}");
        }
    }

    #[test]
    fn a_command_is_one_short_line_of_visible_characters() {
        assert_eq!(read("!deploy a\nb"), Line::Refused("a command is a single line".to_owned()));
        assert!(matches!(read(" !deploy a \n"), Line::Command { .. }));
        assert!(matches!(read("!deploy\ta"), Line::Command { .. }));
        let long = format!("!deploy {}", "x".repeat(10_000));
        assert_eq!(read(&long), Line::Refused("a command has at most 2000 characters, and this one has 10007".to_owned()));
        let refused =
            |code: &str| Line::Refused(format!("a command has no control or invisible characters, and this one has {code}"));
        assert_eq!(read("!deploy a\u{202e}b"), refused("U+202E"));
        assert_eq!(read("!deploy a\x1b[31m"), refused("U+001B"));
        assert_eq!(read("!deploy a\rb"), refused("U+000D"));
    }

    #[test]
    fn the_prefix_is_a_sign_or_a_name() {
        assert_eq!(with("//", "//deploy a").as_deref(), Some("deploy"));
        assert_eq!(with("//", "/deploy a"), None);
        for line in ["shipmate deploy a", "Shipmate: deploy a", "SHIPMATE,  deploy a"] {
            assert_eq!(with("shipmate", line).as_deref(), Some("deploy"), "{line}");
        }
        assert_eq!(with("<@123>", "<@123> deploy a").as_deref(), Some("deploy"));
        for line in ["shipmatedeploy a", "shipmate", "shipmates deploy a", "!deploy a"] {
            assert_eq!(with("shipmate", line), None, "{line}");
        }
        assert_eq!(with("é", "è"), None);
        for bad in ["", " ", "a b", "`", "> ", "\u{200b}"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
    }
}
