//! The engine that drives real hosts: SSH for everything, and the Docker Engine's API over it.
//!
//! There is one connection to each host ([`links`]), made by the user's own `ssh` with the user's own configuration, and
//! all goes through it: commands ([`exec`]), the Docker socket ([`docker`]), health checks ([`health`]). Nothing is
//! installed on the hosts. What surprises: no action trusts what it did before. Each looks first at what is there, so an
//! action that was cut off at any moment is simply done again.
//!
//! In reading order: [`limits`], [`command`], [`exec`], [`dial`], [`link`], [`links`], [`docker`], [`container`], [`act`].

pub mod act;
pub mod command;
pub mod container;
pub mod control;
pub mod design;
pub mod dial;
pub mod docker;
pub mod environment;
pub mod exec;
pub mod failure;
mod files;
mod health;
mod http_check;
pub mod image;
pub mod limits;
pub mod lines;
pub mod link;
pub mod links;
pub mod logs;
mod observe;
mod preflight;
pub mod probe;
mod prune;
pub mod registries;
mod resolve;
mod router;
mod service;
mod switch;
mod task;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use self::act::Act;
use self::control::ControlDir;
use self::docker::DockerHost;
use self::failure::missing;
use self::limits::HOSTS_AT_ONCE;
use self::link::Link;
use self::links::Links;
use self::registries::{Login, Registries};
use super::{Engine, Output, ResolveError};
use crate::domain::deployment::{Failure, Outcome};
use crate::domain::names::{Digest, HostName, Tag};
use crate::domain::observed::{HostSeen, Observed, Unreachable};
use crate::domain::plan::{Action, Plan, Target};
use crate::domain::spec::{EnvironmentSpec, HostSpec};
use crate::secret::{Redactor, Secret};

/// What the engine is made with.
#[derive(Debug, Default)]
pub struct SshSettings {
    /// The SSH configuration; `None` = the user's own (`~/.ssh/config`).
    pub ssh_config: Option<PathBuf>,
    /// Where the private directory for sockets is made; `None` = `$XDG_RUNTIME_DIR`, else the directory for temporary files.
    pub control_parent: Option<PathBuf>,
    /// The values of the secrets that container specs name, by the names of their variables.
    pub secrets: BTreeMap<String, Secret>,
    /// How to log in at private registries.
    pub registries: Registries,
    /// Learns every secret that the engine knows or reads.
    pub redactor: Redactor,
}

/// The engine.
pub struct SshEngine {
    links: Links,
    secrets: BTreeMap<String, Secret>,
    registries: Registries,
    redactor: Redactor,
    /// The env-files whose values the redactor has learnt.
    learnt: Mutex<BTreeSet<(HostName, String)>>,
    /// The last known addresses of containers that joined a balancer: a dead one with an ephemeral port can't be asked any more.
    joined: Mutex<BTreeMap<(HostName, String), String>>,
}

impl SshEngine {
    /// The engine, without any connection yet. Clears up after runs that were killed.
    ///
    /// # Errors
    /// When the SSH configuration isn't there, or the private directory can't be made.
    pub async fn start(settings: SshSettings) -> std::io::Result<SshEngine> {
        let SshSettings { ssh_config, control_parent, secrets, registries, redactor } = settings;
        if let Some(config) = &ssh_config {
            std::fs::metadata(config).map_err(|error| {
                std::io::Error::new(error.kind(), format!("the SSH configuration {}: {error}", config.display()))
            })?;
        }
        let passwords = registries.values().filter_map(|login| match login {
            Login::Password { password, .. } => Some(password),
            Login::Host => None,
        });
        redactor.learn_all(secrets.values().chain(passwords).map(Secret::expose));
        let runtime_dir = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let parent = control_parent.or_else(runtime_dir).unwrap_or_else(std::env::temp_dir);
        ControlDir::clear_dead(&parent).await;
        let links = Links::new(ssh_config, ControlDir::create(&parent)?);
        Ok(SshEngine { links, secrets, registries, redactor, learnt: Mutex::default(), joined: Mutex::default() })
    }

    /// The balancers' hosts that don't answer. Those that do are connected from now on, so that the first switch needn't wait.
    async fn lost_balancers(&self, spec: &EnvironmentSpec) -> BTreeMap<HostName, Unreachable> {
        let hosts: BTreeSet<&HostName> =
            spec.roles.values().filter_map(|role| role.router.as_ref()).map(|router| &router.host).collect();
        let looks: Vec<_> =
            hosts.into_iter().map(|host| async move { (host.clone(), self.links.get(host).await.map(drop)) }).collect();
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(HOSTS_AT_ONCE).collect().await;
        let lost = looked.into_iter().filter_map(|(host, link)| Some((host, Unreachable(self.redacted(link.err()?).message))));
        lost.collect()
    }

