//! A deployment: its events, its state, and the one function that moves it.
//!
//! The state is never stored as truth: it is what [`next`] makes of the events, for the live run, for recovery and for
//! `!show` alike. An undo that fails is a state of its own (`Stuck`), not a log line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::message::MessageRef;
use super::names::PersonName;
use super::plan::{Action, ActionIndex, Plan};
use super::spec::Millis;

/// Why an action, or the undo of one, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which of the distinct ways to fail it was.
    pub kind: FailureKind,
    /// What happened and how to mend it, for people; free of secrets.
    pub message: String,
    /// The last lines of output, oldest first; free of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// The SHA-256 of the output that it wrote, if it wrote any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
}

impl Failure {
    /// A failure without output.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), output: Vec::new(), output_hash: None }
    }

    /// The same with the last lines of output.
    pub fn with_output(self, output: Vec<String>) -> Failure {
        Failure { output, ..self }
    }
}

/// The distinct ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FailureKind {
    /// A process ended with this exit status, not 0.
    Exit {
        /// The status.
        status: i64,
    },
    /// A process was killed by a signal.
    Signal {
        /// Its number, where known.
        signal: Option<i64>,
    },
    /// The connection broke, so how it ended is unknown.
    Lost,
    /// The host could not be reached.
    Unreachable,
    /// A deadline passed.
    Timeout,
    /// The health check said no until its deadline.
    Unhealthy,
    /// The host has too little space.
    DiskFull,
    /// Something that must be there isn't: an image, a container, a file.
    Missing,
    /// The engine, the registry or a command refused.
    Refused,
    /// Not tried, since an earlier undo on the same host failed.
    Skipped,
    /// Given up since a person cancelled.
    Cancelled,
}

/// What an action left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What people may want to know: `already there`, `16.0 MiB`, `healthy after 1.1 s (200)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The SHA-256 of the output that it wrote, if it wrote any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
    /// The last lines of output, where people asked for them by a command; free of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// Something that happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Asked for, planned, and granted the lock of its app and environment.
    Requested {
        /// What it will do.
        plan: Box<Plan>,
        /// Who asked.
        by: PersonName,
        /// The chat message that asked, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<MessageRef>,
    },
    /// An action is about to act.
    ActionStarted {
        /// Which.
        action: ActionIndex,
    },
    /// An action acted.
    ActionDone {
        /// Which.
        action: ActionIndex,
        /// What it left behind.
        outcome: Outcome,
    },
    /// An action failed.
    ActionFailed {
        /// Which.
        action: ActionIndex,
        /// Why.
        failure: Failure,
    },
    /// A person asked to stop and put everything back.
    CancelAsked {
        /// Who.
        by: PersonName,
    },
    /// The undo of an action is about to act.
    UndoStarted {
        /// Which.
        action: ActionIndex,
    },
    /// An action is undone.
    UndoDone {
        /// Which.
        action: ActionIndex,
    },
    /// The undo of an action failed.
    UndoFailed {
        /// Which.
        action: ActionIndex,
        /// Why.
        failure: Failure,
    },
    /// A later deployment brought the app to order after this one was stuck.
    Mended {
        /// Which.
        by: super::names::DeploymentId,
    },
}

/// How far one action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its intent is recorded, its result isn't.
    Started {
        /// Since when.
        at: Timestamp,
    },
    /// It acted.
    Done {
        /// When it started.
        started: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// What it left behind.
        outcome: Outcome,
    },
    /// It failed.
    Failed {
        /// When it started.
        started: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// Its undo's intent is recorded, the undo's result isn't.
    Undoing {
        /// Since when.
        at: Timestamp,
    },
    /// It is undone.
    Undone {
        /// When.
        at: Timestamp,
    },
    /// Its undo failed.
    UndoFailed {
        /// When.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
}

/// Why a deployment is being, or was, put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An action failed.
    Failed {
        /// Which.
        action: ActionIndex,
        /// Why.
        failure: Failure,
    },
    /// A person cancelled.
    Cancelled {
        /// Who.
        by: PersonName,
    },
}

/// Where a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Its actions run.
    Running,
    /// What it did is being put back.
    Undoing(Cause),
    /// Everything was done. Final.
    Succeeded,
    /// An action failed, and all is as it was before. Final.
    Undone(Cause),
    /// A person stopped it, and all is as it was before. Final.
    Cancelled(Cause),
    /// An undo failed; the app stays locked until a person mends it by another deployment. Final but for that.
    Stuck(Cause),
}

