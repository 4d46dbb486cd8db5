//! A role of an environment: where it runs, how it is switched, who manages it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::app::Shared;
use super::container::{self, Common};
use super::health::{self, Checkable};
use super::reader::{Table, Value};
use super::values::{command, span};
use crate::domain::names::HostName;
use crate::domain::spec::{
    Batch, ContainerSpec, EnvValue, HostPort, Millis, Order, Publish, RoleSpec, RouterSpec, Service, ServiceCommands,
};
use crate::nearest::hint;

/// Reads a role.
pub(super) fn read(value: Value<'_>, common: &Common, shared: Shared<'_>) -> Option<RoleSpec> {
    value.table("role", |table| role(&table, common, shared)).flatten()
}

fn role(table: &Table<'_>, common: &Common, shared: Shared<'_>) -> Option<RoleSpec> {
    let hosts = table.need("hosts", "the hosts that the role runs on, `hosts = [\"appserver1\"]`").map(hosts);
    let mut container = container::read(table, common);
    let publishes = table.get("publish");
    container.publish = publishes.and_then(|value| container::publish(value, &container));
    let commanded = table.get("service");
    let commands = commanded.and_then(|value| commands(value, &container));
    if let (Some(publishes), Some(_)) = (publishes, commanded) {
        publishes.problem("a role managed by commands publishes nothing: name its port as `port` in `service`");
    }
    // A port that can't be read is reported once, where it is, and not again by what needs it.
    let port = publishes.is_some() || commanded.is_some_and(|_| commands.as_ref().is_none_or(|commands| commands.port.is_some()));
    if let Some(publish) = &mut container.publish {
        listen_where_possible(publish, hosts.as_deref().unwrap_or_default(), shared);
    }
    if commanded.is_none() && (publishes.is_none() || container.publish.is_some()) {
        known_ports(table, &container);
    }
    let order = order(table, commanded.is_some(), container.publish.as_ref());
    let router = table.get("router").and_then(|value| router(value, shared.routers, port));
    let drain = if router.is_some() { Millis::seconds(2) } else { Millis(0) };
    let (batch, wait) = (table.or("batch", Batch::Hosts(1), batch), table.or("wait", Millis(0), span));
    let (drain, grace) = (table.or("drain", drain, span), table.or("grace", Millis::seconds(10), span));
    let health = health::read(table, Checkable { port, container: commanded.is_none() });
    let service = match commanded {
        Some(_) => Service::Commands(commands?),
        None => Service::Docker(container),
    };
    Some(RoleSpec { hosts: hosts?, service, health: health?, order, batch, wait, router, drain, grace })
}

fn hosts(value: Value<'_>) -> Vec<HostName> {
    let mut hosts: Vec<HostName> = Vec::new();
    let items = value.items();
    if items.as_ref().is_some_and(Vec::is_empty) {
        value.problem("the role has no host: `hosts = [\"appserver1\"]`");
    }
    for item in items.unwrap_or_default() {
        let Some(host) = item.parse() else { continue };
        if hosts.contains(&host) {
            item.problem(format!("the host `{host}` stands there twice"));
        } else {
            hosts.push(host);
        }
    }
    hosts
}

/// Docker listens at IP addresses only. Where a host is known by its name, the port is published everywhere, as `docker run -p` does.
fn listen_where_possible(publish: &mut Publish, hosts: &[HostName], shared: Shared<'_>) {
    let numeric = |host: &HostName| shared.host(host).address.parse::<IpAddr>().is_ok();
    if publish.address.is_none() && !hosts.iter().all(numeric) {
        publish.address = Some(Ipv4Addr::UNSPECIFIED.to_string());
    }
}

/// `{port}` in a variable stands for a port that is known before the container is made.
fn known_ports(table: &Table<'_>, container: &ContainerSpec) {
    let fixed = container.publish.as_ref().is_some_and(|publish| matches!(publish.host, HostPort::Fixed(_)));
    for (name, value) in container.env.iter().filter(|_| !fixed) {
        if matches!(value, EnvValue::Text(text) if text.contains("{port}")) {
            table
                .problem(format!("`{name}` needs {{port}}, but the role has no fixed port: give it one, or a `{name}` of its own"));
        }
    }
}

fn commands(value: Value<'_>, container: &ContainerSpec) -> Option<ServiceCommands> {
    value.table("service", |table| {
        let start =
            table.need("start", "the command that starts it, `start = [\"sudo\", \"systemctl\", \"start\", \"antisocial\"]`");
        let stop = table.need("stop", "the command that stops it and returns when it is gone");
        let status = table.need("status", "the command that exits with 0 while it runs");
        let (start, stop, status) = (start.and_then(command), stop.and_then(command), status.and_then(command));
        let port = table.get("port").map(|value| value.whole(1..=65535).and_then(|port| u16::try_from(port).ok()));
        let container = ContainerSpec { publish: None, ..container.clone() };
        let port = match port {
            Some(port) => Some(port?),
            None => None,
        };
        Some(ServiceCommands { start: start?, stop: stop?, status: status?, port, container })
    })?
}

/// The safe order is the default: never two at the same time, unless there is a second port, which has no other use.
fn order(table: &Table<'_>, commanded: bool, publish: Option<&Publish>) -> Order {
    let spare_port = publish.is_some_and(|publish| match &publish.host {
        HostPort::Fixed(ports) => ports.len() > 1,
        HostPort::Ephemeral => true,
    });
    let default = if spare_port && !commanded { Order::StartFirst } else { Order::StopFirst };
    let Some(value) = table.get("order") else { return default };
    let order = value.check(|text| match text {
        "start-first" => Ok(Order::StartFirst),
        "stop-first" => Ok(Order::StopFirst),
        _ => Err("it is `start-first` or `stop-first`"),
    });
    if order == Some(Order::StartFirst) {
        if commanded {
            value.problem("a role managed by commands can't be `start-first`: they know one service, not an old and a new one");
        } else if publish.is_some() && !spare_port {
            value.problem("`start-first` needs a second port for the new one: `publish = { container = 8000, host = [8000, 8001] }`, or `host = \"ephemeral\"`");
        }
    }
    order.unwrap_or(default)
}

fn batch(value: Value<'_>) -> Option<Batch> {
    if value.is_text() {
        return value.check(|text| if text == "all" { Ok(Batch::All) } else { Err("it is a number of hosts, or \"all\"") });
    }
    value.whole(1..=10_000).and_then(|hosts| usize::try_from(hosts).ok()).map(Batch::Hosts)
}

fn router(value: Value<'_>, routers: &BTreeMap<String, RouterSpec>, port: bool) -> Option<RouterSpec> {
    let name = value.text()?;
    if !port {
        value
            .problem("a router needs a port to send to: give the role `publish = { container = 8000 }`, or its `service` a `port`");
    }
    // A router that is there and wrong was reported there.
    let declared = value.elsewhere(&["routers"]).and_then(Value::entries).unwrap_or_default();
    if declared.iter().all(|router| router.key != name) {
        let hint = hint(name, declared.iter().map(|router| router.key));
        value.problem(format!("no router `{name}` in [routers]{hint}"));
    }
    routers.get(name).cloned()
}
