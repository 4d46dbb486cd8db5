//! From a plan to what the engine makes a container of. Pure: the values of secrets and files come in as text.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum};

use super::environment::Places;
use super::failure::refused;
use crate::domain::deployment::Failure;
use crate::domain::names::TaskName;
use crate::domain::plan::{Plan, Target};
use crate::domain::spec::{ContainerSpec, HostSpec, Publish, RoleSpec};

/// The label of the app's name; with [`ENVIRONMENT`] it makes a container one of ours.
pub const APP: &str = "shipmate.app";
/// The label of the environment.
pub const ENVIRONMENT: &str = "shipmate.environment";
/// The label of the role.
pub const ROLE: &str = "shipmate.role";
/// The label of the tag that people know the image by.
pub const TAG: &str = "shipmate.tag";
/// The label of the image's content.
pub const DIGEST: &str = "shipmate.digest";
/// The label of the spec's revision.
pub const REVISION: &str = "shipmate.revision";
/// The label of the port on the host, where the plan chose one.
pub const PORT: &str = "shipmate.port";
/// The label of a task's name; containers of services don't have it.
pub const TASK: &str = "shipmate.task";

/// The network that is no network of its own.
const HOST_NETWORK: &str = "host";

/// What a container is for.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// It serves.
    Service {
        /// The port on the host, where the plan chose one.
        port: Option<u16>,
    },
    /// It runs a task once.
    Task {
        /// The task.
        name: &'a TaskName,
        /// The arguments to the image's entry point.
        command: &'a [String],
    },
}

/// A container that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Design<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The role and the host.
    pub target: &'a Target,
    /// What it is for.
    pub part: Part<'a>,
    /// The role, out of the plan.
    pub role: &'a RoleSpec,
    /// The host, out of the plan.
    pub host: &'a HostSpec,
}

