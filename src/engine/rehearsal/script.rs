//! What a rehearsal is told beforehand: how builds behave, and what goes wrong when.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::deployment::FailureKind;
use crate::domain::names::TaskName;
use crate::domain::spec::Millis;

/// How a build behaves once it runs. The default is a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub(super) fate: Fate,
    pub(super) warm_up: Millis,
    pub(super) ignores_term: bool,
    pub(super) tasks: BTreeMap<TaskName, TaskEnd>,
    pub(super) task_takes: Millis,
}

/// What becomes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    GetsHealthy,
    NeverHealthy,
    ExitsAtOnce { status: i64 },
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    /// With this exit status.
    Exit(i64),
    /// Killed by this signal.
    Signal(i64),
    /// Never.
    Hangs,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            fate: Fate::GetsHealthy,
            warm_up: Millis::seconds(1),
            ignores_term: false,
            tasks: BTreeMap::new(),
            task_takes: Millis::seconds(2),
        }
    }
}

impl Behaviour {
    /// Starts, gets healthy, and its tasks end with 0.
    pub fn good() -> Behaviour {
        Behaviour::default()
    }

    /// Runs, and its health check says no for ever.
    pub fn never_healthy(self) -> Behaviour {
        Behaviour { fate: Fate::NeverHealthy, ..self }
    }

    /// Ends with this status as soon as it is started.
    pub fn exits_at_once(self, status: i64) -> Behaviour {
        Behaviour { fate: Fate::ExitsAtOnce { status }, ..self }
    }

    /// Takes so long until its health check says yes.
    pub fn warms_up_in(self, span: Millis) -> Behaviour {
        Behaviour { warm_up: span, ..self }
    }

    /// Doesn't heed TERM, so that it must be killed.
    pub fn ignores_term(self) -> Behaviour {
        Behaviour { ignores_term: true, ..self }
    }

    /// One of its tasks ends so.
    pub fn task(mut self, task: &TaskName, end: TaskEnd) -> Behaviour {
        self.tasks.insert(task.clone(), end);
        self
    }

    /// Its tasks take so long.
    pub fn tasks_take(self, span: Millis) -> Behaviour {
        Behaviour { task_takes: span, ..self }
    }
}

/// Which way an action goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Apply,
    Undo,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Apply => "apply",
            Way::Undo => "undo",
        })
    }
}

/// Whether something happens before the action acts, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    Fails(FailureKind),
    Hangs,
    LosesHost,
}

/// Something that goes wrong once, when an action is applied or undone. By default the first time, before it acts, and the
/// action is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) way: Way,
    pub(super) action: String,
    pub(super) nth: u32,
    pub(super) moment: Moment,
    pub(super) mishap: Mishap,
}

impl Fault {
    /// When the action of this text (`start web@appserver2`) is applied.
    pub fn apply(action: impl Into<String>) -> Fault {
        Fault::new(Way::Apply, action.into())
    }

    /// When the action of this text is undone.
    pub fn undo(action: impl Into<String>) -> Fault {
        Fault::new(Way::Undo, action.into())
    }

    fn new(way: Way, action: String) -> Fault {
        Fault { way, action, nth: 1, moment: Moment::Before, mishap: Mishap::Fails(FailureKind::Refused) }
    }

    /// The nth time from now on, counted from 1.
    pub fn nth(self, nth: u32) -> Fault {
        Fault { nth, ..self }
    }

    /// After it acted: the effect is there, and the caller doesn't learn it.
    pub fn after(self) -> Fault {
        Fault { moment: Moment::After, ..self }
    }

    /// It fails in this way.
    pub fn fails(self, kind: FailureKind) -> Fault {
        Fault { mishap: Mishap::Fails(kind), ..self }
    }

    /// It hangs until the [`Rehearsal`](super::Rehearsal) goes on.
    pub fn hangs(self) -> Fault {
        Fault { mishap: Mishap::Hangs, ..self }
    }

    /// Its host is lost, until it is brought back.
    pub fn loses_host(self) -> Fault {
        Fault { mishap: Mishap::LosesHost, ..self }
    }
}
