//! Each action of a plan and its undo, carried out on the fleet of a rehearsal.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Rehearsal;
use super::script::{Fault, Mishap, Moment, TaskEnd, Way};
use super::world::{Part, Server, Verdict, World, patience};
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::{HostName, TaskName};
use crate::domain::plan::{Action, Origin, Plan, TagFiles, Target};
use crate::domain::spec::{HostPort, Millis, RoleSpec};
use crate::engine::Output;

/// How long the way to a host takes.
const LATENCY: Duration = Duration::from_millis(5);

/// The time between two looks at something that is waited for.
const INTERVAL: Duration = Duration::from_millis(100);

/// One action on its way.
pub(super) struct Act<'a> {
    pub rehearsal: &'a Rehearsal,
    pub plan: &'a Plan,
    pub action: &'a Action,
    pub output: &'a dyn Output,
}

impl Act<'_> {
    /// Writes the action down and carries it out, with what was told to go wrong.
    pub async fn go(&self, way: Way) -> Result<Outcome, Failure> {
        let fault = self.rehearsal.begin(way, self.action);
        self.mishap(fault.as_ref(), Moment::Before).await?;
        sleep(LATENCY).await;
        let done = match way {
            Way::Apply => self.apply().await?,
            Way::Undo => self.undo().await.map(|()| Outcome::default())?,
        };
        self.mishap(fault.as_ref(), Moment::After).await?;
        Ok(done)
    }

    async fn mishap(&self, fault: Option<&Fault>, moment: Moment) -> Result<(), Failure> {
        let Some(fault) = fault.filter(|fault| fault.moment == moment) else {
            return Ok(());
        };
        match fault.mishap {
            Mishap::Fails(kind) => Err(Failure::new(kind, format!("{} fails in this rehearsal", self.action))),
            Mishap::Hangs => {
                self.rehearsal.hang(format!("{} {}", fault.way, self.action)).await;
                Ok(())
            }
            Mishap::LosesHost => {
                if let Some(host) = self.action.host() {
                    self.rehearsal.lose(host);
                }
                Err(Failure::new(FailureKind::Lost, "the connection broke"))
            }
        }
    }

    /// Does something to the fleet, and looks whether all that must hold does.
    fn with<T>(&self, act: impl FnOnce(&mut World) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut stage = self.rehearsal.stage();
        let done = act(&mut stage.world);
        stage.world.look(&self.plan.roles, Instant::now());
        done
    }

    fn role(&self, target: &Target) -> Result<&RoleSpec, Failure> {
        let missing = || Failure::new(FailureKind::Missing, format!("the plan has no role {}", target.role));
        self.plan.roles.get(&target.role).ok_or_else(missing)
    }

    async fn apply(&self) -> Result<Outcome, Failure> {
        let note = match self.action {
            Action::Preflight { host, min_free_mib } => {
                let free = self.with(|world| Ok(world.host(host)?.free_mib))?;
                if free < *min_free_mib {
                    return Err(Failure::new(
                        FailureKind::DiskFull,
                        format!("{host} has {free} MiB free and needs {min_free_mib}"),
                    ));
                }
                format!("{free} MiB free")
            }
            Action::Pull { host } => {
                self.output.progress("pulling");
                self.with(|world| world.pull(host, &self.plan.release))?.to_owned()
            }
            Action::Task { target, task, container, deadline, .. } => self.task(target, task, container, *deadline).await?,
            Action::Leave { target, container, .. } => self.leave(target, container.as_deref())?,
            Action::Drain { span, .. } | Action::Wait { span } => {
                sleep(span.duration()).await;
                return Ok(Outcome::default());
            }
            Action::Stop { target, container, .. } => self.stop(target, container.as_deref()).await?,
            Action::Start { target, container, origin } => self.start(target, container.as_deref(), *origin)?,
            Action::Healthy { target, container } => self.healthy(target, container.as_deref()).await?,
            Action::Join { target, container, .. } => self.join(target, container.as_deref())?,
            Action::Record { host, after, .. } => self.record(host, after)?,
            Action::Prune { host, containers, images } => {
                self.with(|world| world.prune(host, containers, images))?;
                format!("{} containers, {} images", containers.len(), images.len())
            }
        };
        Ok(Outcome { note: Some(note), ..Outcome::default() })
    }

    async fn undo(&self) -> Result<(), Failure> {
        match self.action {
            Action::Task { target, container, .. } => {
                self.output.line(&format!("{container} is taken away"));
                self.remove(target, container)
            }
            Action::Leave { target, container, undo: true } => self.join(target, container.as_deref()).map(drop),
            Action::Stop { target, container, undo: true } => {
                self.start(target, container.as_deref(), Origin::Kept)?;
                self.healthy(target, container.as_deref()).await.map(drop)
            }
            Action::Start { target, container, origin } => {
                self.stop(target, container.as_deref()).await?;
                match (container, origin) {
                    (Some(container), Origin::New { .. }) => self.remove(target, container),
                    (None, Origin::New { .. }) | (_, Origin::Kept) => Ok(()),
                }
            }
            Action::Join { target, container, undo: true } => self.leave(target, container.as_deref()).map(drop),
            Action::Record { host, before, .. } => self.record(host, before).map(drop),
            Action::Leave { undo: false, .. }
            | Action::Stop { undo: false, .. }
            | Action::Join { undo: false, .. }
            | Action::Preflight { .. }
            | Action::Pull { .. }
            | Action::Drain { .. }
            | Action::Healthy { .. }
            | Action::Wait { .. }
            | Action::Prune { .. } => Ok(()),
        }
    }

    async fn task(&self, target: &Target, task: &TaskName, container: &str, deadline: Millis) -> Result<String, Failure> {
        let (role, release, host) = (self.role(target)?, &self.plan.release, &target.host);
        let begun = Instant::now();
        self.with(|world| {
            let new = !world.host(host)?.containers.contains_key(container);
            world.create(host, container, Part::Task(task.clone()), release, role, None)?;
            if new { world.start(host, container, role, begun) } else { Ok(()) }
        })?;
        loop {
            let end = self.with(|world| world.task_end(host, container, task, Instant::now()))?;
            if end.is_none() && begun.elapsed() < deadline.duration() {
                sleep(INTERVAL).await;
                continue;
            }
            self.output.line(&format!("{task} of {} says hello", release.tag));
            let (kind, how) = match end {
                Some(TaskEnd::Exit(0)) => return Ok("exit status 0".to_owned()),
                Some(TaskEnd::Exit(status)) => (FailureKind::Exit { status }, format!("ended with exit status {status}")),
                Some(TaskEnd::Signal(signal)) => {
                    (FailureKind::Signal { signal: Some(signal) }, format!("was killed by signal {signal}"))
                }
                Some(TaskEnd::Hangs) | None => (FailureKind::Timeout, format!("took longer than {} ms", deadline.0)),
            };
            return Err(Failure::new(kind, format!("{task} {how}")));
        }
    }

    fn start(&self, target: &Target, container: Option<&str>, origin: Origin) -> Result<String, Failure> {
        let role = self.role(target)?;
        self.with(|world| match container {
            Some(name) => {
                if let Origin::New { port } = origin {
                    let fixed = port.filter(|_| {
                        !matches!(role.container().publish.as_ref().map(|publish| &publish.host), Some(HostPort::Ephemeral))
                    });
                    world.create(&target.host, name, Part::Role(target.role.clone()), &self.plan.release, role, fixed)?;
                }
                world.start(&target.host, name, role, Instant::now())
            }
            None => world.start_service(target, Instant::now()),
        })?;
        Ok("runs".to_owned())
    }

    async fn stop(&self, target: &Target, container: Option<&str>) -> Result<String, Failure> {
        match container {
            Some(name) => {
                if !self.with(|world| Ok(world.heeds_term(&target.host, name)))? {
                    sleep(self.role(target)?.grace.duration()).await;
                }
                self.with(|world| world.stop(target, name))?;
            }
            None => self.with(|world| world.stop_service(target))?,
        }
        Ok("stopped".to_owned())
    }

    fn remove(&self, target: &Target, container: &str) -> Result<(), Failure> {
        self.with(|world| {
            world.host(&target.host)?.containers.remove(container);
            Ok(())
        })
    }

    async fn healthy(&self, target: &Target, container: Option<&str>) -> Result<String, Failure> {
        let (role, begun) = (self.role(target)?, Instant::now());
        let unhealthy = |why: String| Err(Failure::new(FailureKind::Unhealthy, why));
        loop {
            let verdict = self.with(|world| {
                world.host(&target.host)?;
                Ok(world.health(target, container, &role.health, Instant::now()))
            });
            match verdict? {
                Verdict::Healthy => return Ok(format!("healthy after {} ms", begun.elapsed().as_millis())),
                Verdict::NotYet if begun.elapsed() < patience(&role.health).duration() => sleep(INTERVAL).await,
                Verdict::NotYet => return unhealthy(format!("{target} didn't get healthy in {} ms", patience(&role.health).0)),
                Verdict::Ended { status } => return unhealthy(format!("{target} ended with exit status {status}")),
                Verdict::Gone => return unhealthy(format!("{target} doesn't run")),
            }
        }
    }

    fn join(&self, target: &Target, container: Option<&str>) -> Result<String, Failure> {
        let role = self.role(target)?;
        self.with(|world| {
            let server = world.server(target, container, role)?;
            if !world.answers(&server, role, Instant::now()) {
                world.watch.note(format!("{target} joined the balancer and doesn't answer"));
            }
            take_out(world, &server);
            world.servers.insert(server);
            Ok("in the balancer".to_owned())
        })
    }

    fn leave(&self, target: &Target, container: Option<&str>) -> Result<String, Failure> {
        let role = self.role(target)?;
        self.with(|world| {
            let server = world.server(target, container, role)?;
            take_out(world, &server);
            Ok("out of the balancer".to_owned())
        })
    }

    fn record(&self, host: &HostName, files: &TagFiles) -> Result<String, Failure> {
        self.with(|world| {
            world.host(host)?.files = files.clone();
            Ok("written".to_owned())
        })
    }
}

/// Takes a server out of the balancer, whatever port it was at.
fn take_out(world: &mut World, server: &Server) {
    world.servers.retain(|other| other.target != server.target || other.container != server.container);
}
