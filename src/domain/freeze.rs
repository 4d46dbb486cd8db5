//! Freezes: times at which an environment must not change, in the time zone that people live in.
//!
//! A freeze is half-open: it holds at its first minute and no longer at its last. It is judged by the wall clock of its zone, so a
//! weekend begins on Friday at 16:00 in summer and in winter.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;

/// A time at which nothing may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Why, for people.
    pub reason: String,
    /// The zone whose wall clock counts.
    pub zone: TimeZone,
    /// When.
    pub when: When,
}

/// When a freeze holds, by the wall clock of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Once, from a moment to another.
    Dated {
        /// The first moment.
        from: DateTime,
        /// The first moment after it.
        to: DateTime,
    },
    /// Every week, from a moment to another one at most a week later; `from` and `to` may lie in two weeks.
    Weekly {
        /// The first moment.
        from: (Weekday, Time),
        /// The first moment after it.
        to: (Weekday, Time),
    },
}
