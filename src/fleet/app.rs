//! An app and its environments: the roles in their order, the tasks, the TAG files.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::compare::Compare;
use super::container::Common;
use super::reader::{Table, Value};
use super::values::{address, command, path, placeholders, some_time};
use super::who::Roster;
use super::{policy, role};
use crate::domain::names::{AppName, EnvironmentName, HostName, Repository, RoleName, TaskName, printable};
use crate::domain::spec::{EnvironmentSpec, HostSpec, Millis, RoleSpec, RouterSpec, Service, TaskSpec};
use crate::nearest::{hint, listed};

/// The Docker Engine's socket where nothing else is said.
pub(super) const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where the TAG and REVERT files lie where nothing else is said.
const TAG_FOLDER: &str = "/var/www/{app}";

/// What the rest of the file says that environments refer to.
#[derive(Clone, Copy)]
pub(super) struct Shared<'f> {
    /// `[hosts]`.
    pub(super) hosts: &'f BTreeMap<HostName, HostSpec>,
    /// `[routers]`.
    pub(super) routers: &'f BTreeMap<String, RouterSpec>,
    /// `[people]` and `[groups]`.
    pub(super) roster: Roster<'f>,
}

impl Shared<'_> {
    /// The host, as `[hosts]` describes it.
    pub(super) fn host(&self, host: &HostName) -> HostSpec {
        self.hosts
            .get(host)
            .cloned()
            .unwrap_or_else(|| HostSpec { address: own_address(host), docker_socket: DOCKER_SOCKET.to_owned() })
    }
}

/// Where a host is reached that nothing else is said of: at its name, without the user.
pub(super) fn own_address(host: &HostName) -> String {
    let name = host.as_str();
    name.rsplit('@').next().unwrap_or(name).to_owned()
}

/// Reads an app.
pub(super) fn read(name: &AppName, value: Value<'_>, shared: Shared<'_>) -> Option<App> {
    let read = value.table("app", |table| {
        let image = table.need("image", "the repository of its images, `image = \"registry.example.org/team/app\"`");
        let image = image.and_then(Value::parse::<Repository>);
        let environments = table.need("environments", &format!("say where it runs, [apps.{name}.environments.production]"));
        let read = environments
            .map(|value| value.named(|environment, entry| read_environment(name, environment, image.as_ref(), entry, shared)));
        if let Some(value) = environments.filter(|value| value.entries().is_some_and(|entries| entries.is_empty())) {
            value.problem("the app has no environment");
        }
        environments.into_iter().for_each(policy::circles);
        let default = table.get("default_environment").and_then(|value| default_environment(value, environments?));
        (image, read, default, table.get("compare").and_then(|value| value.check(Compare::new)))
    });
    let (image, environments, default, compare) = read?;
    let environments = environments?;
    let only = || environments.keys().next().filter(|_| environments.len() == 1).cloned();
    Some(App { image: image?, default_environment: default.or_else(only), environments, compare })
}

fn default_environment(value: Value<'_>, environments: Value<'_>) -> Option<EnvironmentName> {
    let name: EnvironmentName = value.parse()?;
    let known: Vec<&str> = environments.entries()?.iter().map(|entry| entry.key).collect();
    if !known.contains(&name.as_str()) {
        value.problem(format!("the app has no environment `{name}`{}", hint(name.as_str(), known)));
    }
    Some(name)
}

fn read_environment(
    app: &AppName,
    environment: &EnvironmentName,
    image: Option<&Repository>,
    value: Value<'_>,
    shared: Shared<'_>,
) -> Option<EnvironmentSpec> {
    let spec = value.table("environment", |table| {
        let common = Common::default().and(&table);
        let advice = format!("say what runs, [apps.{app}.environments.{environment}.roles.web]");
        let declared = table.need("roles", &advice).and_then(Value::entries).unwrap_or_default();
        let roles = table.get("roles").map(|value| value.named(|_, entry| role::read(entry, &common, shared)));
        let roles = roles.unwrap_or_default();
        let names: BTreeSet<&str> = declared.iter().map(|role| role.key).collect();
        if let Some(value) = table.get("roles").filter(|_| names.is_empty()) {
            value.problem(advice);
        }
        let roll = roll(&table, &names);
        let tasks = table.or("tasks", vec![], |value| Some(tasks(value, &names, roll.iter().flatten().next())));
        let folder = tag_folder(&table, app, environment);
        if folder.is_none() && roles.values().any(|role| matches!(role.service, Service::Commands(_))) {
            table.problem("what a role managed by commands starts is what the TAG file says, so `tag_folder` can't be false");
        }
        Some(EnvironmentSpec {
            app: app.clone(),
            environment: environment.clone(),
            hosts: hosts(&declared, &roles, shared),
            roles,
            roll,
            tasks,
            tag_folder: folder,
            pulls_at_once: table.or("pulls_at_once", 8, |value| value.whole(1..=1000).and_then(|n| usize::try_from(n).ok())),
            min_free_mib: table.or("min_free_mib", 1024, |value| value.whole(0..=1 << 30)),
            image: image?.clone(),
            policy: policy::read(&table, app, environment, shared.roster),
        })
    });
    spec.flatten()
}

