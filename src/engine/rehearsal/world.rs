//! The fleet of a rehearsal: what there is on each host, and what may be done to it.
//!
//! Nothing here waits. Whether a container is healthy or a task is over follows from when it was started, so the state is
//! right at any moment of tokio's clock, also of one that a test moves.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::script::{Behaviour, Fate, TaskEnd};
use super::watch::Watch;
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::names::{Digest, HostName, RoleName, Tag, TaskName};
use crate::domain::plan::{Release, TagFiles, Target};
use crate::domain::spec::{HealthCheck, HostPort, Millis, RoleSpec, Service};

/// The first port that an engine chooses by itself, and how many there are.
const EPHEMERAL: (u16, u16) = (32768, 28232);

/// All that there is.
#[derive(Debug)]
pub(super) struct World {
    pub registry: Registry,
    pub hosts: BTreeMap<HostName, Host>,
    /// The balancer's servers.
    pub servers: BTreeSet<Server>,
    pub watch: Watch,
    /// How often each task was started.
    pub task_runs: BTreeMap<TaskName, u32>,
    /// Counts what was made, so that the newest is known and no ephemeral port comes twice.
    made: u32,
}

/// Where images come from.
#[derive(Debug)]
pub(super) struct Registry {
    pub up: bool,
    pub tags: BTreeMap<Tag, Digest>,
    pub behaviours: BTreeMap<Digest, Behaviour>,
}

/// One host.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub lost: bool,
    pub free_mib: u64,
    pub images: BTreeSet<Digest>,
    /// What the engine knows of tags, for the host's own scripts.
    pub tags: BTreeMap<Tag, Digest>,
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// The services that commands manage, and what they run since when.
    pub services: BTreeMap<RoleName, Option<(Release, Instant)>>,
    pub files: TagFiles,
}

/// A container of a role or a task.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub part: Part,
    pub release: Release,
    pub revision: String,
    pub port: Option<u16>,
    /// The higher, the newer.
    pub made: u32,
    pub state: State,
}

/// What a container is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Role(RoleName),
    Task(TaskName),
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running { since: Instant },
    Ended { status: i64 },
}

/// A server of the balancer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Server {
    pub target: Target,
    /// `None` for a service.
    pub container: Option<String>,
    pub port: Option<u16>,
}

/// What a health check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Healthy,
    NotYet,
    Ended { status: i64 },
    Gone,
}

impl World {
    pub fn new() -> World {
        World {
            registry: Registry { up: true, tags: BTreeMap::new(), behaviours: BTreeMap::new() },
            hosts: BTreeMap::new(),
            servers: BTreeSet::new(),
            watch: Watch::default(),
            task_runs: BTreeMap::new(),
            made: 0,
        }
    }

    /// A host that was never mentioned before is there, up and empty.
    pub fn know(&mut self, host: &HostName) {
        self.hosts.entry(host.clone()).or_insert_with(|| Host { free_mib: 100_000, ..Host::default() });
    }

    /// The host, if it answers.
    pub fn host(&mut self, host: &HostName) -> Result<&mut Host, Failure> {
        self.know(host);
        match self.hosts.get_mut(host) {
            Some(host) if !host.lost => Ok(host),
            _ => Err(Failure::new(FailureKind::Unreachable, format!("{host} can't be reached"))),
        }
    }

    pub fn behaviour(&self, digest: &Digest) -> Behaviour {
        self.registry.behaviours.get(digest).cloned().unwrap_or_default()
    }

