//! What the fleet file wants of an app's environment, as checked values: roles, health checks, tasks, routers, hosts.
//!
//! These are also the values that a plan freezes, so everything here can be written to the journal: a secret stands here
//! by the name of its variable only and gets its value in the engine, at the last moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hashed::hashed;
use super::names::{AppName, EnvironmentName, HostName, Repository, RoleName, TaskName};
use super::policy::Policy;

/// A span of time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// `n` whole seconds.
    pub const fn seconds(n: u64) -> Millis {
        Millis(n * 1000)
    }

    /// Whether it is no time at all.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The moment so long after `at`; the end of time if there is none.
    pub fn after(self, at: jiff::Timestamp) -> jiff::Timestamp {
        at.checked_add(self.duration()).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The same span for the timers of std and tokio.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// One app in one environment: all that a plan is made from, but for what the hosts run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSpec {
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvironmentName,
    /// Where the app's images are.
    pub image: Repository,
    /// The roles by name.
    pub roles: BTreeMap<RoleName, RoleSpec>,
    /// The order in which roles roll: one group after the other, the roles of a group side by side.
    pub roll: Vec<Vec<RoleName>>,
    /// What runs once, in this order, before anything is switched.
    pub tasks: Vec<TaskSpec>,
    /// The hosts that the roles name.
    pub hosts: BTreeMap<HostName, HostSpec>,
    /// Where the TAG and REVERT files of a host lie, if they are wanted; absolute, placeholders resolved.
    pub tag_folder: Option<String>,
    /// How many hosts pull at the same time.
    pub pulls_at_once: usize,
    /// The free disk space, in MiB, below which preflight refuses a host.
    pub min_free_mib: u64,
    /// What it demands of those who change it.
    pub policy: Policy,
}

impl EnvironmentSpec {
    /// Tells whether a plan was made from this very spec: the hash of all but the policy, which changes nothing of what a
    /// deployment does.
    pub fn revision(&self) -> String {
        let EnvironmentSpec {
            app,
            environment,
            image,
            roles,
            roll,
            tasks,
            hosts,
            tag_folder,
            pulls_at_once,
            min_free_mib,
            policy: _,
        } = self;
        hashed(&(app, environment, image, roles, roll, tasks, hosts, tag_folder, pulls_at_once, min_free_mib))
    }
}

/// How Shipmate reaches a host and what listens there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// The address at which the balancer and the health checks reach the host's published ports.
    pub address: String,
    /// The Docker Engine's socket on the host.
    pub docker_socket: String,
}

/// One role of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// Where it runs, in the order in which it rolls.
    pub hosts: Vec<HostName>,
    /// How its service is managed.
    pub service: Service,
    /// When it counts as healthy.
    pub health: HealthCheck,
    /// Whether the new one starts before the old one stops.
    pub order: Order,
    /// How many hosts are switched at the same time.
    pub batch: Batch,
    /// The wait between two batches.
    pub wait: Millis,
    /// The balancer that sends traffic to it.
    pub router: Option<RouterSpec>,
    /// How long the old one goes on serving requests that it has, after it left the balancer.
    pub drain: Millis,
    /// How long a container gets between TERM and KILL.
    pub grace: Millis,
}

/// Who starts and stops the role on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Service {
    /// Shipmate, by the Docker Engine's API.
    Docker(ContainerSpec),
    /// Commands of the host (an init that runs a script which reads the TAG file).
    Commands(ServiceCommands),
}

/// The commands of a service that the host's init manages. Each is a program with its arguments; none goes through a shell of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCommands {
    /// Starts it; exit status 0 means started.
    pub start: Vec<String>,
    /// Stops it; exit status 0 means gone.
    pub stop: Vec<String>,
    /// Exit status 0 means that it runs.
    pub status: Vec<String>,
    /// The port at which it listens on the host's address, if it listens.
    pub port: Option<u16>,
    /// What the tasks of the environment run with, as the service's own containers do.
    pub container: ContainerSpec,
}

impl RoleSpec {
    /// What containers of this role are made from; for a role managed by commands: what its tasks run with.
    pub fn container(&self) -> &ContainerSpec {
        match &self.service {
            Service::Docker(container) => container,
            Service::Commands(commands) => &commands.container,
        }
    }

    /// Tells whether a container was made from this very spec: 12 hexadecimal digits of its hash. Secrets count by name only.
    pub fn revision(&self) -> String {
        let mut digits = hashed(self.container());
        digits.truncate(12);
        digits
    }
}

