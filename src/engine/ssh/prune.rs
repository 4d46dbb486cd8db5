//! Removing what nobody goes back to.

use jiff::Timestamp;

use super::act::{Act, noted};
use super::container::EvenRunning;
use super::design::TASK;
use super::limits::OLD_TASK;
use super::observe::{is_running, name};
use crate::domain::deployment::{Failure, Outcome};
use crate::domain::names::HostName;
use crate::domain::plan::Action;

impl Act<'_> {
    /// Goes on after a failure, and reports the first one: what can go shall go.
    pub(super) async fn prune(self, host: &HostName, containers: &[String], images: &[String]) -> Result<Outcome, Failure> {
        let docker = self.docker(host).await?;
        let mut first = Ok(());
        let mut removed = 0;
        let mut note = |result: Result<(), Failure>| match result {
            Ok(()) => removed += 1,
            Err(failure) => {
                if first.is_ok() {
                    first = Err(failure);
                }
            }
        };
        for container in containers {
            note(docker.remove(container, EvenRunning::No).await);
        }
        // Containers of tasks hold their results until the deployment has come here; then they are of no use any more.
        let is_old = |created: Option<i64>| {
            let age = created
                .and_then(|second| Timestamp::from_second(second).ok())
                .map(|at| at.duration_until(Timestamp::now()).unsigned_abs());
            age.is_some_and(|age| age > OLD_TASK)
        };
        let mine = |name: &str| {
            self.plan.actions().any(|(_, action)| matches!(action, Action::Task { container, .. } if container == name))
        };
        for summary in docker.list(&self.plan.app, &self.plan.environment).await? {
            let is_task = summary.labels.as_ref().is_some_and(|labels| labels.contains_key(TASK));
            if let Some(name) =
                name(&summary).filter(|name| is_task && !is_running(&summary) && (mine(name) || is_old(summary.created)))
            {
                note(docker.remove(name, EvenRunning::No).await);
            }
        }
        for image in images {
            note(docker.remove_image(image).await);
        }
        first?;
        Ok(noted(format!("{removed} removed")))
    }
}
