//! A [`Reply`] as plain lines: for the terminal, and wherever text is all that there is.
//!
//! Everything that comes from outside passes [`clean`] or [`output_lines`] here, so nothing that a commit message, a tag
//! or a program's output says can move the cursor, change a colour or reverse the reading direction.

use comfy_table::{ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr;

use super::{Block, Link, Place, Reply, Tone};
use crate::domain::names::{is_invisible, printable};

/// What a line is, for those who colour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first line, or what of it was wrapped.
    Title,
    /// Text with `code` in backticks.
    Text,
    /// The header of a table.
    Header,
    /// A row of a table.
    Row,
    /// A line that a program wrote.
    Output,
}

/// One line of a reply, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextLine {
    /// What it is.
    pub part: Part,
    /// The line, indented.
    pub text: String,
}

/// The indentation of everything below the title.
const INDENT: &str = "  ";

/// Narrower than this no table and no sentence can be read, so the lines get longer than the terminal.
pub(super) const NARROWEST: usize = 20;

/// The sign that stands before a title, for those who don't see colours.
pub fn sign(tone: Tone) -> char {
    match tone {
        Tone::Info => '•',
        Tone::Busy => '▸',
        Tone::Good => '✔',
        Tone::Warning => '!',
        Tone::Bad => '✘',
    }
}

/// A reply as lines of at most `width` columns; without a width nothing is wrapped, so a row is always one line.
/// `label` stands before the title.
pub fn lines(reply: &Reply, label: &str, width: Option<usize>) -> Vec<TextLine> {
    let width = width.map(|width| width.max(NARROWEST));
    let title = format!("{label}{} {}", sign(reply.tone), clean(&reply.title));
    let mut lines = wrapped(Part::Title, "", &title, width);
    for block in &reply.body {
        match block {
            Block::Line(text) => lines.extend(wrapped(Part::Text, INDENT, &clean(text), width)),
            Block::Table { header, rows } => lines.extend(table(header, rows, width)),
            Block::Links(links) => lines.extend(links.iter().flat_map(|link| wrapped_link(link, width))),
            Block::Offers(_) | Block::Calls(_) => {}
            Block::Output(text) => {
                let room = width.map(|width| width - INDENT.len() - 2);
                let cut = output_lines(text).into_iter().flat_map(|line| chunks(&line, room));
                lines.extend(
                    cut.map(|line| TextLine { part: Part::Output, text: format!("{INDENT}│ {line}").trim_end().to_owned() }),
                );
            }
        }
    }
    lines
}

fn wrapped_link(link: &Link, width: Option<usize>) -> Vec<TextLine> {
    match &link.to {
        Place::Page(address) => wrapped(Part::Text, INDENT, &format!("{}: {}", clean(&link.label), clean(address)), width),
        Place::Message(_) => Vec::new(),
    }
}

/// A reply as one text of a line, for where it is quoted: its title and its sentences.
pub fn plain(reply: &Reply) -> String {
    let sentences = reply.body.iter().filter_map(|block| match block {
        Block::Line(text) => Some(clean(text)),
        Block::Table { .. } | Block::Output(_) | Block::Offers(_) | Block::Calls(_) | Block::Links(_) => None,
    });
    std::iter::once(clean(&reply.title)).chain(sentences).collect::<Vec<_>>().join("; ")
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text as one line of visible characters.
pub fn clean(text: &str) -> String {
    // Words that a line break parted stay parted.
    printable(&text.replace(['\n', '\r', '\t'], " "), usize::MAX)
}

/// The output of a program as lines of visible characters: without colours and cursor movements, and of a line that was
/// written over (a progress bar) only what was left to see.
pub fn output_lines(text: &str) -> Vec<String> {
    let visible = |line: &str| {
        let last = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        last.replace('\t', "    ")
            .chars()
            .filter(|c| !c.is_control() && !is_invisible(*c))
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    without_escapes(text).lines().map(visible).collect()
}

/// Removes ANSI sequences as a whole, so that no `[31m` is left over.
fn without_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let kind = match c {
            '\x1b' => chars.next(),
            '\u{9b}' => Some('['),
            '\u{9d}' => Some(']'),
            _ => {
                kept.push(c);
                continue;
            }
        };
        match kind {
            // CSI: parameters, then one final character. A line break means that it never was one.
            Some('[') => {
                if let Some('\n') = chars.find(|c| ('\x40'..='\x7e').contains(c) || *c == '\n') {
                    kept.push('\n');
                }
            }
            // OSC, DCS, SOS, PM, APC: up to BEL or ESC \.
            Some(']' | 'P' | 'X' | '^' | '_') => match chars.find(|c| matches!(c, '\x07' | '\x1b' | '\u{9c}' | '\n')) {
                Some('\x1b') => drop(chars.next()),
                Some('\n') => kept.push('\n'),
                _ => {}
            },
            Some('(' | ')' | '#' | '%') => drop(chars.next()),
            Some('\n') => kept.push('\n'),
            _ => {}
        }
    }
    kept
}