    pub fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Brings the image to a host.
    pub fn pull(&mut self, host: &HostName, release: &Release) -> Result<&'static str, Failure> {
        let (up, known) = (self.registry.up, self.registry.tags.values().any(|digest| *digest == release.digest));
        let host = self.host(host)?;
        let there = host.images.contains(&release.digest);
        if !there && !up {
            return Err(Failure::new(FailureKind::Refused, "the registry doesn't answer"));
        }
        if !there && !known {
            return Err(Failure::new(FailureKind::Missing, format!("the registry has no image {}", release.digest)));
        }
        host.images.insert(release.digest.clone());
        host.tags.insert(release.tag.clone(), release.digest.clone());
        Ok(if there { "already there" } else { "pulled" })
    }

    /// Makes a container of a role or task and doesn't start it. Nothing happens if it is there.
    pub fn create(
        &mut self,
        host: &HostName,
        name: &str,
        part: Part,
        release: &Release,
        role: &RoleSpec,
        port: Option<u16>,
    ) -> Result<(), Failure> {
        let made = self.next();
        let host = self.host(host)?;
        if host.containers.contains_key(name) {
            return Ok(());
        }
        if !host.images.contains(&release.digest) {
            return Err(Failure::new(FailureKind::Missing, format!("the image {} is not on the host", release.digest)));
        }
        let container =
            Container { part, release: release.clone(), revision: role.revision(), port, made, state: State::Ended { status: 0 } };
        host.containers.insert(name.to_owned(), container);
        Ok(())
    }

    /// Starts a container. Nothing happens if it runs.
    pub fn start(&mut self, host: &HostName, name: &str, role: &RoleSpec, now: Instant) -> Result<(), Failure> {
        let ephemeral = matches!(role.container().publish.as_ref().map(|publish| &publish.host), Some(HostPort::Ephemeral));
        let chosen = EPHEMERAL.0 + u16::try_from(self.next() % u32::from(EPHEMERAL.1)).unwrap_or(0);
        let taken: Vec<_> =
            self.host(host)?.containers.values().filter(|other| other.runs()).filter_map(|other| other.port).collect();
        let container = self.container(host, name)?;
        if container.runs() {
            return Ok(());
        }
        if container.port.is_some_and(|port| taken.contains(&port)) && !ephemeral {
            return Err(Failure::new(FailureKind::Refused, format!("the port of {name} is already allocated")));
        }
        if ephemeral && matches!(container.part, Part::Role(_)) {
            container.port = Some(chosen);
        }
        let (part, digest) = (container.part.clone(), container.release.digest.clone());
        container.state = State::Running { since: now };
        match part {
            Part::Task(task) => *self.task_runs.entry(task).or_default() += 1,
            Part::Role(_) => {
                if let Fate::ExitsAtOnce { status } = self.behaviour(&digest).fate {
                    self.container(host, name)?.state = State::Ended { status };
                }
            }
        }
        Ok(())
    }

    fn container(&mut self, host: &HostName, name: &str) -> Result<&mut Container, Failure> {
        let missing = || Failure::new(FailureKind::Missing, format!("no container {name} on {host}"));
        self.host(host)?.containers.get_mut(name).ok_or_else(missing)
    }

    /// Stops a container. Nothing happens if it doesn't run or isn't there.
    pub fn stop(&mut self, target: &Target, name: &str) -> Result<(), Failure> {
        let status = if self.heeds_term(&target.host, name) { 0 } else { 137 };
        if let Some(container) = self.host(&target.host)?.containers.get_mut(name)
            && container.runs()
        {
            container.state = State::Ended { status };
            self.watch.stopped(target, Some(name), &self.servers);
        }
        Ok(())
    }

    /// Whether a container ends at TERM, or has to be killed after its grace.
    pub fn heeds_term(&self, host: &HostName, name: &str) -> bool {
        let container = self.hosts.get(host).and_then(|host| host.containers.get(name));
        container.is_none_or(|container| !container.runs() || !self.behaviour(&container.release.digest).ignores_term)
    }

    /// Starts a service with what TAG says, as a host's own script does. Nothing happens if it runs.
    pub fn start_service(&mut self, target: &Target, now: Instant) -> Result<(), Failure> {
        let host = self.host(&target.host)?;
        if host.services.get(&target.role).is_some_and(Option::is_some) {
            return Ok(());
        }
        let Some(tag) = host.files.tag.clone() else {
            return Err(Failure::new(FailureKind::Exit { status: 1 }, "there is no TAG file"));
        };
        let Some(digest) = host.tags.get(&tag).filter(|digest| host.images.contains(*digest)).cloned() else {
            return Err(Failure::new(FailureKind::Exit { status: 125 }, format!("no image of {tag} on the host")));
        };
        host.services.insert(target.role.clone(), Some((Release { tag, digest }, now)));
        Ok(())
    }

    /// Stops a service. Nothing happens if it doesn't run.
    pub fn stop_service(&mut self, target: &Target) -> Result<(), Failure> {
        let ran = self.host(&target.host)?.services.insert(target.role.clone(), None).flatten();
        if ran.is_some() {
            self.watch.stopped(target, None, &self.servers);
        }
        Ok(())
    }

    /// What the health check of a role says of a container, or of the service.
    pub fn health(&self, target: &Target, name: Option<&str>, check: &HealthCheck, now: Instant) -> Verdict {
        let Some(host) = self.hosts.get(&target.host) else {
            return Verdict::Gone;
        };
        let (digest, since) = match name {
            Some(name) => match host.containers.get(name).map(|container| (container, container.state)) {
                Some((container, State::Running { since })) => (&container.release.digest, since),
                Some((_, State::Ended { status })) => return Verdict::Ended { status },
                None => return Verdict::Gone,
            },
            None => match host.services.get(&target.role) {
                Some(Some((release, since))) => (&release.digest, *since),
                Some(None) | None => return Verdict::Gone,
            },
        };
        let behaviour = self.behaviour(digest);
        let ready = match (check, behaviour.fate) {
            (HealthCheck::Running { after }, _) => after.duration(),
            (HealthCheck::Docker { .. } | HealthCheck::Http { .. }, Fate::GetsHealthy) => behaviour.warm_up.duration(),
            (HealthCheck::Docker { .. } | HealthCheck::Http { .. }, Fate::NeverHealthy | Fate::ExitsAtOnce { .. }) => {
                return Verdict::NotYet;
            }
        };
        if now.duration_since(since) >= ready { Verdict::Healthy } else { Verdict::NotYet }
    }

    /// How the task in a container ended, if it did by now.
    pub fn task_end(&mut self, host: &HostName, name: &str, task: &TaskName, now: Instant) -> Result<Option<TaskEnd>, Failure> {
        let container = self.container(host, name)?.clone();
        let State::Running { since } = container.state else {
            let State::Ended { status } = container.state else { return Ok(None) };
            return Ok(Some(if status > 128 { TaskEnd::Signal(status - 128) } else { TaskEnd::Exit(status) }));
        };
        let behaviour = self.behaviour(&container.release.digest);
        let end = behaviour.tasks.get(task).copied().unwrap_or(TaskEnd::Exit(0));
        if end == TaskEnd::Hangs || now.duration_since(since) < behaviour.task_takes.duration() {
            return Ok(None);
        }
        let status = match end {
            TaskEnd::Exit(status) => status,
            TaskEnd::Signal(signal) => 128 + signal,
            TaskEnd::Hangs => 0,
        };
        self.container(host, name)?.state = State::Ended { status };
        Ok(Some(end))
    }

    /// The server that a target's container is to the balancer; needs the balancer's host and the target's.
    pub fn server(&mut self, target: &Target, name: Option<&str>, role: &RoleSpec) -> Result<Server, Failure> {
        if let Some(router) = &role.router {
            self.host(&router.host)?;
        }
        let host = self.host(&target.host)?;
        let port = match (name, &role.service) {
            (Some(name), _) => host.containers.get(name).and_then(|container| container.port),
            (None, Service::Commands(commands)) => commands.port,
            (None, Service::Docker(_)) => None,
        };
        Ok(Server { target: target.clone(), container: name.map(str::to_owned), port })
    }

    /// Removes containers and images as an engine does that isn't forced: not what is in use, and the rest all the same. The
    /// containers of tasks that ended go too.
    pub fn prune(&mut self, host: &HostName, containers: &[String], images: &[String]) -> Result<(), Failure> {
        let mut in_use = Vec::new();
        for name in containers {
            if self.host(host)?.containers.get(name).is_some_and(Container::runs) {
                self.watch.note(format!("{name} was to be pruned and runs"));
                in_use.push(name);
            } else {
                self.host(host)?.containers.remove(name);
            }
        }
        self.host(host)?.containers.retain(|_, container| matches!(container.part, Part::Role(_)) || container.runs());
        for image in images {
            let users = |container: &&Container| image.ends_with(container.release.digest.as_str());
            let parts: Vec<Part> = self.host(host)?.containers.values().filter(users).map(|user| user.part.clone()).collect();
            if parts.iter().any(|part| matches!(part, Part::Role(_))) {
                self.watch.note(format!("{image} was to be pruned and a container needs it"));
            }
            if parts.is_empty() {
                self.host(host)?.images.retain(|digest| !image.ends_with(digest.as_str()));
            } else {
                in_use.push(image);
            }
        }
        match in_use.first() {
            Some(first) => Err(Failure::new(FailureKind::Refused, format!("{first} is in use"))),
            None => Ok(()),
        }
    }
}

impl Container {
    pub fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

/// How long a health check may take in all, with what a real one needs on top.
pub(super) fn patience(check: &HealthCheck) -> Millis {
    match check {
        HealthCheck::Docker { deadline } | HealthCheck::Http { deadline, .. } => *deadline,
        HealthCheck::Running { after } => Millis(after.0 + 1000),
    }
}
