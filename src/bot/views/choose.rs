//! How a deployment goes on after a failure, by a person's word.

use super::line;
use super::votes::ids;
use crate::chat::{Reply, Tone};
use crate::domain::deployment::{Choice, DeploymentState};
use crate::domain::names::{DeploymentId, PersonName};

/// Which deployment asks people.
pub fn which_asks(asking: &[DeploymentId]) -> Reply {
    let title = match asking {
        [] => "no deployment asks how it goes on".to_owned(),
        asking => format!("say which one: {}", ids(asking)),
    };
    line(Tone::Warning, title)
}

/// The host can't be left out.
pub fn cant_skip(id: DeploymentId, why: &str) -> Reply {
    line(Tone::Warning, format!("{id}: it can't go on without the host that failed: {why}"))
}

/// The deployment is in no state in which that could be chosen.
pub fn nothing_to_choose(id: DeploymentId, state: &DeploymentState) -> Reply {
    line(Tone::Warning, format!("{id} is {}, so this can't be chosen", state.phase.word()))
}

/// Another deployment mends it, or tries to.
pub fn taken_over(id: DeploymentId, by: DeploymentId) -> Reply {
    line(Tone::Warning, format!("{id}: {by} has taken its environment over; wait for that one"))
}

/// How it goes on.
pub fn chosen(id: DeploymentId, choice: Choice, by: &PersonName) -> Reply {
    let (tone, what) = match choice {
        Choice::Retry => (Tone::Busy, "tries again what failed"),
        Choice::Skip => (Tone::Busy, "goes on without the host that failed"),
        Choice::Undo => (Tone::Warning, "puts everything back"),
        Choice::Keep => (Tone::Warning, "is left as it is"),
    };
    line(tone, format!("{id} {what}, by {by}"))
}

/// A cancel of what hadn't started.
pub fn cancelled_waiting(id: DeploymentId, by: &PersonName) -> Reply {
    line(Tone::Warning, format!("{id}: cancelled by {by} before it started; nothing was touched"))
}