fn table(header: &[String], rows: &[Vec<String>], width: Option<usize>) -> Vec<TextLine> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|cell| clean(cell)));
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            // The padding of the last column may stick out: it is trimmed.
            table.set_width(u16::try_from(width - INDENT.len() + 2).unwrap_or(u16::MAX));
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    let part = |number: usize| if number == 0 { Part::Header } else { Part::Row };
    let line = |(number, line): (usize, String)| TextLine { part: part(number), text: format!("{INDENT}{}", line.trim_end()) };
    table.lines().enumerate().map(line).collect()
}

/// Wraps between words; the lines after the first are indented a little more.
pub(super) fn wrapped(part: Part, indent: &str, text: &str, limit: Option<usize>) -> Vec<TextLine> {
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    let mut empty = true;
    let hanging = format!("{indent}{INDENT}");
    let limit = limit.unwrap_or(usize::MAX);
    for word in text.split_whitespace() {
        // Only a word that fits on no line is cut.
        for piece in chunks(word, Some(limit.saturating_sub(hanging.len()).max(1))) {
            if !empty && width(&line) + 1 + width(&piece) > limit {
                lines.push(TextLine { part, text: std::mem::replace(&mut line, hanging.clone()) });
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(&piece);
            empty = false;
        }
    }
    lines.push(TextLine { part, text: line });
    lines
}

/// Cuts a text into pieces of at most `room` columns; at least one piece.
pub(super) fn chunks(text: &str, room: Option<usize>) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in text.chars() {
        let Some(piece) = pieces.last_mut() else { break };
        piece.push(c);
        // Measured as a whole: a digit with a variation selector is wider than the two alone.
        if room.is_some_and(|room| width(piece) > room) && piece.chars().nth(1).is_some() {
            piece.pop();
            pieces.push(c.into());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(title: &str, body: Vec<Block>) -> Reply {
        Reply { tone: Tone::Busy, title: title.to_owned(), body }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn shown(reply: &Reply, width: Option<usize>) -> String {
        lines(reply, "m4 ", width).into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
    }

    fn deployment() -> Reply {
        let rows = vec![
            strings(&["web", "appserver1", "healthy", "12 s"]),
            strings(&["web", "appserver2", "starts, 3 of 4 layers of the image are there", ""]),
        ];
        reply(
            "#1 `antisocial` from build-41 to build-42",
            vec![
                Block::Line("asked by anna".to_owned()),
                Block::Table { header: strings(&["role", "host", "step", "time"]), rows },
                Block::Output("Applying migrations:\n  \x1b[32mOK\x1b[0m\n10%\r50%\r100%\r\n".to_owned()),
            ],
        )
    }

    #[test]
    fn a_reply_is_title_lines_columns_and_output() {
        let expected = "\
m4 ▸ #1 `antisocial` from build-41 to build-42
  asked by anna
  role  host        step                                          time
  web   appserver1  healthy                                       12 s
  web   appserver2  starts, 3 of 4 layers of the image are there
  │ Applying migrations:
  │   OK
  │ 100%";
        assert_eq!(shown(&deployment(), None), expected);
        assert_eq!(shown(&deployment(), Some(80)), expected);
    }

    #[test]
    fn a_narrow_terminal_wraps_words_and_cells() {
        let text = shown(&deployment(), Some(36));
        assert!(text.lines().all(|line| width(line) <= 36), "{text}");
        assert!(text.starts_with("m4 ▸ #1 `antisocial` from build-41\n  to build-42\n  asked by anna\n"), "{text}");
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        let evil = "a\x1b[2Jb\x07\u{202e}c\u{9b}31md\ne\u{200b}f";
        let body = vec![
            Block::Line(evil.to_owned()),
            Block::Table { header: vec![evil.to_owned()], rows: vec![vec![evil.to_owned()]] },
            Block::Output(format!("{evil}\n\x1b]0;title\x07x\x1b]8;;http://h\x1b\\y\x1b(Bz\x1b")),
        ];
        let expected = "\
m4 ▸ a[2Jbc31md ef
  a[2Jbc31md ef
  a[2Jbc31md ef
  a[2Jbc31md ef
  │ abcd
  │ ef
  │ xyz";
        assert_eq!(shown(&reply(evil, body), None), expected);
    }

    #[test]
    fn a_sign_that_another_one_widens_is_measured_with_it() {
        assert_eq!(chunks("a0\u{fe0f}0", Some(3)), ["a0\u{fe0f}", "0"]);
        assert_eq!(chunks("ab0\u{fe0f}0", Some(3)).iter().map(|piece| width(piece)).max(), Some(3));
        assert_eq!(chunks("界界", Some(1)), ["界", "界"]);
        assert_eq!(chunks("", Some(1)), [""]);
    }

    proptest! {
        #[test]
        fn lines_are_clean_and_fit(texts in proptest::collection::vec(any::<String>(), 4), columns in 20usize..120) {
            let body = vec![
                Block::Line(texts[1].clone()),
                Block::Table { header: strings(&["a", "b"]), rows: vec![vec![texts[2].clone(), texts[1].clone()]] },
                Block::Output(texts[3].clone()),
            ];
            for line in lines(&reply(&texts[0], body), "m4 ", Some(columns)) {
                prop_assert!(!line.text.contains(|c: char| c.is_control() || is_invisible(c)), "{:?}", line.text);
                prop_assert!(width(&line.text) <= columns, "{:?} {}", line.text, width(&line.text));
            }
        }
    }
}
