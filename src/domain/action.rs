//! Actions: the small steps that a plan is made of, each on one host or one target of it.
//!
//! An action carries all that an engine needs besides the plan's own specs, what the undo puts back included, so both mean the same
//! after a restart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{HostName, RoleName, Tag, TaskName};
use super::spec::Millis;

/// One role on one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The role.
    pub role: RoleName,
    /// The host.
    pub host: HostName,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.role, self.host)
    }
}

/// What a host's TAG and REVERT files say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagFiles {
    /// TAG; `None` = no such file.
    pub tag: Option<Tag>,
    /// REVERT; `None` = no such file.
    pub revert: Option<Tag>,
}

/// Where a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Made from the plan's image and the role's spec.
    New {
        /// The port on the host, where the plan chose one.
        port: Option<u16>,
    },
    /// Kept from an earlier deployment, stopped; it is only started.
    Kept,
}

/// One small step on one host. All are safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// The host answers, its engine answers, it has the space.
    Preflight {
        /// The host.
        host: HostName,
        /// The free space that it must have, in MiB.
        min_free_mib: u64,
    },
    /// The plan's image is on the host.
    Pull {
        /// The host.
        host: HostName,
    },
    /// A task ran in a container of its own and ended with exit status 0.
    Task {
        /// The role whose spec the container has, and the host that it runs on.
        target: Target,
        /// The task's name.
        task: TaskName,
        /// The container's name: the same however often the action is repeated, so the task runs once.
        container: String,
        /// The arguments to the image's entry point.
        command: Vec<String>,
        /// How long it may take in all.
        deadline: Millis,
        /// Whether going back doesn't restore what it changes.
        irreversible: bool,
    },
    /// The balancer sends the container no new requests.
    Leave {
        /// The target.
        target: Target,
        /// The container; `None` for a role managed by commands.
        container: Option<String>,
        /// Whether the undo brings it in again. Not if it was left over beside the one that counts.
        undo: bool,
    },
    /// Requests that the old one has get time to end.
    Drain {
        /// The target.
        target: Target,
        /// The time.
        span: Millis,
    },
    /// The container is proven gone (stopped, and kept).
    Stop {
        /// The target.
        target: Target,
        /// The container; `None` for a role managed by commands.
        container: Option<String>,
        /// Whether the undo starts it again. Not if it was left over beside the one that counts.
        undo: bool,
    },
    /// The container runs.
    Start {
        /// The target.
        target: Target,
        /// The container; `None` for a role managed by commands.
        container: Option<String>,
        /// Where it comes from.
        origin: Origin,
    },
    /// The target is healthy.
    Healthy {
        /// The target.
        target: Target,
        /// The container; `None` for a role managed by commands.
        container: Option<String>,
    },
    /// The balancer sends the container requests.
    Join {
        /// The target.
        target: Target,
        /// The container; `None` for a role managed by commands.
        container: Option<String>,
        /// Whether the undo takes it out again. Not if it ran before the deployment: then it was in, or should have been.
        undo: bool,
    },
    /// A pause: between two batches, or where the runbook says so.
    Wait {
        /// The time.
        span: Millis,
    },
    /// The host's TAG and REVERT files say what it runs.
    Record {
        /// The host.
        host: HostName,
        /// The folder of the files.
        folder: String,
        /// What they shall say.
        after: TagFiles,
        /// What they said, for the undo.
        before: TagFiles,
    },
    /// Containers and images that nobody goes back to are gone. May fail without harm.
    Prune {
        /// The host.
        host: HostName,
        /// The containers to remove.
        containers: Vec<String>,
        /// The images (`repository@digest`) to remove.
        images: Vec<String>,
    },
}

impl Action {
    /// The host that it acts on; `None` for a mere wait. A balancer's host isn't meant, but the host that joins or leaves.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Action::Preflight { host, .. } | Action::Pull { host } | Action::Record { host, .. } | Action::Prune { host, .. } => {
                Some(host)
            }
            Action::Task { target, .. }
            | Action::Leave { target, .. }
            | Action::Drain { target, .. }
            | Action::Stop { target, .. }
            | Action::Start { target, .. }
            | Action::Healthy { target, .. }
            | Action::Join { target, .. } => Some(&target.host),
            Action::Wait { .. } => None,
        }
    }

    /// The target that it acts on, if it is about one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Action::Task { target, .. }
            | Action::Leave { target, .. }
            | Action::Drain { target, .. }
            | Action::Stop { target, .. }
            | Action::Start { target, .. }
            | Action::Healthy { target, .. }
            | Action::Join { target, .. } => Some(target),
            Action::Preflight { .. } | Action::Pull { .. } | Action::Wait { .. } | Action::Record { .. } | Action::Prune { .. } => {
                None
            }
        }
    }

    /// The verb that people read: `pull`, `migrate`, `stop`.
    pub fn verb(&self) -> &str {
        match self {
            Action::Preflight { .. } => "preflight",
            Action::Pull { .. } => "pull",
            Action::Task { task, .. } => task.as_str(),
            Action::Leave { .. } => "leave",
            Action::Drain { .. } => "drain",
            Action::Stop { .. } => "stop",
            Action::Start { .. } => "start",
            Action::Healthy { .. } => "healthy",
            Action::Join { .. } => "join",
            Action::Wait { .. } => "wait",
            Action::Record { .. } => "record",
            Action::Prune { .. } => "prune",
        }
    }

    /// Whether it changes something that an undo puts back.
    pub fn has_undo(&self) -> bool {
        match self {
            // A task's effects stay; its undo makes sure that it doesn't run on.
            Action::Task { .. } | Action::Start { .. } | Action::Record { .. } => true,
            Action::Leave { undo, .. } | Action::Stop { undo, .. } | Action::Join { undo, .. } => *undo,
            Action::Preflight { .. }
            | Action::Pull { .. }
            | Action::Drain { .. }
            | Action::Healthy { .. }
            | Action::Wait { .. }
            | Action::Prune { .. } => false,
        }
    }

    /// Whether it may be cut off at any moment. The others are short, and cutting them off would leave a request on its
    /// way whose effect comes after we looked.
    pub fn is_interruptible(&self) -> bool {
        match self {
            Action::Preflight { .. }
            | Action::Pull { .. }
            | Action::Task { .. }
            | Action::Drain { .. }
            | Action::Healthy { .. }
            | Action::Wait { .. } => true,
            Action::Leave { .. }
            | Action::Stop { .. }
            | Action::Start { .. }
            | Action::Join { .. }
            | Action::Record { .. }
            | Action::Prune { .. } => false,
        }
    }

    /// Whether the deployment goes on when it fails.
    pub fn may_fail(&self) -> bool {
        matches!(self, Action::Prune { .. })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.target(), self.host()) {
            (Some(target), _) => write!(f, "{} {target}", self.verb()),
            (None, Some(host)) => write!(f, "{} {host}", self.verb()),
            (None, None) => f.write_str(self.verb()),
        }
    }
}
