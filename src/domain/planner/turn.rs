//! One target: what runs there, what shall run there, and who must leave before and after.

use super::Request;
use crate::domain::names::{HostName, RoleName, Tag};
use crate::domain::observed::ContainerSeen;
use crate::domain::plan::{Origin, Release, Target, container_name};
use crate::domain::spec::{HostPort, Order, RoleSpec, Service};
use crate::domain::step::Aim;

/// What happens to one target.
pub(super) struct Turn<'a> {
    pub(super) target: Target,
    pub(super) role: &'a RoleSpec,
    /// What shall run.
    pub(super) goal: Goal,
    /// The container that counts as running: the one that was recorded, else the newest that runs.
    pub(super) main: Option<&'a ContainerSeen>,
    /// The running containers that are gone before the new one starts, the one that counts last.
    pub(super) leave_first: Vec<&'a ContainerSeen>,
    /// The running containers that go once the new one serves, the one that counts last.
    pub(super) leave_last: Vec<&'a ContainerSeen>,
    /// Whether it runs; for a service that commands manage, the containers from before that don't count.
    pub(super) runs: bool,
    /// The tag that it runs.
    pub(super) tag: Option<Tag>,
    /// The release that it runs, as far as it is known.
    pub(super) release: Option<Release>,
}

/// What shall run at a target.
pub(super) enum Goal {
    /// This container, which runs already; `None` for a service that commands manage.
    Stays(Option<String>),
    /// This container.
    Container { name: String, origin: Origin },
    /// What the host's own script starts, which is what the TAG file says.
    Service,
}

impl<'a> Turn<'a> {
    pub(super) fn new(request: &Request<'a>, name: &RoleName, role: &'a RoleSpec, host: &HostName) -> Turn<'a> {
        let target = Target { role: name.clone(), host: host.clone() };
        let recorded = request.recorded.get(&target);
        let mut running: Vec<&ContainerSeen> = request.observed.containers(&target).filter(|container| container.running).collect();
        // The one that counts goes last: its undo starts it again, and must not while another one still runs.
        if let Some(place) =
            running.iter().position(|container| Some(&container.release) == recorded).or(running.first().map(|_| 0))
        {
            let main = running.remove(place);
            running.push(main);
        }
        match role.service {
            Service::Docker(_) => docker(request, target, role, running),
            Service::Commands(_) => service(request, target, role, running, recorded),
        }
    }

    /// It runs what it should already.
    pub(super) fn right(&self) -> bool {
        matches!(self.goal, Goal::Stays(_))
    }

    pub(super) fn is_service(&self) -> bool {
        matches!(self.role.service, Service::Commands(_))
    }

    /// Whether its host must have the image: a container is made from it, or the host's own script starts it.
    pub(super) fn needs_image(&self) -> bool {
        match self.goal {
            Goal::Stays(_) | Goal::Container { origin: Origin::Kept, .. } => false,
            Goal::Container { origin: Origin::New { .. }, .. } | Goal::Service => true,
        }
    }

    /// Whether the undo starts it again once it was stopped: the one that counts, and never a second one beside it.
    pub(super) fn comes_back(&self, container: &ContainerSeen) -> bool {
        let alone = self.role.order == Order::StartFirst || !self.right();
        alone && self.main.is_some_and(|main| main.name == container.name)
    }

    /// The name of the container that runs afterwards; `None` for a service that commands manage.
    pub(super) fn container(&self) -> Option<&str> {
        match &self.goal {
            Goal::Stays(name) => name.as_deref(),
            Goal::Container { name, .. } => Some(name),
            Goal::Service => None,
        }
    }
}