/// The hosts that the roles name, as `[hosts]` describes them, or reached at their own names.
fn hosts(declared: &[Value<'_>], roles: &BTreeMap<RoleName, RoleSpec>, shared: Shared<'_>) -> BTreeMap<HostName, HostSpec> {
    let mut hosts = BTreeMap::new();
    for (name, role) in roles {
        for host in &role.hosts {
            let spec = shared.host(host);
            if address(&spec.address).is_err() {
                let text = format!("`{host}` is no address that a balancer could send to: set `address` in [hosts.\"{host}\"]");
                declared.iter().filter(|value| value.key == name.as_str()).for_each(|value| value.problem(text.clone()));
            }
            hosts.insert(host.clone(), spec);
        }
    }
    hosts
}

/// The order in which the roles roll: a list of roles, or of lists of roles that roll side by side.
fn roll(table: &Table<'_>, declared: &BTreeSet<&str>) -> Vec<Vec<RoleName>> {
    let Some(value) = table.get("roll") else {
        if declared.len() > 1 {
            let example: Vec<String> = declared.iter().map(|name| format!("\"{name}\"")).collect();
            table.problem(format!("several roles need an order to roll in, such as `roll = [{}]`", example.join(", ")));
        }
        return declared.iter().filter_map(|name| name.parse().ok()).map(|name| vec![name]).collect();
    };
    let Some(items) = value.items() else { return vec![] };
    let mut seen: BTreeSet<RoleName> = BTreeSet::new();
    let mut groups = Vec::new();
    for item in items {
        let members = if item.is_list() { item.items().unwrap_or_default() } else { vec![item] };
        if members.is_empty() {
            item.problem("an empty list rolls nothing");
        }
        let mut group = Vec::new();
        for member in members {
            let Some(role) = declared_role(member, declared) else { continue };
            if seen.insert(role.clone()) {
                group.push(role);
            } else {
                member.problem(format!("the role `{role}` rolls twice"));
            }
        }
        groups.push(group);
    }
    let missing: Vec<&str> = declared.iter().copied().filter(|name| seen.iter().all(|role| role.as_str() != *name)).collect();
    if !missing.is_empty() {
        value.problem(format!("`roll` leaves out {}", listed(missing)));
    }
    groups
}

fn declared_role(value: Value<'_>, declared: &BTreeSet<&str>) -> Option<RoleName> {
    let name = value.text()?;
    if !declared.contains(name) {
        let hint = hint(name, declared.iter().copied());
        value.problem(format!("the environment has no role `{}`{hint}", printable(name, 40)));
        return None;
    }
    // A declared name that is no valid name was reported where it is declared.
    name.parse().ok()
}

fn tasks(value: Value<'_>, declared: &BTreeSet<&str>, first: Option<&RoleName>) -> Vec<TaskSpec> {
    let mut tasks: Vec<TaskSpec> = Vec::new();
    for item in value.items().unwrap_or_default() {
        let task = item.table("task", |table| {
            let name = table.need("name", "what people call it, `name = \"migrate\"`").and_then(Value::parse::<TaskName>);
            let command =
                table.need("command", "the arguments to the image's entry point, `command = [\"migrate\"]`").and_then(command);
            let role = match table.get("role") {
                Some(value) => declared_role(value, declared),
                None => first.cloned(),
            };
            let migrates = name.as_ref().is_some_and(|name| name.as_str() == "migrate");
            Some(TaskSpec {
                deadline: table.or("deadline", Millis::seconds(600), some_time),
                irreversible: table.or("irreversible", migrates, Value::truth),
                on_revert: table.or("on_revert", false, Value::truth),
                name: name?,
                role: role?,
                command: command?,
            })
        });
        let Some(task) = task.flatten() else { continue };
        if tasks.iter().any(|other| other.name == task.name) {
            item.problem(format!("there are two tasks `{}`", task.name));
        }
        tasks.push(task);
    }
    tasks
}

fn tag_folder(table: &Table<'_>, app: &AppName, environment: &EnvironmentName) -> Option<String> {
    let resolve = |text: &str| text.replace("{app}", app.as_str()).replace("{environment}", environment.as_str());
    let value = match table.get("tag_folder") {
        None => return Some(resolve(TAG_FOLDER)),
        Some(value) if value.as_truth() == Some(false) => return None,
        Some(value) => value,
    };
    if !value.is_text() {
        value.problem("`tag_folder` is an absolute path on the hosts, or false for no TAG and REVERT files");
        return None;
    }
    for name in value.text().into_iter().flat_map(placeholders).filter(|name| !["app", "environment"].contains(name)) {
        value.problem(format!("`tag_folder` knows {{app}} and {{environment}}, not {{{name}}}"));
    }
    value.check(path).map(|folder| resolve(folder.trim_end_matches('/')))
}
