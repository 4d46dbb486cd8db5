//! Containers of a host: look, make, start, stop, remove. Each call says what became true, and is safe to repeat.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, NetworkConnectRequest, PortMap,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::design::PORT;
use super::docker::{DockerHost, Trouble};
use super::failure::{missing, refused};
use super::limits::{API_CALL, FIRST_POLL, KILL, SLOW_API_CALL};
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::spec::Millis;

/// A container as it was found.
#[derive(Debug, Clone)]
pub struct Container {
    /// Where it is in its life.
    pub life: Life,
    /// The id of its image.
    pub image: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// What Docker's own health check says, if there is one.
    pub health: Option<String>,
    /// What the last check printed.
    pub health_output: Option<String>,
    ports: PortMap,
}

/// The code of a container that was ended by KILL.
const KILLED: i64 = 128 + 9;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// It ended with this code, and the engine is about to start it again.
    Restarting(i64),
    /// Over.
    Exited {
        /// The code.
        code: i64,
        /// Whether the kernel killed it for its memory.
        out_of_memory: bool,
    },
}

impl Container {
    fn read(inspected: ContainerInspectResponse) -> Container {
        let state = inspected.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or_default();
        let out_of_memory = state.oom_killed.unwrap_or_default();
        let life = match state.status {
            Some(ContainerStateStatusEnum::CREATED) => Life::Created,
            Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED | ContainerStateStatusEnum::STOPPING) => {
                Life::Running
            }
            Some(ContainerStateStatusEnum::RESTARTING) => Life::Restarting(code),
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING
                | ContainerStateStatusEnum::EMPTY,
            )
            | None => Life::Exited { code, out_of_memory },
        };
        let health = state.health.unwrap_or_default();
        let status = health.status.filter(|status| !matches!(status, HealthStatusEnum::EMPTY | HealthStatusEnum::NONE));
        let last_check = health.log.unwrap_or_default().pop().and_then(|check| check.output).map(|text| text.trim().to_owned());
        Container {
            life,
            image: inspected.image.unwrap_or_default(),
            labels: inspected.config.and_then(|config| config.labels).unwrap_or_default(),
            restarts: inspected.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
            started_at: state.started_at.and_then(|at| at.parse().ok()).filter(|at: &Timestamp| at.as_second() > 0),
            health: status.map(|status| status.to_string()),
            health_output: last_check.filter(|text| !text.is_empty()),
            ports: inspected.network_settings.and_then(|network| network.ports).unwrap_or_default(),
        }
    }

    /// The port on the host: the one that the plan chose, else the one that the engine chose while it runs.
    pub fn port(&self) -> Option<u16> {
        let chosen = self.labels.get(PORT).and_then(|port| port.parse().ok());
        chosen.or_else(|| self.bindings().find_map(|(_, port)| port))
    }

    /// The address that it listens at, if that is a particular one.
    pub fn address(&self) -> Option<IpAddr> {
        self.bindings().find_map(|(address, _)| address).filter(|address| !address.is_unspecified())
    }

    fn bindings(&self) -> impl Iterator<Item = (Option<IpAddr>, Option<u16>)> {
        let all = self.ports.values().flatten().flatten();
        all.map(|binding| {
            let port = binding.host_port.as_deref().and_then(|port| port.parse().ok()).filter(|port| *port != 0);
            (binding.host_ip.as_deref().and_then(|address| address.parse().ok()), port)
        })
    }
}

/// What came of making a container.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made, and waits to be started.
    Made,
    /// There is one of this name; the caller looks whether it is the one.
    NameTaken,
}

/// How a container ended that was stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped {
    /// By itself, after TERM or before.
    Ended,
    /// By KILL.
    Killed,
}

impl DockerHost {
    /// The container of this name; `None` if there is none.
    ///
    /// # Errors
    /// When the engine doesn't say.
    pub async fn inspect(&self, name: &str) -> Result<Option<Container>, Failure> {
        match self.call(API_CALL, self.api().inspect_container(name, None)).await {
            Ok(inspected) => Ok(Some(Container::read(inspected))),
            Err(Trouble::Missing(_)) => Ok(None),
            Err(trouble) => Err(self.failure(&format!("look at {name}"), trouble)),
        }
    }

    /// Makes a container, unless there is one of this name.
    ///
    /// # Errors
    /// When the engine refuses, or hasn't got the image.
    pub async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<Created, Failure> {
        let image = body.image.clone().unwrap_or_default();
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        match self.call(SLOW_API_CALL, self.patient(SLOW_API_CALL).create_container(Some(options), body)).await {
            Ok(_) => Ok(Created::Made),
            Err(Trouble::Conflict(_)) => Ok(Created::NameTaken),
            // An engine looks for the image before it looks at the name.
            Err(Trouble::Missing(_)) => match self.inspect(name).await? {
                Some(_) => Ok(Created::NameTaken),
                None => Err(missing(format!("{} doesn't have the image {image}: a deployment pulls it", self.host()))),
            },
            Err(trouble) => Err(self.failure(&format!("make {name}"), trouble)),
        }
    }

