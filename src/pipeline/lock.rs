//! The lock of an app's environment, as a value that only its owner can have.

use crate::domain::message::MessageRef;
use crate::domain::names::{DeploymentId, PersonName};
use crate::domain::plan::Plan;
use crate::store::{Ask, Granted, Ledger, LedgerError, RequestError, Way};

/// Proof that a deployment holds the lock of its app and environment. [`Pipeline::drive`](super::Pipeline::drive) demands it, so
/// nothing acts on hosts without one. The ledger is the lock's only truth: it ends when the deployment does.
#[derive(Debug)]
pub struct DeployLock {
    deployment: DeploymentId,
}

/// What became of a request.
#[derive(Debug)]
pub enum Asked {
    /// It has the lock.
    Started(DeployLock),
    /// It waits for votes or for its turn.
    Waits(DeploymentId),
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

    /// Records the request; takes the lock in the same write if nothing is in the way.
    ///
    /// # Errors
    /// When a person's lock is on the environment, or the ledger can't be written.
    pub async fn ask(ledger: &Ledger, ask: Ask, at: jiff::Timestamp) -> Result<Asked, RequestError> {
        Ok(match ledger.ask(ask, at).await? {
            Granted::Started(deployment) => Asked::Started(DeployLock { deployment }),
            Granted::Waits(deployment) => Asked::Waits(deployment),
        })
    }

    /// Takes the lock for a deployment that waits.
    ///
    /// # Errors
    /// When another deployment holds it, its votes don't suffice, or the ledger can't be written. Then it waits on.
    pub async fn start(
        ledger: &Ledger,
        deployment: DeploymentId,
        way: Way,
        at: jiff::Timestamp,
    ) -> Result<DeployLock, RequestError> {
        ledger.start(deployment, way, at).await?;
        Ok(DeployLock { deployment })
    }

    /// The lock of a deployment that was over and goes on by a person's word; `None` if it doesn't go on.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn taken_up(ledger: &Ledger, deployment: DeploymentId) -> Result<Option<DeployLock>, LedgerError> {
        let state = ledger.state(deployment)?;
        Ok(state.filter(|state| state.phase.is_under_way()).map(|_| DeployLock { deployment }))
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
