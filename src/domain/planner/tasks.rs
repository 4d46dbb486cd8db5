//! What runs once: the environment's tasks from the new image, and a typed command in the image that runs.

use super::turn::Turn;
use super::{PlanError, Planner};
use crate::domain::plan::{Action, Purpose, Target};
use crate::domain::spec::Millis;
use crate::domain::step::{Aim, Step};

/// How long a typed one-off command may take in all.
const RUN_DEADLINE: Millis = Millis::seconds(3600);

impl<'a> Planner<'a> {
    /// The tasks of the environment that this runbook runs. None when some target runs the release already: tasks come
    /// before the first switch, so they have run.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (Target, Action)> {
        let request = &self.request;
        let wanted = request.steps.iter().any(|step| matches!(step, Step::Tasks {} | Step::Task { .. }));
        let ran = request.aim == Aim::Build && self.all_turns().any(Turn::right);
        let of_aim = move |on_revert: bool| wanted && !ran && (request.aim != Aim::Previous || on_revert);
        request.spec.tasks.iter().filter(move |task| of_aim(task.on_revert)).filter_map(move |task| {
            let host = request.spec.roles.get(&task.role)?.hosts.first()?.clone();
            let target = Target { role: task.role.clone(), host };
            let action = Action::Task {
                container: self.task_name(task.name.as_str()),
                task: task.name.clone(),
                command: task.command.clone(),
                deadline: task.deadline,
                irreversible: task.irreversible,
                target: target.clone(),
            };
            Some((target, action))
        })
    }

    /// The typed command, as a task of its own.
    pub(super) fn run(&self) -> Result<Action, PlanError> {
        let turn = self.runs_command().ok_or(PlanError::NothingRuns("run it in"))?;
        let Purpose::Run { command, .. } = &self.request.purpose else {
            return Err(PlanError::NothingRuns("run"));
        };
        // `run` is within the grammar of task names.
        let task = "run".parse().map_err(|_| PlanError::NothingRuns("run"))?;
        let container = self.task_name("run");
        let (target, command) = (turn.target.clone(), command.clone());
        Ok(Action::Task { target, task, container, command, deadline: RUN_DEADLINE, irreversible: false })
    }

    /// Where a typed command runs: the first target, in the order of the roll, that runs the release; else the first that runs.
    pub(super) fn runs_command(&self) -> Option<&Turn<'a>> {
        let running = || {
            let order = self.request.spec.roll.iter().flatten();
            order.filter_map(|role| self.turns.get(role)).flatten().filter(|turn| turn.runs)
        };
        running().find(|turn| turn.release.as_ref() == Some(&self.request.release)).or_else(|| running().next())
    }

    /// Never the name of a role's container, even if the role is called like the task.
    fn task_name(&self, task: &str) -> String {
        format!("{}-task", self.container_name(task))
    }
}
