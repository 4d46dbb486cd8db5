//! The lock that a person, or the policy, puts on an environment, so that nothing is deployed there.
//!
//! It is another thing than the hold that a deployment has on its environment while it runs: that one ends by itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{DeploymentId, PersonName};

/// Nothing may be deployed in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentLock {
    /// Who put it on.
    pub by: Locker,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` = until somebody takes it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether people were told that it ends soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reminded: bool,
}

/// Who put a lock on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locker {
    /// A person.
    Person(PersonName),
    /// The policy, after this deployment.
    Policy(DeploymentId),
}

impl EnvironmentLock {
    /// Whether it still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Why a lock isn't there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlocked {
    /// A person took it off.
    By(PersonName),
    /// Its time was over.
    Ended,
}
