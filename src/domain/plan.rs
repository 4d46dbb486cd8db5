//! The plan: what a deployment will do, as data, resolved before anything is touched.
//!
//! A plan is stages, one after the other; a stage is lanes, side by side; a lane is actions, one after the other. A
//! plan names everything that it touches (hosts, containers, digests) and carries the specs that it was made from, so it
//! means the same after a restart or a change of the fleet file, and its hash covers all that would happen. What its actions are
//! made of is in `action`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use super::action::{Action, Origin, TagFiles, Target};
use super::hashed::hashed;
use super::names::{AppName, Digest, EnvironmentName, HostName, Repository, RoleName, Tag};
use super::policy::{LockAfter, OnFailure};
use super::spec::{EnvironmentSpec, HostSpec, Millis, RoleSpec};
use super::step::{Aim, Step};

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

/// What a target ran when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The target.
    pub target: Target,
    /// The release that it ran; `None` = it ran nothing, or nothing that Shipmate knows.
    pub release: Option<Release>,
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
    /// What happens when an action fails.
    #[serde(default, skip_serializing_if = "OnFailure::is_undo")]
    pub on_failure: OnFailure,
    /// How long health is watched after it ended well; 0 = not at all.
    #[serde(default, skip_serializing_if = "Millis::is_zero")]
    pub bake: Millis,
    /// How it must end for the environment to be locked after it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lock_after: BTreeSet<LockAfter>,
    /// Makes the names of new containers unique. A plan that is made again for the same request has the same one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// What the plan was made from.
    #[serde(default, skip_serializing_if = "Revisions::is_empty")]
    pub revision: Revisions,
}

/// The hashes of what people wrote and a plan was made from: they tell whether the same request would be planned in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Revisions {
    /// The runbook's steps, and the release that it is about.
    pub runbook: String,
    /// The environment's part of the fleet file, but for its policy.
    pub fleet: String,
}

impl Revisions {
    /// The revisions of a runbook and an environment. They hold across restarts, and as long as these values keep their shape.
    pub fn of(spec: &EnvironmentSpec, aim: Aim, steps: &[Step]) -> Revisions {
        Revisions { runbook: hashed(&(aim, steps)), fleet: spec.revision() }
    }

    /// Whether none is known: the plan is from before there were any.
    fn is_empty(&self) -> bool {
        self.runbook.is_empty() && self.fleet.is_empty()
    }
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

    /// The hash of everything that the plan would do and of what it was made from. The warnings aren't part of it: they say in
    /// words what people should know, and one more of them changes nothing of what would happen. So two plans have the same hash
    /// just when [`Plan::changes`] finds nothing.
    pub fn hash(&self) -> PlanHash {
        PlanHash(hashed(&Plan { warnings: Vec::new(), ..self.clone() }))
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