/// What a container is made from, but for the image and the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The arguments to the image's entry point; none = the image's own.
    pub command: Vec<String>,
    /// The environment variables.
    pub env: BTreeMap<String, EnvValue>,
    /// Files on the host with `KEY=value` lines, read when a container is made.
    pub env_files: Vec<String>,
    /// The port that it publishes.
    pub publish: Option<Publish>,
    /// `source:target[:ro]`, as `docker run -v` takes it.
    pub volumes: Vec<String>,
    /// The networks; the first is where it is made. None = the engine's default.
    pub networks: Vec<String>,
    /// Everything else.
    pub options: ContainerOptions,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// This text. `{address}`, `{port}`, `{host}` and `{role}` in it stand for the container's own.
    Text(String),
    /// The value that a variable of this name has in the bot's environment.
    Secret(String),
}

/// The port that a container publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The port inside the container.
    pub container: u16,
    /// The port on the host.
    pub host: HostPort,
    /// The address on the host that it listens at; none = the host's own address.
    pub address: Option<String>,
}

/// The port on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPort {
    /// One of these; the new container takes one that the old one doesn't have.
    Fixed(Vec<u16>),
    /// One that the engine chooses.
    Ephemeral,
}

/// The less common options of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerOptions {
    /// `user[:group]`.
    pub user: Option<String>,
    /// The limit of memory in bytes.
    pub memory: Option<u64>,
    /// The limit of processor time, in thousandths of a core.
    pub milli_cpus: Option<u64>,
    /// The size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// An init process inside the container.
    pub init: bool,
    /// A read-only root file system.
    pub read_only: bool,
    /// Mount points of temporary file systems.
    pub tmpfs: Vec<String>,
    /// Additional capabilities.
    pub cap_add: Vec<String>,
    /// `name:address` lines for the container's hosts file.
    pub extra_hosts: Vec<String>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// The logging driver; none = the engine's own.
    pub log_driver: Option<String>,
    /// The options of the logging driver.
    pub log_options: BTreeMap<String, String>,
}

/// When a role counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum HealthCheck {
    /// The image's own HEALTHCHECK says so.
    Docker {
        /// How long it may take.
        deadline: Millis,
    },
    /// An HTTP request to its port gets an accepted answer.
    Http {
        /// The path, `/health`.
        path: String,
        /// The Host header; none = address and port.
        host: Option<String>,
        /// Further headers, such as `X-Forwarded-Proto`.
        headers: BTreeMap<String, String>,
        /// The accepted status codes, as inclusive ranges.
        codes: Vec<(u16, u16)>,
        /// How long it may take.
        deadline: Millis,
        /// The time between two requests.
        interval: Millis,
        /// How long one request may take.
        timeout: Millis,
    },
    /// It still runs, not restarted, after this time.
    Running {
        /// The time.
        after: Millis,
    },
}

impl HealthCheck {
    /// The longest time that the check may take.
    pub fn deadline(&self) -> Millis {
        match self {
            HealthCheck::Docker { deadline } | HealthCheck::Http { deadline, .. } => *deadline,
            HealthCheck::Running { after } => *after,
        }
    }
}

/// Which of old and new overlaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new one starts beside the old one; no moment without service.
    StartFirst,
    /// The old one is proven gone before the new one starts; never two.
    StopFirst,
}

/// How many hosts of a role are switched at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// So many.
    Hosts(usize),
    /// All of them.
    All,
}

impl Batch {
    /// The number of hosts in a batch, given how many there are; never 0.
    pub fn size(self, hosts: usize) -> usize {
        match self {
            Batch::Hosts(n) => n.clamp(1, hosts.max(1)),
            Batch::All => hosts.max(1),
        }
    }
}

/// A load balancer that is told by commands over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterSpec {
    /// Its name in the fleet file.
    pub name: String,
    /// The host that the commands run on.
    pub host: HostName,
    /// Brings a server in. `{app}`, `{environment}`, `{role}`, `{host}` and `{address}` stand for themselves.
    pub join: Vec<String>,
    /// Takes a server out; when it returns no new request goes there.
    pub leave: Vec<String>,
    /// How long a command may take.
    pub deadline: Millis,
}

/// A task that runs once a deployment, from the new image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its name.
    pub name: TaskName,
    /// The role whose container it runs in and on whose first host.
    pub role: RoleName,
    /// The arguments to the image's entry point.
    pub command: Vec<String>,
    /// How long it may take in all.
    pub deadline: Millis,
    /// Whether it changes data that going back doesn't restore; a revert across it warns.
    pub irreversible: bool,
    /// Whether a revert runs it too, from the old image (for instance to make the static files' manifest again).
    pub on_revert: bool,
}
