//! The plan: what a deployment will do, as data, resolved before anything is touched.
//!
//! A plan is stages, one after the other; a stage is lanes, side by side; a lane is actions, one after the other. A
//! plan names everything that it touches (hosts, containers, digests) and carries the specs that it was made from, so it
//! means the same after a restart or a change of the fleet file, and its hash covers all that would happen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::names::{AppName, Digest, EnvironmentName, HostName, Repository, RoleName, Tag, TaskName};
use super::spec::{HostSpec, Millis, RoleSpec};

/// What people ask for by a command that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Purpose {
    /// Bring a build to the hosts.
    Deploy,
    /// Go back to a release that ended well.
    Revert,
    /// Stop and start what runs.
    Restart,
    /// Run a command once in the image that runs.
    Run {
        /// The command, as it was typed.
        command: Vec<String>,
        /// Whether the person said that it only reads; then it needs no lock.
        read: bool,
    },
}

impl Purpose {
    /// The word for it: `deploy`.
    pub fn word(&self) -> &'static str {
        match self {
            Purpose::Deploy => "deploy",
            Purpose::Revert => "revert",
            Purpose::Restart => "restart",
            Purpose::Run { .. } => "run",
        }
    }
}

/// An image by tag and content; what people call a release, but for the configuration it runs with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The tag as people say it.
    pub tag: Tag,
    /// The content that all hosts run.
    pub digest: Digest,
}

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

/// What a target ran when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The target.
    pub target: Target,
    /// The release that it ran; `None` = it ran nothing, or nothing that Shipmate knows.
    pub release: Option<Release>,
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

/// The place of an action in its plan, counted from 0 through all stages and lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionIndex(pub u32);

/// A part of the plan that must be over before the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name for people: `pull`, `web 1/2`.
    pub name: String,
    /// What runs side by side.
    pub lanes: Vec<Lane>,
    /// How many lanes may run at the same time.
    pub at_once: usize,
}

/// Actions that run one after the other.
pub type Lane = Vec<Action>;

/// What a deployment will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvironmentName,
    /// What was asked for.
    pub purpose: Purpose,
    /// The image's repository.
    pub image: Repository,
    /// The release that runs afterwards.
    pub release: Release,
    /// What each target ran before.
    pub before: Vec<Before>,
    /// What people should know before it runs, such as migrations that stay.
    pub warnings: Vec<String>,
    /// The stages.
    pub stages: Vec<Stage>,
    /// The roles that the actions name, as they were when the plan was made.
    pub roles: BTreeMap<RoleName, RoleSpec>,
    /// The hosts that the actions name.
    pub hosts: BTreeMap<HostName, HostSpec>,
}

impl Plan {
    /// All actions in order, with their places.
    pub fn actions(&self) -> impl Iterator<Item = (ActionIndex, &Action)> {
        (0..).map(ActionIndex).zip(self.stages.iter().flat_map(|stage| stage.lanes.iter().flatten()))
    }

    /// The action at a place.
    pub fn action(&self, index: ActionIndex) -> Option<&Action> {
        self.stages.iter().flat_map(|stage| stage.lanes.iter().flatten()).nth(index.0 as usize)
    }

    /// The image with its content, as an engine pulls it.
    pub fn image_reference(&self) -> String {
        format!("{}@{}", self.image, self.release.digest)
    }

    /// The hash of everything that the plan would do.
    pub fn hash(&self) -> PlanHash {
        // Plain data with string keys only: serialising it can't fail; an empty text would still be a valid input of the hash.
        let text = serde_json::to_vec(self).unwrap_or_default();
        PlanHash(hex::encode(Sha256::digest(&text)))
    }

    /// The release that most targets ran before; what "from" means to people.
    pub fn from(&self) -> Option<&Release> {
        let mut counts: Vec<(&Release, usize)> = Vec::new();
        for release in self.before.iter().filter_map(|before| before.release.as_ref()) {
            match counts.iter_mut().find(|(known, _)| *known == release) {
                Some((_, count)) => *count += 1,
                None => counts.push((release, 1)),
            }
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(release, _)| release)
    }
}

/// The SHA-256 of a plan, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(String);

impl PlanHash {
    /// The short code that people see: `7f3c91`.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(6)]
    }
}

/// The name of a container: readable in `docker ps`, and unique by the plan's `nonce`.
pub fn container_name(app: &AppName, environment: &EnvironmentName, part: &str, tag: &Tag, nonce: &str) -> String {
    format!("{app}-{environment}-{part}-{tag}-{nonce}")
}