impl Phase {
    /// Whether nothing more happens by itself.
    pub fn is_final(&self) -> bool {
        match self {
            Phase::Running | Phase::Undoing(_) => false,
            Phase::Succeeded | Phase::Undone(_) | Phase::Cancelled(_) | Phase::Stuck(_) => true,
        }
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Running => "running",
            Phase::Undoing(_) => "undoing",
            Phase::Succeeded => "succeeded",
            Phase::Undone(_) => "undone",
            Phase::Cancelled(_) => "cancelled",
            Phase::Stuck(_) => "stuck",
        }
    }

    /// Why it is being, or was, put back.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Phase::Running | Phase::Succeeded => None,
            Phase::Undoing(cause) | Phase::Undone(cause) | Phase::Cancelled(cause) | Phase::Stuck(cause) => Some(cause),
        }
    }
}

/// A deployment's state: the plan, where each of its actions is, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentState {
    /// What it does.
    pub plan: Plan,
    /// Who asked.
    pub by: PersonName,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it came to its final phase.
    pub ended_at: Option<Timestamp>,
    /// The actions that were ever started.
    pub steps: BTreeMap<ActionIndex, Step>,
    /// The order in which actions were first started; the undo goes through it backwards.
    pub order: Vec<ActionIndex>,
    /// Where it is.
    pub phase: Phase,
    /// The deployment that mended it, if it was stuck.
    pub mended_by: Option<super::names::DeploymentId>,
}

/// An event that can't happen in the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} can't happen while the deployment is {state}")]
pub struct IllegalTransition {
    state: String,
    event: String,
}

impl DeploymentState {
    /// The state that all of `events` lead to, from the first, which must be `Requested`.
    pub fn replay<'a>(events: impl IntoIterator<Item = (Timestamp, &'a Event)>) -> Result<DeploymentState, IllegalTransition> {
        let mut state = None;
        for (at, event) in events {
            state = Some(next(state, at, event)?);
        }
        state.ok_or_else(|| illegal("not requested", "nothing"))
    }

    /// The actions that have an intent and no result.
    pub fn in_flight(&self) -> impl Iterator<Item = ActionIndex> {
        self.steps.iter().filter(|(_, step)| matches!(step, Step::Started { .. })).map(|(index, _)| *index)
    }

    /// The undos that have an intent and no result.
    pub fn undo_in_flight(&self) -> impl Iterator<Item = ActionIndex> {
        self.steps.iter().filter(|(_, step)| matches!(step, Step::Undoing { .. })).map(|(index, _)| *index)
    }

    /// What must still be undone, the last started first.
    pub fn to_undo(&self) -> Vec<ActionIndex> {
        let open = |index: &&ActionIndex| {
            let undoable = self.plan.action(**index).is_some_and(Action::has_undo);
            undoable && matches!(self.steps.get(index), Some(Step::Done { .. } | Step::Failed { .. } | Step::Undoing { .. }))
        };
        self.order.iter().rev().filter(open).copied().collect()
    }

    /// How long it took, or has taken by `now`.
    pub fn elapsed(&self, now: Timestamp) -> Millis {
        let end = self.ended_at.unwrap_or(now);
        Millis(u64::try_from(end.duration_since(self.requested_at).as_millis()).unwrap_or(0))
    }

    /// The irreversible tasks that were started, whatever came of them.
    pub fn irreversible_tasks(&self) -> impl Iterator<Item = &Action> {
        self.steps
            .keys()
            .filter_map(|index| self.plan.action(*index))
            .filter(|action| matches!(action, Action::Task { irreversible: true, .. }))
    }
}

fn illegal(state: &str, event: impl Into<String>) -> IllegalTransition {
    IllegalTransition { state: state.to_owned(), event: event.into() }
}

