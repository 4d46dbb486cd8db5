//! The one function that moves a deployment. Long, since it is one exhaustive match: what isn't named can't happen.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::event::{Choice, Event};
use super::state::{Cause, DeploymentState, Phase, Rejection, Step, Vote};
use crate::domain::names::PersonName;
use crate::domain::plan::{Action, PlanHash};
use crate::domain::policy::OnFailure;

/// An event that can't happen in the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} can't happen while the deployment is {state}")]
pub struct IllegalTransition {
    state: String,
    event: String,
}

pub(super) fn illegal(state: &str, event: impl Into<String>) -> IllegalTransition {
    IllegalTransition { state: state.to_owned(), event: event.into() }
}

/// The state after `event`; `None` is the state before a deployment was asked for.
///
/// # Errors
/// When the event can't happen in this state; then nothing may be written or done.
pub fn next(state: Option<DeploymentState>, at: Timestamp, event: &Event) -> Result<DeploymentState, IllegalTransition> {
    match (state, event) {
        (None, Event::Requested { plan, by, order, waits, .. }) => {
            let mut state = DeploymentState {
                plan: (**plan).clone(),
                by: by.clone(),
                order: order.as_deref().cloned(),
                requested_at: at,
                started_at: (!waits).then_some(at),
                ended_at: None,
                votes: BTreeMap::new(),
                uncounted: BTreeMap::new(),
                rounds: 0,
                changed: Vec::new(),
                counted: Vec::new(),
                skipped: BTreeSet::new(),
                steps: BTreeMap::new(),
                order_of_start: Vec::new(),
                phase: if *waits { Phase::Queued } else { Phase::Running },
                mended_by: None,
                reviewed_by: None,
            };
            settle(&mut state, at);
            Ok(state)
        }
        (None, event) => Err(illegal("not requested", name(event))),
        (Some(mut state), event) => {
            advance(&mut state, at, event)?;
            settle(&mut state, at);
            Ok(state)
        }
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Requested { .. } => "a request".into(),
        Event::Replanned { .. } => "another plan".into(),
        Event::VotesAsked { .. } => "a call for votes".into(),
        Event::Approved { by, .. } => format!("the vote of {by}"),
        Event::NotCounted { account, .. } => format!("the vote of {account}, which doesn't count,"),
        Event::ApprovalWithdrawn { by } => format!("the end of the vote of {by}"),
        Event::VotedDown { by, .. } => format!("the no of {by}"),
        Event::VotesLost { .. } => "the loss of the votes".into(),
        Event::Expired {} => "the end of the time for votes".into(),
        Event::Superseded { by } => format!("its displacement by {by}"),
        Event::Refused { .. } => "a refusal".into(),
        Event::Started { .. } => "its start".into(),
        Event::ActionStarted { action } => format!("the start of action {}", action.0),
        Event::ActionDone { action, .. } => format!("the end of action {}", action.0),
        Event::ActionFailed { action, .. } => format!("the failure of action {}", action.0),
        Event::CancelAsked { .. } => "a cancel".into(),
        Event::Chosen { choice: Choice::Retry, .. } => "another try".into(),
        Event::Chosen { choice: Choice::Skip, .. } => "the skipping of a host".into(),
        Event::Chosen { choice: Choice::Undo, .. } => "the undo of everything".into(),
        Event::Chosen { choice: Choice::Keep, .. } => "leaving it as it is".into(),
        Event::UndoStarted { action } => format!("the start of the undo of action {}", action.0),
        Event::UndoDone { action } => format!("the end of the undo of action {}", action.0),
        Event::UndoFailed { action, .. } => format!("the failure of the undo of action {}", action.0),
        Event::Mended { .. } => "a mending".into(),
        Event::Reviewed { .. } => "a review".into(),
    }
}

/// Applies one event to the steps and the phase; says nothing yet of the phases that follow from the steps alone.
fn advance(state: &mut DeploymentState, at: Timestamp, event: &Event) -> Result<(), IllegalTransition> {
    let refused = illegal(state.phase.word(), name(event));
    match event {
        Event::ActionStarted { .. }
        | Event::ActionDone { .. }
        | Event::ActionFailed { .. }
        | Event::UndoStarted { .. }
        | Event::UndoDone { .. }
        | Event::UndoFailed { .. } => act(state, at, event, refused),
        Event::Replanned { .. }
        | Event::VotesAsked { .. }
        | Event::Approved { .. }
        | Event::NotCounted { .. }
        | Event::ApprovalWithdrawn { .. }
        | Event::VotedDown { .. }
        | Event::VotesLost { .. }
        | Event::Expired {}
        | Event::Superseded { .. }
        | Event::Refused { .. }
        | Event::Started { .. } => wait(state, at, event, refused),
        Event::Requested { .. }
        | Event::CancelAsked { .. }
        | Event::Chosen { .. }
        | Event::Mended { .. }
        | Event::Reviewed { .. } => decide(state, at, event, refused),
    }
}

