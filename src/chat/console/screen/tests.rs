//! The screen, watched through a small terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use unicode_width::UnicodeWidthChar;

use super::*;
use crate::chat::{Block, Reply};

/// A terminal with as much of a VT100 as the screen needs, with the echo of its kernel.
struct Terminal {
    rows: usize,
    columns: usize,
    /// What has scrolled out, then what is on the screen.
    scrolled: Vec<String>,
    grid: Vec<String>,
    at: (usize, usize),
    saved: (usize, usize),
}

impl Terminal {
    fn new(rows: usize, columns: usize) -> Terminal {
        Terminal { rows, columns, scrolled: Vec::new(), grid: vec![String::new(); rows], at: (0, 0), saved: (0, 0) }
    }

    fn index(&mut self) {
        if self.at.0 + 1 < self.rows {
            self.at.0 += 1;
        } else {
            self.scrolled.push(self.grid.remove(0));
            self.grid.push(String::new());
        }
    }

    fn put(&mut self, c: char) {
        if self.at.1 + c.width().unwrap_or(0) > self.columns {
            self.at.1 = 0;
            self.index();
        }
        let mut row: Vec<char> = self.grid[self.at.0].chars().collect();
        // Enough for tests: text is written at its end, or over text of the same widths.
        let mut place = 0;
        let mut column = 0;
        while place < row.len() && column < self.at.1 {
            column += row[place].width().unwrap_or(0);
            place += 1;
        }
        row.extend(std::iter::repeat_n(' ', self.at.1.saturating_sub(column)));
        place += self.at.1.saturating_sub(column);
        if place < row.len() {
            row[place] = c;
        } else {
            row.push(c);
        }
        self.grid[self.at.0] = row.into_iter().collect();
        self.at.1 += c.width().unwrap_or(0);
    }

    fn write(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.at.1 = 0,
                '\n' => {
                    self.at.1 = 0;
                    self.index();
                }
                '\x1b' => match chars.next().unwrap() {
                    '7' => self.saved = self.at,
                    '8' => self.at = self.saved,
                    'D' => self.index(),
                    '[' => {
                        let mut number = String::new();
                        let end = loop {
                            match chars.next().unwrap() {
                                c if c.is_ascii_digit() || c == ';' => number.push(c),
                                c => break c,
                            }
                        };
                        let count: usize = number.parse().unwrap_or(1).max(1);
                        match end {
                            'A' => self.at.0 = self.at.0.saturating_sub(count),
                            'B' => self.at.0 = (self.at.0 + count).min(self.rows - 1),
                            'K' if number == "2" => self.grid[self.at.0].clear(),
                            'K' => self.grid[self.at.0] = self.grid[self.at.0].chars().take(self.at.1).collect(),
                            'L' => {
                                for _ in 0..count {
                                    self.grid.insert(self.at.0, String::new());
                                    let lost = self.grid.pop().unwrap();
                                    assert!(lost.is_empty(), "pushed out at the bottom: {lost:?}");
                                }
                            }
                            'M' => {
                                for _ in 0..count {
                                    self.grid.remove(self.at.0);
                                    self.grid.push(String::new());
                                }
                            }
                            'm' => {}
                            other => panic!("CSI {number}{other}"),
                        }
                    }
                    other => panic!("ESC {other}"),
                },
                c => self.put(c),
            }
        }
    }

    /// Everything from the first row, without the empty rows at the end.
    fn all(&self) -> String {
        self.scrolled.iter().chain(&self.grid).map(|row| row.trim_end()).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// The row of the cursor.
    fn line(&self) -> &str {
        &self.grid[self.at.0]
    }
}

/// A screen on a terminal.
struct Watched {
    screen: Screen,
    terminal: Terminal,
    columns: Arc<AtomicUsize>,
    second: i64,
}

impl Watched {
    fn new(rows: usize, columns: usize) -> Watched {
        let width = Arc::new(AtomicUsize::new(columns));
        let asked = Arc::clone(&width);
        let size = move || Size { columns: asked.load(Ordering::Relaxed), rows };
        let mut watched = Watched {
            screen: Screen::new(Box::new(size), false),
            terminal: Terminal::new(rows, columns),
            columns: width,
            second: 1000,
        };
        watched.screen.speaks("anna");
        let out = watched.screen.open();
        watched.terminal.write(&out);
        watched
    }

