//! A [`Reply`] as Matrix shows it: a plain body for phones' notifications and simple apps, and an HTML body for the others.
//!
//! All text is escaped: nothing in it is markup but the code that a pair of backticks makes. A table that a phone would wrap is
//! shown as a list, one row an item. What doesn't fit into an event goes whole into a file.

use unicode_width::UnicodeWidthStr;

use super::{IN_ADDRESS, PLATFORM};
use crate::chat::text::{self, Part};
use crate::chat::{Block, Link, Place, Reply, Tone};
use crate::domain::message::MessageRef;
use crate::domain::names::PersonName;

/// The most that both bodies may have as JSON. An event may have 65,536 bytes, encrypted, which takes a third more, and with all
/// else that is in it.
const ROOM: usize = 36_000;

/// The longest title, in bytes of JSON.
const TITLE: usize = 4_000;

/// The widest table, in columns, that a phone shows without wrapping it.
const PHONE: usize = 38;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The title alone, for where an app shows no more.
    pub title: String,
    /// The plain body.
    pub plain: String,
    /// The HTML body.
    pub html: String,
    /// All of it as plain text, if it is too long to be shown.
    pub whole: Option<String>,
    /// Whom it means to call.
    pub calls: Vec<PersonName>,
}

/// A reply as it is shown.
pub(super) fn shown(reply: &Reply) -> Shown {
    let sign = text::sign(reply.tone);
    let (cut_title, title_fits) = cut(&text::clean(&reply.title), TITLE);
    let title = format!("{sign} {cut_title}");
    let mut plain = title.clone();
    let mut html = format!("<font data-mx-color=\"{}\">{sign}</font> <strong>{}</strong>", colour(reply.tone), markup(&cut_title));
    let mut fits = title_fits;
    let mut used = in_json(&plain) + in_json(&html);
    for piece in reply.body.iter().flat_map(block) {
        let needed = in_json(&piece.plain) + in_json(&piece.html) + 16;
        if used + needed > ROOM {
            fits = false;
            break;
        }
        used += needed;
        plain.push('\n');
        plain.push_str(&piece.plain);
        // A block element begins a line by itself.
        if !piece.is_block && !html.ends_with("</pre>") && !html.ends_with("</ul>") {
            html.push_str("<br>");
        }
        html.push_str(&piece.html);
    }
    if !fits {
        let rest = "… the rest is in the file";
        plain.push_str(&format!("\n{rest}"));
        html.push_str(&format!("<br>{rest}"));
    }
    let whole = || text::lines(reply, "", None).into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
    let calls = reply.body.iter().filter_map(|block| if let Block::Calls(people) = block { Some(people.clone()) } else { None });
    Shown { title, plain, html, whole: (!fits).then(whole), calls: calls.flatten().collect() }
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Info => "#95A5A6",
        Tone::Busy => "#3498DB",
        Tone::Good => "#2ECC71",
        Tone::Warning => "#F1C40F",
        Tone::Bad => "#E74C3C",
    }
}

/// A part of a message that is shown as a whole or not at all.
struct Piece {
    plain: String,
    html: String,
    is_block: bool,
}

/// The parts of a block that may be parted from each other.
fn block(block: &Block) -> Vec<Piece> {
    match block {
        Block::Line(line) => vec![Piece { plain: text::clean(line), html: markup(line), is_block: false }],
        Block::Table { header, rows } => table(header, rows),
        Block::Links(links) => linked(links).into_iter().collect(),
        Block::Offers(_) | Block::Calls(_) => Vec::new(),
        Block::Output(output) => fixed(&text::output_lines(output)),
    }
}

/// Links, as far as they lead anywhere.
fn linked(links: &[Link]) -> Option<Piece> {
    let encoded = |id: &str| percent_encoding::utf8_percent_encode(id, IN_ADDRESS).to_string();
    let address = |link: &Link| match &link.to {
        Place::Page(address) => (address.starts_with("https://") || address.starts_with("http://")).then(|| address.clone()),
        Place::Message(MessageRef { room, id }) => {
            let room = room.0.strip_prefix(PLATFORM)?;
            Some(format!("https://matrix.to/#/{}/{}", encoded(room), encoded(id)))
        }
    };
    let all: Vec<(String, String)> =
        links.iter().filter_map(|link| Some((text::clean(&link.label), text::clean(&address(link)?)))).collect();
    let plain = all.iter().map(|(label, address)| format!("{label}: {address}")).collect::<Vec<_>>().join("\n");
    let html = all.iter().map(|(label, address)| format!("<a href=\"{}\">{}</a>", escaped(address), escaped(label)));
    let html = html.collect::<Vec<_>>().join(" · ");
    (!all.is_empty()).then_some(Piece { plain, html, is_block: false })
}

