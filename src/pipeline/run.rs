//! The way forward: stage after stage, the lanes of a stage side by side, each action journalled before and after.
//!
//! While the disk of the journal is nearly full no action begins; it goes on by itself once there is space again.
//!
//! Whether the deployment still goes forward is the journal's to say: an action that may not begin any more, since another lane
//! failed or a person cancelled, is refused there. The token only wakes up what is waiting.

use std::time::Duration;

use futures_util::stream::{StreamExt, iter};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Pipeline, Steering};
use crate::domain::deployment::{DeploymentState, Event, Failure, FailureKind, Step};
use crate::domain::names::DeploymentId;
use crate::domain::plan::{Action, ActionIndex, Plan, Purpose};
use crate::store::LedgerError;

/// Runs what is left of the plan. Returns when the deployment succeeded, began to be undone, or was paused.
pub(super) async fn run(
    pipeline: &Pipeline,
    id: DeploymentId,
    state: DeploymentState,
    steering: &Steering,
) -> Result<(), LedgerError> {
    let mut places = (0..).map(ActionIndex);
    for stage in &state.plan.stages {
        let lanes: Vec<Vec<(ActionIndex, &Action)>> = stage.lanes.iter().map(|lane| places.by_ref().zip(lane).collect()).collect();
        // One failing lane stops the others, unless people are asked: then what runs comes to its end.
        let halt = steering.cancel.child_token();
        let breaks_off = state.plan.on_failure.is_undo();
        let runs: Vec<_> = lanes.into_iter().map(|lane| run_lane(pipeline, id, &state, lane, &halt, steering)).collect();
        let mut running = iter(runs).buffer_unordered(stage.at_once.max(1));
        let (mut whole, mut broken) = (true, None);
        // Also after a failure all lanes come to their end: nothing is left on its way when the undo begins.
        while let Some(end) = running.next().await {
            match end {
                Ok(LaneEnd::Done) => {}
                Ok(LaneEnd::Paused) => whole = false,
                Ok(LaneEnd::Stopped) => {
                    whole = false;
                    if breaks_off {
                        halt.cancel();
                    }
                }
                Err(error) => {
                    halt.cancel();
                    broken = Some(error);
                }
            }
        }
        match broken {
            Some(error) => return Err(error),
            None if !whole => return Ok(()),
            None => {}
        }
    }
    Ok(())
}

/// How often the disk is looked at while it has too little space.
const LOOK_FOR_SPACE_EVERY: Duration = Duration::from_secs(10);

enum LaneEnd {
    /// Each of its actions was done.
    Done,
    /// The bot stops; what was begun is done, the rest wasn't begun.
    Paused,
    /// An action failed, or was refused since the deployment is being undone.
    Stopped,
}

async fn run_lane(
    pipeline: &Pipeline,
    id: DeploymentId,
    before: &DeploymentState,
    lane: Vec<(ActionIndex, &Action)>,
    halt: &CancellationToken,
    steering: &Steering,
) -> Result<LaneEnd, LedgerError> {
    for (index, action) in lane {
        if before.is_skipped(index) {
            continue;
        }
        match before.steps.get(&index) {
            Some(Step::Done { .. } | Step::Failed { .. }) => continue,
            // A dead run began it and nobody knows how far it came: the same action again makes it so.
            Some(Step::Started { .. }) => {
                if let Space::Lacking = wait_for_space(pipeline, id, action, halt, steering).await {
                    return Ok(LaneEnd::Paused);
                }
                // Nobody wants it any more; the undo looks at what is there.
                if halt.is_cancelled() {
                    return Ok(LaneEnd::Stopped);
                }
            }
            Some(Step::Undoing { .. } | Step::Undone { .. } | Step::UndoFailed { .. }) | None => {
                wait_for_space(pipeline, id, action, halt, steering).await;
                if steering.pause.is_cancelled() {
                    return Ok(LaneEnd::Paused);
                }
                match pipeline.note(id, Event::ActionStarted { action: index }).await {
                    Ok(_) => {}
                    Err(LedgerError::Illegal(_)) => return Ok(LaneEnd::Stopped),
                    Err(error) => return Err(error),
                }
            }
        }
        if !apply(pipeline, id, &before.plan, index, action, halt).await? {
            return Ok(LaneEnd::Stopped);
        }
    }
    Ok(LaneEnd::Done)
}

/// How a wait for space ended.
enum Space {
    /// There is enough, or the deployment is stopped, and then it isn't asked for any more: putting back needs little.
    Enough,
    /// The bot stops and there still isn't.
    Lacking,
}

/// Waits while there is too little space to write down what comes of an action.
async fn wait_for_space(
    pipeline: &Pipeline,
    id: DeploymentId,
    action: &Action,
    halt: &CancellationToken,
    steering: &Steering,
) -> Space {
    let mut waited = false;
    while let Some(why) = pipeline.ledger.refuses_actions() {
        if !waited {
            tracing::warn!(deployment = id.0, next = %action, why, "waiting for space on the disk");
            waited = true;
        }
        tokio::select! {
            () = sleep(LOOK_FOR_SPACE_EVERY) => {}
            () = halt.cancelled() => return Space::Enough,
            () = steering.pause.cancelled() => return Space::Lacking,
        }
    }
    if waited {
        tracing::info!(deployment = id.0, next = %action, "there is space again; going on");
    }
    Space::Enough
}

/// Applies one action whose start is journalled, and journals how it ended. Whether the lane goes on.
async fn apply(
    pipeline: &Pipeline,
    id: DeploymentId,
    plan: &Plan,
    index: ActionIndex,
    action: &Action,
    halt: &CancellationToken,
) -> Result<bool, LedgerError> {
    let typed = matches!(plan.purpose, Purpose::Run { .. });
    let output = pipeline.outputs.of_apply(id, index, typed);
    let applied = pipeline.engine.apply(plan, action, &output);
    let result = if action.is_interruptible() {
        tokio::select! {
            biased;
            result = applied => result,
            () = halt.cancelled() => Err(Failure::new(FailureKind::Cancelled, format!("{action} was broken off"))),
        }
    } else {
        applied.await
    };
    let event = match result {
        Ok(outcome) => Event::ActionDone { action: index, outcome: output.complete(outcome, typed) },
        Err(failure) => Event::ActionFailed { action: index, failure: output.failed(failure) },
    };
    let goes_on = matches!(event, Event::ActionDone { .. }) || action.may_fail();
    if !goes_on {
        tracing::warn!(deployment = id.0, %action, "failed");
    }
    pipeline.note(id, event).await?;
    Ok(goes_on)
}
