//! A fleet in memory: hosts with engines, a registry and a balancer that a plan can be rehearsed on.
//!
//! It keeps the promises of [`Engine`] to the letter, writes a transcript, can be told what goes wrong when, and looks after
//! each change whether what must hold does. Time in it is tokio's, so a test that pauses the clock waits for nothing.
//!
//! | file | what |
//! |---|---|
//! | `script` | how builds behave, and what goes wrong |
//! | `world` | what there is, and what may be done to it |
//! | `act` | each action and its undo |
//! | `watch` | what must hold at every moment |

mod act;
mod script;
mod watch;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch as channel;
use tokio::time::Instant;

pub use self::script::{Behaviour, Fault, TaskEnd};

use self::act::Act;
use self::script::Way;
use self::world::{Container, Host, Part, Server, State, Verdict, World};
use super::{Engine, Output, ResolveError};
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::{Digest, HostName, RoleName, Tag, TaskName};
use crate::domain::observed::{ContainerSeen, HostSeen, Observed, Unreachable};
use crate::domain::plan::{Action, Plan, Release, TagFiles, Target};
use crate::domain::spec::{EnvironmentSpec, HealthCheck, Service};

/// How long what a test puts in place has been running already.
const LONG: Duration = Duration::from_secs(3600);

/// The fleet; a cheap clone.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    stage: Arc<Mutex<Stage>>,
    /// The lines of the transcript that hang.
    hanging: channel::Sender<BTreeSet<String>>,
}

/// The fleet, what was told to go wrong, and what was done.
#[derive(Debug)]
struct Stage {
    world: World,
    faults: Vec<Fault>,
    transcript: Vec<String>,
    opened: Instant,
}

impl Rehearsal {
    /// The environment's hosts, up and empty, and a registry without builds. Hosts that a later spec names are there too.
    pub fn new(spec: &EnvironmentSpec) -> Rehearsal {
        let mut world = World::new();
        spec.hosts.keys().for_each(|host| world.know(host));
        let stage = Stage { world, faults: Vec::new(), transcript: Vec::new(), opened: Instant::now() };
        Rehearsal { stage: Arc::new(Mutex::new(stage)), hanging: channel::Sender::new(BTreeSet::new()) }
    }

    /// Pushes a build to the registry. A tag that was there is of this one from now on.
    pub fn push(&self, release: &Release, behaviour: Behaviour) {
        let registry = &mut self.stage().world.registry;
        registry.behaviours.insert(release.digest.clone(), behaviour);
        registry.tags.insert(release.tag.clone(), release.digest.clone());
    }

    /// Whether the registry answers.
    pub fn registry_is_up(&self, up: bool) {
        self.stage().world.registry.up = up;
    }

    /// Something that will go wrong, once.
    pub fn fault(&self, fault: Fault) {
        self.stage().faults.push(fault);
    }

    /// Nothing that was told to goes wrong any more.
    pub fn forget_faults(&self) {
        self.stage().faults.clear();
    }

    /// From now on the host doesn't answer. What runs there runs on.
    pub fn lose(&self, host: &HostName) {
        self.set_lost(host, true);
    }

    /// The host answers again.
    pub fn bring_back(&self, host: &HostName) {
        self.set_lost(host, false);
    }

    fn set_lost(&self, host: &HostName, lost: bool) {
        let mut stage = self.stage();
        stage.world.know(host);
        if let Some(host) = stage.world.hosts.get_mut(host) {
            host.lost = lost;
        }
    }

    /// The free space of a host.
    pub fn set_free_mib(&self, host: &HostName, free_mib: u64) {
        self.on(host, |host| host.free_mib = free_mib);
    }

    /// Puts a container in place, with its image, as if it had been there for long.
    pub fn place(&self, host: &HostName, container: &ContainerSeen) {
        let since = Instant::now().checked_sub(LONG).unwrap_or_else(Instant::now);
        let made = self.stage().world.next();
        let state = if container.running { State::Running { since } } else { State::Ended { status: 0 } };
        let ContainerSeen { role, release, revision, port, .. } = container.clone();
        let placed = Container { part: Part::Role(role), release: release.clone(), revision, port, made, state };
        self.on(host, |host| {
            host.images.insert(release.digest);
            host.containers.insert(container.name.clone(), placed);
        });
    }

    /// Has a service of a host run a release, with its image there, as if for long.
    pub fn place_service(&self, target: &Target, release: &Release) {
        let since = Instant::now().checked_sub(LONG).unwrap_or_else(Instant::now);
        self.on(&target.host, |host| {
            host.images.insert(release.digest.clone());
            host.tags.insert(release.tag.clone(), release.digest.clone());
            host.services.insert(target.role.clone(), Some((release.clone(), since)));
        });
    }

