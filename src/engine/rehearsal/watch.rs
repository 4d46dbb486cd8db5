//! What must hold at every moment of a rehearsal, looked at after each change.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::world::{Part, Server, Verdict, World};
use crate::domain::names::RoleName;
use crate::domain::plan::Target;
use crate::domain::spec::{Order, RoleSpec};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What should never have been, in words.
    pub violations: Vec<String>,
    /// The fewest servers that answered for a role, since it had one.
    pub least_served: BTreeMap<RoleName, usize>,
    /// How many ran at a target when it was last looked at.
    ran: BTreeMap<Target, usize>,
}

impl Watch {
    pub fn note(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// Something stopped that the balancer still sends requests to.
    pub fn stopped(&mut self, target: &Target, container: Option<&str>, servers: &BTreeSet<Server>) {
        if servers.iter().any(|server| server.target == *target && server.container.as_deref() == container) {
            self.note(format!("{target} was stopped while the balancer sent it requests"));
        }
    }
}

impl World {
    /// Looks at everything after a change.
    pub fn look(&mut self, roles: &BTreeMap<RoleName, RoleSpec>, now: Instant) {
        for (name, role) in roles {
            if role.order == Order::StopFirst {
                self.look_for_two(name);
            }
            if role.router.is_some() {
                let serving = self.serving(name, role, now).count();
                let least = self.watch.least_served.get(name).copied();
                if serving > 0 || least.is_some() {
                    self.watch.least_served.insert(name.clone(), serving.min(least.unwrap_or(serving)));
                }
            }
        }
    }

    /// Never two of a role that stops first; that there were two before doesn't count.
    fn look_for_two(&mut self, role: &RoleName) {
        for (host, seen) in &self.hosts {
            let target = Target { role: role.clone(), host: host.clone() };
            let containers =
                seen.containers.values().filter(|container| container.runs() && container.part == Part::Role(role.clone()));
            let service = seen.services.get(role).is_some_and(Option::is_some);
            let runs = containers.count() + usize::from(service);
            let ran = self.watch.ran.insert(target.clone(), runs).unwrap_or(runs);
            if runs > 1 && runs > ran {
                self.watch.violations.push(format!("{runs} of {target} ran at the same time"));
            }
        }
    }

    /// The servers of a role that answer.
    pub fn serving(&self, name: &RoleName, role: &RoleSpec, now: Instant) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.target.role == *name && self.answers(server, role, now))
    }

    /// Whether a server answers at the port at which the balancer looks for it.
    pub fn answers(&self, server: &Server, role: &RoleSpec, now: Instant) -> bool {
        let container = server.container.as_ref().and_then(|name| self.hosts.get(&server.target.host)?.containers.get(name));
        let moved = container.is_some_and(|container| container.port != server.port);
        !moved && self.health(&server.target, server.container.as_deref(), &role.health, now) == Verdict::Healthy
    }
}
