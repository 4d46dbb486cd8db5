//! What history shows of a deployment, and what is recorded of a target: values small enough for one row.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::deployment::{Cause, DeploymentState, Phase, Rejection};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, HostName, PersonName, TaskName, printable};
use crate::domain::news::{Bad, Verdict};
use crate::domain::plan::{Action, Purpose, Release};

/// The longest cause in a summary, in characters.
const CAUSE: usize = 120;

/// The longest command in a summary, in characters.
const COMMAND: usize = 120;

/// How many irreversible tasks a summary names.
const TASKS: usize = 12;

/// Where a deployment is, without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// It waits for its turn.
    Queued,
    /// It waits for votes.
    AwaitingApproval,
    /// Its actions run.
    Running,
    /// An action failed, and people are asked how it goes on.
    Holding,
    /// What it did is being put back.
    Undoing,
    /// Everything was done.
    Succeeded,
    /// An action failed, and all is as it was before.
    Undone,
    /// A person stopped it, and all is as it was before.
    Cancelled,
    /// An undo failed.
    Stuck,
    /// An action failed, and a person left everything as it was.
    Kept,
    /// It never started, since a person voted no or something stood in the way.
    Rejected,
    /// It never started, since nobody voted in time.
    Expired,
    /// It never started, since a newer build took its place.
    Superseded,
}

impl From<&Phase> for PhaseName {
    fn from(phase: &Phase) -> PhaseName {
        match phase {
            Phase::Queued => PhaseName::Queued,
            Phase::AwaitingApproval(_) => PhaseName::AwaitingApproval,
            Phase::Running => PhaseName::Running,
            Phase::Holding { .. } => PhaseName::Holding,
            Phase::Undoing(_) => PhaseName::Undoing,
            Phase::Succeeded => PhaseName::Succeeded,
            Phase::Undone(_) => PhaseName::Undone,
            Phase::Cancelled(_) => PhaseName::Cancelled,
            Phase::Stuck(_) => PhaseName::Stuck,
            Phase::Kept { .. } => PhaseName::Kept,
            Phase::Rejected(_) => PhaseName::Rejected,
            Phase::Expired => PhaseName::Expired,
            Phase::Superseded { .. } => PhaseName::Superseded,
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PhaseName::Queued => "queued",
            PhaseName::AwaitingApproval => "waiting for votes",
            PhaseName::Running => "running",
            PhaseName::Holding => "holding",
            PhaseName::Undoing => "undoing",
            PhaseName::Succeeded => "succeeded",
            PhaseName::Undone => "undone",
            PhaseName::Cancelled => "cancelled",
            PhaseName::Stuck => "stuck",
            PhaseName::Kept => "kept",
            PhaseName::Rejected => "rejected",
            PhaseName::Expired => "expired",
            PhaseName::Superseded => "superseded",
        })
    }
}

/// One deployment in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvironmentName,
    /// What was asked for; a long command is shortened.
    pub purpose: Purpose,
    /// The release that most targets ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Release>,
    /// The release that it was to bring.
    pub release: Release,
    /// Who asked.
    pub by: PersonName,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it came to its final phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Where it is.
    pub phase: PhaseName,
    /// Why it is being, or was, put back; shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The irreversible tasks that were started, whatever came of them; the first dozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub irreversible: Vec<TaskName>,
    /// The deployment that mended it, if it was stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended_by: Option<DeploymentId>,
    /// Why it was done without the votes that it takes, if it was; shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<String>,
    /// Whose approvals counted; the first dozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<PersonName>,
    /// The hosts that it went on without; the first dozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<HostName>,
}

