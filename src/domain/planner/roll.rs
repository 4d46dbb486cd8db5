//! The order of the roll: groups of roles one after the other, in a group the roles side by side, each batch by batch.

use std::collections::VecDeque;

use super::turn::Turn;
use super::{Planner, changes, one_lane};
use crate::domain::names::RoleName;
use crate::domain::plan::{Action, Lane, Stage};
use crate::domain::spec::{Millis, RoleSpec};

/// The lanes of some of a role's hosts, which go at the same time.
struct Batch {
    title: String,
    /// The pause before it.
    wait: Millis,
    lanes: Vec<Lane>,
}

impl<'a> Planner<'a> {
    /// In a group the first batches of all its roles, then the second ones, ...
    pub(super) fn rolling(&self, lane: impl Fn(&Turn<'a>) -> Lane, size: impl Fn(&RoleSpec, usize) -> usize) -> Vec<Stage> {
        let mut stages = Vec::new();
        for group in &self.request.spec.roll {
            let mut roles: Vec<VecDeque<Batch>> = group
                .iter()
                .filter_map(|name| {
                    let (role, turns) = (self.request.spec.roles.get(name)?, self.turns.get(name)?);
                    Some(batches(name, role, turns.iter().map(&lane), |hosts| size(role, hosts)))
                })
                .collect();
            loop {
                let here: Vec<Batch> = roles.iter_mut().filter_map(VecDeque::pop_front).collect();
                let Some(span) = here.iter().map(|batch| batch.wait).max() else {
                    break;
                };
                if span > Millis(0) {
                    stages.push(one_lane("wait", vec![Action::Wait { span }]));
                }
                let name = here.iter().map(|batch| batch.title.as_str()).collect::<Vec<_>>().join(" + ");
                let lanes: Vec<Lane> = here.into_iter().flat_map(|batch| batch.lanes).collect();
                stages.push(Stage { name, at_once: lanes.len(), lanes });
            }
        }
        stages
    }
}

/// The batches of one role. Hosts that are only checked go first and all at once: a host that was added to many needn't wait
/// for all their turns, and who is well is in the balancer before others leave it.
fn batches(name: &RoleName, role: &RoleSpec, lanes: impl Iterator<Item = Lane>, size: impl Fn(usize) -> usize) -> VecDeque<Batch> {
    let (changes, checks): (Vec<Lane>, Vec<Lane>) =
        lanes.filter(|lane| !lane.is_empty()).partition(|lane| lane.iter().any(changes));
    let check = Batch { title: format!("check {name}"), wait: Millis(0), lanes: checks };
    let chunks = changes.chunks(size(changes.len()).max(1));
    let of = chunks.len();
    let switch = chunks.zip(1..).map(|(lanes, n)| {
        let title = if of > 1 { format!("{name} {n}/{of}") } else { name.to_string() };
        let wait = if n > 1 { role.wait } else { Millis(0) };
        Batch { title, wait, lanes: lanes.to_vec() }
    });
    std::iter::once(check).filter(|check| !check.lanes.is_empty()).chain(switch).collect()
}
