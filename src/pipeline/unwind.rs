//! The way back: what was done is undone in reverse, stage by stage, on the touched hosts only.
//!
//! An undo that fails doesn't stop the others: each host that can be put back is. But its own lane is left as it is from there on,
//! since undoing the rest of it (say: starting the old one beside a new one that couldn't be stopped) could make it worse.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{Pipeline, Steering};
use crate::domain::deployment::{DeploymentState, Event, Failure, FailureKind, Step};
use crate::domain::names::{DeploymentId, HostName};
use crate::domain::plan::{Action, ActionIndex};
use crate::store::LedgerError;

/// Undoes what is left to undo. Returns when the deployment came to its end or was paused.
pub(super) async fn unwind(
    pipeline: &Pipeline,
    id: DeploymentId,
    state: DeploymentState,
    steering: &Steering,
) -> Result<(), LedgerError> {
    let started = state.in_flight().collect();
    let state = settle_started(pipeline, id, state, started).await?;
    let to_undo = state.to_undo();
    undo(pipeline, id, &state, to_undo, steering).await
}

/// Undoes what was done on hosts that the deployment goes on without. Returns when it can go on, when all is to be undone since
/// that failed, or when it was paused.
pub(super) async fn leave(
    pipeline: &Pipeline,
    id: DeploymentId,
    state: DeploymentState,
    steering: &Steering,
) -> Result<(), LedgerError> {
    let started = state.in_flight().filter(|index| state.is_skipped(*index)).collect();
    let state = settle_started(pipeline, id, state, started).await?;
    let to_leave = state.to_leave();
    undo(pipeline, id, &state, to_leave, steering).await
}

async fn undo(
    pipeline: &Pipeline,
    id: DeploymentId,
    state: &DeploymentState,
    actions: Vec<ActionIndex>,
    steering: &Steering,
) -> Result<(), LedgerError> {
    let actions: BTreeSet<ActionIndex> = actions.into_iter().collect();
    let mut lost: BTreeSet<HostName> = failed_undos(state).filter_map(|(_, action, failure)| lost_host(action, failure)).collect();
    for lanes in stages_backwards(state, &actions) {
        let undone = lanes.iter().map(|lane| undo_lane(pipeline, id, state, lane, lost.clone(), steering));
        for result in join_all(undone).await {
            lost.extend(result?);
        }
        if steering.pause.is_cancelled() {
            return Ok(());
        }
    }
    Ok(())
}

/// An action that a dead run began and that has no result: the undo looks at what is there anyway, so "cut off" is all
/// that must be known of it.
pub(super) async fn settle_started(
    pipeline: &Pipeline,
    id: DeploymentId,
    mut state: DeploymentState,
    started: Vec<ActionIndex>,
) -> Result<DeploymentState, LedgerError> {
    for action in started {
        let failure = Failure::new(FailureKind::Lost, "it was cut off, so nobody knows how far it came");
        state = pipeline.note(id, Event::ActionFailed { action, failure }).await?;
    }
    Ok(state)
}

fn failed_undos(state: &DeploymentState) -> impl Iterator<Item = (ActionIndex, &Action, &Failure)> {
    state.steps.iter().filter_map(|(index, step)| match step {
        Step::UndoFailed { failure, .. } => Some((*index, state.plan.action(*index)?, failure)),
        Step::Started { .. } | Step::Done { .. } | Step::Failed { .. } | Step::Undoing { .. } | Step::Undone { .. } => None,
    })
}

/// The host that nothing more is tried on, since it can't be reached. A balancer's command runs elsewhere and says nothing of
/// the host.
fn lost_host(action: &Action, failure: &Failure) -> Option<HostName> {
    let at_host = !matches!(action, Action::Join { .. } | Action::Leave { .. });
    let lost = matches!(failure.kind, FailureKind::Unreachable | FailureKind::Lost);
    action.host().filter(|_| at_host && lost).cloned()
}

/// What is left to undo of one lane, its last action first.
struct LaneBack<'a> {
    actions: Vec<(ActionIndex, &'a Action)>,
    /// An undo in it failed before a restart.
    given_up: bool,
}

/// What must be undone: the last stage first; in it the lanes side by side.
fn stages_backwards<'a>(state: &'a DeploymentState, to_undo: &BTreeSet<ActionIndex>) -> Vec<Vec<LaneBack<'a>>> {
    let failed: BTreeSet<ActionIndex> = failed_undos(state).map(|(index, _, _)| index).collect();
    let mut places = (0..).map(ActionIndex);
    let mut stages: Vec<Vec<LaneBack<'a>>> = Vec::new();
    for stage in &state.plan.stages {
        let lanes = stage.lanes.iter().map(|lane| {
            let here: Vec<_> = places.by_ref().zip(lane).collect();
            let given_up = here.iter().any(|(index, _)| failed.contains(index));
            let actions = here.into_iter().rev().filter(|(index, _)| to_undo.contains(index)).collect();
            LaneBack { actions, given_up }
        });
        stages.push(lanes.collect());
    }
    stages.reverse();
    stages
}

/// Undoes one lane, and tells which hosts turned out to be lost.
async fn undo_lane(
    pipeline: &Pipeline,
    id: DeploymentId,
    state: &DeploymentState,
    lane: &LaneBack<'_>,
    mut lost: BTreeSet<HostName>,
    steering: &Steering,
) -> Result<BTreeSet<HostName>, LedgerError> {
    let mut given_up = lane.given_up;
    for (index, action) in &lane.actions {
        let (index, action) = (*index, *action);
        if steering.pause.is_cancelled() {
            break;
        }
        if !matches!(state.steps.get(&index), Some(Step::Undoing { .. })) {
            match pipeline.note(id, Event::UndoStarted { action: index }).await {
                Ok(_) => {}
                // Leaving a host out turned into undoing everything.
                Err(LedgerError::Illegal(_)) => break,
                Err(error) => return Err(error),
            }
        }
        let result = if given_up || action.host().is_some_and(|host| lost.contains(host)) {
            Err(Failure::new(FailureKind::Skipped, "not tried, since an earlier undo there failed"))
        } else {
            let output = pipeline.outputs.of_undo(id, index);
            pipeline.engine.undo(&state.plan, action, &output).await.map_err(|failure| output.failed(failure))
        };
        let event = match result {
            Ok(()) => Event::UndoDone { action: index },
            Err(failure) => {
                tracing::error!(deployment = id.0, %action, why = failure.message, "the undo failed");
                given_up = true;
                lost.extend(lost_host(action, &failure));
                Event::UndoFailed { action: index, failure }
            }
        };
        let after = pipeline.note(id, event).await?;
        // Leaving a host out turned into undoing everything, or it is over.
        if std::mem::discriminant(&after.phase) != std::mem::discriminant(&state.phase) {
            break;
        }
    }
    Ok(lost)
}
