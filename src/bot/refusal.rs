//! Why a command was not done: a person should know it, or the bot is broken.

use crate::chat::{Block, Reply, Tone};
use crate::store::LedgerError;

/// Why a command was not done.
#[derive(Debug)]
pub enum Refusal {
    /// The person should know this.
    Told(Reply),
    /// The bot itself is broken; the log has the reason.
    Broken(LedgerError),
}

impl Refusal {
    /// Something is wrong with what was asked, or with the world.
    pub fn told(text: impl Into<String>) -> Refusal {
        Refusal::Told(split(Tone::Warning, text.into()))
    }

    /// There is nothing to do, and that is fine.
    pub fn fine(text: impl Into<String>) -> Refusal {
        Refusal::Told(split(Tone::Good, text.into()))
    }
}

/// A reply whose first line is the title.
fn split(tone: Tone, text: String) -> Reply {
    let mut lines = text.lines().map(str::to_owned);
    let title = lines.next().unwrap_or_default();
    Reply { tone, title, body: lines.map(Block::Line).collect() }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Refusal {
        Refusal::Broken(error)
    }
}
