//! What a role's containers are made from: command, environment, volumes, networks, the published port, the options.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::reader::{Table, Value};
use super::values::{capability, command, extra_host, ip, path, size, tmpfs, variable, volume, word};
use crate::domain::spec::{ContainerOptions, ContainerSpec, EnvValue, HostPort, Publish};

/// The least memory that Docker lets a container have.
const LEAST_MEMORY: u64 = 6 << 20;

/// What all roles of an environment have in common; a role's own goes before it.
#[derive(Clone, Default)]
pub(super) struct Common {
    /// The environment variables.
    pub(super) env: BTreeMap<String, EnvValue>,
    /// The files with environment variables.
    pub(super) env_files: Vec<String>,
}

impl Common {
    /// Reads `env` and `env_files` of a role or an environment, on top of what is common already.
    pub(super) fn and(&self, table: &Table<'_>) -> Common {
        let mut all = self.clone();
        all.env.extend(table.or("env", BTreeMap::new(), env));
        // The engine lets a later file win over an earlier one, so the role's come last.
        let files = table.or("env_files", vec![], |value| Some(value.list(|file| file.check(path))));
        all.env_files.retain(|file| !files.contains(file));
        all.env_files.extend(files);
        all
    }
}

fn env(value: Value<'_>) -> Option<BTreeMap<String, EnvValue>> {
    let entry = |entry: Value<'_>| {
        if entry.key.is_empty() || entry.key.contains('=') || entry.key.chars().any(|c| c.is_control() || c.is_whitespace()) {
            entry.problem(format!("`{}` is no name of an environment variable", entry.key));
        }
        Some((entry.key.to_owned(), env_value(entry)?))
    };
    Some(value.entries()?.into_iter().filter_map(entry).collect())
}

fn env_value(value: Value<'_>) -> Option<EnvValue> {
    if value.is_table() {
        let secret = value.table("secret", |table| {
            let secret = table.need("secret", "{ secret = \"NAME\" } is the value that NAME has in the bot's environment")?;
            variable(secret)
        });
        return secret.flatten().map(EnvValue::Secret);
    }
    if !value.is_text() {
        value.problem(format!(
            "`{0}` is a text in quotes, or {{ secret = \"{0}\" }} for a value from the bot's environment",
            value.key
        ));
        return None;
    }
    value.check(|text| if text.contains('\0') { Err("it holds a NUL") } else { Ok(EnvValue::Text(text.to_owned())) })
}

/// Reads the role's container, but for the port.
pub(super) fn read(role: &Table<'_>, common: &Common) -> ContainerSpec {
    let Common { env, env_files } = common.and(role);
    ContainerSpec {
        command: role.or("command", vec![], command),
        env,
        env_files,
        publish: None,
        volumes: role.or("volumes", vec![], |value| Some(value.list(|item| item.check(volume)))),
        networks: role.or("networks", vec![], networks),
        options: role.or("options", ContainerOptions::default(), |value| value.table("options", |table| options(&table))),
    }
}

fn networks(value: Value<'_>) -> Option<Vec<String>> {
    let networks = value.list(word);
    for (place, name) in networks.iter().enumerate() {
        if networks[..place].contains(name) {
            value.problem(format!("the network `{name}` stands there twice"));
        }
    }
    if networks.len() > 1 && networks.iter().any(|name| name == "host") {
        value.problem("the network `host` goes with no other network");
    }
    Some(networks)
}

fn options(table: &Table<'_>) -> ContainerOptions {
    let texts = |key, check: fn(&str) -> Result<String, &'static str>| {
        table.or(key, vec![], |value| Some(value.list(|item| item.check(check))))
    };
    ContainerOptions {
        user: table.get("user").and_then(word),
        memory: table.get("memory").and_then(memory),
        milli_cpus: table.get("cpus").and_then(cpus),
        shm_size: table.get("shm_size").and_then(size),
        init: table.or("init", false, Value::truth),
        read_only: table.or("read_only", false, Value::truth),
        tmpfs: texts("tmpfs", tmpfs),
        cap_add: texts("cap_add", capability),
        extra_hosts: texts("extra_hosts", extra_host),
        labels: table.or("labels", BTreeMap::new(), labels),
        log_driver: table.get("log_driver").and_then(word),
        log_options: table.or("log_options", BTreeMap::new(), texts_by_name),
    }
}