fn docker<'a>(request: &Request<'a>, target: Target, role: &'a RoleSpec, running: Vec<&'a ContainerSeen>) -> Turn<'a> {
    let revision = role.revision();
    // Going back means back to the configuration of that time too; going forward means today's.
    let fits = |container: &ContainerSeen| {
        container.release.digest == request.release.digest && (request.aim == Aim::Previous || container.revision == revision)
    };
    let main = running.last().copied();
    let (tag, release) = (main.map(|main| main.release.tag.clone()), main.map(|main| main.release.clone()));
    let runs = main.is_some();
    if let Some(right) = main.filter(|main| fits(main)).or_else(|| running.iter().copied().find(|container| fits(container))) {
        let extra = running.iter().filter(|container| container.name != right.name).copied().collect();
        let (leave_first, leave_last) = match role.order {
            Order::StartFirst => (Vec::new(), extra),
            Order::StopFirst => (extra, Vec::new()),
        };
        let goal = Goal::Stays(Some(right.name.clone()));
        return Turn { target, role, goal, main, leave_first, leave_last, runs, tag, release };
    }
    let (leave_first, leave_last) = running.split_at(leave_first(role, &running));
    let free = |port: u16| leave_last.iter().all(|old| old.port != Some(port));
    let startable = |container: &&ContainerSeen| !container.running && fits(container) && container.port.is_none_or(free);
    let kept = request.observed.containers(&target).find(startable);
    let goal = match kept {
        Some(kept) => Goal::Container { name: kept.name.clone(), origin: Origin::Kept },
        None => {
            let (spec, tag) = (request.spec, &request.release.tag);
            let name = container_name(&spec.app, &spec.environment, target.role.as_str(), tag, request.nonce);
            let port = fixed_ports(role).iter().copied().find(|port| free(*port));
            Goal::Container { name, origin: Origin::New { port } }
        }
    };
    Turn { target, role, goal, main, leave_first: leave_first.to_vec(), leave_last: leave_last.to_vec(), runs, tag, release }
}

fn fixed_ports(role: &RoleSpec) -> &[u16] {
    match role.container().publish.as_ref().map(|publish| &publish.host) {
        Some(HostPort::Fixed(ports)) => ports,
        Some(HostPort::Ephemeral) | None => &[],
    }
}

/// How many of those that run are gone before the new one starts. For `start-first` none, unless a stuck deployment left so
/// many that no port is free: then all but the one that counts.
fn leave_first(role: &RoleSpec, running: &[&ContainerSeen]) -> usize {
    let ports = fixed_ports(role);
    let room_beside = |stay: &[&ContainerSeen]| {
        ports.is_empty() || ports.iter().any(|port| stay.iter().all(|container| container.port != Some(*port)))
    };
    let all = running.len();
    match role.order {
        Order::StopFirst => all,
        Order::StartFirst => [0, all.saturating_sub(1)].into_iter().find(|gone| room_beside(&running[*gone..])).unwrap_or(all),
    }
}

fn service<'a>(
    request: &Request<'a>,
    target: Target,
    role: &'a RoleSpec,
    leftover: Vec<&'a ContainerSeen>,
    recorded: Option<&Release>,
) -> Turn<'a> {
    let seen = request.observed.host(&target.host);
    let runs = seen.is_some_and(|seen| seen.services.get(&target.role) == Some(&true));
    // Till now Docker may have managed the role: then its container is what runs.
    let main = leftover.last().copied().filter(|_| !runs);
    let of_service = request.observed.tag(&target).cloned();
    // TAG knows no digests: that the tag was pushed again since, only the record tells.
    let same_tag = recorded.filter(|recorded| Some(&recorded.tag) == of_service.as_ref()).cloned();
    let same_image = same_tag.as_ref().is_none_or(|recorded| recorded.digest == request.release.digest);
    let right = runs && of_service.as_ref() == Some(&request.release.tag) && same_image;
    let goal = if right { Goal::Stays(None) } else { Goal::Service };
    let tag = of_service.or_else(|| main.map(|main| main.release.tag.clone()));
    let release = same_tag.or_else(|| main.map(|main| main.release.clone()));
    Turn { target, role, goal, main, leave_first: leftover, leave_last: Vec::new(), runs, tag, release }
}