/// Lines as they are; in several pieces if they are many, so that each fits.
fn fixed(lines: &[String]) -> Vec<Piece> {
    const LINES: usize = 6_000;
    let mut pieces = Vec::new();
    let mut inside: Vec<String> = Vec::new();
    let mut used = 0;
    let piece = |inside: &[String]| Piece {
        plain: inside.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"),
        html: format!("<pre><code>{}</code></pre>", inside.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")),
        is_block: true,
    };
    for line in lines {
        let (line, _) = cut(line, LINES);
        if used + line.len() > LINES && !inside.is_empty() {
            pieces.push(piece(&inside));
            inside.clear();
            used = 0;
        }
        used += line.len();
        inside.push(line);
    }
    if inside.iter().any(|line| !line.trim().is_empty()) {
        pieces.push(piece(&inside));
    }
    pieces
}

fn table(header: &[String], rows: &[Vec<String>]) -> Vec<Piece> {
    let whole =
        Reply { tone: Tone::Info, title: String::new(), body: vec![Block::Table { header: header.to_vec(), rows: rows.to_vec() }] };
    let lines: Vec<String> = text::lines(&whole, "", None)
        .into_iter()
        .filter(|line| matches!(line.part, Part::Header | Part::Row))
        .map(|line| line.text.strip_prefix("  ").unwrap_or(&line.text).to_owned())
        .collect();
    if lines.iter().all(|line| line.width() <= PHONE) {
        return fixed(&lines);
    }
    let row = |row: &Vec<String>| {
        let mut cells = row.iter().map(|cell| text::clean(cell)).filter(|cell| !cell.trim().is_empty());
        let first = cells.next()?;
        let rest: Vec<String> = cells.collect();
        let (plain, html) = (rest.join(" · "), rest.iter().map(|cell| markup(cell)).collect::<Vec<_>>().join(" · "));
        let plain = format!("  {first}  {plain}").trim_end().to_owned();
        let html = format!("<ul><li><strong>{}</strong> {html}</li></ul>", escaped(&first));
        Some(Piece { plain, html, is_block: true })
    };
    rows.iter().filter_map(row).collect()
}

/// A line of a reply as HTML: code where a pair of backticks says so, and nothing else that means anything.
fn markup(line: &str) -> String {
    let line = text::clean(line);
    let pieces: Vec<&str> = line.split('`').collect();
    let last = pieces.len() - 1;
    let mut shown = String::with_capacity(line.len());
    for (n, piece) in pieces.iter().enumerate() {
        match (n % 2 == 1 && n < last, piece.is_empty()) {
            (true, false) => shown.push_str(&format!("<code>{}</code>", escaped(piece))),
            (true, true) => {}
            // An unpaired backtick is one.
            (false, _) if n % 2 == 1 => shown.push_str(&format!("`{}", escaped(piece))),
            (false, _) => shown.push_str(&escaped(piece)),
        }
    }
    shown
}

/// Text without any meaning to HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            c => shown.push(c),
        }
    }
    shown
}

/// The beginning of a text that has at most so many bytes as HTML, and whether it is all of it.
pub(super) fn cut(text: &str, limit: usize) -> (String, bool) {
    if text.len() * 6 <= limit || escaped(text).len() <= limit {
        return (text.to_owned(), true);
    }
    let mut used = '…'.len_utf8();
    let kept = text.chars().take_while(|c| {
        used += escaped(c.encode_utf8(&mut [0; 4])).len();
        used <= limit
    });
    (kept.chain(['…']).collect(), false)
}

