//! A [`Reply`] as Discord shows it: a line of content, which phones announce, and an embed with the rest.
//!
//! All text is escaped: nothing in it is markup but the code that a pair of backticks makes. A table that a phone would wrap is
//! shown as a list, one row an item. What doesn't fit goes whole into a file.

use serenity::all::GuildId;
use unicode_width::UnicodeWidthStr;

use super::PLATFORM;
use crate::chat::text::{self, Part};
use crate::chat::{Block, Link, Offer, Place, Reply, Tone};
use crate::domain::message::MessageRef;
use crate::domain::names::PersonName;

/// The most that an embed's description may have, less some room; Discord counts UTF-16 units up to 4,096.
const DESCRIPTION: usize = 4000;

/// The most that the content may have, less room for the mark; Discord allows 2,000.
const CONTENT: usize = 1800;

/// The widest table, in columns, that a phone shows without wrapping it.
const PHONE: usize = 38;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The title.
    pub content: String,
    /// The rest; empty = nothing.
    pub description: String,
    /// The state's colour, as 0xRRGGBB.
    pub colour: u32,
    /// All of it as plain text, if it is too long to be shown.
    pub whole: Option<String>,
    /// What people may do about it.
    pub offers: Vec<Offer>,
    /// Whom it means to call.
    pub calls: Vec<PersonName>,
}

/// A reply as it is shown. `server` is the one that the room is of; without it no link leads to another message.
pub(super) fn shown(reply: &Reply, server: Option<GuildId>) -> Shown {
    let title = markdown(&format!("{} {}", text::sign(reply.tone), reply.title));
    let (content, title_fits) = cut(&title, CONTENT);
    let mut description = String::new();
    let mut fits = title_fits;
    for part in reply.body.iter().flat_map(|part| block(part, server)) {
        let longer = units(&description) + 1 + units(&part);
        if longer > DESCRIPTION {
            fits = false;
            break;
        }
        if !description.is_empty() {
            description.push('\n');
        }
        description.push_str(&part);
    }
    if !fits {
        description.push_str("\n… the rest is in the file");
    }
    let plain = || text::lines(reply, "", None).into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
    let offers = reply.body.iter().filter_map(|block| if let Block::Offers(offers) = block { Some(offers.clone()) } else { None });
    let offers = offers.flatten().collect();
    let calls = reply.body.iter().filter_map(|block| if let Block::Calls(people) = block { Some(people.clone()) } else { None });
    let calls = calls.flatten().collect();
    Shown { content, description, colour: colour(reply.tone), whole: (!fits).then(plain), offers, calls }
}

fn colour(tone: Tone) -> u32 {
    match tone {
        Tone::Info => 0x95_A5_A6,
        Tone::Busy => 0x34_98_DB,
        Tone::Good => 0x2E_CC_71,
        Tone::Warning => 0xF1_C4_0F,
        Tone::Bad => 0xE7_4C_3C,
    }
}

/// The parts of a block that may be parted from each other.
fn block(block: &Block, server: Option<GuildId>) -> Vec<String> {
    match block {
        Block::Line(line) => vec![markdown(line)],
        Block::Table { header, rows } => table(header, rows),
        Block::Links(links) => {
            let links: Vec<String> = links.iter().filter_map(|link| linked(link, server)).collect();
            if links.is_empty() { Vec::new() } else { vec![links.join(" · ")] }
        }
        Block::Offers(_) | Block::Calls(_) => Vec::new(),
        Block::Output(output) => {
            let lines = text::output_lines(output);
            // A fence in it must not end ours.
            let lines: Vec<String> = lines.iter().map(|line| line.replace("```", "'''")).collect();
            fenced(&lines)
        }
    }
}

/// A link, if it leads anywhere.
fn linked(link: &Link, server: Option<GuildId>) -> Option<String> {
    let address = match &link.to {
        Place::Page(address) => Some(address.replace('(', "%28").replace(')', "%29")).filter(|address| is_address(address))?,
        Place::Message(MessageRef { room, id }) => {
            format!("https://discord.com/channels/{}/{}/{id}", server?, room.0.strip_prefix(PLATFORM)?)
        }
    };
    Some(format!("[{}]({address})", escaped(&text::clean(&link.label))))
}

