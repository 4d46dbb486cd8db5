//! Spans of time as people write and read them: `1m 30s`.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, SpanRelativeTo};

use super::spec::Millis;

/// The longest span where nothing else is said: whoever writes more has mistaken the unit.
const LONGEST: Millis = Millis(24 * 60 * 60 * 1000);

/// Why a text is no span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpan {
    /// It can't be read.
    #[error("it is a time such as `30s`, `1m 30s` or `500ms`")]
    Unreadable,
    /// It is negative or too long.
    #[error("it is a time from 0s to {longest}")]
    OutOfRange {
        /// The longest.
        longest: Millis,
    },
}

impl Millis {
    /// The span that a text says.
    ///
    /// # Errors
    /// When it can't be read, is negative, or is longer than `longest`.
    pub fn up_to(longest: Millis, text: &str) -> Result<Millis, InvalidSpan> {
        let span: Span = text.parse().map_err(|_| InvalidSpan::Unreadable)?;
        // Weeks are days; months and years have no length of their own.
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| InvalidSpan::Unreadable)?;
        match u64::try_from(span.as_millis()) {
            Ok(millis) if millis <= longest.0 && !span.is_negative() => Ok(Millis(millis)),
            _ => Err(InvalidSpan::OutOfRange { longest }),
        }
    }
}

impl FromStr for Millis {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        Millis::up_to(LONGEST, text)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let units = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (self.0 % 1000, "ms")];
        let parts: Vec<String> =
            units.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
        f.pad(if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_spans_with_units() {
        for (text, millis) in
            [("30s", 30_000), ("1m 30s", 90_000), ("500ms", 500), ("0s", 0), ("2 hours", 7_200_000), ("1 day", LONGEST.0)]
        {
            assert_eq!(text.parse(), Ok(Millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "30", "soon", "1 month", "30 s s"] {
            assert_eq!(text.parse::<Millis>(), Err(InvalidSpan::Unreadable), "{text}");
        }
        for text in ["-1s", "25h", "9999999h"] {
            assert_eq!(text.parse::<Millis>(), Err(InvalidSpan::OutOfRange { longest: LONGEST }), "{text}");
        }
        let month = Millis::seconds(30 * 24 * 60 * 60);
        assert_eq!(Millis::up_to(month, "30 days"), Ok(month));
        let complaint = Millis::up_to(month, "31 days").map_err(|complaint| complaint.to_string());
        assert_eq!(complaint, Err("it is a time from 0s to 720h".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(millis in 0..=LONGEST.0) {
            prop_assert_eq!(Millis(millis).to_string().parse(), Ok(Millis(millis)));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Millis>();
        }
    }
}
