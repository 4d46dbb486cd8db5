//! The seam to the hosts: observe what runs, apply an action of a plan, undo it.
//!
//! Everything behind it is safe to repeat: `apply` and `undo` look first at what is there, and make it so. That is what
//! lets a run that was cut off at any moment simply be repeated.

pub mod rehearsal;
pub mod ssh;

use async_trait::async_trait;

use crate::domain::deployment::{Failure, Outcome};
use crate::domain::names::{Digest, Tag};
use crate::domain::observed::Observed;
use crate::domain::plan::{Action, Plan, Target};
use crate::domain::spec::EnvironmentSpec;

/// Where an engine puts what an action says while it runs. The engine has masked the secrets: some of them it alone knows.
pub trait Output: Send + Sync {
    /// A line that a task or command wrote.
    fn line(&self, line: &str);
    /// How far the action is, for the live message only: `pulled 8.0 of 16.0 MiB`.
    fn progress(&self, note: &str);
}

/// Why a tag could not be resolved to a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The registry answered that it has no such tag.
    #[error("the registry {registry} has no tag `{tag}` of {image}")]
    Unknown {
        /// The registry.
        registry: String,
        /// The image repository.
        image: String,
        /// The tag.
        tag: Tag,
    },
    /// No answer that decides it; says how to mend it.
    #[error("{0}")]
    Unavailable(String),
}

/// The hosts of the fleet, as something that can be looked at and acted on.
#[async_trait]
pub trait Engine: Send + Sync {
    /// What the environment's hosts really run, all asked side by side. A host that doesn't answer is in the result, with why.
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed;

    /// The digest that `tag` has in the registry now, as the environment's hosts see it.
    async fn resolve(&self, spec: &EnvironmentSpec, tag: &Tag) -> Result<Digest, ResolveError>;

    /// Makes the action true and returns when it is. Repeating it is harmless; dropping the future leaves it half done,
    /// which a later `apply` or `undo` mends.
    async fn apply(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<Outcome, Failure>;

    /// Puts back what the action did, whether it was done, half done or not begun.
    async fn undo(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<(), Failure>;

    /// The last `lines` lines that the target's running container wrote.
    async fn logs(&self, spec: &EnvironmentSpec, target: &Target, lines: usize) -> Result<Vec<String>, Failure>;

    /// Lets go of connections that nothing uses.
    async fn rest(&self);
}