/// Before the start: plans, votes, the turn.
fn wait(state: &mut DeploymentState, at: Timestamp, event: &Event, refused: IllegalTransition) -> Result<(), IllegalTransition> {
    match (&state.phase, event) {
        (Phase::Queued | Phase::AwaitingApproval(_), Event::Replanned { plan, changed }) => {
            state.plan = (**plan).clone();
            // What people haven't seen yet: all since they were last asked, if they ever were.
            if matches!(state.phase, Phase::AwaitingApproval(_)) {
                state.changed.clear();
            }
            if state.rounds > 0 {
                state.changed.extend(changed.iter().cloned());
            }
            state.votes.clear();
            state.uncounted.clear();
            state.phase = Phase::Queued;
        }
        // Whoever votes must see the plan that would run.
        (Phase::Queued, Event::VotesAsked { call }) if call.hash == state.plan.hash() => {
            state.votes.clear();
            state.rounds += 1;
            state.phase = Phase::AwaitingApproval(call.clone());
        }
        (Phase::AwaitingApproval(_), Event::Approved { by, account, found, message, plan })
            if !state.votes.contains_key(by) && is_of(plan.as_ref(), state) =>
        {
            let vote = Vote { account: account.clone(), found: *found, message: message.clone(), at };
            state.votes.insert(by.clone(), vote);
        }
        // Told once.
        (Phase::AwaitingApproval(_), Event::NotCounted { account, why, .. }) if state.uncounted.get(account) != Some(why) => {
            state.uncounted.insert(account.clone(), *why);
        }
        (Phase::AwaitingApproval(_), Event::ApprovalWithdrawn { by }) if state.votes.contains_key(by) => {
            state.votes.remove(by);
        }
        (Phase::AwaitingApproval(_), Event::VotedDown { by, plan, .. }) if is_of(plan.as_ref(), state) => {
            state.phase = Phase::Rejected(Rejection::Vote { by: by.clone() });
        }
        (Phase::AwaitingApproval(_), Event::VotesLost { .. }) => {
            state.votes.clear();
            state.uncounted.clear();
            state.changed.clear();
            state.phase = Phase::Queued;
        }
        (Phase::AwaitingApproval(_), Event::Expired {}) => state.phase = Phase::Expired,
        (Phase::Queued | Phase::AwaitingApproval(_), Event::Superseded { by }) => state.phase = Phase::Superseded { by: *by },
        (Phase::Queued | Phase::AwaitingApproval(_), Event::Refused { why }) => {
            state.phase = Phase::Rejected(Rejection::Refused { why: why.clone() });
        }
        (Phase::Queued, Event::Started { needed: 0, counted }) if counted.is_empty() => start(state, at, counted),
        (Phase::AwaitingApproval(call), Event::Started { needed, counted })
            if suffice(state, (*needed).max(call.votes), counted) && call.hash == state.plan.hash() =>
        {
            start(state, at, counted);
        }
        (
            Phase::Queued
            | Phase::AwaitingApproval(_)
            | Phase::Running
            | Phase::Holding { .. }
            | Phase::Undoing(_)
            | Phase::Succeeded
            | Phase::Undone(_)
            | Phase::Cancelled(_)
            | Phase::Stuck(_)
            | Phase::Kept { .. }
            | Phase::Rejected(_)
            | Phase::Expired
            | Phase::Superseded { .. },
            _,
        ) => return Err(refused),
    }
    if state.phase.is_final() {
        state.ended_at = Some(at);
    }
    Ok(())
}

/// Whether a vote is for the plan that people are asked about now.
fn is_of(plan: Option<&PlanHash>, state: &DeploymentState) -> bool {
    plan.is_none_or(|plan| *plan == state.plan.hash())
}

/// Whether the approvals that counted are enough: of so many people, each of whom approved this plan.
fn suffice(state: &DeploymentState, needed: u32, counted: &[PersonName]) -> bool {
    let people: BTreeSet<&PersonName> = counted.iter().collect();
    people.len() == counted.len()
        && people.len() >= needed as usize
        && people.iter().all(|person| state.votes.contains_key(*person))
}

fn start(state: &mut DeploymentState, at: Timestamp, counted: &[PersonName]) {
    state.counted = counted.to_vec();
    state.started_at = Some(at);
    state.phase = Phase::Running;
}

