//! What follows from a deployment's events: where it is, and where each of its actions is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::event::{Call, Event, Found, Occasion, Order};
use super::failure::{Failure, Outcome};
use super::next::{IllegalTransition, illegal, next};
use crate::domain::ballot::Uncounted;
use crate::domain::changed::Changed;
use crate::domain::message::{Account, MessageRef};
use crate::domain::names::{DeploymentId, HostName, PersonName};
use crate::domain::plan::{Action, ActionIndex, Plan, Target};
use crate::domain::policy::OnFailure;
use crate::domain::spec::Millis;

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

/// Why a deployment never started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// A person voted no.
    Vote {
        /// Who.
        by: PersonName,
    },
    /// Something stood in the way when its turn came.
    Refused {
        /// What, for people.
        why: String,
    },
}

/// A person's approval of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// By which account.
    pub account: Account,
    /// How.
    pub found: Found,
    /// The message that the emoji is at.
    pub message: Option<MessageRef>,
    /// When it was recorded.
    pub at: Timestamp,
}

/// Where a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its turn, or for being looked at again; nobody is asked to vote on it now.
    Queued,
    /// It waits for votes, and when there are enough for its turn.
    AwaitingApproval(Call),
    /// Its actions run.
    Running,
    /// An action failed; nothing new begins until a person says how it goes on, or the time is over.
    Holding {
        /// What failed.
        cause: Cause,
        /// When everything is put back without a word.
        until: Timestamp,
    },
    /// What it did is being put back.
    Undoing(Cause),
    /// Everything was done. Final.
    Succeeded,
    /// An action failed, and all is as it was before. Final.
    Undone(Cause),
    /// A person stopped it, and all is as it was before. Final.
    Cancelled(Cause),
    /// An undo failed; the app stays locked until a person mends it. Final but for that.
    Stuck(Cause),
    /// A person left everything as it was after a failure. Final.
    Kept {
        /// What failed.
        cause: Cause,
        /// Who said so.
        by: PersonName,
    },
    /// It never started. Final.
    Rejected(Rejection),
    /// Nobody voted in time; it never started. Final.
    Expired,
    /// A newer build took its place; it never started. Final.
    Superseded {
        /// The deployment that did.
        by: DeploymentId,
    },
}

impl Phase {
    /// Whether nothing more happens by itself.
    pub fn is_final(&self) -> bool {
        match self {
            Phase::Queued | Phase::AwaitingApproval(_) | Phase::Running | Phase::Holding { .. } | Phase::Undoing(_) => false,
            Phase::Succeeded
            | Phase::Undone(_)
            | Phase::Cancelled(_)
            | Phase::Stuck(_)
            | Phase::Kept { .. }
            | Phase::Rejected(_)
            | Phase::Expired
            | Phase::Superseded { .. } => true,
        }
    }

    /// Whether it hasn't started yet and still may.
    pub fn waits(&self) -> bool {
        matches!(self, Phase::Queued | Phase::AwaitingApproval(_))
    }

