//! What a host really runs. The probe, the list of containers and the list of images go side by side; running containers
//! are then looked at one by one, since the list doesn't tell how often they were restarted.

use std::collections::{BTreeMap, HashMap};

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::SshEngine;
use super::command::RemoteCommand;
use super::container::Life;
use super::design::{APP, DIGEST, ENVIRONMENT, PORT, REVISION, ROLE, TAG, TASK};
use super::docker::DockerHost;
use super::failure::{missing, refused};
use super::limits::{API_CALL, COMMANDS_AT_ONCE, SCRIPT};
use super::probe::{self, Probe, Probed};
use crate::domain::deployment::Failure;
use crate::domain::names::{AppName, EnvironmentName, HostName};
use crate::domain::observed::{ContainerSeen, HostSeen};
use crate::domain::plan::{Release, Target};
use crate::domain::spec::{EnvironmentSpec, HostSpec, Service};

impl SshEngine {
    pub(super) async fn observe_host(
        &self,
        spec: &EnvironmentSpec,
        host: &HostName,
        host_spec: &HostSpec,
    ) -> Result<HostSeen, Failure> {
        let mut services = BTreeMap::new();
        for (name, role) in spec.roles.iter().filter(|(_, role)| role.hosts.contains(host)) {
            if let Service::Commands(commands) = &role.service {
                let status = RemoteCommand::from_words(&commands.status);
                services.insert(name, status.ok_or_else(|| missing(format!("{name} has no status command")))?);
            }
        }
        let look = Probe { tag_folder: spec.tag_folder.as_deref(), services };
        let look = look.command().map_err(|error| refused(error.to_string()))?;
        let (link, answer) = self.links.get_with(host, &look).await?;
        let docker = self.docker_over(&link, host_spec).await?;
        let answer = async {
            match answer {
                Some(answer) => Ok(answer),
                None => link.ask(&look, SCRIPT).await,
            }
        };
        let (answer, info, containers, images) =
            tokio::try_join!(answer, docker.info(), docker.list(&spec.app, &spec.environment), docker.images(&spec.image))?;
        let probed = probe::parse(&answer);
        let free_mib = docker.free_mib(&probed, info.docker_root_dir.as_deref().unwrap_or_default()).await?;
        let services = containers.iter().filter(|listed| label(listed, TASK).is_none());
        let looks: Vec<_> = services.map(|listed| docker.look_closer(listed)).collect();
        let seen: Vec<_> = stream::iter(looks).buffered(COMMANDS_AT_ONCE).try_collect().await?;
        Ok(HostSeen {
            engine_version: info.server_version.unwrap_or_default(),
            free_mib: free_mib.unwrap_or_default(),
            containers: seen.into_iter().flatten().collect(),
            services: probed.services,
            images,
            tag_files: probed.tag_files,
        })
    }

    pub(super) async fn running_container(
        &self,
        docker: &DockerHost,
        spec: &EnvironmentSpec,
        target: &Target,
    ) -> Result<String, Failure> {
        let listed = docker.list(&spec.app, &spec.environment).await?;
        let of_target =
            |summary: &&ContainerSummary| label(summary, ROLE) == Some(target.role.as_str()) && label(summary, TASK).is_none();
        let mut newest_first = listed.iter().filter(of_target);
        let running = newest_first.clone().find(|summary| is_running(summary)).or_else(|| newest_first.next());
        running.and_then(name).map(str::to_owned).ok_or_else(|| missing(format!("{target} has no container of Shipmate's")))
    }
}

impl DockerHost {
    /// The containers of an app's environment, running and not, newest first.
    pub(super) async fn list(&self, app: &AppName, environment: &EnvironmentName) -> Result<Vec<ContainerSummary>, Failure> {
        let labels = [format!("{APP}={app}"), format!("{ENVIRONMENT}={environment}")];
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.call(API_CALL, self.api().list_containers(Some(options))).await;
        let mut listed = listed.map_err(|trouble| self.failure("list the containers", trouble))?;
        listed.sort_by_key(|summary| std::cmp::Reverse(summary.created));
        Ok(listed)
    }

    /// The free space where the engine keeps its data; asked again only when the probe looked at another place.
    pub(super) async fn free_mib(&self, probed: &Probed, root: &str) -> Result<Option<u64>, Failure> {
        if root.is_empty() || root == probed.root {
            return Ok(probed.free_mib);
        }
        Ok(probe::parse(&self.link().ask(&probe::free_space(root), SCRIPT).await?).free_mib)
    }

    /// `None` for a container whose labels aren't all there: it isn't one that Shipmate made.
    async fn look_closer(&self, summary: &ContainerSummary) -> Result<Option<ContainerSeen>, Failure> {
        let Some(mut seen) = read(summary) else { return Ok(None) };
        if seen.running {
            match self.inspect(&seen.name).await? {
                None => return Ok(None),
                Some(now) => {
                    seen.running = matches!(now.life, Life::Running | Life::Restarting(_));
                    seen.port = now.port();
                    (seen.health, seen.restarts, seen.started_at) = (now.health, now.restarts, now.started_at);
                }
            }
        }
        Ok(Some(seen))
    }
}

fn label<'a>(summary: &'a ContainerSummary, key: &str) -> Option<&'a str> {
    summary.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn name(summary: &ContainerSummary) -> Option<&str> {
    let name = summary.names.as_ref()?.first()?;
    Some(name.strip_prefix('/').unwrap_or(name))
}

pub(super) fn is_running(summary: &ContainerSummary) -> bool {
    summary.state.is_some_and(|state| ["running", "restarting", "paused", "stopping"].contains(&state.to_string().as_str()))
}

fn read(summary: &ContainerSummary) -> Option<ContainerSeen> {
    Some(ContainerSeen {
        name: name(summary)?.to_owned(),
        role: label(summary, ROLE)?.parse().ok()?,
        release: Release { tag: label(summary, TAG)?.parse().ok()?, digest: label(summary, DIGEST)?.parse().ok()? },
        revision: label(summary, REVISION)?.to_owned(),
        running: is_running(summary),
        health: None,
        restarts: 0,
        started_at: None,
        port: label(summary, PORT).and_then(|port| port.parse().ok()),
    })
}
