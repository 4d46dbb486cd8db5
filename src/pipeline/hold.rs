//! The wait for a person's word after a failure. It is over when somebody chose, or with its time: then all is put back.

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::unwind::settle_started;
use super::{Pipeline, Steering};
use crate::domain::deployment::{Choice, Event, Phase};
use crate::domain::names::DeploymentId;
use crate::store::LedgerError;

/// Waits until the deployment goes on in some way, or is paused.
pub(super) async fn hold(pipeline: &Pipeline, id: DeploymentId, until: Timestamp, steering: &Steering) -> Result<(), LedgerError> {
    let mut facts = pipeline.ledger.subscribe();
    // What is on its way now was begun by a dead run: nobody will tell how it ended.
    let state = pipeline.state(id)?;
    let started = state.in_flight().collect();
    settle_started(pipeline, id, state, started).await?;
    let left = until.duration_since(pipeline.clock.now());
    let end = Instant::now() + std::time::Duration::try_from(left).unwrap_or_default();
    loop {
        facts.borrow_and_update();
        if !matches!(pipeline.state(id)?.phase, Phase::Holding { .. }) {
            return Ok(());
        }
        tokio::select! {
            () = steering.pause.cancelled() => return Ok(()),
            () = sleep_until(end) => break,
            changed = facts.changed() => match changed {
                Ok(()) if pipeline.clock.now() >= until => break,
                Ok(()) => {}
                Err(_) => return Ok(()),
            },
        }
    }
    match pipeline.note(id, Event::Chosen { choice: Choice::Undo, by: None }).await {
        // Somebody chose in this moment.
        Ok(_) | Err(LedgerError::Illegal(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