    /// Whether it started and isn't over.
    pub fn is_under_way(&self) -> bool {
        !self.is_final() && !self.waits()
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Queued => "queued",
            Phase::AwaitingApproval(_) => "waiting for votes",
            Phase::Running => "running",
            Phase::Holding { .. } => "holding",
            Phase::Undoing(_) => "undoing",
            Phase::Succeeded => "succeeded",
            Phase::Undone(_) => "undone",
            Phase::Cancelled(_) => "cancelled",
            Phase::Stuck(_) => "stuck",
            Phase::Kept { .. } => "kept",
            Phase::Rejected(_) => "rejected",
            Phase::Expired => "expired",
            Phase::Superseded { .. } => "superseded",
        }
    }

    /// Why it is being, or was, put back or left as it was.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Phase::Holding { cause, .. }
            | Phase::Undoing(cause)
            | Phase::Undone(cause)
            | Phase::Cancelled(cause)
            | Phase::Stuck(cause)
            | Phase::Kept { cause, .. } => Some(cause),
            Phase::Queued
            | Phase::AwaitingApproval(_)
            | Phase::Running
            | Phase::Succeeded
            | Phase::Rejected(_)
            | Phase::Expired
            | Phase::Superseded { .. } => None,
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
    /// What was asked for; `None` in journals of the first schema.
    pub order: Option<Order>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it started; `None` = it didn't yet.
    pub started_at: Option<Timestamp>,
    /// When it came to its final phase.
    pub ended_at: Option<Timestamp>,
    /// The approvals of the plan as it is.
    pub votes: BTreeMap<PersonName, Vote>,
    /// Votes that don't count, with why.
    pub uncounted: BTreeMap<Account, Uncounted>,
    /// How many times people were asked for their votes.
    pub rounds: u32,
    /// What made the plan another one since people were last asked.
    pub changed: Vec<Changed>,
    /// Whose approvals counted when it started.
    pub counted: Vec<PersonName>,
    /// The hosts that it goes on without.
    pub skipped: BTreeSet<HostName>,
    /// The actions that were ever started.
    pub steps: BTreeMap<ActionIndex, Step>,
    /// The order in which actions were first started; the undo goes through it backwards.
    pub order_of_start: Vec<ActionIndex>,
    /// Where it is.
    pub phase: Phase,
    /// The deployment that mended it, if it was stuck.
    pub mended_by: Option<DeploymentId>,
    /// Who looked at it afterwards, if it was done without votes in an emergency.
    pub reviewed_by: Option<PersonName>,
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
        self.order_of_start.iter().rev().filter(open).copied().collect()
    }

    /// What must be undone on hosts that it goes on without, the last started first.
    pub fn to_leave(&self) -> Vec<ActionIndex> {
        self.to_undo().into_iter().filter(|index| self.is_skipped(*index)).collect()
    }

    /// Whether an action is on a host that it goes on without.
    pub fn is_skipped(&self, index: ActionIndex) -> bool {
        self.plan.action(index).and_then(Action::host).is_some_and(|host| self.skipped.contains(host))
    }

    /// The actions that failed so that it couldn't go on.
    pub fn failed(&self) -> impl Iterator<Item = (ActionIndex, &Action)> {
        self.steps.iter().filter_map(|(index, step)| match step {
            Step::Failed { .. } => Some((*index, self.plan.action(*index)?)).filter(|(_, action)| !action.may_fail()),
            Step::Started { .. } | Step::Done { .. } | Step::Undoing { .. } | Step::Undone { .. } | Step::UndoFailed { .. } => None,
        })
    }

    /// The hosts that failed, if they can be left out: what runs once for all hosts has run, and as many hosts of each role are left as
    /// the plan wants.
    ///
    /// # Errors
    /// With why not, for people.
    pub fn may_skip(&self) -> Result<BTreeSet<HostName>, String> {
        let hosts: BTreeSet<HostName> = self.failed().filter_map(|(_, action)| action.host().cloned()).collect();
        if hosts.is_empty() {
            return Err("no host failed".to_owned());
        }
        let ran = |index| matches!(self.steps.get(&index), Some(Step::Done { .. }));
        let mut tasks = self.plan.actions().filter(|(index, action)| matches!(action, Action::Task { .. }) && !ran(*index));
        if let Some((_, task)) = tasks.find(|(_, action)| action.host().is_some_and(|host| hosts.contains(host))) {
            return Err(format!("{} runs there once for all hosts, and hasn't yet", task.verb()));
        }
        let quorum = match self.plan.on_failure {
            OnFailure::Hold { quorum, .. } => quorum,
            OnFailure::Undo => 1,
        };
        for (name, role) in &self.plan.roles {
            let left = role.hosts.iter().filter(|host| !hosts.contains(host) && !self.skipped.contains(host)).count();
            let touched = role.hosts.iter().any(|host| hosts.contains(host));
            if touched && left < quorum as usize {
                return Err(format!("{left} hosts of `{name}` would be left, and the policy wants {quorum}"));
            }
        }
        Ok(hosts)
    }

    /// The targets that run the plan's release now because of it: all of which each action was done.
    pub fn landed(&self) -> impl Iterator<Item = &Target> {
        let whole = |target: &Target| {
            let mut of_target = self.plan.actions().filter(|(_, action)| action.target() == Some(target)).peekable();
            let untouched = of_target.peek().is_none();
            let done = of_target.all(|(index, _)| matches!(self.steps.get(&index), Some(Step::Done { .. })));
            if untouched { matches!(self.phase, Phase::Succeeded) } else { done }
        };
        let skipped = |target: &Target| self.skipped.contains(&target.host);
        self.plan.before.iter().map(|before| &before.target).filter(move |target| !skipped(target) && whole(target))
    }

    /// Why it is done without the votes that it takes, if it is.
    pub fn emergency(&self) -> Option<&str> {
        match &self.order.as_ref()?.occasion {
            Occasion::Emergency { reason } => Some(reason),
            Occasion::Person | Occasion::Build { .. } | Occasion::Bake { .. } | Occasion::Rehearsal => None,
        }
    }

    /// How long it took, or has taken by `now`, since it started; 0 if it didn't.
    pub fn elapsed(&self, now: Timestamp) -> Millis {
        let end = self.ended_at.unwrap_or(now);
        let took = self.started_at.map(|start| end.duration_since(start).as_millis());
        Millis(took.and_then(|took| u64::try_from(took).ok()).unwrap_or(0))
    }

    /// The irreversible tasks that were started, whatever came of them.
    pub fn irreversible_tasks(&self) -> impl Iterator<Item = &Action> {
        self.steps
            .keys()
            .filter_map(|index| self.plan.action(*index))
            .filter(|action| matches!(action, Action::Task { irreversible: true, .. }))
    }
}