    fn show(&mut self, number: u64, last: bool, title: &str, lines: &[&str]) {
        let body = lines.iter().map(|line| Block::Line((*line).to_owned())).collect();
        let reply = Reply { tone: Tone::Busy, title: title.to_owned(), body };
        let now = Timestamp::from_second(self.second).unwrap();
        let out = self.screen.show(number, View { reply: &reply, reactions: None, last }, now);
        self.terminal.write(&out);
    }

    fn enter(&mut self, line: &str) {
        self.terminal.write(line);
        self.terminal.write("\n");
        let out = self.screen.entered(line);
        self.terminal.write(&out);
    }
}

#[test]
fn a_message_is_redrawn_in_place_while_somebody_types() {
    let mut watched = Watched::new(12, 40);
    watched.enter("!deploy antisocial");
    watched.show(2, false, "#1 antisocial", &["web pull", "beat waits"]);
    watched.terminal.write("!sta");
    watched.show(3, false, "hello", &[]);
    watched.show(2, false, "#1 antisocial", &["web healthy", "beat starts"]);
    let expected = "anna> !deploy antisocial\nm2 ▸ #1 antisocial\n  web healthy\n  beat starts\nm3 ▸ hello\nanna> !sta";
    assert_eq!(watched.terminal.all(), expected);
    watched.enter("tus");
    assert_eq!(watched.terminal.all(), format!("{expected}tus\nanna>"));
}

#[test]
fn a_message_grows_and_shrinks_without_harm_to_its_neighbours() {
    let mut watched = Watched::new(12, 40);
    watched.show(1, false, "one", &["a"]);
    watched.show(2, false, "two", &["b"]);
    watched.terminal.write("typed");
    watched.show(1, false, "one", &["a", "aa", "aaa"]);
    assert_eq!(watched.terminal.all(), "m1 ▸ one\n  a\n  aa\n  aaa\nm2 ▸ two\n  b\nanna> typed");
    watched.show(2, false, "two", &["b", "bb"]);
    watched.show(1, true, "one", &[]);
    assert_eq!(watched.terminal.all(), "m1 ▸ one\nm2 ▸ two\n  b\n  bb\nanna> typed");
    assert_eq!(watched.terminal.line(), "anna> typed");
}

#[test]
fn what_scrolled_out_is_told_line_by_line_and_drawn_whole_at_the_end() {
    let mut watched = Watched::new(6, 40);
    watched.show(1, false, "one", &["a starts", "b starts"]);
    for number in 2..6 {
        watched.show(number, false, "talk", &[]);
    }
    watched.show(1, false, "one", &["a healthy", "b starts"]);
    let gone = "m1 ▸ one\n  a starts\n  b starts\nm2 ▸ talk\nm3 ▸ talk\nm4 ▸ talk\nm5 ▸ talk\nm1   a healthy";
    assert_eq!(watched.terminal.all(), format!("{gone}\nanna>"));
    watched.show(1, true, "one, done", &["a healthy", "b healthy"]);
    assert_eq!(watched.terminal.all(), format!("{gone}\nm1 ▸ one, done\n  a healthy\n  b healthy\nanna>"));
}

#[test]
fn what_scrolled_out_is_drawn_anew_after_a_while() {
    let mut watched = Watched::new(8, 40);
    watched.show(1, false, "one", &["a 1 s"]);
    for number in 2..9 {
        watched.show(number, false, "talk", &[]);
    }
    watched.second += 11;
    watched.show(1, false, "one", &["a 12 s"]);
    assert!(watched.terminal.all().ends_with("m8 ▸ talk\nm1 ▸ one\n  a 12 s\nanna>"), "{}", watched.terminal.all());
    watched.show(1, false, "one", &["a 13 s"]);
    assert!(watched.terminal.all().ends_with("m8 ▸ talk\nm1 ▸ one\n  a 13 s\nanna>"), "{}", watched.terminal.all());
}

#[test]
fn a_terminal_of_another_width_is_not_drawn_over() {
    let mut watched = Watched::new(10, 40);
    watched.show(1, false, "one", &["a"]);
    watched.columns.store(30, Ordering::Relaxed);
    watched.show(1, false, "one", &["b"]);
    assert_eq!(watched.terminal.all(), "m1 ▸ one\n  a\nm1   b\nanna>");
}

#[test]
fn a_line_of_several_rows_is_counted() {
    let mut watched = Watched::new(10, 24);
    watched.show(1, false, "one", &["a"]);
    watched.enter("0123456789 0123456789 0123456789");
    watched.show(1, false, "one", &["b"]);
    assert_eq!(watched.terminal.all(), "m1 ▸ one\n  b\nanna> 0123456789 0123456\n789 0123456789\nanna>");
}

