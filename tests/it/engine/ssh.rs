//! The engine for real hosts, on the rig: the contract, and what is particular to SSH and Docker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use async_trait::async_trait;
use shipmate::domain::names::{HostName, Repository};
use shipmate::domain::spec::HostSpec;
use shipmate::engine::Engine;
use shipmate::engine::ssh::{SshEngine, SshSettings};
use shipmate::secret::Secret;

use super::contract::on_every_world;
use super::world::{Company, SENTINEL, World};
use crate::rig::Rig;

pub struct RigWorld {
    pub rig: Rig,
}

pub async fn open(company: Company) -> RigWorld {
    // Waits for its turn, and starts the rig: nothing for the runtime's own threads.
    let rig = tokio::task::block_in_place(|| match company {
        Company::Shared => Rig::shared(),
        Company::Alone => Rig::fresh(),
    });
    RigWorld { rig }
}

impl RigWorld {
    pub fn settings(&self) -> SshSettings {
        SshSettings {
            ssh_config: Some(PathBuf::from(self.rig.variable("RIG_SSH_CONFIG"))),
            control_parent: Some(PathBuf::from("/tmp")),
            secrets: BTreeMap::from([("APP_SECRET".to_owned(), Secret::new(SENTINEL).unwrap())]),
            ..SshSettings::default()
        }
    }

    pub fn host(&self, n: usize) -> (HostName, HostSpec) {
        let address = format!("127.0.{}.{n}", self.rig.variable("RIG_NET"));
        (format!("appserver{n}").parse().unwrap(), HostSpec { address, docker_socket: "/var/run/docker.sock".into() })
    }
}

#[async_trait]
impl World for RigWorld {
    async fn engine(&self) -> Box<dyn Engine> {
        Box::new(SshEngine::start(self.settings()).await.unwrap())
    }

    fn image(&self) -> Repository {
        self.rig.variable("RIG_IMAGE").parse().unwrap()
    }

    fn hosts(&self) -> Vec<(HostName, HostSpec)> {
        (1..=3).map(|n| self.host(n)).collect()
    }

    fn balancer(&self) -> HostName {
        "balancer".parse().unwrap()
    }

    async fn balanced(&self) -> Vec<String> {
        self.rig.does(&["lb", "list"]).lines().map(str::to_owned).collect()
    }

    async fn serves(&self, address: &str) -> Option<String> {
        let output =
            Command::new("curl").args(["-sf", "-m", "2", "--noproxy", "*", &format!("http://{address}/")]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    async fn read(&self, host: &HostName, path: &str) -> Option<String> {
        let text = self.rig.on(host.as_str(), &format!("[ ! -f {path} ] || {{ echo yes; cat {path}; }}"));
        text.strip_prefix("yes\n").map(str::to_owned)
    }

    async fn write(&self, host: &HostName, path: &str, text: &str) {
        self.rig.on(host.as_str(), &format!("printf %s {} > {path}", shlex::try_quote(text).unwrap()));
    }

    async fn registry(&self, up: bool) {
        self.rig.does(&["registry", if up { "up" } else { "down" }]);
    }

    async fn power(&self, host: &HostName, on: bool) {
        self.rig.does(&[if on { "start" } else { "kill" }, host.as_str()]);
    }
}

on_every_world!(self::open);
