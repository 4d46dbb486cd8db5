//! What a bot is put together from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Emojis;
use crate::chat::Chat;
use crate::clock::Clock;
use crate::domain::daily::Daily;
use crate::engine::Engine;
use crate::fleet::Fleet;
use crate::http::Metrics;
use crate::runbook::{Catalog, Prefix};
use crate::secret::Redactor;
use crate::store::Ledger;

/// What a bot is made of.
pub struct Parts {
    /// The apps and people.
    pub fleet: Arc<Fleet>,
    /// The commands.
    pub catalog: Arc<Catalog>,
    /// The memory.
    pub ledger: Ledger,
    /// The hosts.
    pub engine: Arc<dyn Engine>,
    /// The chats.
    pub chats: Vec<Arc<dyn Chat>>,
    /// The numbers.
    pub metrics: Metrics,
    /// What a command begins with.
    pub prefix: Prefix,
    /// Where the output of actions is kept.
    pub outputs: PathBuf,
    /// For how long.
    pub output_keep: Duration,
    /// Knows the secrets that must not be shown.
    pub redactor: Redactor,
    /// The file by which the next start knows how long the bot was away; `None` = it doesn't.
    pub heartbeat: Option<PathBuf>,
    /// What the settings leave to taste.
    pub habits: Habits,
    /// The time.
    pub clock: Clock,
}

/// What the settings leave to taste.
#[derive(Debug, Clone)]
pub struct Habits {
    /// The emojis that people vote with.
    pub emojis: Emojis,
    /// A command that was typed longer ago isn't run without asking.
    pub stale_after: Duration,
    /// How often the hosts are compared with the record; 0 = never.
    pub drift_every: Duration,
    /// When rooms are told the journal's head; `None` = never.
    pub post_head: Option<Daily>,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            emojis: Emojis::default(),
            stale_after: Duration::from_secs(120),
            drift_every: Duration::from_secs(300),
            post_head: None,
        }
    }
}