/// What people say about it once it started, or to stop it before.
fn decide(state: &mut DeploymentState, at: Timestamp, event: &Event, refused: IllegalTransition) -> Result<(), IllegalTransition> {
    match (&state.phase, event) {
        (Phase::Queued | Phase::AwaitingApproval(_), Event::CancelAsked { by }) => {
            state.phase = Phase::Cancelled(Cause::Cancelled { by: by.clone() });
            state.ended_at = Some(at);
        }
        (Phase::Running | Phase::Holding { .. }, Event::CancelAsked { by }) => {
            state.phase = Phase::Undoing(Cause::Cancelled { by: by.clone() });
        }
        (Phase::Holding { .. }, Event::Chosen { choice: Choice::Retry, by: Some(_) }) => again(state),
        (Phase::Holding { .. }, Event::Chosen { choice: Choice::Skip, by: Some(_) }) => {
            let hosts = state.may_skip().map_err(|_| refused)?;
            state.skipped.extend(hosts);
            state.phase = Phase::Running;
        }
        (Phase::Holding { cause, .. }, Event::Chosen { choice: Choice::Undo, .. }) => state.phase = Phase::Undoing(cause.clone()),
        (Phase::Holding { cause, .. }, Event::Chosen { choice: Choice::Keep, by: Some(by) })
            if state.in_flight().next().is_none() =>
        {
            state.phase = Phase::Kept { cause: cause.clone(), by: by.clone() };
            state.ended_at = Some(at);
        }
        // What a person stopped doesn't go forward again.
        (Phase::Stuck(Cause::Failed { .. }), Event::Chosen { choice: Choice::Retry, by: Some(_) }) if state.mended_by.is_none() => {
            // A host that could not be left out in order is no longer left out.
            state.skipped.clear();
            again(state);
        }
        (Phase::Stuck(cause), Event::Chosen { choice: Choice::Undo, by: Some(_) }) if state.mended_by.is_none() => {
            state.phase = Phase::Undoing(cause.clone());
            state.ended_at = None;
            for step in state.steps.values_mut().filter(|step| matches!(step, Step::UndoFailed { .. })) {
                *step = Step::Undoing { at };
            }
        }
        (Phase::Stuck(cause), Event::Chosen { choice: Choice::Keep, by: Some(by) }) if state.mended_by.is_none() => {
            state.phase = Phase::Kept { cause: cause.clone(), by: by.clone() };
        }
        (Phase::Stuck(_), Event::Mended { by }) if state.mended_by.is_none() => state.mended_by = Some(*by),
        (_, Event::Reviewed { by }) if state.phase.is_final() && state.emergency().is_some() && state.reviewed_by.is_none() => {
            state.reviewed_by = Some(by.clone());
        }
        (
            Phase::Queued
            | Phase::AwaitingApproval(_)
            | Phase::Running
            | Phase::Holding { .. }
            | Phase::Undoing(_)
            | Phase::Succeeded
            | Phase::Undone(_)
            | Phase::Cancelled(_)
            | Phase::Stuck(_)
            | Phase::Kept { .. }
            | Phase::Rejected(_)
            | Phase::Expired
            | Phase::Superseded { .. },
            _,
        ) => return Err(refused),
    }
    Ok(())
}

/// Goes forward again: what failed, and what was put back since, is to be done anew. Actions are safe to repeat.
fn again(state: &mut DeploymentState) {
    let plan = &state.plan;
    state.steps.retain(|index, step| match step {
        Step::Started { .. } | Step::Done { .. } => true,
        Step::Failed { .. } => plan.action(*index).is_some_and(Action::may_fail),
        Step::Undoing { .. } | Step::Undone { .. } | Step::UndoFailed { .. } => false,
    });
    state.ended_at = None;
    state.phase = Phase::Running;
}

