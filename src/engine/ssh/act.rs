//! An action of a plan, about to be done or undone: which of the files beside this one does it.

use tokio::time::sleep;

use super::docker::DockerHost;
use super::environment::{self, parse_file};
use super::failure::{missing, refused};
use super::limits::SCRIPT;
use super::link::Link;
use super::{SshEngine, command::RemoteCommand};
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::{HostName, RoleName};
use crate::domain::plan::{Action, Origin, Plan, Target};
use crate::domain::spec::{ContainerSpec, HostSpec, RoleSpec, Service, ServiceCommands};
use crate::engine::Output;

/// What an action is done with.
#[derive(Clone, Copy)]
pub struct Act<'a> {
    /// The engine.
    pub engine: &'a SshEngine,
    /// The plan that the action is from.
    pub plan: &'a Plan,
    /// Where its words go.
    pub output: &'a dyn Output,
}

impl<'a> Act<'a> {
    /// Makes the action true.
    ///
    /// # Errors
    /// When it can't be made true.
    pub async fn apply(self, action: &Action) -> Result<Outcome, Failure> {
        match action {
            Action::Preflight { host, min_free_mib } => self.preflight(host, *min_free_mib).await,
            Action::Pull { host } => self.pull(host).await,
            Action::Task { target, task, container, command, deadline, irreversible: _ } => {
                self.task(target, task, container, command, deadline.duration()).await
            }
            Action::Leave { target, container, .. } => self.leave(target, container.as_deref()).await,
            Action::Join { target, container, .. } => self.join(target, container.as_deref()).await,
            Action::Drain { span, .. } | Action::Wait { span, .. } => {
                sleep(span.duration()).await;
                Ok(Outcome::default())
            }
            Action::Stop { target, container: Some(name), .. } => self.stop(target, name).await,
            Action::Stop { target, container: None, .. } => self.stop_service(target).await,
            Action::Start { target, container: Some(name), origin } => self.start(target, name, *origin).await,
            Action::Start { target, container: None, .. } => self.start_service(target).await,
            Action::Healthy { target, container } => self.healthy(target, container.as_deref()).await,
            Action::Record { host, folder, after, before: _ } => self.record(host, folder, after).await,
            Action::Prune { host, containers, images } => self.prune(host, containers, images).await,
        }
    }

    /// Puts back what the action did.
    ///
    /// # Errors
    /// When it can't be put back.
    pub async fn undo(self, action: &Action) -> Result<(), Failure> {
        match action {
            Action::Task { target, container, .. } => self.remove(target, container).await,
            Action::Leave { target, container, .. } => self.join(target, container.as_deref()).await.map(drop),
            Action::Join { target, container, .. } => self.leave(target, container.as_deref()).await.map(drop),
            // Next it gets requests again, and the other one none: so it must be able to answer them.
            Action::Stop { target, container, .. } => {
                match container {
                    Some(name) => self.start(target, name, Origin::Kept).await?,
                    None => self.start_service(target).await?,
                };
                self.healthy(target, container.as_deref()).await.map(drop)
            }
            Action::Start { target, container: Some(name), origin: Origin::Kept } => self.stop(target, name).await.map(drop),
            Action::Start { target, container: Some(name), origin: Origin::New { .. } } => {
                self.stop(target, name).await?;
                self.remove(target, name).await
            }
            Action::Start { target, container: None, .. } => self.stop_service(target).await.map(drop),
            Action::Record { host, folder, before, after: _ } => self.record(host, folder, before).await.map(drop),
            Action::Preflight { .. }
            | Action::Pull { .. }
            | Action::Drain { .. }
            | Action::Healthy { .. }
            | Action::Wait { .. }
            | Action::Prune { .. } => Ok(()),
        }
    }

    /// The role, as it was when the plan was made.
    pub(super) fn role(self, name: &RoleName) -> Result<&'a RoleSpec, Failure> {
        self.plan.roles.get(name).ok_or_else(|| missing(format!("the plan doesn't say what {name} is")))
    }

    /// The host, as it was when the plan was made.
    pub(super) fn host(self, name: &HostName) -> Result<&'a HostSpec, Failure> {
        self.plan.hosts.get(name).ok_or_else(|| missing(format!("the plan doesn't say where {name} is")))
    }

    /// The commands of a role that they manage.
    pub(super) fn commands(self, role: &RoleName) -> Result<&'a ServiceCommands, Failure> {
        match &self.role(role)?.service {
            Service::Commands(commands) => Ok(commands),
            Service::Docker(_) => Err(refused(format!("{role} has no container in the plan, and no commands either"))),
        }
    }

    /// The engine of a host.
    pub(super) async fn docker(self, host: &HostName) -> Result<DockerHost, Failure> {
        self.engine.docker(host, self.host(host)?).await
    }

    /// Words that stand in an env-file and are no secrets.
    pub(super) fn public(self, target: &'a Target) -> [&'a str; 7] {
        let Plan { app, environment, image, release, .. } = self.plan;
        [
            app.as_str(),
            environment.as_str(),
            image.as_str(),
            image.registry(),
            release.tag.as_str(),
            target.role.as_str(),
            target.host.as_str(),
        ]
    }
}

/// An outcome with something to know.
pub fn noted(note: impl Into<String>) -> Outcome {
    Outcome { note: Some(note.into()), ..Outcome::default() }
}

impl SshEngine {
    /// The variables in the env-files of a container; the redactor learns their values.
    pub(super) async fn env_files(
        &self,
        link: &Link,
        spec: &ContainerSpec,
        public: &[&str],
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut all = Vec::new();
        for path in &spec.env_files {
            let host = link.host();
            let text =
                link.ask(&RemoteCommand::new("cat").arg("--").arg(path), SCRIPT).await.map_err(|failure| match failure.kind {
                    FailureKind::Exit { .. } => missing(format!("can't read {path} on {host}: {}", failure.output.join("; "))),
                    _ => failure,
                })?;
            let values = parse_file(&text).map_err(|wrong| refused(format!("{path} on {host}: {wrong}")))?;
            environment::learn(&self.redactor, &values, public);
            self.learnt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert((host.clone(), path.clone()));
            all.extend(values);
        }
        Ok(all)
    }

    /// Makes sure that the redactor knows what a container knows, before something that it wrote is shown: after a restart
    /// of the bot the container is there, but its files weren't read.
    pub(super) async fn know_secrets(&self, link: &Link, spec: &ContainerSpec, public: &[&str]) -> Result<(), Failure> {
        let known = {
            let learnt = self.learnt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            spec.env_files.iter().all(|path| learnt.contains(&(link.host().clone(), path.clone())))
        };
        if !known {
            self.env_files(link, spec, public).await?;
        }
        Ok(())
    }
}
