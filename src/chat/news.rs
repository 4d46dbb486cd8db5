//! What is new in a message that was edited: the lines to tell where nothing can be redrawn.
//!
//! Lines are compared by their words, for columns shift when a neighbour grows. A line in which only times and
//! percentages moved is no news but every [`PATIENCE`] and at the end: whoever reads a log doesn't want a clock in it.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// How long a line in which only the clock moved goes untold.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

const UNITS: &[&str] = &["ms", "s", "m", "min", "h", "d", "%", "B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB"];

/// What was told of a message.
#[derive(Debug, Default)]
pub struct Told {
    lines: Vec<String>,
    at: Timestamp,
}

impl Told {
    /// Notes that these lines were shown as a whole.
    pub fn all(&mut self, lines: Vec<String>, now: Timestamp) {
        *self = Told { lines, at: now };
    }

    /// Whether exactly these lines were told.
    pub fn are(&self, lines: &[String]) -> bool {
        self.lines == lines
    }

    /// Those of the lines that are news, which thereby count as told. A line that is gone is no news.
    pub fn news(&mut self, lines: Vec<String>, last: bool, now: Timestamp) -> Vec<String> {
        let mut exact = Bag::default();
        let mut vague = Bag::default();
        for line in &self.lines {
            exact.put(words(line));
            vague.put(skeleton(line));
        }
        let known: Vec<bool> = lines.iter().map(|line| exact.take(&words(line)) && vague.take(&skeleton(line))).collect();
        let patient = !last && now.duration_since(self.at) < PATIENCE;
        let mut news = Vec::new();
        self.lines = Vec::new();
        for (line, known) in lines.into_iter().zip(known) {
            if !known && vague.take(&skeleton(&line)) && patient {
                // Remembered without its numbers: then it is still news when the patience ends.
                self.lines.push(skeleton(&line));
                continue;
            }
            if !known {
                news.push(line.clone());
            }
            self.lines.push(line);
        }
        if !news.is_empty() {
            self.at = now;
        }
        news
    }
}

/// Texts, each so many times.
#[derive(Default)]
struct Bag(HashMap<String, usize>);

impl Bag {
    fn put(&mut self, text: String) {
        *self.0.entry(text).or_default() += 1;
    }

    fn take(&mut self, text: &str) -> bool {
        match self.0.get_mut(text) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

/// The words of a line, whatever the space between them.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a line without times, sizes and percentages.
fn skeleton(line: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', ';', '.']);
        let digits = bare.trim_start_matches(|c: char| c.is_ascii_digit() || ".:/".contains(c));
        if digits.len() < bare.len() && UNITS.contains(&digits) {
            kept.push("#");
        } else if UNITS.contains(&bare) && kept.last().is_some_and(|number| is_number(number)) {
            kept.pop();
            kept.push("#");
        } else {
            kept.push(word);
        }
    }
    // `1 m 30 s` and `58 s` are both one time.
    kept.dedup_by(|next, before| *next == "#" && *before == "#");
    kept.join(" ")
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit() || c == '(')
        && word.trim_start_matches('(').chars().all(|c| c.is_ascii_digit() || ".:/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(told: &mut Told, second: i64, last: bool, lines: &[&str]) -> Vec<String> {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        told.news(lines, last, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn only_changed_lines_are_told_however_their_columns_shift() {
        let mut message = Told::default();
        assert_eq!(told(&mut message, 100, false, &["title", "a  pull", "b  pull"]), ["title", "a  pull", "b  pull"]);
        assert!(told(&mut message, 101, false, &["title", "a  pull", "b  pull"]).is_empty());
        assert_eq!(told(&mut message, 102, false, &["title", "a     pull", "b     healthy"]), ["b     healthy"]);
        assert_eq!(told(&mut message, 103, true, &["title, done", "a  pull"]), ["title, done"]);
    }

    #[test]
    fn a_moving_clock_is_told_every_ten_seconds_and_at_the_end() {
        let mut message = Told::default();
        let at = |second: i64| format!("web  {second} s  {}%", second - 100);
        assert_eq!(told(&mut message, 100, false, &["title", &at(100)]).len(), 2);
        for second in 101..110 {
            assert!(told(&mut message, second, false, &["title", &at(second)]).is_empty(), "{second}");
        }
        assert_eq!(told(&mut message, 110, false, &["title", &at(110)]), [at(110)]);
        assert!(told(&mut message, 111, false, &["title", &at(111)]).is_empty());
        assert_eq!(told(&mut message, 112, true, &["title", &at(112)]), [at(112)]);
    }

    #[test]
    fn an_untold_clock_is_told_at_the_end_even_if_it_stopped() {
        let mut message = Told::default();
        told(&mut message, 100, false, &["web (58 s)"]);
        assert!(told(&mut message, 101, false, &["web (1 m 2 s)"]).is_empty());
        assert_eq!(told(&mut message, 102, true, &["web (1 m 2 s)"]), ["web (1 m 2 s)"]);
    }

    #[test]
    fn numbers_that_are_no_clock_are_news() {
        let mut message = Told::default();
        told(&mut message, 100, false, &["web 1/2", "#41"]);
        assert_eq!(told(&mut message, 101, false, &["web 2/2", "#42"]), ["web 2/2", "#42"]);
    }

    #[test]
    fn equal_lines_are_counted() {
        let mut message = Told::default();
        told(&mut message, 100, false, &["x", "x"]);
        assert_eq!(told(&mut message, 101, false, &["x", "x", "x"]), ["x"]);
    }
}