/// Lines as they are; in several fences if they are many, so that each fits.
fn fenced(lines: &[String]) -> Vec<String> {
    const ROOM: usize = 1500;
    let mut fences: Vec<String> = Vec::new();
    let mut inside = String::new();
    for line in lines.iter().flat_map(|line| pieces(line, ROOM)) {
        if !inside.is_empty() && units(&inside) + 1 + units(&line) > ROOM {
            fences.push(format!("```\n{inside}\n```"));
            inside.clear();
        }
        if !inside.is_empty() {
            inside.push('\n');
        }
        inside.push_str(&line);
    }
    if !inside.trim().is_empty() {
        fences.push(format!("```\n{inside}\n```"));
    }
    fences
}

fn table(header: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let whole =
        Reply { tone: Tone::Info, title: String::new(), body: vec![Block::Table { header: header.to_vec(), rows: rows.to_vec() }] };
    let lines: Vec<String> = text::lines(&whole, "", None)
        .into_iter()
        .filter(|line| matches!(line.part, Part::Header | Part::Row))
        .map(|line| line.text.strip_prefix("  ").unwrap_or(&line.text).replace('`', "'"))
        .collect();
    if lines.iter().all(|line| line.width() <= PHONE) {
        return fenced(&lines);
    }
    let row = |row: &Vec<String>| {
        let mut cells = row.iter().filter(|cell| !cell.trim().is_empty());
        let first = cells.next().map(|cell| format!("**{}**", escaped(&text::clean(cell)))).unwrap_or_default();
        let rest: Vec<String> = cells.map(|cell| markdown(cell)).collect();
        if rest.is_empty() { first } else { format!("{first}  {}", rest.join(" · ")) }
    };
    rows.iter().map(row).filter(|row| !row.is_empty()).collect()
}

/// A line of a reply as markdown: code where a pair of backticks says so, and nothing else that means anything.
fn markdown(line: &str) -> String {
    let line = text::clean(line);
    let pieces: Vec<&str> = line.split('`').collect();
    let last = pieces.len() - 1;
    let mut shown = String::with_capacity(line.len());
    for (n, piece) in pieces.iter().enumerate() {
        let is_code = n % 2 == 1 && n < last;
        match (is_code, piece.is_empty()) {
            (true, false) => shown.push_str(&format!("`{piece}`")),
            (true, true) => {}
            // An unpaired backtick is one.
            (false, _) if n % 2 == 1 => shown.push_str(&format!("\\`{}", escaped(piece))),
            (false, _) => shown.push_str(&escaped(piece)),
        }
    }
    // What begins a list, a heading or a quote at the beginning of a line.
    let digits = shown.len() - shown.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if shown[digits..].starts_with('.') && digits > 0 || shown.starts_with(['-', '+', '#', '>']) {
        shown.insert(digits, '\\');
    }
    shown
}

/// Text without any meaning to Discord. Addresses stay as they are, or they would lead elsewhere.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        if is_address(word.trim_end()) {
            shown.push_str(word);
            continue;
        }
        for c in word.chars() {
            if matches!(c, '\\' | '*' | '_' | '~' | '|' | '<' | '[' | ']' | '`') {
                shown.push('\\');
            }
            shown.push(c);
        }
    }
    shown
}

fn is_address(word: &str) -> bool {
    let rest = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/?#@!$&'+,;=%".contains(c)))
}

