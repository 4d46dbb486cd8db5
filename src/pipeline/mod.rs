//! The pipeline: carries a deployment from where its journal says it is to its end.
//!
//! There is one way in, [`Pipeline::drive`], for a deployment that was just asked for and for one that a dead run left
//! behind: both read the state from the ledger, do the next thing, and write down what came of it. So recovery is not a
//! second program that only runs on bad nights.

mod bake;
mod hold;
mod lock;
mod output;
mod run;
mod unwind;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use lock::{Asked, DeployLock};
pub use output::{Note, Notes, Outputs};

use crate::clock::Clock;
use crate::domain::deployment::{DeploymentState, Event, Phase};
use crate::domain::names::DeploymentId;
use crate::engine::Engine;
use crate::secret::Redactor;
use crate::store::{Ledger, LedgerError};

/// How a drive is steered from outside.
#[derive(Clone, Default)]
pub struct Steering {
    /// A person cancelled: what can be interrupted is, and everything is put back.
    pub cancel: CancellationToken,
    /// The bot stops: the running actions come to their end, and the rest is left for the next start.
    pub pause: CancellationToken,
}

/// Carries deployments out. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    ledger: Ledger,
    engine: Arc<dyn Engine>,
    outputs: Outputs,
    clock: Clock,
}

/// Where a drive ended.
#[derive(Debug)]
pub enum Driven {
    /// The deployment came to a final phase.
    Ended(Box<DeploymentState>),
    /// The bot stops; the next start goes on.
    Paused,
}

impl Pipeline {
    /// A pipeline that writes output files below `outputs`.
    pub fn new(ledger: Ledger, engine: Arc<dyn Engine>, outputs: PathBuf, redactor: Redactor, clock: Clock) -> Self {
        Pipeline { ledger, engine, outputs: Outputs::new(outputs, redactor), clock }
    }

    /// What runs now and what has been written, for the live message and `!show`.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Goes on with the deployment until it ends.
    ///
    /// # Errors
    /// When the ledger can't be written any more: then nothing further is done, and the next start goes on from here.
    pub async fn drive(&self, lock: DeployLock, steering: &Steering) -> Result<Driven, LedgerError> {
        let id = lock.deployment();
        loop {
            let state = self.state(id)?;
            if state.phase.is_final() {
                self.outputs.forget(id);
                self.engine.rest().await;
                return Ok(Driven::Ended(Box::new(state)));
            }
            if steering.pause.is_cancelled() || state.phase.waits() {
                return Ok(Driven::Paused);
            }
            match &state.phase {
                Phase::Running if !state.to_leave().is_empty() => unwind::leave(self, id, state, steering).await?,
                Phase::Running => run::run(self, id, state, steering).await?,
                Phase::Holding { until, .. } => hold::hold(self, id, *until, steering).await?,
                Phase::Undoing(_) => unwind::unwind(self, id, state, steering).await?,
                Phase::Queued
                | Phase::AwaitingApproval(_)
                | Phase::Succeeded
                | Phase::Undone(_)
                | Phase::Cancelled(_)
                | Phase::Stuck(_)
                | Phase::Kept { .. }
                | Phase::Rejected(_)
                | Phase::Expired
                | Phase::Superseded { .. } => {}
            }
        }
    }

    fn state(&self, id: DeploymentId) -> Result<DeploymentState, LedgerError> {
        self.ledger.state(id)?.ok_or(LedgerError::NoSuchDeployment(id))
    }

    async fn note(&self, id: DeploymentId, event: Event) -> Result<DeploymentState, LedgerError> {
        self.ledger.deployment(id, event, self.clock.now()).await
    }
}