/// The state after `event`; `None` is the state before a deployment was asked for.
///
/// # Errors
/// When the event can't happen in this state; then nothing may be written or done.
pub fn next(state: Option<DeploymentState>, at: Timestamp, event: &Event) -> Result<DeploymentState, IllegalTransition> {
    match (state, event) {
        (None, Event::Requested { plan, by, .. }) => {
            let mut state = DeploymentState {
                plan: (**plan).clone(),
                by: by.clone(),
                requested_at: at,
                ended_at: None,
                steps: BTreeMap::new(),
                order: Vec::new(),
                phase: Phase::Running,
                mended_by: None,
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
        Event::ActionStarted { action } => format!("the start of action {}", action.0),
        Event::ActionDone { action, .. } => format!("the end of action {}", action.0),
        Event::ActionFailed { action, .. } => format!("the failure of action {}", action.0),
        Event::CancelAsked { .. } => "a cancel".into(),
        Event::UndoStarted { action } => format!("the start of the undo of action {}", action.0),
        Event::UndoDone { action } => format!("the end of the undo of action {}", action.0),
        Event::UndoFailed { action, .. } => format!("the failure of the undo of action {}", action.0),
        Event::Mended { .. } => "a mending".into(),
    }
}

/// Applies one event to the steps and the phase; says nothing yet of the phases that follow from the steps alone.
fn advance(state: &mut DeploymentState, at: Timestamp, event: &Event) -> Result<(), IllegalTransition> {
    let refused = illegal(state.phase.word(), name(event));
    let index = match event {
        Event::ActionStarted { action }
        | Event::ActionDone { action, .. }
        | Event::ActionFailed { action, .. }
        | Event::UndoStarted { action }
        | Event::UndoDone { action }
        | Event::UndoFailed { action, .. } => Some(*action),
        Event::Requested { .. } | Event::CancelAsked { .. } | Event::Mended { .. } => None,
    };
    let (may_fail, has_undo) = match index.map(|index| state.plan.action(index)) {
        None => (false, false),
        Some(None) => return Err(refused),
        Some(Some(action)) => (action.may_fail(), action.has_undo()),
    };
    let step = index.and_then(|index| state.steps.get(&index).cloned());
    let quiet = state.in_flight().next().is_none();
    match (&state.phase, event, step) {
        (Phase::Running, Event::ActionStarted { action }, None) => {
            state.order.push(*action);
            state.steps.insert(*action, Step::Started { at });
        }
        (Phase::Running | Phase::Undoing(_), Event::ActionDone { action, outcome }, Some(Step::Started { at: started })) => {
            state.steps.insert(*action, Step::Done { started, at, outcome: outcome.clone() });
        }
        (
            phase @ (Phase::Running | Phase::Undoing(_)),
            Event::ActionFailed { action, failure },
            Some(Step::Started { at: started }),
        ) => {
            if matches!(phase, Phase::Running) && !may_fail {
                state.phase = Phase::Undoing(Cause::Failed { action: *action, failure: failure.clone() });
            }
            state.steps.insert(*action, Step::Failed { started, at, failure: failure.clone() });
        }
        (Phase::Running, Event::CancelAsked { by }, None) => state.phase = Phase::Undoing(Cause::Cancelled { by: by.clone() }),
        (Phase::Undoing(_), Event::UndoStarted { action }, Some(Step::Done { .. } | Step::Failed { .. })) if quiet && has_undo => {
            state.steps.insert(*action, Step::Undoing { at });
        }
        (Phase::Undoing(_), Event::UndoDone { action }, Some(Step::Undoing { .. })) => {
            state.steps.insert(*action, Step::Undone { at });
        }
        (Phase::Undoing(_), Event::UndoFailed { action, failure }, Some(Step::Undoing { .. })) => {
            state.steps.insert(*action, Step::UndoFailed { at, failure: failure.clone() });
        }
        (Phase::Stuck(_), Event::Mended { by }, None) if state.mended_by.is_none() => state.mended_by = Some(*by),
        (
            Phase::Running | Phase::Undoing(_) | Phase::Succeeded | Phase::Undone(_) | Phase::Cancelled(_) | Phase::Stuck(_),
            Event::Requested { .. }
            | Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::ActionFailed { .. }
            | Event::CancelAsked { .. }
            | Event::UndoStarted { .. }
            | Event::UndoDone { .. }
            | Event::UndoFailed { .. }
            | Event::Mended { .. },
            _,
        ) => return Err(refused),
    }
    Ok(())
}

/// Moves to the final phase when the steps say that nothing is left.
fn settle(state: &mut DeploymentState, at: Timestamp) {
    let phase = match &state.phase {
        Phase::Running => {
            let over = |index| match state.steps.get(&index) {
                Some(Step::Done { .. } | Step::Failed { .. }) => true,
                Some(Step::Started { .. } | Step::Undoing { .. } | Step::Undone { .. } | Step::UndoFailed { .. }) | None => false,
            };
            state.plan.actions().all(|(index, _)| over(index)).then_some(Phase::Succeeded)
        }
        Phase::Undoing(cause) if state.in_flight().next().is_none() && state.to_undo().is_empty() => {
            let stuck = state.steps.values().any(|step| matches!(step, Step::UndoFailed { .. }));
            Some(match cause {
                cause if stuck => Phase::Stuck(cause.clone()),
                Cause::Failed { .. } => Phase::Undone(cause.clone()),
                Cause::Cancelled { .. } => Phase::Cancelled(cause.clone()),
            })
        }
        Phase::Undoing(_) | Phase::Succeeded | Phase::Undone(_) | Phase::Cancelled(_) | Phase::Stuck(_) => None,
    };
    if let Some(phase) = phase {
        state.phase = phase;
        state.ended_at = Some(at);
    }
}
