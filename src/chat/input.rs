//! Lines that people or programs send, each of a limited length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What is longer is cut; it is far beyond what anybody takes as a command.
const LONGEST: usize = 16 * 1024;

/// Lines of an input. A call that is given up loses nothing.
pub(super) struct LineReader<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    pub fn new(input: R) -> Self {
        LineReader { input, line: Vec::new() }
    }

    /// The next line; `None` = the end. The last line needs no line break.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let bytes = self.input.fill_buf().await?;
            let (used, ends) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (bytes.len(), bytes.is_empty()),
            };
            let room = LONGEST.saturating_sub(self.line.len());
            self.line.extend(bytes.iter().take(used).filter(|byte| **byte != b'\n').take(room));
            self.input.consume(used);
            if ends {
                let line = std::mem::take(&mut self.line);
                let over = used == 0 && line.is_empty();
                return Ok(if over { None } else { Some(String::from_utf8_lossy(&line).into_owned()) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_at_breaks_and_at_the_end_and_have_a_limit() {
        let long = "x".repeat(LONGEST + 5);
        let text = format!("a\n\nb\r\n{long}\n\u{fffd}c");
        let mut lines = LineReader::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        assert_eq!(all, ["a", "", "b\r", &long[..LONGEST], "\u{fffd}c"]);
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
