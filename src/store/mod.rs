//! What the bot never forgets: an append-only, hash-chained list of facts, and the rows that are derived from it.
//!
//! [`Ledger`] is the typed front: it checks a fact, derives the rows that change, and hands both to a [`Store`] as one
//! write. A store only knows keys, values and journal lines, which keeps the part that must survive a power cut small.
//!
//! | file | what |
//! |---|---|
//! | `ledger`, `record`, `gate`, `told`, `read` | the front: what may be recorded, what can be asked |
//! | `committer` | the one thread that writes |
//! | `projection`, `overlay` | from a fact to the rows that it changes |
//! | `rows`, `facts`, `posts`, `summary`, `lookup` | where everything stands, and what is put together from it |
//! | `chain`, `journal` | the hash chain, and the file that holds it |
//! | `sled`, `memory` | the two stores |
//! | `recovery`, `healed` | a start: store and journal are brought to the same fact, a damaged store is made again |
//! | `export` | all history out, and in again |
//! | `audit` | a history is proven to be unbroken |

mod audit;
mod chain;
mod committer;
mod error;
mod export;
mod facts;
mod gate;
mod healed;
mod journal;
mod ledger;
mod lookup;
mod memory;
mod overlay;
mod posts;
mod projection;
mod read;
mod record;
mod recovery;
mod rows;
mod sled;
mod summary;
mod told;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::domain::build::Build;
use crate::domain::deployment::Event;
use crate::domain::environment_lock::{EnvironmentLock, Unlocked};
use crate::domain::message::{Account, Message, MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, PersonName};
use crate::domain::notice::Notice;

pub use self::audit::{AuditError, Audited, audit};
pub use self::chain::{BrokenChain, Entry, Hash, Head, InvalidHead};
pub use self::error::{LedgerError, RequestError, StoreError};
pub use self::export::{Exported, TransferError, export, export_to, import, import_from};
pub use self::gate::{Ask, Granted, Way};
pub use self::healed::{Healed, Recovery};
pub use self::ledger::{Health, Ledger};
pub use self::memory::MemoryStore;
pub use self::record::Appended;
pub use self::sled::SledStore;
pub use self::summary::{Counts, PhaseName, Summary, TargetRecord};
pub use self::told::Told;

/// The version of the journal's lines and of the rows. A store of a newer one is refused; the rows of an older one are made
/// again from the journal, whose first line then says the new one. A new kind of fact or event needs a new one, so that an older
/// shipmate doesn't take it for damage.
///
/// Some things keep their form in every schema, since an upgrade reads them: each fact that was ever written, the journal's
/// lines, and of the rows the head and the facts. `tests/data/stores` has a store of each schema to hold this.
pub const SCHEMA: u32 = 2;

/// The longest value of a row, in bytes. sled puts 16 rows on a page, and a page above 128 KiB into a file of its own that it
/// never syncs.
pub const MAX_VALUE: usize = 4096;

/// A row's key.
pub type Key = Vec<u8>;

/// One row that becomes another: its key, and its value or `None` when it goes away.
pub type Change = (Key, Option<Vec<u8>>);

/// Which end of a range is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The lowest key first.
    Forward,
    /// The highest key first.
    Backward,
}

/// Rows in the order of their keys, and a journal behind them.
pub trait Store: Send + Sync {
    /// The value of a row.
    ///
    /// # Errors
    /// When the store is damaged or can't be read; a row that isn't there is no error.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows of a range, its end not included, at most `limit`. The first row that can't be read ends it with an error.
    ///
    /// # Errors
    /// When the store is damaged or can't be read.
    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError>;

    /// Makes all changes or none, then appends the lines to the journal. When it returns, both survive a power cut. Called by
    /// one thread at a time.
    ///
    /// # Errors
    /// When it is unknown what was written. Nothing may be written any more until the store is opened again.
    fn write(&self, changes: Vec<Change>, lines: &[u8]) -> Result<(), StoreError>;

    /// Notes that what was read can't be right, so that the next start looks at every row.
    fn distrust(&self, why: &str);

    /// What is wrong with it though it still works, if something is.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Something that happened, as the journal keeps it for ever.
///
/// A fact holds what was decided, not only what was asked, so that the same rows come of it under any later rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A build was announced.
    Built {
        /// The build.
        build: Build,
        /// The keys by which the same announcement is recognised when it comes again.
        keys: Vec<String>,
        /// The earlier fact that announced the build, when this one only tells more of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        completes: Option<u64>,
        /// The environments that it is to be deployed to by itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        automatic: Vec<EnvironmentName>,
    },
    /// A person wrote a command; it waits in the inbox until it is answered.
    Heard {
        /// The message.
        message: Message,
    },
    /// A command is dealt with.
    Answered {
        /// The command's message.
        message: MessageRef,
    },
    /// Something happened to a deployment.
    Deployment {
        /// Which.
        id: DeploymentId,
        /// What.
        #[serde(flatten)]
        event: Event,
    },
    /// A lock was put on an environment.
    Locked {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The lock.
        lock: EnvironmentLock,
        /// The lock that was on it, if it was taken over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead_of: Option<EnvironmentLock>,
    },
    /// A lock is off.
    Unlocked {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The lock that was on it.
        lock: EnvironmentLock,
        /// Why it isn't any more.
        how: Unlocked,
    },
    /// An account is a person's from now on.
    Linked {
        /// The account.
        account: Account,
        /// Whose it is.
        person: PersonName,
    },
    /// An account that was linked is nobody's any more.
    Unlinked {
        /// The account.
        account: Account,
        /// Who said so.
        by: PersonName,
    },
    /// Rooms are told something.
    Told {
        /// What.
        notice: Notice,
        /// The only room that is told; `None` = all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<RoomId>,
    },
    /// All that people said in rooms up to a point is dealt with, or recorded.
    HeardUpTo {
        /// The points, in the words of the chats, by room.
        marks: BTreeMap<RoomId, String>,
    },
    /// A room is shown posts from now on; what was posted before it doesn't get.
    RoomOpened {
        /// The room.
        room: RoomId,
    },
    /// A room shows a post.
    Posted {
        /// The room.
        room: RoomId,
        /// Which post.
        post: PostId,
        /// The message that shows it.
        message: MessageRef,
        /// Whether it is kept in mind, since people may still answer to it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        watched: bool,
    },
    /// A room shows the last state of a post that was edited in place until then.
    Settled {
        /// The room.
        room: RoomId,
        /// Which post.
        post: PostId,
    },
}

/// The place of a post in the one list of all that rooms should show, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PostId(pub u64);

/// What a post is about; its text is rendered when it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum Post {
    /// The announcement of a build.
    Build {
        /// The fact that announced it.
        seq: u64,
    },
    /// The live message of a deployment, edited until the deployment is over.
    Live {
        /// Which.
        id: DeploymentId,
    },
    /// The closing message of a deployment.
    Closing {
        /// Which.
        id: DeploymentId,
    },
    /// A call for votes, edited until it is over.
    Votes {
        /// The fact that asked for them.
        seq: u64,
    },
    /// Something that rooms are told.
    Told {
        /// The fact that tells it.
        seq: u64,
    },
}
