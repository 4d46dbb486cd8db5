//! Bytes to lines, in bounded memory. What arrives from a host comes in frames that end anywhere.

use std::collections::VecDeque;

use super::limits::{LINE_BYTES, TAIL_CHARS, TAIL_LINES};

/// Cuts a stream of bytes into lines.
#[derive(Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes and hands on each line that they end.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.pending.extend_from_slice(part);
            if parts.peek().is_some() {
                self.emit(self.pending.len(), &mut each);
            }
            while self.pending.len() > LINE_BYTES {
                // Between words if there are any: a secret is a word as a rule, and half a secret isn't recognised.
                let cut = self.pending[..LINE_BYTES].iter().rposition(u8::is_ascii_whitespace).map_or(LINE_BYTES, |at| at + 1);
                self.emit(cut, &mut each);
            }
        }
    }

    /// Hands on what is left when the stream is over.
    pub fn end(&mut self, mut each: impl FnMut(&str)) {
        if !self.pending.is_empty() {
            self.emit(self.pending.len(), &mut each);
        }
    }

    fn emit(&mut self, length: usize, each: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.pending[..length]);
        each(text.strip_suffix('\r').unwrap_or(&text));
        self.pending.drain(..length);
    }
}

/// The last lines of an output.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Adds a line and forgets the oldest if there are too many.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.chars().take(TAIL_CHARS).collect());
    }

    /// The lines, oldest first.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(frames: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for frame in frames {
            lines.push(frame, |line| seen.push(line.to_owned()));
        }
        lines.end(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn a_line_may_span_frames_and_a_frame_may_hold_lines() {
        assert_eq!(lines(&[b"on", b"e\r\ntwo\n\nfo", b"ur"]), ["one", "two", "", "four"]);
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_parts_between_words() {
        let words = "word ".repeat(LINE_BYTES / 4);
        let parts = lines(&[words.as_bytes()]);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= LINE_BYTES && part.ends_with("word ")));
        assert_eq!(parts.concat(), words);
    }

    #[test]
    fn the_tail_keeps_the_last_lines_and_cuts_long_ones() {
        let mut tail = Tail::default();
        (0..100).for_each(|n| tail.push(&format!("{n} {}", "x".repeat(1000))));
        let kept = tail.into_lines();
        assert_eq!((kept.len(), kept[0].chars().count()), (TAIL_LINES, TAIL_CHARS));
        assert!(kept[TAIL_LINES - 1].starts_with("99 "));
    }

    proptest! {
        #[test]
        fn framing_makes_no_difference(text in "[a-z\n]{0,60}", cut in 0usize..60) {
            let cut = cut.min(text.len());
            prop_assert_eq!(lines(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), lines(&[text.as_bytes()]));
        }
    }
}
