//! What the hosts really run, as an engine saw it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{Digest, HostName, RoleName, Tag};
use super::plan::{Release, TagFiles, Target};

/// The hosts of one app's environment, each as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The hosts; every host of the environment is here, reachable or not.
    pub hosts: BTreeMap<HostName, Result<HostSeen, Unreachable>>,
    /// The hosts of the environment's balancers that don't answer.
    pub lost_balancers: BTreeMap<HostName, Unreachable>,
}

/// Why a host or its engine did not answer; says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// One host that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostSeen {
    /// The engine's version.
    pub engine_version: String,
    /// The free space, in MiB, where the engine keeps images.
    pub free_mib: u64,
    /// The app's containers in this environment, running and stopped, newest first; tasks' containers aren't here.
    pub containers: Vec<ContainerSeen>,
    /// The roles that commands manage, and whether they run.
    pub services: BTreeMap<RoleName, bool>,
    /// The digests of the app's images that are on the host.
    pub images: Vec<Digest>,
    /// What the TAG and REVERT files say.
    pub tag_files: TagFiles,
}

/// One container that Shipmate made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: RoleName,
    /// What it was made from.
    pub release: Release,
    /// The revision of the role's configuration that it was made with.
    pub revision: String,
    /// Whether it runs.
    pub running: bool,
    /// What Docker's own health check says, if there is one.
    pub health: Option<String>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// The port on the host that it has, or would have when started again.
    pub port: Option<u16>,
}

impl Observed {
    /// The host, if it answered.
    pub fn host(&self, host: &HostName) -> Option<&HostSeen> {
        self.hosts.get(host).and_then(|seen| seen.as_ref().ok())
    }

    /// The hosts that didn't answer.
    pub fn unreachable(&self) -> impl Iterator<Item = (&HostName, &Unreachable)> {
        self.hosts.iter().filter_map(|(host, seen)| seen.as_ref().err().map(|why| (host, why)))
    }

    /// The containers of a target, newest first.
    pub fn containers(&self, target: &Target) -> impl Iterator<Item = &ContainerSeen> {
        let role = target.role.clone();
        self.host(&target.host).into_iter().flat_map(|seen| &seen.containers).filter(move |container| container.role == role)
    }

    /// What a target runs: of its running containers the newest; for a role managed by commands what TAG says while it runs.
    pub fn tag(&self, target: &Target) -> Option<&Tag> {
        let seen = self.host(&target.host)?;
        match seen.services.get(&target.role) {
            Some(true) => seen.tag_files.tag.as_ref(),
            Some(false) => None,
            None => self.running(target).map(|container| &container.release.tag),
        }
    }

    /// The newest running container of a target.
    pub fn running(&self, target: &Target) -> Option<&ContainerSeen> {
        self.containers(target).find(|container| container.running)
    }
}
