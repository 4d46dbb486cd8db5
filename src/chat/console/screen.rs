//! A terminal on which messages are redrawn in place while a person types.
//!
//! The terminal stays in its ordinary mode: the kernel echoes and edits the line that is being typed, and nothing has to
//! be put back when the bot dies. So what is being typed is never known here, and never touched: new lines are inserted
//! above the prompt's row, which moves down as it is, and a message is redrawn with the cursor saved and restored.
//! This is all relative to the prompt's row, whose number is counted from the start of the run; a message that has
//! scrolled out, or was drawn at another width, can't be reached: its changes are told line by line, and every now and
//! then, and at the end, it is drawn anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::surface::{Surface, View};
use crate::chat::Tone;
use crate::chat::news::Told;
use crate::chat::text::{self, Part, TextLine};

/// How often a message that can't be reached is drawn anew before its final state.
const ANEW: SignedDuration = SignedDuration::from_secs(10);

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many columns.
    pub columns: usize,
    /// How many rows.
    pub rows: usize,
}

/// A terminal.
pub(super) struct Screen {
    size: Box<dyn Fn() -> Size + Send + Sync>,
    colour: bool,
    prompt: String,
    /// The row of the prompt, counted from the first row of this run.
    row: usize,
    drawn: BTreeMap<u64, Drawn>,
}

/// A message as it was drawn.
struct Drawn {
    top: usize,
    height: usize,
    columns: usize,
    at: Timestamp,
    told: Told,
}

impl Screen {
    pub fn new(size: Box<dyn Fn() -> Size + Send + Sync>, colour: bool) -> Screen {
        Screen { size, colour, prompt: String::new(), row: 0, drawn: BTreeMap::new() }
    }

    /// Inserts lines above the prompt.
    fn insert(&mut self, lines: &[String]) -> String {
        let mut out = String::new();
        // More than a screen at once would push the prompt out at the top.
        for part in lines.chunks(((self.size)().rows / 2).max(1)) {
            out.push_str(&room(part.len()));
            out.push_str("\x1b7\r");
            let _ = write!(out, "\x1b[{}L", part.len());
            out.push_str(&part.join("\r\n"));
            out.push_str("\x1b8");
            out.push_str(&down(part.len()));
            self.row += part.len();
        }
        out
    }

    /// Draws a message over what was drawn of it; the rows below move.
    fn redraw(&mut self, number: u64, lines: &[String]) -> String {
        let Some(drawn) = self.drawn.get_mut(&number) else { return String::new() };
        let (top, height) = (drawn.top, drawn.height);
        let distance = self.row - top;
        let (more, less) = (lines.len().saturating_sub(height), height.saturating_sub(lines.len()));
        let mut out = room(more);
        out.push_str("\x1b7\r");
        if more > 0 {
            out.push_str(&up(distance - height));
            let _ = write!(out, "\x1b[{more}L");
            out.push_str(&up(height));
        } else {
            out.push_str(&up(distance));
        }
        let cleared: Vec<String> = lines.iter().map(|line| format!("\x1b[2K{line}")).collect();
        out.push_str(&cleared.join("\r\n"));
        if less > 0 {
            let _ = write!(out, "\r\n\x1b[{less}M");
        }
        out.push_str("\x1b8");
        out.push_str(&down(more));
        out.push_str(&up(less));
        drawn.height = lines.len();
        self.row = self.row + more - less;
        for other in self.drawn.values_mut().filter(|other| other.top > top) {
            other.top = other.top + more - less;
        }
        out
    }

    /// Draws a message above the prompt.
    fn draw(&mut self, number: u64, lines: &[String], size: Size) -> String {
        if let Some(drawn) = self.drawn.get_mut(&number) {
            (drawn.top, drawn.height, drawn.columns) = (self.row, lines.len(), size.columns);
        }
        self.insert(lines)
    }

    /// Whether the message's rows are on the screen, and stay there when it is redrawn with `height` rows.
    fn reaches(&self, drawn: &Drawn, height: usize, size: Size) -> bool {
        let grows = height.saturating_sub(drawn.height);
        // On a narrower one a line may take two rows, and nobody knows where anything is.
        let wide = size.columns > text::NARROWEST;
        wide && drawn.columns == size.columns && self.row - drawn.top + grows < size.rows
    }

    fn painted(&self, lines: &[TextLine], label: &str, tone: Tone) -> Vec<String> {
        lines.iter().map(|line| if self.colour { paint(line, label, tone) } else { line.text.clone() }).collect()
    }
}