impl Summary {
    /// The summary of a deployment as it is now.
    pub fn of(id: DeploymentId, state: &DeploymentState) -> Summary {
        let plan = &state.plan;
        let task = |action: &Action| match action {
            Action::Task { task, .. } => Some(task.clone()),
            _ => None,
        };
        Summary {
            id,
            app: plan.app.clone(),
            environment: plan.environment.clone(),
            purpose: shortened(&plan.purpose),
            from: plan.from().cloned(),
            release: plan.release.clone(),
            by: state.by.clone(),
            requested_at: state.requested_at,
            started_at: state.started_at,
            ended_at: state.ended_at,
            phase: (&state.phase).into(),
            cause: cause(state),
            irreversible: state.irreversible_tasks().filter_map(task).take(TASKS).collect(),
            mended_by: state.mended_by,
            emergency: state.emergency().map(|reason| printable(reason, CAUSE)),
            approved_by: state.counted.iter().take(TASKS).cloned().collect(),
            skipped: state.skipped.iter().take(TASKS).cloned().collect(),
        }
    }
}

fn cause(state: &DeploymentState) -> Option<String> {
    match &state.phase {
        Phase::Kept { cause, by } => Some(printable(&format!("left as it was by {by}; {}", why(state, cause)), CAUSE)),
        Phase::Rejected(Rejection::Vote { by }) => Some(format!("by {by}")),
        Phase::Rejected(Rejection::Refused { why }) => Some(printable(why, CAUSE)),
        Phase::Superseded { by } => Some(format!("by {by}")),
        phase @ (Phase::Queued
        | Phase::AwaitingApproval(_)
        | Phase::Running
        | Phase::Holding { .. }
        | Phase::Undoing(_)
        | Phase::Succeeded
        | Phase::Undone(_)
        | Phase::Cancelled(_)
        | Phase::Stuck(_)
        | Phase::Expired) => phase.cause().map(|cause| why(state, cause)),
    }
}

impl Summary {
    /// What it says of the environment: a deploy or revert that ended well or didn't. What a person stopped says nothing.
    pub fn verdict(&self) -> Verdict {
        match (&self.purpose, self.phase) {
            (Purpose::Restart | Purpose::Run { .. }, _) => Verdict::Neither,
            (Purpose::Deploy | Purpose::Revert, phase) => match phase {
                PhaseName::Succeeded => Verdict::Good,
                PhaseName::Undone | PhaseName::Stuck | PhaseName::Kept => Verdict::Bad(Bad::Failed),
                PhaseName::Queued
                | PhaseName::AwaitingApproval
                | PhaseName::Running
                | PhaseName::Holding
                | PhaseName::Undoing
                | PhaseName::Cancelled
                | PhaseName::Rejected
                | PhaseName::Expired
                | PhaseName::Superseded => Verdict::Neither,
            },
        }
    }
}

fn why(state: &DeploymentState, cause: &Cause) -> String {
    let text = match cause {
        Cause::Failed { action, failure } => {
            let name = state.plan.action(*action).map_or_else(String::new, |action| format!("{action}: "));
            format!("{name}{}", failure.message)
        }
        Cause::Cancelled { by } => format!("by {by}"),
    };
    printable(&text, CAUSE)
}

fn shortened(purpose: &Purpose) -> Purpose {
    match purpose {
        Purpose::Deploy | Purpose::Revert | Purpose::Restart => purpose.clone(),
        Purpose::Run { command, .. } if command.iter().map(|word| word.chars().count() + 3).sum::<usize>() <= COMMAND => {
            purpose.clone()
        }
        Purpose::Run { command, read } => Purpose::Run { command: vec![printable(&command.join(" "), COMMAND)], read: *read },
    }
}

/// What a target runs by the record, and what it goes back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// What it runs: TAG.
    pub current: Release,
    /// What it ran before, if that was another image: REVERT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Release>,
    /// When the record was made.
    pub since: Timestamp,
    /// By which deployment.
    pub by: DeploymentId,
    /// What it should run instead: a deployment went on without its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Release>,
}

impl TargetRecord {
    /// What should run there.
    pub fn wanted(&self) -> &Release {
        self.missed.as_ref().unwrap_or(&self.current)
    }
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Deployments that were asked for.
    pub deployments: u64,
    /// Builds that were announced.
    pub builds: u64,
    /// Commands that were heard.
    pub messages: u64,
    /// Posts that rooms should show.
    pub posts: u64,
}