    /// Connects a container to the networks behind the first, in which it was made: engines before 25 take only one there.
    ///
    /// # Errors
    /// When there is no such network.
    pub async fn connect_further(&self, name: &str, networks: &[String]) -> Result<(), Failure> {
        for network in networks.iter().skip(1) {
            let request = NetworkConnectRequest { container: name.to_owned(), endpoint_config: None };
            match self.call(API_CALL, self.api().connect_network(network, request)).await {
                Ok(()) => (),
                Err(Trouble::Refused(why)) if why.contains("already exists in network") => (),
                Err(trouble) => return Err(self.failure(&format!("connect {name} to the network {network}"), trouble)),
            }
        }
        Ok(())
    }

    /// Starts a container; one that runs goes on.
    ///
    /// # Errors
    /// When the engine can't start it.
    pub async fn start(&self, name: &str) -> Result<(), Failure> {
        match self.call(SLOW_API_CALL, self.patient(SLOW_API_CALL).start_container(name, None)).await {
            Ok(()) => Ok(()),
            Err(Trouble::Refused(why)) if why.contains("port is already allocated") || why.contains("address already in use") => {
                Err(refused(format!("can't start {name} on {}: its port is taken by something else ({why})", self.host())))
            }
            Err(trouble) => Err(self.failure(&format!("start {name}"), trouble)),
        }
    }

    /// Stops a container and proves it: when this returns it doesn't run and won't be restarted. It is kept.
    ///
    /// # Errors
    /// When it can't be proven.
    pub async fn stop(&self, name: &str, grace: Millis) -> Result<Stopped, Failure> {
        let seconds = i32::try_from(grace.0.div_ceil(1000)).unwrap_or(i32::MAX);
        let deadline = grace.duration() + API_CALL;
        // A container in a restart loop may slip through between two lives; then it is asked again.
        for _ in 0..3 {
            let options = StopContainerOptionsBuilder::new().t(seconds).build();
            match self.call(deadline, self.patient(deadline).stop_container(name, Some(options))).await {
                Ok(()) => (),
                Err(Trouble::Missing(_)) => return Ok(Stopped::Ended),
                Err(Trouble::Timeout(_) | Trouble::Refused(_)) => self.kill(name).await?,
                Err(trouble) => return Err(self.failure(&format!("stop {name}"), trouble)),
            }
            if let Some(stopped) = self.gone_within(name, KILL).await? {
                return Ok(stopped);
            }
            self.kill(name).await?;
        }
        Err(Failure::new(FailureKind::Timeout, format!("{name} still runs on {} after TERM and KILL", self.host())))
    }

    async fn gone_within(&self, name: &str, span: Duration) -> Result<Option<Stopped>, Failure> {
        let until = Instant::now() + span;
        loop {
            match self.inspect(name).await?.map(|container| container.life) {
                Some(Life::Exited { code: KILLED, .. }) => return Ok(Some(Stopped::Killed)),
                None | Some(Life::Created | Life::Exited { .. }) => return Ok(Some(Stopped::Ended)),
                Some(Life::Running | Life::Restarting(_)) if Instant::now() >= until => return Ok(None),
                Some(Life::Running | Life::Restarting(_)) => sleep(FIRST_POLL).await,
            }
        }
    }

    /// Sends KILL; a container that doesn't run is left alone.
    ///
    /// # Errors
    /// When the engine doesn't answer.
    pub async fn kill(&self, name: &str) -> Result<(), Failure> {
        let options = KillContainerOptionsBuilder::new().signal("KILL").build();
        match self.call(API_CALL, self.api().kill_container(name, Some(options))).await {
            Ok(()) | Err(Trouble::Missing(_) | Trouble::Conflict(_)) => Ok(()),
            Err(Trouble::Refused(why)) if why.contains("is not running") => Ok(()),
            Err(trouble) => Err(self.failure(&format!("kill {name}"), trouble)),
        }
    }

    /// Removes a container with its anonymous volumes. `even_running` kills it first; without, a running one is refused.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn remove(&self, name: &str, even_running: EvenRunning) -> Result<(), Failure> {
        let options = RemoveContainerOptionsBuilder::new().force(even_running == EvenRunning::Yes).v(true).build();
        match self.call(SLOW_API_CALL, self.patient(SLOW_API_CALL).remove_container(name, Some(options))).await {
            Ok(()) | Err(Trouble::Missing(_)) => Ok(()),
            // Someone else removes it at the same moment; then it is the end that counts.
            Err(Trouble::Conflict(why)) if why.contains("already in progress") => {
                let until = Instant::now() + KILL;
                while self.inspect(name).await?.is_some() {
                    if Instant::now() >= until {
                        return Err(self.failure(&format!("remove {name}"), Trouble::Conflict(why)));
                    }
                    sleep(FIRST_POLL).await;
                }
                Ok(())
            }
            Err(trouble) => Err(self.failure(&format!("remove {name}"), trouble)),
        }
    }
}

/// Whether a running container is removed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvenRunning {
    /// It is killed first.
    Yes,
    /// It is refused.
    No,
}