#[test]
fn more_than_a_screen_goes_through_the_screen() {
    let mut watched = Watched::new(5, 40);
    let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    watched.terminal.write("typed");
    watched.show(1, true, "much", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let expected: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    assert_eq!(watched.terminal.all(), format!("m1 ▸ much{expected}\nanna> typed"));
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let mut watched = Watched::new(10, 40);
    watched.show(1, false, "one", &["a"]);
    let reply = Reply { tone: Tone::Busy, title: "one".to_owned(), body: vec![Block::Line("a".to_owned())] };
    let view = View { reply: &reply, reactions: None, last: false };
    assert_eq!(watched.screen.show(1, view, Timestamp::UNIX_EPOCH), "");
}

#[test]
fn colours_follow_the_tone_and_code_stands_out() {
    let mut screen = Screen::new(Box::new(|| Size { columns: 40, rows: 10 }), true);
    let body = vec![Block::Line("type `!help`".to_owned())];
    let reply = Reply { tone: Tone::Bad, title: "no".to_owned(), body };
    let out = screen.show(7, View { reply: &reply, reactions: Some("✅ anna"), last: true }, Timestamp::UNIX_EPOCH);
    assert!(out.contains("\x1b[2mm7 \x1b[0m\x1b[1;31m✘ no\x1b[0m\r\n  type \x1b[36m!help\x1b[0m\r\n  ✅ anna\x1b8"), "{out:?}");
}

#[derive(Debug, Clone)]
enum Happens {
    Shown { number: u64, lines: usize },
    Entered(usize),
    Noted,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (1u64..5, 0usize..6).prop_map(|(number, lines)| Happens::Shown { number, lines }),
        (0usize..50).prop_map(Happens::Entered),
        Just(Happens::Noted),
    ]
}

proptest! {
    /// On a terminal that nothing scrolls out of, one sees exactly the messages as they are now, in the order in which they came.
    #[test]
    fn the_picture_is_always_the_state(story in proptest::collection::vec(happens(), 0..30)) {
        let mut watched = Watched::new(400, 30);
        let mut picture: Vec<(Option<u64>, Vec<String>)> = Vec::new();
        for (step, event) in story.into_iter().enumerate() {
            match event {
                Happens::Shown { number, lines } => {
                    let body: Vec<String> = (0..lines).map(|line| format!("{step} {line}")).collect();
                    watched.show(number, false, "title", &body.iter().map(String::as_str).collect::<Vec<_>>());
                    let mut shown = vec![format!("m{number} ▸ title")];
                    shown.extend(body.iter().map(|line| format!("  {line}")));
                    match picture.iter_mut().find(|(known, _)| *known == Some(number)) {
                        Some((_, old)) => *old = shown,
                        None => picture.push((Some(number), shown)),
                    }
                }
                Happens::Entered(length) => {
                    let line = "x".repeat(length);
                    watched.enter(&line);
                    let whole: Vec<char> = format!("anna> {line}").chars().collect();
                    picture.push((None, whole.chunks(30).map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()));
                }
                Happens::Noted => {
                    let out = watched.screen.note("a note");
                    watched.terminal.write(&out);
                    picture.push((None, vec!["  a note".to_owned()]));
                }
            }
        }
        let mut expected: Vec<String> = picture.into_iter().flat_map(|(_, lines)| lines).collect();
        expected.push("anna>".to_owned());
        prop_assert_eq!(watched.terminal.all(), expected.join("\n"));
    }

    /// However small the terminal: what is being typed stays whole, at the bottom.
    #[test]
    fn what_is_typed_is_never_destroyed(story in proptest::collection::vec(happens(), 0..40), rows in 3usize..12) {
        let mut watched = Watched::new(rows, 30);
        for (step, event) in story.into_iter().enumerate() {
            watched.terminal.write("abc");
            match event {
                Happens::Shown { number, lines } => {
                    let body: Vec<String> = (0..lines).map(|line| format!("{step} {line}")).collect();
                    watched.show(number, step % 3 == 0, "title", &body.iter().map(String::as_str).collect::<Vec<_>>());
                }
                Happens::Entered(_) => {
                    let out = watched.screen.note("a note");
                    watched.terminal.write(&out);
                }
                Happens::Noted => {}
            }
            prop_assert_eq!(watched.terminal.line(), "anna> abc");
            watched.enter("");
            // The typed part was echoed before.
        }
    }
}
