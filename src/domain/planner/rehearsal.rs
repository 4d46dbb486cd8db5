//! A rehearsal: a command that changes nothing, run once from the image of a plan that people are about to vote on.

use crate::domain::names::InvalidName;
use crate::domain::plan::{Action, Plan, Purpose, Stage, container_name};
use crate::domain::policy::OnFailure;
use crate::domain::spec::Millis;

/// How long it may take in all.
const DEADLINE: Millis = Millis::seconds(600);

/// The plan that runs `command` where `plan` would run its tasks, or on the first target; `None` if it has no target at all.
///
/// # Errors
/// Never: the task's name is within the grammar.
pub fn rehearsal(plan: &Plan, command: &[String], nonce: &str) -> Result<Option<Plan>, InvalidName> {
    let task = "rehearse".parse()?;
    let of_tasks = plan.actions().find_map(|(_, action)| match action {
        Action::Task { target, .. } => Some(target.clone()),
        _ => None,
    });
    let Some(target) = of_tasks.or_else(|| plan.before.first().map(|before| before.target.clone())) else {
        return Ok(None);
    };
    let container = format!("{}-task", container_name(&plan.app, &plan.environment, "rehearse", &plan.release.tag, nonce));
    let host = target.host.clone();
    let stages = [
        ("preflight", Action::Preflight { host: host.clone(), min_free_mib: 0 }),
        ("pull", Action::Pull { host }),
        ("run", Action::Task { target, task, container, command: command.to_vec(), deadline: DEADLINE, irreversible: false }),
    ];
    let stage = |(name, action): (&str, Action)| Stage { name: name.to_owned(), lanes: vec![vec![action]], at_once: 1 };
    Ok(Some(Plan {
        purpose: Purpose::Run { command: command.to_vec(), read: true },
        warnings: Vec::new(),
        stages: stages.into_iter().map(stage).collect(),
        on_failure: OnFailure::Undo,
        bake: Millis::default(),
        lock_after: Default::default(),
        ..plan.clone()
    }))
}