impl Design<'_> {
    fn spec(&self) -> &ContainerSpec {
        self.role.container()
    }

    /// What the placeholders in its variables stand for. A task publishes nothing, so its port is 0: whatever binds that, disturbs none.
    pub fn places(&self) -> Places<'_> {
        let port = match self.part {
            Part::Service { port } => port.map(|port| port.to_string()),
            Part::Task { .. } => Some("0".to_owned()),
        };
        let address = self.spec().publish.as_ref().and_then(|publish| publish.address.as_deref()).unwrap_or(&self.host.address);
        Places { address, port, host: self.target.host.as_str(), role: self.target.role.as_str() }
    }

    /// The labels by which Shipmate knows it again.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.spec().options.labels.clone();
        let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
        set(APP, self.plan.app.as_str());
        set(ENVIRONMENT, self.plan.environment.as_str());
        set(ROLE, self.target.role.as_str());
        set(TAG, self.plan.release.tag.as_str());
        set(DIGEST, self.plan.release.digest.as_str());
        set(REVISION, &self.role.revision());
        match self.part {
            Part::Service { port: Some(port) } => set(PORT, &port.to_string()),
            Part::Service { port: None } => None,
            Part::Task { name, .. } => set(TASK, name.as_str()),
        };
        labels
    }

    /// What the engine is asked to make.
    ///
    /// # Errors
    /// When the spec can't be made: a published port without an address to listen at, or without a number in the host's network.
    pub fn body(&self, variables: Vec<String>) -> Result<ContainerCreateBody, Failure> {
        let spec = self.spec();
        let options = &spec.options;
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let in_host_network = spec.networks.first().is_some_and(|network| network == HOST_NETWORK);
        let (command, restart, publish) = match self.part {
            Part::Service { port } => {
                if in_host_network && spec.publish.is_some() && port.is_none() {
                    let Target { role, .. } = self.target;
                    return Err(refused(format!(
                        "{role} runs in the host's network: give it a fixed port, the engine can't choose one there"
                    )));
                }
                (
                    &spec.command[..],
                    RestartPolicyNameEnum::UNLESS_STOPPED,
                    spec.publish.as_ref().filter(|_| !in_host_network).map(|p| (p, port)),
                )
            }
            Part::Task { command, .. } => (command, RestartPolicyNameEnum::NO, None),
        };
        let mut body = ContainerCreateBody {
            // With both, the digest decides and the tag is what `docker ps` shows.
            image: Some(format!("{}:{}@{}", self.plan.image, self.plan.release.tag, self.plan.release.digest)),
            cmd: some(command),
            env: some(&variables),
            user: options.user.clone(),
            labels: Some(self.labels().into_iter().collect()),
            // Rounded up: a person's `docker stop` shall give no less than ours does.
            stop_timeout: i64::try_from(self.role.grace.0.div_ceil(1000)).ok(),
            ..ContainerCreateBody::default()
        };
        let mut host = HostConfig {
            binds: some(&spec.volumes),
            network_mode: spec.networks.first().cloned(),
            restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
            memory: options.memory.and_then(|bytes| i64::try_from(bytes).ok()),
            nano_cpus: options.milli_cpus.and_then(|milli| i64::try_from(milli.saturating_mul(1_000_000)).ok()),
            shm_size: options.shm_size.and_then(|bytes| i64::try_from(bytes).ok()),
            init: options.init.then_some(true),
            readonly_rootfs: options.read_only.then_some(true),
            cap_add: some(&options.cap_add),
            extra_hosts: some(&options.extra_hosts),
            ..HostConfig::default()
        };
        if !options.tmpfs.is_empty() {
            // `/run:size=64m`, as `docker run --tmpfs` takes it.
            let mount =
                |text: &String| text.split_once(':').map_or((text.clone(), String::new()), |(path, how)| (path.into(), how.into()));
            host.tmpfs = Some(options.tmpfs.iter().map(mount).collect());
        }
        if options.log_driver.is_some() || !options.log_options.is_empty() {
            let config = options.log_options.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            host.log_config = Some(HostConfigLogConfig { typ: options.log_driver.clone(), config: Some(config) });
        }
        if let Some((publish, port)) = publish {
            let inside = format!("{}/tcp", publish.container);
            let binding = PortBinding {
                host_ip: Some(self.listen_address(publish)?),
                host_port: Some(port.map_or(String::new(), |p| p.to_string())),
            };
            body.exposed_ports = Some(vec![inside.clone()]);
            host.port_bindings = Some(HashMap::from([(inside, Some(vec![binding]))]));
        }
        body.host_config = Some(host);
        Ok(body)
    }

    /// The engine wants a number where people may have written a name.
    fn listen_address(&self, publish: &Publish) -> Result<String, Failure> {
        let address = publish.address.as_ref().unwrap_or(&self.host.address);
        match address.parse::<IpAddr>() {
            Ok(_) => Ok(address.clone()),
            Err(_) => Err(refused(format!(
                "{} publishes a port at `{address}`, which is not an IP address: set `address` of {} in fleet.toml, or that of the port",
                self.target.role, self.target.host
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::{Purpose, Release, Revisions};
    use crate::domain::spec::{Batch, ContainerOptions, HealthCheck, HostPort, Millis, Order, Service};

    fn plan() -> Plan {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        Plan {
            app: "antisocial".parse().unwrap(),
            environment: "production".parse().unwrap(),
            purpose: Purpose::Deploy,
            image: "reg:5000/thraxil/antisocial".parse().unwrap(),
            release: Release { tag: "build-42".parse().unwrap(), digest },
            before: Vec::new(),
            warnings: Vec::new(),
            stages: Vec::new(),
            roles: BTreeMap::new(),
            hosts: BTreeMap::new(),
            on_failure: Default::default(),
            bake: Millis::default(),
            lock_after: Default::default(),
            nonce: String::new(),
            revision: Revisions::default(),
        }
    }

    fn role(networks: &[&str], address: Option<&str>) -> RoleSpec {
        let publish = Publish { container: 8000, host: HostPort::Ephemeral, address: address.map(str::to_owned) };
        let container = ContainerSpec {
            command: vec!["run".into()],
            publish: Some(publish),
            networks: networks.iter().map(ToString::to_string).collect(),
            options: ContainerOptions {
                tmpfs: vec!["/run:size=1m".into(), "/tmp".into()],
                milli_cpus: Some(1500),
                ..Default::default()
            },
            ..ContainerSpec::default()
        };
        RoleSpec {
            hosts: Vec::new(),
            service: Service::Docker(container),
            health: HealthCheck::Running { after: Millis(0) },
            order: Order::StartFirst,
            batch: Batch::All,
            wait: Millis(0),
            router: None,
            drain: Millis(0),
            grace: Millis(1500),
        }
    }

    fn body(role: &RoleSpec, part: Part<'_>) -> Result<ContainerCreateBody, Failure> {
        let target = Target { role: "web".parse().unwrap(), host: "appserver1".parse().unwrap() };
        let host = HostSpec { address: "10.0.0.1".into(), docker_socket: "/var/run/docker.sock".into() };
        Design { plan: &plan(), target: &target, part, role, host: &host }.body(vec!["A=1".into()])
    }

    #[test]
    fn a_service_publishes_at_the_hosts_address_and_is_restarted() {
        let body = body(&role(&[], None), Part::Service { port: Some(8001) }).unwrap();
        let host = body.host_config.unwrap();
        let binding = &host.port_bindings.unwrap()["8000/tcp"].clone().unwrap()[0];
        assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some("10.0.0.1"), Some("8001")));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
        assert_eq!((host.nano_cpus, body.stop_timeout), (Some(1_500_000_000), Some(2)));
        assert_eq!(host.tmpfs.unwrap(), HashMap::from([("/run".into(), "size=1m".into()), ("/tmp".into(), String::new())]));
        let labels = body.labels.unwrap();
        assert_eq!((labels[PORT].as_str(), labels[TAG].as_str(), labels.get(TASK)), ("8001", "build-42", None));
    }

    #[test]
    fn an_ephemeral_port_is_left_to_the_engine() {
        let body = body(&role(&[], None), Part::Service { port: None }).unwrap();
        assert_eq!(body.host_config.unwrap().port_bindings.unwrap()["8000/tcp"].clone().unwrap()[0].host_port.as_deref(), Some(""));
        assert!(!body.labels.unwrap().contains_key(PORT));
    }

    #[test]
    fn in_the_hosts_network_nothing_is_bound_and_the_port_must_be_known() {
        let known = body(&role(&["host"], None), Part::Service { port: Some(8001) }).unwrap().host_config.unwrap();
        assert_eq!((known.port_bindings, known.network_mode.as_deref()), (None, Some("host")));
        assert!(body(&role(&["host"], None), Part::Service { port: None }).is_err());
    }

    #[test]
    fn a_task_publishes_nothing_and_runs_once() {
        let (name, command) = ("migrate".parse().unwrap(), ["migrate".to_owned()]);
        let body = body(&role(&[], None), Part::Task { name: &name, command: &command }).unwrap();
        let host = body.host_config.unwrap();
        assert_eq!((host.port_bindings, body.cmd.unwrap()), (None, vec!["migrate".to_owned()]));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
        assert_eq!(body.labels.unwrap()[TASK], "migrate");
    }

    #[test]
    fn a_port_needs_a_numeric_address() {
        let failure = body(&role(&[], Some("web.example.org")), Part::Service { port: Some(80) }).unwrap_err();
        assert!(failure.message.contains("not an IP address"), "{failure:?}");
    }
}
