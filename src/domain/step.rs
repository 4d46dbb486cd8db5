//! The steps that a runbook is made of, and the release that it is about. A closed set: a runbook orders what the planner
//! knows, and can't say anything else.

use serde::{Deserialize, Serialize};

use super::names::TaskName;
use super::spec::Millis;

/// Which release a runbook brings to the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The tag that was typed, or the newest good build.
    Build,
    /// The last release that ended well before the one that runs.
    Previous,
    /// The one that runs.
    Current,
}

/// One step of a runbook; the planner makes actions of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Every host answers, has an engine and the space.
    Preflight {},
    /// Every host has the image.
    Pull {},
    /// The environment's tasks run, once each.
    Tasks {},
    /// One task of the environment runs, once.
    Task {
        /// Which.
        name: TaskName,
    },
    /// The targets go over to the release, role by role, in the order of the fleet file.
    Switch {},
    /// The targets stop and start what they run, in the same order.
    Restart {},
    /// The typed command runs once.
    Run {},
    /// TAG and REVERT are written.
    Record {},
    /// A pause.
    Wait {
        /// How long.
        span: Millis,
    },
    /// What nobody goes back to is removed.
    Prune {},
}
