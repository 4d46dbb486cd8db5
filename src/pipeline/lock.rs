//! The lock of an app's environment, as a value that only its owner can have.

use crate::domain::message::MessageRef;
use crate::domain::names::{DeploymentId, PersonName};
use crate::domain::plan::Plan;
use crate::store::{Ledger, LedgerError, RequestError};

/// Proof that a deployment holds the lock of its app and environment. [`Pipeline::drive`](super::Pipeline::drive) demands it, so
/// nothing acts on hosts without one. The ledger is the lock's only truth: it ends when the deployment does.
#[derive(Debug)]
pub struct DeployLock {
    deployment: DeploymentId,
}

impl DeployLock {
    /// Records the request and takes the lock, both in one write.
    ///
    /// # Errors
    /// When another deployment holds it, or the ledger can't be written.
    pub async fn request(
        ledger: &Ledger,
        plan: Plan,
        by: PersonName,
        cause: Option<MessageRef>,
        at: jiff::Timestamp,
    ) -> Result<DeployLock, RequestError> {
        let deployment = ledger.request(plan, by, cause, at).await?;
        Ok(DeployLock { deployment })
    }

    /// The locks of the deployments that an earlier run of the bot left unfinished.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn left_behind(ledger: &Ledger) -> Result<Vec<DeployLock>, LedgerError> {
        Ok(ledger.open_deployments()?.into_iter().map(|deployment| DeployLock { deployment }).collect())
    }

    /// The deployment that holds it.
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }
}
