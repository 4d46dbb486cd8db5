//! What no single part of the file can see: two that get in each other's way, and parts that nothing uses.

use std::collections::BTreeMap;

use super::container::overlap;
use super::reader::Document;
use super::{Fleet, SecretNeed};
use crate::domain::names::HostName;
use crate::domain::spec::{EnvValue, EnvironmentSpec, HostPort, Service};
use crate::problem::Problem;

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
pub(super) fn unused(fleet: &Fleet, document: &Document<'_>) -> Vec<Problem> {
    let used_hosts = fleet.hosts();
    let roles = || fleet.environments().flat_map(|spec| spec.roles.values());
    let used = |kind: &str, name: &str| match kind {
        "hosts" => used_hosts.iter().any(|host| host.as_str() == name),
        "routers" => roles().any(|role| role.router.as_ref().is_some_and(|router| router.name == name)),
        _ => fleet.apps.values().any(|app| app.image.registry() == name),
    };
    let mut warnings = Vec::new();
    for (kind, what) in [
        ("hosts", "no role uses the host"),
        ("routers", "no role uses the router"),
        ("registries", "no app's image comes from the registry"),
    ] {
        let entries = document.find(&[kind]).and_then(|value| value.entries()).unwrap_or_default();
        warnings.extend(
            entries
                .into_iter()
                .filter(|entry| !used(kind, entry.key))
                .filter_map(|entry| entry.warning(format!("{what} `{}`", entry.key))),
        );
    }
    warnings
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