    /// Writes TAG and REVERT of a host.
    pub fn place_files(&self, host: &HostName, files: TagFiles) {
        self.on(host, |host| host.files = files);
    }

    /// Puts a target's container (`None` for a service) into the balancer, at a port.
    pub fn place_server(&self, target: &Target, container: Option<&str>, port: Option<u16>) {
        let server = Server { target: target.clone(), container: container.map(str::to_owned), port };
        self.stage().world.servers.insert(server);
    }

    fn on(&self, name: &HostName, act: impl FnOnce(&mut Host)) {
        let mut stage = self.stage();
        stage.world.know(name);
        if let Some(host) = stage.world.hosts.get_mut(name) {
            act(host);
        }
    }

    /// What was applied and undone, in this order: `apply stop web@appserver1`.
    pub fn transcript(&self) -> Vec<String> {
        self.stage().transcript.clone()
    }

    /// Begins the transcript, and the looking for the fewest servers, anew.
    pub fn turn_page(&self) {
        let mut stage = self.stage();
        stage.transcript.clear();
        stage.world.watch.least_served.clear();
    }

    /// The tags that run at a target, the oldest container first.
    pub fn running(&self, target: &Target) -> Vec<Tag> {
        let stage = self.stage();
        let Some(host) = stage.world.hosts.get(&target.host) else {
            return Vec::new();
        };
        let of_target = |container: &&Container| container.runs() && container.part == Part::Role(target.role.clone());
        let mut running: Vec<_> = host.containers.values().filter(of_target).collect();
        running.sort_by_key(|container| container.made);
        let service = host.services.get(&target.role).and_then(Option::as_ref).map(|(release, _)| release);
        running.into_iter().map(|container| &container.release).chain(service).map(|release| release.tag.clone()).collect()
    }

    /// The tags that answer requests through the balancer, by target.
    pub fn served(&self, spec: &EnvironmentSpec) -> Vec<(Target, Tag)> {
        let stage = self.stage();
        let (world, now) = (&stage.world, Instant::now());
        let servers = spec.roles.iter().flat_map(|(name, role)| world.serving(name, role, now));
        let tag = |server: &Server| {
            let host = world.hosts.get(&server.target.host)?;
            match &server.container {
                Some(name) => host.containers.get(name).map(|container| container.release.tag.clone()),
                None => host.services.get(&server.target.role)?.as_ref().map(|(release, _)| release.tag.clone()),
            }
        };
        servers.filter_map(|server| Some((server.target.clone(), tag(server)?))).collect()
    }

    /// The fewest servers that answered for a role since it had one; `None` = it never had.
    pub fn least_served(&self, role: &RoleName) -> Option<usize> {
        self.stage().world.watch.least_served.get(role).copied()
    }

    /// What was seen that must never be.
    pub fn violations(&self) -> Vec<String> {
        self.stage().world.watch.violations.clone()
    }

    /// How often a task was started.
    pub fn task_runs(&self, task: &TaskName) -> u32 {
        self.stage().world.task_runs.get(task).copied().unwrap_or(0)
    }

    /// The tasks' containers that are still there.
    pub fn task_containers(&self) -> Vec<String> {
        let stage = self.stage();
        let containers = stage.world.hosts.values().flat_map(|host| &host.containers);
        containers.filter(|(_, container)| matches!(container.part, Part::Task(_))).map(|(name, _)| name.clone()).collect()
    }

    /// Waits until something hangs that was told to.
    pub async fn hanging(&self) {
        // The sender lives as long as this does.
        let _ = self.hanging.subscribe().wait_for(|lines| !lines.is_empty()).await;
    }

    /// Waits until this line of the transcript hangs.
    pub async fn hanging_at(&self, line: &str) {
        let _ = self.hanging.subscribe().wait_for(|lines| lines.contains(line)).await;
    }

    /// Lets one line of the transcript go on that hangs.
    pub fn let_go(&self, line: &str) {
        self.hanging.send_modify(|lines| {
            lines.remove(line);
        });
    }

    /// Lets everything go on that hangs.
    pub fn go_on(&self) {
        self.hanging.send_modify(BTreeSet::clear);
    }

