//! The actions of one target: over to the release, or a stop and a start of what it runs.

use super::turn::{Goal, Turn};
use super::{PlanError, Planner};
use crate::domain::plan::{Action, Lane, Origin, Stage};
use crate::domain::spec::{Millis, Order};

impl<'a> Planner<'a> {
    /// The targets go over to the release.
    pub(super) fn switching(&self) -> Vec<Stage> {
        self.rolling(|turn| self.switch(turn), |role, hosts| role.batch.size(hosts))
    }

    /// The targets stop and start what they run.
    pub(super) fn restarting(&self) -> Result<Vec<Stage>, PlanError> {
        if self.all_turns().all(|turn| !turn.runs) {
            return Err(PlanError::NothingRuns("restart"));
        }
        // Nothing new starts beside the old here, so a role that may never be without service isn't stopped everywhere at once.
        let size = |hosts: usize, order| match order {
            Order::StartFirst => (hosts / 2).max(1),
            Order::StopFirst => hosts,
        };
        Ok(self.rolling(|turn| self.restart(turn), |role, hosts| role.batch.size(hosts).min(size(hosts, role.order))))
    }

    /// How one target goes over to the release.
    fn switch(&self, turn: &Turn<'a>) -> Lane {
        let target = &turn.target;
        let mut lane = Lane::new();
        // Those that leave first may be the only ones in the balancer.
        if let (false, Some(stays)) = (turn.leave_first.is_empty(), turn.leave_last.first()) {
            lane.extend(join(turn, Some(&stays.name), false));
        }
        lane.extend(turn.leave_first.iter().flat_map(|old| retire(turn, Some(&old.name), turn.comes_back(old))));
        match &turn.goal {
            Goal::Stays(_) => {}
            Goal::Container { name, origin } => {
                lane.push(Action::Start { target: target.clone(), container: Some(name.clone()), origin: *origin });
            }
            Goal::Service => {
                if turn.runs {
                    lane.extend(retire(turn, None, true));
                }
                // The host's own script reads TAG when it starts the service, so TAG is written in between.
                lane.extend(self.record(&target.host));
                lane.push(Action::Start { target: target.clone(), container: None, origin: Origin::Kept });
            }
        }
        lane.push(Action::Healthy { target: target.clone(), container: turn.container().map(str::to_owned) });
        lane.extend(join(turn, turn.container(), !turn.right()));
        lane.extend(turn.leave_last.iter().flat_map(|old| retire(turn, Some(&old.name), turn.comes_back(old))));
        lane
    }

    /// How one target stops and starts what it runs.
    fn restart(&self, turn: &Turn<'a>) -> Lane {
        if !turn.runs {
            return Lane::new();
        }
        let target = &turn.target;
        let container = turn.main.filter(|_| !turn.is_service()).map(|main| main.name.clone());
        let mut lane = retire(turn, container.as_deref(), true);
        lane.push(Action::Start { target: target.clone(), container: container.clone(), origin: Origin::Kept });
        lane.push(Action::Healthy { target: target.clone(), container: container.clone() });
        lane.extend(join(turn, container.as_deref(), true));
        lane
    }
}

/// Out of the balancer, its requests done, stopped.
fn retire(turn: &Turn<'_>, container: Option<&str>, undo: bool) -> Lane {
    let (target, container) = (&turn.target, container.map(str::to_owned));
    let leave = turn.role.router.is_some().then(|| Action::Leave { target: target.clone(), container: container.clone(), undo });
    let drain = (turn.role.drain > Millis(0)).then(|| Action::Drain { target: target.clone(), span: turn.role.drain });
    let stop = Action::Stop { target: target.clone(), container, undo };
    leave.into_iter().chain(drain).chain([stop]).collect()
}

/// Into the balancer, if there is one.
fn join(turn: &Turn<'_>, container: Option<&str>, undo: bool) -> Option<Action> {
    turn.role.router.as_ref()?;
    Some(Action::Join { target: turn.target.clone(), container: container.map(str::to_owned), undo })
}
