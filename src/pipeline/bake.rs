//! A look at whether a deployment that ended well is still well. It only asks: a health check changes nothing.

use futures_util::future::join_all;

use super::Pipeline;
use crate::domain::deployment::{DeploymentState, Failure, FailureKind};
use crate::domain::plan::{Action, Target};
use crate::engine::Output;

/// Nobody reads what a mere look says.
struct Silent;

impl Output for Silent {
    fn line(&self, _line: &str) {}
    fn progress(&self, _note: &str) {}
}

impl Pipeline {
    /// The first target that isn't healthy within the deadline of its own check. A host that can't be reached tells nothing.
    pub async fn unhealthy(&self, state: &DeploymentState) -> Option<(Target, Failure)> {
        let landed: Vec<&Target> = state.landed().collect();
        let checks = state.plan.actions().filter_map(|(_, action)| match action {
            Action::Healthy { target, .. } if landed.contains(&target) => Some((target, action)),
            _ => None,
        });
        let looks = checks.map(|(target, action)| async move {
            self.engine.apply(&state.plan, action, &Silent).await.err().map(|failure| (target.clone(), failure))
        });
        let found = join_all(looks).await.into_iter().flatten().find(|(_, failure)| is_ill(failure.kind));
        self.engine.rest().await;
        found
    }
}

fn is_ill(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Exit { .. } | FailureKind::Signal { .. } | FailureKind::Unhealthy | FailureKind::Missing => true,
        FailureKind::Lost
        | FailureKind::Unreachable
        | FailureKind::Timeout
        | FailureKind::DiskFull
        | FailureKind::Refused
        | FailureKind::Skipped
        | FailureKind::Cancelled => false,
    }
}
