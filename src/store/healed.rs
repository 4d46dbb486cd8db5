//! What a start found wrong and put right, for the log and the room.

use std::fmt;
use std::path::PathBuf;

use super::SCHEMA;

/// What a start had to put right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Each thing, in order.
    pub healed: Vec<Healed>,
}

/// One thing that was put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healed {
    /// The journal's last line had no end.
    TornLine {
        /// How long it was.
        bytes: u64,
    },
    /// The rows were ahead of the journal.
    JournalCaughtUp {
        /// By how many facts.
        records: u64,
    },
    /// The journal was ahead of the rows: sled lost what it had promised to keep.
    StoreCaughtUp {
        /// By how many facts.
        records: u64,
    },
    /// The rows were made anew from the journal.
    StoreRebuilt {
        /// What was wrong with them.
        why: String,
        /// Where the old ones are, if there were any.
        kept: Option<PathBuf>,
        /// How many facts there are.
        records: u64,
    },
    /// An older shipmate wrote it; nothing was wrong.
    Upgraded {
        /// Its schema.
        from: u32,
        /// How many facts there are.
        records: u64,
    },
    /// The journal was made anew from the rows.
    JournalRebuilt {
        /// What was wrong with it.
        why: String,
        /// Where the old one is, if there was one.
        kept: Option<PathBuf>,
        /// How many facts there are.
        records: u64,
    },
}

impl Recovery {
    /// What happened, for the log and the room; `None` = nothing.
    pub fn story(&self) -> Option<String> {
        let told: Vec<String> = self.healed.iter().map(ToString::to_string).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Whether the disk did what it must not, and a person should look at the machine. An ordinary crash isn't that.
    pub fn is_alarming(&self) -> bool {
        self.healed.iter().any(|healed| match healed {
            Healed::TornLine { .. } | Healed::JournalCaughtUp { .. } | Healed::Upgraded { .. } => false,
            Healed::StoreCaughtUp { .. } | Healed::StoreRebuilt { .. } | Healed::JournalRebuilt { .. } => true,
        })
    }
}

impl fmt::Display for Healed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = |kept: &Option<PathBuf>| {
            kept.as_ref().map_or_else(String::new, |kept| format!(", the old one is kept at {}", kept.display()))
        };
        let counted = |records: &u64| if *records == 1 { "1 record".to_owned() } else { format!("{records} records") };
        match self {
            Healed::TornLine { bytes } => write!(f, "the journal's unfinished last line ({bytes} bytes) was cut off"),
            Healed::JournalCaughtUp { records } => {
                write!(f, "the journal lacked its newest {}, taken from the store", counted(records))
            }
            Healed::StoreCaughtUp { records } => {
                write!(f, "the store had lost its newest {}, taken from the journal", counted(records))
            }
            Healed::StoreRebuilt { why, kept: at, records } => {
                write!(f, "the store was made anew from the journal ({}), since {why}{}", counted(records), kept(at))
            }
            Healed::Upgraded { from, records } => {
                write!(f, "the store was brought from schema {from} to schema {SCHEMA} ({})", counted(records))
            }
            Healed::JournalRebuilt { why, kept: at, records } => {
                write!(f, "the journal was made anew from the store ({}), since {why}{}", counted(records), kept(at))
            }
        }
    }
}