/// What an action or its undo comes to.
fn act(state: &mut DeploymentState, at: Timestamp, event: &Event, refused: IllegalTransition) -> Result<(), IllegalTransition> {
    let (Event::ActionStarted { action: index }
    | Event::ActionDone { action: index, .. }
    | Event::ActionFailed { action: index, .. }
    | Event::UndoStarted { action: index }
    | Event::UndoDone { action: index }
    | Event::UndoFailed { action: index, .. }) = event
    else {
        return Err(refused);
    };
    let index = *index;
    let Some(action) = state.plan.action(index) else {
        return Err(refused);
    };
    let (may_fail, has_undo, skipped) = (action.may_fail(), action.has_undo(), state.is_skipped(index));
    let step = state.steps.get(&index).cloned();
    // Nothing is undone while something is on its way; on a host that is left out, while nothing is on its way there.
    let quiet = state.in_flight().all(|other| matches!(state.phase, Phase::Running) && !state.is_skipped(other));
    let undoes = matches!(state.phase, Phase::Undoing(_)) || (matches!(state.phase, Phase::Running) && skipped);
    match (&state.phase, event, step) {
        (Phase::Running, Event::ActionStarted { .. }, None) if !skipped => {
            if !state.order_of_start.contains(&index) {
                state.order_of_start.push(index);
            }
            state.steps.insert(index, Step::Started { at });
        }
        (
            Phase::Running | Phase::Holding { .. } | Phase::Undoing(_),
            Event::ActionDone { outcome, .. },
            Some(Step::Started { at: started }),
        ) => {
            state.steps.insert(index, Step::Done { started, at, outcome: outcome.clone() });
        }
        (
            phase @ (Phase::Running | Phase::Holding { .. } | Phase::Undoing(_)),
            Event::ActionFailed { failure, .. },
            Some(Step::Started { at: started }),
        ) => {
            if matches!(phase, Phase::Running) && !may_fail && !skipped {
                let cause = Cause::Failed { action: index, failure: failure.clone() };
                state.phase = match state.plan.on_failure {
                    OnFailure::Undo => Phase::Undoing(cause),
                    OnFailure::Hold { span, .. } => Phase::Holding { cause, until: span.after(at) },
                };
            }
            state.steps.insert(index, Step::Failed { started, at, failure: failure.clone() });
        }
        (_, Event::UndoStarted { .. }, Some(Step::Done { .. } | Step::Failed { .. })) if undoes && quiet && has_undo => {
            state.steps.insert(index, Step::Undoing { at });
        }
        (_, Event::UndoDone { .. }, Some(Step::Undoing { .. })) if undoes => {
            state.steps.insert(index, Step::Undone { at });
        }
        (phase, Event::UndoFailed { failure, .. }, Some(Step::Undoing { .. })) if undoes => {
            // A host that can't be left out in order: then everything goes back. One that is gone is left out as it is.
            if matches!(phase, Phase::Running) && !failure.kind.is_absence() {
                state.phase = Phase::Undoing(Cause::Failed { action: index, failure: failure.clone() });
            }
            state.steps.insert(index, Step::UndoFailed { at, failure: failure.clone() });
        }
        (
            Phase::Queued
            | Phase::AwaitingApproval(_)
            | Phase::Running
            | Phase::Holding { .. }
            | Phase::Undoing(_)
            | Phase::Succeeded
            | Phase::Undone(_)
            | Phase::Cancelled(_)
            | Phase::Stuck(_)
            | Phase::Kept { .. }
            | Phase::Rejected(_)
            | Phase::Expired
            | Phase::Superseded { .. },
            _,
            _,
        ) => return Err(refused),
    }
    Ok(())
}

/// Moves to the final phase when the steps say that nothing is left.
fn settle(state: &mut DeploymentState, at: Timestamp) {
    let phase = match &state.phase {
        Phase::Running => {
            let over = |index, action: &Action| match state.steps.get(&index) {
                Some(Step::Done { .. } | Step::Failed { .. }) => !(state.is_skipped(index) && action.has_undo()),
                Some(Step::Undone { .. }) | None => state.is_skipped(index),
                Some(Step::UndoFailed { failure, .. }) => state.is_skipped(index) && failure.kind.is_absence(),
                Some(Step::Started { .. } | Step::Undoing { .. }) => false,
            };
            state.plan.actions().all(|(index, action)| over(index, action)).then_some(Phase::Succeeded)
        }
        Phase::Undoing(cause) if state.in_flight().next().is_none() && state.to_undo().is_empty() => {
            let stuck = state.steps.values().any(|step| matches!(step, Step::UndoFailed { .. }));
            Some(match cause {
                cause if stuck => Phase::Stuck(cause.clone()),
                Cause::Failed { .. } => Phase::Undone(cause.clone()),
                Cause::Cancelled { .. } => Phase::Cancelled(cause.clone()),
            })
        }
        Phase::Queued
        | Phase::AwaitingApproval(_)
        | Phase::Holding { .. }
        | Phase::Undoing(_)
        | Phase::Succeeded
        | Phase::Undone(_)
        | Phase::Cancelled(_)
        | Phase::Stuck(_)
        | Phase::Kept { .. }
        | Phase::Rejected(_)
        | Phase::Expired
        | Phase::Superseded { .. } => None,
    };
    if let Some(phase) = phase {
        state.phase = phase;
        state.ended_at = Some(at);
    }
}