    /// The connection to a host and its engine.
    async fn docker(&self, host: &HostName, spec: &HostSpec) -> Result<DockerHost, Failure> {
        let link = self.links.get(host).await?;
        self.docker_over(&link, spec).await
    }

    async fn docker_over(&self, link: &std::sync::Arc<Link>, spec: &HostSpec) -> Result<DockerHost, Failure> {
        let docker = link.docker(&spec.docker_socket).await;
        if docker.is_err() {
            // Someone mends it now, by a group or a line of sshd_config, and either counts for new connections only.
            self.links.forget(link).await;
        }
        docker
    }

    async fn look_at(
        &self,
        spec: &EnvironmentSpec,
        host: &HostName,
        host_spec: &HostSpec,
    ) -> (HostName, Result<HostSeen, Unreachable>) {
        let seen = self.observe_host(spec, host, host_spec).await;
        (host.clone(), seen.map_err(|failure| Unreachable(self.redacted(failure).message)))
    }

    fn redacted(&self, failure: Failure) -> Failure {
        let clean = |text: &String| self.redactor.redact(text).into_owned();
        Failure { message: clean(&failure.message), output: failure.output.iter().map(clean).collect(), ..failure }
    }

    fn remember_joined(&self, target: &Target, container: &str, address: &str) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.insert((target.host.clone(), container.to_owned()), address.to_owned());
    }

    fn joined_address(&self, target: &Target, container: &str) -> Option<String> {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.get(&(target.host.clone(), container.to_owned())).cloned()
    }
}

/// Passes on what the inner one gets, without secrets: the engine alone knows those that it read on the hosts.
struct Clean<'a> {
    inner: &'a dyn Output,
    redactor: &'a Redactor,
}

impl Output for Clean<'_> {
    fn line(&self, line: &str) {
        self.inner.line(&self.redactor.redact(line));
    }

    fn progress(&self, note: &str) {
        self.inner.progress(&self.redactor.redact(note));
    }
}

#[async_trait]
impl Engine for SshEngine {
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed {
        let looks: Vec<_> = spec.hosts.iter().map(|(host, host_spec)| self.look_at(spec, host, host_spec)).collect();
        let (hosts, lost_balancers) =
            tokio::join!(stream::iter(looks).buffer_unordered(HOSTS_AT_ONCE).collect(), self.lost_balancers(spec));
        Observed { hosts, lost_balancers }
    }

    async fn resolve(&self, spec: &EnvironmentSpec, tag: &Tag) -> Result<Digest, ResolveError> {
        let mut last = ResolveError::Unavailable(format!("{} has no hosts", spec.environment));
        // Any host will do; the next one is asked only when one can't tell.
        for (host, host_spec) in &spec.hosts {
            let found = async {
                let docker = self.docker(host, host_spec).await.map_err(|failure| ResolveError::Unavailable(failure.message))?;
                let login = registries::credentials(&self.registries, spec.image.registry(), docker.link(), &self.redactor).await;
                let login = login.map_err(|failure| ResolveError::Unavailable(failure.message))?;
                docker.resolve(&spec.image, tag, login.as_ref()).await
            };
            match found.await {
                Err(ResolveError::Unavailable(why)) => last = ResolveError::Unavailable(self.redactor.redact(&why).into_owned()),
                decided => return decided,
            }
        }
        Err(last)
    }

    async fn apply(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<Outcome, Failure> {
        let output = Clean { inner: output, redactor: &self.redactor };
        Act { engine: self, plan, output: &output }.apply(action).await.map_err(|failure| self.redacted(failure))
    }

    async fn undo(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<(), Failure> {
        let output = Clean { inner: output, redactor: &self.redactor };
        Act { engine: self, plan, output: &output }.undo(action).await.map_err(|failure| self.redacted(failure))
    }

    async fn logs(&self, spec: &EnvironmentSpec, target: &Target, lines: usize) -> Result<Vec<String>, Failure> {
        let read = async {
            let host =
                spec.hosts.get(&target.host).ok_or_else(|| missing(format!("{} has no host {}", spec.environment, target.host)))?;
            let role =
                spec.roles.get(&target.role).ok_or_else(|| missing(format!("{} has no role {}", spec.environment, target.role)))?;
            let docker = self.docker(&target.host, host).await?;
            self.know_secrets(docker.link(), role.container(), &[]).await?;
            let name = self.running_container(&docker, spec, target).await?;
            docker.log_lines(&name, lines).await
        };
        let clean = |lines: Vec<String>| lines.iter().map(|line| self.redactor.redact(line).into_owned()).collect();
        read.await.map(clean).map_err(|failure| self.redacted(failure))
    }

    async fn rest(&self) {
        self.links.rest().await;
    }
}