fn memory(value: Value<'_>) -> Option<u64> {
    let memory = size(value)?;
    if memory < LEAST_MEMORY {
        value.problem("Docker gives a container no less than 6m of memory");
    }
    Some(memory)
}

fn cpus(value: Value<'_>) -> Option<u64> {
    let cpus = value.number()?;
    if !(0.01..=1024.0).contains(&cpus) {
        value.problem("`cpus` is a number of cores from 0.01 to 1024");
        return None;
    }
    // In range, so the conversion keeps the value.
    Some((cpus * 1000.0).round() as u64)
}

fn texts_by_name(value: Value<'_>) -> Option<BTreeMap<String, String>> {
    Some(value.entries()?.into_iter().filter_map(|entry| Some((entry.key.to_owned(), entry.text()?.to_owned()))).collect())
}

fn labels(value: Value<'_>) -> Option<BTreeMap<String, String>> {
    for entry in value.entries()?.iter().filter(|entry| entry.key.starts_with("shipmate.")) {
        entry.problem("labels that begin with `shipmate.` are Shipmate's own");
    }
    texts_by_name(value)
}

/// Reads `publish` of a role; on the network of the host itself, `container` runs without a port mapping.
pub(super) fn publish(value: Value<'_>, container: &ContainerSpec) -> Option<Publish> {
    value.table("publish", |table| {
        let inside = table.get("container").map(port);
        let outside = table.get("host").map(host_port);
        let address = table.get("address").and_then(|value| value.check(ip));
        let (container_port, host) = match (inside, outside) {
            (Some(inside), None) => (inside?, HostPort::Fixed(vec![inside?])),
            (Some(inside), Some(outside)) => (inside?, outside?),
            (None, Some(Some(HostPort::Fixed(ports)))) => (*ports.first()?, HostPort::Fixed(ports)),
            (None, Some(None)) => return None,
            (None, _) => {
                value.problem("`container` is missing: the port inside the container, `publish = { container = 8000 }`");
                return None;
            }
        };
        let publish = Publish { container: container_port, host, address };
        if container.networks.iter().any(|name| name == "host") {
            on_host_network(value, &publish, container);
        }
        Some(publish)
    })?
}

fn port(value: Value<'_>) -> Option<u16> {
    value.whole(1..=65535).and_then(|port| u16::try_from(port).ok())
}

fn host_port(value: Value<'_>) -> Option<HostPort> {
    if value.is_text() {
        return value.check(|text| match text {
            "ephemeral" => Ok(HostPort::Ephemeral),
            _ => Err("it is a port, a list of ports, or \"ephemeral\""),
        });
    }
    let items = if value.is_list() { value.items()? } else { vec![value] };
    let mut ports = Vec::new();
    for item in &items {
        let Some(number) = port(*item) else { continue };
        if ports.contains(&number) {
            item.problem(format!("the port {number} stands there twice"));
        }
        ports.push(number);
    }
    if items.is_empty() {
        value.problem("`host` names no port");
    }
    (!ports.is_empty()).then_some(HostPort::Fixed(ports))
}

/// There, nothing maps ports: the container listens at the host's port itself.
fn on_host_network(value: Value<'_>, publish: &Publish, container: &ContainerSpec) {
    let told = || container.env.values().any(|text| matches!(text, EnvValue::Text(text) if text.contains("{port}")));
    match &publish.host {
        HostPort::Ephemeral => {
            value.problem("on the network `host` the engine chooses no port: name one, `publish = { host = 8000 }`")
        }
        HostPort::Fixed(ports) if ports.as_slice() == [publish.container] || told() => {}
        HostPort::Fixed(ports) if ports.len() == 1 => value.problem(format!(
            "on the network `host` nothing maps the container's port {} to {}: let them be the same, or put `{{port}}` into `env`",
            publish.container, ports[0]
        )),
        HostPort::Fixed(_) => {
            value.problem("on the network `host` the container must be told which of the ports to take: put `{port}` into `env`");
        }
    }
}

/// Whether two addresses that a port is published at get in each other's way.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let everywhere = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    one == other || everywhere(one) || everywhere(other)
}