impl Surface for Screen {
    fn speaks(&mut self, name: &str) {
        self.prompt = format!("{name}> ");
    }

    fn open(&mut self) -> String {
        self.prompt.clone()
    }

    fn entered(&mut self, line: &str) -> String {
        // The line break was echoed when the person typed it; the line may have had several rows.
        let columns = (self.size)().columns.max(1);
        self.row += text::width(&format!("{}{line}", self.prompt)).div_ceil(columns).max(1);
        self.prompt.clone()
    }

    fn said(&mut self, _: u64, _: &str, _: &str) -> String {
        String::new()
    }

    fn show(&mut self, number: u64, view: View<'_>, now: Timestamp) -> String {
        let size = (self.size)();
        // The last column stays free: terminals don't agree on what a full row does.
        let columns = size.columns.saturating_sub(1);
        let label = format!("m{number} ");
        let lines = view.lines(&label, Some(columns));
        let painted = self.painted(&lines, &label, view.reply.tone);
        let plain: Vec<String> = view.lines("", None).into_iter().map(|line| line.text).collect();
        let reached = self.drawn.get(&number).is_some_and(|drawn| self.reaches(drawn, lines.len(), size));
        if let Some(drawn) = self.drawn.get_mut(&number) {
            let due = view.last || now.duration_since(drawn.at) >= ANEW;
            // A message that fills the screen would go out of reach at once, and be drawn anew for ever.
            let small = view.last || lines.len() <= size.rows / 2;
            if !(reached || due && small) {
                let news = drawn.told.news(plain, view.last, now);
                let cut = |line: &String| text::chunks(&format!("{label}{line}"), Some(columns));
                return self.insert(&news.iter().flat_map(cut).collect::<Vec<_>>());
            }
            let same = drawn.told.are(&plain);
            drawn.told.all(plain, now);
            drawn.at = now;
            return match (same, reached) {
                (true, _) => String::new(),
                (false, true) => self.redraw(number, &painted),
                (false, false) => self.draw(number, &painted, size),
            };
        }
        let mut told = Told::default();
        told.all(plain, now);
        self.drawn.insert(number, Drawn { top: 0, height: 0, columns: 0, at: now, told });
        self.draw(number, &painted, size)
    }

    fn note(&mut self, text: &str) -> String {
        let columns = (self.size)().columns.saturating_sub(1);
        let lines = text::wrapped(Part::Text, "  ", &text::clean(text), Some(columns));
        let lines = self.painted(&lines, "", Tone::Info);
        self.insert(&lines)
    }

    fn forget(&mut self, number: u64) {
        self.drawn.remove(&number);
    }

    fn close(&mut self) -> String {
        self.prompt.clear();
        "\r\x1b[K".to_owned()
    }
}

/// Makes sure that there are `rows` rows below the cursor, scrolling if need be. The cursor stays where it is in the text.
fn room(rows: usize) -> String {
    "\x1bD".repeat(rows) + up(rows).as_str()
}

fn up(rows: usize) -> String {
    // A count of 0 would mean 1.
    if rows == 0 { String::new() } else { format!("\x1b[{rows}A") }
}

fn down(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\x1b[{rows}B") }
}

fn paint(line: &TextLine, label: &str, tone: Tone) -> String {
    let dim = |text: &str| format!("\x1b[2m{text}\x1b[0m");
    match line.part {
        Part::Title => {
            let colour = match tone {
                Tone::Info => 34,
                Tone::Busy => 36,
                Tone::Good => 32,
                Tone::Warning => 33,
                Tone::Bad => 31,
            };
            match line.text.strip_prefix(label) {
                Some(title) => format!("{}\x1b[1;{colour}m{title}\x1b[0m", dim(label)),
                None => format!("\x1b[1;{colour}m{}\x1b[0m", line.text),
            }
        }
        Part::Text => code(&line.text),
        Part::Header => dim(&line.text),
        Part::Row | Part::Output => line.text.clone(),
    }
}

/// What stands between two backticks is coloured instead.
fn code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // One without its partner: the other half was wrapped to another line.
        return text.to_owned();
    }
    let coloured =
        |(place, part): (usize, &&str)| if place % 2 == 1 { format!("\x1b[36m{part}\x1b[0m") } else { (*part).to_owned() };
    parts.iter().enumerate().map(coloured).collect()
}

#[cfg(test)]
mod tests;