/// A line in pieces of at most so many UTF-16 units each; at least one.
fn pieces(line: &str, limit: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        used += c.len_utf16();
        if used > limit {
            pieces.push(String::new());
            used = c.len_utf16();
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// The beginning of a text that has at most so many UTF-16 units, and whether it is all of it.
pub(super) fn cut(text: &str, limit: usize) -> (String, bool) {
    if units(text) <= limit {
        return (text.to_owned(), true);
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.len_utf16();
        used <= limit
    });
    let mut kept: String = kept.collect();
    // Half an escape would escape what comes after it.
    while kept.ends_with('\\') {
        kept.pop();
    }
    kept.push('…');
    (kept, false)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(title: &str, body: Vec<Block>) -> Reply {
        Reply { tone: Tone::Bad, title: title.to_owned(), body }
    }

    fn shown_alone(reply: &Reply) -> Shown {
        shown(reply, None)
    }

    fn strings(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn nothing_in_a_text_is_markup_but_code() {
        for (text, expected) in [
            ("`!deploy a_b` deploys a_b", "`!deploy a_b` deploys a\\_b"),
            ("**x** <@123> <#4> @everyone", "\\*\\*x\\*\\* \\<@123> \\<#4> @everyone"),
            ("# big\n> quote", "\\# big > quote"),
            ("> quote", "\\> quote"),
            ("[a](http://evil.example)", "\\[a\\](http://evil.example)"),
            ("see https://ci.example.org/job/a_b/42/ now", "see https://ci.example.org/job/a_b/42/ now"),
            ("one ` alone", "one \\` alone"),
            ("empty `` code", "empty  code"),
            ("a\u{202e}b\u{1b}[2Jc", "ab\\[2Jc"),
            ("- item", "\\- item"),
            ("1. item", "1\\. item"),
            ("4 hosts", "4 hosts"),
        ] {
            assert_eq!(markdown(text), expected);
        }
    }

    #[test]
    fn output_cannot_break_out_of_its_fence() {
        let shown = shown_alone(&reply("x", vec![Block::Output("a\n```\n@everyone\n```b".to_owned())]));
        assert_eq!(shown.description.matches("```").count(), 2);
        assert!(shown.description.starts_with("```\na\n") && shown.description.ends_with("b\n```"), "{}", shown.description);
    }

    #[test]
    fn a_long_line_of_output_is_shown_to_its_end() {
        let line = format!("{}; rm -rf /", "x".repeat(1900));
        let shown = shown_alone(&reply("x", vec![Block::Output(line.clone())]));
        assert_eq!(shown.description.replace("\n```\n```\n", "").replace("```\n", "").replace("\n```", ""), line);
        assert_eq!(shown.whole, None);
    }

    #[test]
    fn a_link_leads_to_a_page_or_to_a_message_of_the_same_server() {
        let page = |address: &str| Link { label: "build_42".to_owned(), to: Place::Page(address.to_owned()) };
        let message = MessageRef { room: crate::domain::message::RoomId("discord:901".to_owned()), id: "77".to_owned() };
        let message = Link { label: "#1".to_owned(), to: Place::Message(message) };
        let links = vec![page("https://ci.example.org/a_(b)/42"), page("https://x](https://evil.example"), message];
        let reply = reply("x", vec![Block::Links(links)]);
        let build = "[build\\_42](https://ci.example.org/a_%28b%29/42)";
        assert_eq!(shown_alone(&reply).description, build);
        let with_message = format!("{build} · [#1](https://discord.com/channels/5/901/77)");
        assert_eq!(shown(&reply, Some(GuildId::new(5))).description, with_message);
    }

    #[test]
    fn a_narrow_table_has_columns_and_a_wide_one_is_a_list() {
        let narrow = Block::Table { header: strings(&["host", "runs"]), rows: vec![strings(&["web1", "build-42"])] };
        assert_eq!(shown_alone(&reply("x", vec![narrow])).description, "```\nhost  runs\nweb1  build-42\n```");
        let wide = Block::Table {
            header: strings(&["host", "steps", "result"]),
            rows: vec![strings(&["web@appserver1", "✓ start  ✓ healthy  ✓ stop", "stopped, 0.0 s"]), strings(&["x_y", "", ""])],
        };
        let expected = "**web@appserver1**  ✓ start  ✓ healthy  ✓ stop · stopped, 0.0 s\n**x\\_y**";
        assert_eq!(shown_alone(&reply("x", vec![wide])).description, expected);
    }

    #[test]
    fn what_does_not_fit_is_in_the_file() {
        let long: Vec<Block> = (0..500).map(|n| Block::Line(format!("line {n} of many"))).collect();
        let shown = shown_alone(&reply(&"t_".repeat(2000), long));
        assert!(units(&shown.content) <= CONTENT && shown.content.ends_with('…'));
        assert!(units(&shown.description) <= 4096 && shown.description.ends_with("the rest is in the file"));
        assert!(shown.whole.unwrap().contains("line 499 of many"));
    }

    proptest! {
        #[test]
        fn whatever_is_said_it_fits_and_is_clean(title in any::<String>(), line in any::<String>(), output in any::<String>()) {
            let table = Block::Table { header: strings(&["a"]), rows: vec![vec![line.clone(), title.clone()]] };
            let shown = shown_alone(&reply(&title, vec![Block::Line(line), table, Block::Output(output)]));
            prop_assert!(units(&shown.content) <= CONTENT && units(&shown.description) <= 4096);
            prop_assert!(!shown.content.contains(char::is_control));
            prop_assert!(!shown.description.contains(|c: char| c != '\n' && c.is_control()));
            prop_assert!(shown.description.matches("```").count().is_multiple_of(2));
        }
    }
}
