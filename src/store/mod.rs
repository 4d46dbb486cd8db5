//! What the bot never forgets: an append-only, hash-chained list of facts, and the rows that are derived from it.
//!
//! [`Ledger`] is the typed front: it checks a fact, derives the rows that change, and hands both to a [`Store`] as one
//! write. A store only knows keys, values and journal lines, which keeps the part that must survive a power cut small.

use serde::{Deserialize, Serialize};

use crate::domain::build::Build;
use crate::domain::deployment::Event;
use crate::domain::message::{Message, MessageRef, RoomId};
use crate::domain::names::DeploymentId;

/// Something that happened, as the journal keeps it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A build was announced.
    Built {
        /// The build.
        build: Build,
        /// The keys by which the same announcement is recognised when it comes again.
        keys: Vec<String>,
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
    /// A room shows a post.
    Posted {
        /// The room.
        room: RoomId,
        /// Which post.
        post: PostId,
        /// The message that shows it.
        message: MessageRef,
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
}