    /// What the environment's hosts run, as [`Engine::observe`] tells it.
    pub fn observed(&self, spec: &EnvironmentSpec) -> Observed {
        let mut stage = self.stage();
        let opened = stage.opened;
        let seen = |name: &HostName| {
            stage.world.know(name);
            let world = &stage.world;
            match world.hosts.get(name) {
                Some(host) if !host.lost => Ok(host_seen(world, spec, name, host, opened)),
                _ => Err(Unreachable(format!("{name} can't be reached"))),
            }
        };
        let mut hosts = BTreeMap::new();
        spec.hosts.keys().map(seen).zip(spec.hosts.keys()).for_each(|(seen, name)| {
            hosts.insert(name.clone(), seen);
        });
        Observed { hosts, ..Observed::default() }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an action down; what will go wrong with it, if something was told to.
    fn begin(&self, way: Way, action: &Action) -> Option<Fault> {
        let mut stage = self.stage();
        let text = action.to_string();
        stage.transcript.push(format!("{way} {text}"));
        let mut due = None;
        for (place, fault) in stage.faults.iter_mut().enumerate().filter(|(_, fault)| fault.way == way && fault.action == text) {
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth == 0 {
                due = due.or(Some(place));
            }
        }
        due.map(|place| stage.faults.remove(place))
    }

    async fn hang(&self, line: String) {
        let mut lines = self.hanging.subscribe();
        self.hanging.send_modify(|lines| {
            lines.insert(line.clone());
        });
        let _ = lines.wait_for(|lines| !lines.contains(&line)).await;
    }
}

fn host_seen(world: &World, spec: &EnvironmentSpec, name: &HostName, host: &Host, opened: Instant) -> HostSeen {
    let mut containers: Vec<(u32, ContainerSeen)> = Vec::new();
    for (container_name, container) in &host.containers {
        let Part::Role(role) = &container.part else { continue };
        let target = Target { role: role.clone(), host: name.clone() };
        let check = spec.roles.get(role).map(|role| &role.health).filter(|check| matches!(check, HealthCheck::Docker { .. }));
        let health = check.map(|check| world.health(&target, Some(container_name), check, Instant::now()));
        let started_at = match container.state {
            State::Running { since } => {
                Timestamp::from_millisecond(i64::try_from((since + LONG).duration_since(opened).as_millis()).unwrap_or(0)).ok()
            }
            State::Ended { .. } => None,
        };
        let seen = ContainerSeen {
            name: container_name.clone(),
            role: role.clone(),
            release: container.release.clone(),
            revision: container.revision.clone(),
            running: container.runs(),
            health: health.map(|verdict| if verdict == Verdict::Healthy { "healthy" } else { "starting" }.to_owned()),
            restarts: 0,
            started_at,
            port: container.port,
        };
        containers.push((container.made, seen));
    }
    containers.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
    let commanded = spec.roles.iter().filter(|(_, role)| role.hosts.contains(name) && matches!(role.service, Service::Commands(_)));
    HostSeen {
        engine_version: "rehearsal".to_owned(),
        free_mib: host.free_mib,
        containers: containers.into_iter().map(|(_, seen)| seen).collect(),
        services: commanded.map(|(role, _)| (role.clone(), host.services.get(role).is_some_and(Option::is_some))).collect(),
        images: host.images.iter().cloned().collect(),
        tag_files: host.files.clone(),
    }
}

#[async_trait]
impl Engine for Rehearsal {
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed {
        self.observed(spec)
    }

    async fn resolve(&self, spec: &EnvironmentSpec, tag: &Tag) -> Result<Digest, ResolveError> {
        let stage = self.stage();
        if !stage.world.registry.up {
            return Err(ResolveError::Unavailable(format!("the registry {} doesn't answer", spec.image.registry())));
        }
        let unknown = || ResolveError::Unknown {
            registry: spec.image.registry().to_owned(),
            image: spec.image.to_string(),
            tag: tag.clone(),
        };
        stage.world.registry.tags.get(tag).cloned().ok_or_else(unknown)
    }

    async fn apply(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<Outcome, Failure> {
        Act { rehearsal: self, plan, action, output }.go(Way::Apply).await
    }

    async fn undo(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<(), Failure> {
        Act { rehearsal: self, plan, action, output }.go(Way::Undo).await.map(drop)
    }

    async fn logs(&self, _: &EnvironmentSpec, target: &Target, lines: usize) -> Result<Vec<String>, Failure> {
        let running = self.running(target);
        if running.is_empty() {
            return Err(Failure::new(FailureKind::Missing, format!("nothing runs at {target}")));
        }
        Ok(running.iter().map(|tag| format!("{tag} says hello")).take(lines).collect())
    }

    async fn rest(&self) {}
}