/// How many bytes a text takes as JSON.
fn in_json(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n') { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(title: &str, body: Vec<Block>) -> Reply {
        Reply { tone: Tone::Bad, title: title.to_owned(), body }
    }

    fn strings(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn nothing_in_a_text_is_markup_but_code() {
        for (text, expected) in [
            ("`!deploy a_b` deploys a_b", "<code>!deploy a_b</code> deploys a_b"),
            (
                "<b>x</b> & <a href=\"http://evil.example\">y</a>",
                "&lt;b&gt;x&lt;/b&gt; &amp; &lt;a href=&quot;http://evil.example&quot;&gt;y&lt;/a&gt;",
            ),
            ("`</code><script>`", "<code>&lt;/code&gt;&lt;script&gt;</code>"),
            ("one ` alone", "one ` alone"),
            ("empty `` code", "empty  code"),
            ("a\u{202e}b\u{1b}[2Jc", "ab[2Jc"),
        ] {
            assert_eq!(markup(text), expected);
        }
    }

    #[test]
    fn a_reply_has_a_plain_body_and_the_same_as_html() {
        let body = vec![
            Block::Line("asked by anna".to_owned()),
            Block::Table { header: strings(&["host", "runs"]), rows: vec![strings(&["web1", "build-42"])] },
            Block::Line("and".to_owned()),
            Block::Output("a\n</code></pre><b>b".to_owned()),
        ];
        let shown = shown(&reply("#1 `blog`", body));
        assert_eq!(shown.plain, "✘ #1 `blog`\nasked by anna\n  host  runs\n  web1  build-42\nand\n  a\n  </code></pre><b>b");
        let html = "<font data-mx-color=\"#E74C3C\">✘</font> <strong>#1 <code>blog</code></strong><br>asked by anna\
                    <pre><code>host  runs\nweb1  build-42</code></pre>and<pre><code>a\n&lt;/code&gt;&lt;/pre&gt;&lt;b&gt;b</code></pre>";
        assert_eq!(shown.html, html);
        assert_eq!(shown.whole, None);
    }

    #[test]
    fn a_link_leads_to_a_page_or_to_a_message_of_the_room() {
        let room = crate::domain::message::RoomId("matrix:!r/m:example.org".to_owned());
        let message = Link { label: "#1".to_owned(), to: Place::Message(MessageRef { room, id: "$e+v".to_owned() }) };
        let page = |address: &str| Link { label: "a <b>".to_owned(), to: Place::Page(address.to_owned()) };
        let links = vec![page("https://ci.example.org/?a=\"1\"&b"), page("javascript:alert(1)"), message];
        let shown = shown(&reply("x", vec![Block::Links(links)]));
        let to_message = "https://matrix.to/#/%21r%2Fm:example.org/%24e%2Bv";
        let html = format!(
            "<br><a href=\"https://ci.example.org/?a=&quot;1&quot;&amp;b\">a &lt;b&gt;</a> · <a href=\"{to_message}\">#1</a>"
        );
        assert!(shown.html.ends_with(&html), "{}", shown.html);
        assert_eq!(shown.plain, format!("✘ x\na <b>: https://ci.example.org/?a=\"1\"&b\n#1: {to_message}"));
    }

    #[test]
    fn a_wide_table_is_a_list() {
        let rows = vec![strings(&["web@appserver1", "✓ start  ✓ healthy  ✓ stop", "stopped, 0.0 s"]), strings(&["x<y", "", ""])];
        let wide = Block::Table { header: strings(&["host", "steps", "result"]), rows };
        let shown = shown(&reply("x", vec![wide]));
        let list = "<ul><li><strong>web@appserver1</strong> ✓ start  ✓ healthy  ✓ stop · stopped, 0.0 s</li></ul>\
                    <ul><li><strong>x&lt;y</strong> </li></ul>";
        assert!(shown.html.ends_with(list), "{}", shown.html);
        assert!(shown.plain.ends_with("\n  web@appserver1  ✓ start  ✓ healthy  ✓ stop · stopped, 0.0 s\n  x<y"), "{}", shown.plain);
    }

    #[test]
    fn what_does_not_fit_is_in_the_file() {
        let long: Vec<Block> = (0..2000).map(|n| Block::Line(format!("line {n} of \"many\""))).collect();
        let shown = shown(&reply(&"t<".repeat(4000), long));
        assert!(shown.plain.ends_with("the rest is in the file") && shown.html.ends_with("the rest is in the file"));
        assert!(shown.whole.unwrap().contains("line 1999 of"));
    }

    #[test]
    fn people_who_are_called_are_told_apart_from_the_text() {
        let anna: PersonName = "anna".parse().unwrap();
        let shown = shown(&reply("x", vec![Block::Calls(vec![anna.clone()])]));
        assert_eq!((shown.calls, shown.plain.as_str()), (vec![anna], "✘ x"));
    }

    proptest! {
        #[test]
        fn whatever_is_said_it_fits_and_is_clean(title in any::<String>(), line in any::<String>(), output in any::<String>(), many in 0usize..3000) {
            let table = Block::Table { header: strings(&["a"]), rows: vec![vec![line.clone(), title.clone()]] };
            let output = format!("{output}\n").repeat(many);
            let shown = shown(&reply(&title, vec![Block::Line(line), table, Block::Output(output)]));
            let json = serde_json::json!({ "body": shown.plain, "formatted_body": shown.html }).to_string();
            prop_assert!(json.len() <= 40_000, "{}", json.len());
            for body in [&shown.plain, &shown.html] {
                prop_assert!(!body.contains(|c: char| c != '\n' && c.is_control()));
            }
            // Every tag is one of ours.
            let tags = ["<font data-mx-color=\"#E74C3C\">", "</font>", "<strong>", "</strong>", "<br>", "<pre>", "</pre>", "<code>", "</code>", "<ul>", "</ul>", "<li>", "</li>"];
            let bare = tags.iter().fold(shown.html.clone(), |html, tag| html.replace(tag, ""));
            prop_assert!(!bare.contains(['<', '>']), "{bare}");
        }
    }
}
