//! What rooms are told beside builds and deployments. A notice is a fact of the journal, so that each room shows it once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::environment_lock::EnvironmentLock;
use super::message::{Account, Message, MessageRef};
use super::names::{AppName, DeploymentId, EnvironmentName, PersonName, Tag};

/// Something that rooms are told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// A lock will end soon.
    LockEnds {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The lock.
        lock: EnvironmentLock,
    },
    /// A build that would be deployed by itself isn't.
    NotAutomatic {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The build's tag.
        tag: Tag,
        /// Why, for people.
        why: String,
        /// The fact that announced the build. Another build of the same environment may have come in meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// A build that would be deployed by itself came in after a newer one, and isn't.
    Overtaken {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The build's tag.
        tag: Tag,
        /// The newer one.
        by: Tag,
    },
    /// Somebody does without the votes that it takes: everybody whose vote would count is called.
    Emergency {
        /// The deployment.
        id: DeploymentId,
        /// Who.
        by: PersonName,
        /// Why, in their words.
        reason: String,
        /// Who is called.
        calls: Vec<PersonName>,
    },
    /// The bot is back.
    Back {
        /// Since when it was away, if that is known.
        since: Option<Timestamp>,
        /// The deployments that go on.
        going_on: Vec<DeploymentId>,
        /// The deployments that wait for votes or their turn.
        waiting: Vec<DeploymentId>,
        /// The deployments that are stuck.
        stuck: Vec<DeploymentId>,
    },
    /// Commands that were typed while the bot was away, too long ago to be run without asking.
    Stale {
        /// The messages, all of one room.
        messages: Vec<Message>,
    },
    /// A message that is encrypted, and whose key hasn't come.
    Unreadable {
        /// Which.
        message: MessageRef,
        /// Who wrote it.
        author: Account,
    },
    /// More was written while the bot was away than it reads back.
    NotRead {
        /// What was written before this was not read.
        before: Timestamp,
    },
    /// The hosts differ from the record.
    Drift {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// What differs and how to mend it, line by line, for people.
        lines: Vec<String>,
        /// Tells this report from another one.
        fingerprint: String,
    },
    /// The hosts are as recorded again.
    DriftOver {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
    },
    /// A deployment that is watched isn't healthy any more, or a person said so; it is reverted.
    BakeFailed {
        /// The deployment.
        id: DeploymentId,
        /// Who said so; `None` = a health check did.
        by: Option<PersonName>,
        /// What is wrong, for people.
        why: String,
    },
    /// A deployment that isn't well could not be reverted.
    NotReverted {
        /// The deployment.
        id: DeploymentId,
        /// Why, for people.
        why: String,
    },
    /// A deployment was watched to the end and is kept.
    Baked {
        /// The deployment.
        id: DeploymentId,
    },
    /// Where the journal is, so that people can hold it to that later.
    Head {
        /// The newest fact's number.
        seq: u64,
        /// Its hash.
        hash: String,
    },
}

/// What a notice is about: some rooms are told of some apps only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Nothing in particular.
    All,
    /// An app.
    App(AppName),
    /// A deployment.
    Deployment(DeploymentId),
}

impl Notice {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            Notice::LockEnds { app, .. }
            | Notice::NotAutomatic { app, .. }
            | Notice::Overtaken { app, .. }
            | Notice::Drift { app, .. }
            | Notice::DriftOver { app, .. } => About::App(app.clone()),
            Notice::Emergency { id, .. }
            | Notice::BakeFailed { id, .. }
            | Notice::NotReverted { id, .. }
            | Notice::Baked { id } => About::Deployment(*id),
            Notice::Back { .. }
            | Notice::Stale { .. }
            | Notice::Unreadable { .. }
            | Notice::NotRead { .. }
            | Notice::Head { .. } => About::All,
        }
    }
}
