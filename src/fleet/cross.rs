//! What no single part of the file can see: two that get in each other's way, and parts that nothing uses.

use std::collections::BTreeMap;

use super::container::overlap;
use super::reader::{Document, Value};
use super::{CommandNamed, Fleet, SecretNeed};
use crate::domain::names::HostName;
use crate::domain::spec::{EnvValue, EnvironmentSpec, HostPort, Service};

/// Reports what clashes.
pub(super) fn clashes(fleet: &Fleet, document: &Document<'_>) {
    ports(fleet, document);
    tag_folders(fleet, document);
}

/// A fixed port of a host that a role takes.
struct Claim {
    address: String,
    port: u16,
    who: String,
}

fn ports(fleet: &Fleet, document: &Document<'_>) {
    let mut taken: BTreeMap<&HostName, Vec<Claim>> = BTreeMap::new();
    for (spec, name, role) in fleet.environments().flat_map(|spec| spec.roles.iter().map(move |(name, role)| (spec, name, role))) {
        let (ports, at) = match &role.service {
            Service::Docker(container) => match &container.publish {
                Some(publish) => match &publish.host {
                    HostPort::Fixed(ports) => (ports.clone(), publish.address.as_deref()),
                    HostPort::Ephemeral => continue,
                },
                None => continue,
            },
            Service::Commands(commands) => (commands.port.into_iter().collect(), None),
        };
        let who = format!("{name} of {} in {}", spec.app, spec.environment);
        for (host, port) in role.hosts.iter().flat_map(|host| ports.iter().map(move |port| (host, *port))) {
            let address = at.or_else(|| spec.hosts.get(host).map(|host| host.address.as_str())).unwrap_or_default();
            let claims = taken.entry(host).or_default();
            if let Some(other) =
                claims.iter().find(|claim| claim.port == port && claim.who != who && overlap(&claim.address, address))
            {
                let path = ["apps", spec.app.as_str(), "environments", spec.environment.as_str(), "roles", name.as_str()];
                if let Some(value) = document.find(&path) {
                    value.problem(format!("the port {port} of the host `{host}` is taken by {}", other.who));
                }
            }
            claims.push(Claim { address: address.to_owned(), port, who: who.clone() });
        }
    }
}

fn tag_folders(fleet: &Fleet, document: &Document<'_>) {
    let mut taken: BTreeMap<(&HostName, &str), &EnvironmentSpec> = BTreeMap::new();
    for spec in fleet.environments() {
        let Some(folder) = spec.tag_folder.as_deref() else { continue };
        let clash = spec.hosts.keys().find_map(|host| taken.get(&(host, folder)).map(|other| (host, *other)));
        if let Some((host, other)) = clash
            && let Some(value) = document.find(&["apps", spec.app.as_str(), "environments", spec.environment.as_str()])
        {
            value.problem(format!(
                "on the host `{host}` the TAG files of {} in {} are in {folder} too: give one of them another folder, `tag_folder = \"/var/www/{{app}}/{{environment}}\"`",
                other.app, other.environment
            ));
        }
        taken.extend(spec.hosts.keys().map(|host| ((host, folder), spec)));
    }
}

/// Tells of parts that nothing uses: most likely a name is mistyped.
pub(super) fn unused(fleet: &Fleet, document: &Document<'_>) {
    let used_hosts = fleet.hosts();
    let roles = || fleet.environments().flat_map(|spec| spec.roles.values());
    let used = |kind: &str, name: &str| match kind {
        "hosts" => used_hosts.iter().any(|host| host.as_str() == name),
        "routers" => roles().any(|role| role.router.as_ref().is_some_and(|router| router.name == name)),
        _ => fleet.apps.values().any(|app| app.image.registry() == name),
    };
    for (kind, what) in [
        ("hosts", "no role uses the host"),
        ("routers", "no role uses the router"),
        ("registries", "no app's image comes from the registry"),
    ] {
        let entries = document.find(&[kind]).and_then(|value| value.entries()).unwrap_or_default();
        let unused = entries.into_iter().filter(|entry| !used(kind, entry.key));
        unused.for_each(|entry| entry.warn(format!("{what} `{}`", entry.key)));
    }
}

/// The commands that the file names, each with its line.
pub(super) fn commands(document: &Document<'_>) -> Vec<CommandNamed> {
    let access = document.find(&["access"]);
    let rules = access.and_then(|access| listed_in(access, "rules")).unwrap_or_default();
    let apps = document.find(&["apps"]).map(|apps| apps.children()).unwrap_or_default();
    let environments = apps.iter().filter_map(|app| app.entry("environments")).flat_map(|of| of.children());
    let approvals = environments.filter_map(|environment| environment.entry("approval"));
    let lists = rules.into_iter().chain(approvals).filter_map(|holder| listed_in(holder, "commands"));
    let guests = access.and_then(|access| listed_in(access, "guests"));
    let named = guests.into_iter().chain(lists).flatten().filter(Value::is_text);
    let named = named.filter_map(|item| Some(CommandNamed { command: item.text()?.parse().ok()?, line: item.line() }));
    let mut named: Vec<CommandNamed> = named.collect();
    named.sort_by_key(|named| named.line);
    named
}

/// The items of a list that a table has at a key. What is no list was reported where it is read.
fn listed_in<'a>(value: Value<'a>, key: &str) -> Option<Vec<Value<'a>>> {
    value.entry(key).filter(Value::is_list).and_then(Value::items)
}

/// The secrets that containers and registries need, each once, with the line that asks for it.
pub(super) fn secrets(fleet: &Fleet, document: &Document<'_>) -> Vec<SecretNeed> {
    let mut needs: BTreeMap<&str, SecretNeed> = BTreeMap::new();
    let mut need = |variable, path: &[&[&str]], purpose| {
        let line = path.iter().find_map(|path| document.find(path)).map_or(1, |value| value.line());
        needs.entry(variable).or_insert_with_key(|variable| SecretNeed { variable: (*variable).to_owned(), line, purpose });
    };
    for (name, login) in &fleet.registries {
        if let super::Login::Variables { username, password } = login {
            need(username, &[&["registries", name, "username"]], format!("the registry {name}"));
            need(password, &[&["registries", name, "password"]], format!("the registry {name}"));
        }
    }
    for (spec, name, role) in fleet.environments().flat_map(|spec| spec.roles.iter().map(move |(name, role)| (spec, name, role))) {
        let environment = ["apps", spec.app.as_str(), "environments", spec.environment.as_str()];
        for (variable, value) in &role.container().env {
            if let EnvValue::Secret(secret) = value {
                let own = [&environment[..], &["roles", name.as_str(), "env", variable]].concat();
                let common = [&environment[..], &["env", variable]].concat();
                need(secret, &[&own, &common], format!("`{variable}` of {} in {}", spec.app, spec.environment));
            }
        }
    }
    let mut needs: Vec<SecretNeed> = needs.into_values().collect();
    needs.sort_by_key(|need| need.line);
    needs
}
