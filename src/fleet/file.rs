//! The fleet file as a whole: people, registries, hosts, routers, builds, apps.

use std::collections::{BTreeMap, BTreeSet};

use super::app::{self, DOCKER_SOCKET, Shared, own_address};
use super::reader::{Document, Table, Value};
use super::values::{address, command, path, placeholders, some_time, variable};
use super::who::Roster;
use super::{App, Fleet, Login, Person, access, builds, cross, rooms};
use crate::domain::message::Account;
use crate::domain::names::{AppName, GroupName, HostName, PersonName, is_matrix_user, printable};
use crate::domain::policy::Access;
use crate::domain::spec::{HostSpec, Millis, RouterSpec};
use crate::nearest::{did_you_mean, hint, listed};
use crate::problem::Problems;

/// The name under which the bot acts by itself.
const BOT: &str = "shipmate";

/// The chats that an account may be of; `local` is the bot's own machine, whose accounts are its users.
const PLATFORMS: [&str; 4] = ["terminal", "discord", "matrix", "local"];

/// What a router's commands may have filled in.
const PLACEHOLDERS: [&str; 5] = ["app", "environment", "role", "host", "address"];

/// Reads the whole file.
pub(super) fn read(place: &str, source: &str) -> Result<Fleet, Problems> {
    let document = Document::parse(place, source)?;
    let root = document.root();
    if root.entries().is_some_and(|entries| entries.is_empty()) {
        root.problem("it is empty: begin with a copy of fleet.example.toml");
        return document.finish(None);
    }
    let fleet = root.table("fleet", |table| {
        let mut fleet = fleet(place, &table);
        cross::clashes(&fleet, &document);
        cross::unused(&fleet, &document);
        fleet.warnings = document.warnings();
        fleet.secrets = cross::secrets(&fleet, &document);
        fleet.commands = cross::commands(&document);
        fleet
    });
    document.finish(fleet)
}

pub(super) fn fleet(place: &str, table: &Table<'_>) -> Fleet {
    let people = table.or("people", BTreeMap::new(), |value| Some(people(value)));
    let hosts = table.or("hosts", BTreeMap::new(), |value| Some(value.named(host)));
    let routers = table.or("routers", BTreeMap::new(), |value| Some(value.named(|name: &String, entry| router(name, entry))));
    let mut groups: BTreeMap<GroupName, BTreeSet<PersonName>> = BTreeMap::new();
    for person in people.values() {
        for group in &person.groups {
            groups.entry(group.clone()).or_default().insert(person.name.clone());
        }
    }
    let platform_roles = table.or("groups", BTreeMap::new(), |value| Some(access::platform_roles(value)));
    let roster = Roster { people: &people, groups: &groups, platform_roles: &platform_roles };
    let access = table.or("access", Access::default(), |value| access::read(value, roster));
    let shared = Shared { hosts: &hosts, routers: &routers, roster };
    let apps = table.need("apps", "begin one with [apps.NAME] and `image`");
    let names: Vec<&str> = apps.and_then(Value::entries).unwrap_or_default().iter().map(|app| app.key).collect();
    if let Some(apps) = apps.filter(|_| names.is_empty()) {
        apps.problem("the fleet has no app: begin one with [apps.NAME] and `image`");
    }
    let rules = table.or("builds", vec![], |value| Some(value.list(|rule| builds::read(rule, &names))));
    Fleet {
        place: place.to_owned(),
        apps: apps.map(|value| value.named::<AppName, App>(|name, entry| app::read(name, entry, shared))).unwrap_or_default(),
        people,
        groups,
        access: Access { platform_roles, ..access },
        builds: builds::with_default(rules),
        rooms: table.or("rooms", BTreeMap::new(), |value| Some(rooms::read(value, &names))),
        registries: table.or("registries", BTreeMap::new(), |value| Some(registries(value))),
        warnings: vec![],
        secrets: vec![],
        commands: vec![],
    }
}

fn people(value: Value<'_>) -> BTreeMap<PersonName, Person> {
    let mut owners: BTreeMap<Account, &str> = BTreeMap::new();
    let people = value.named(|name: &PersonName, entry| {
        entry.table("person", |table| {
            let accounts = table.need("accounts", "how the chats know the person, `accounts = [\"terminal:anna\"]`");
            let groups = table.or("groups", vec![], |value| Some(value.list(Value::parse::<GroupName>)));
            if let Some(value) = accounts.filter(|value| value.items().is_some_and(|items| items.is_empty())) {
                value.problem(format!("`accounts` is empty: no one could be {name}"));
            }
            if name.as_str() == BOT {
                entry.problem(format!("`{BOT}` is who does what the policy does by itself, so no person can be called so"));
            }
            let accounts = accounts.map(|value| value.list(|account| account.check(parse_account))).unwrap_or_default();
            Person { name: name.clone(), accounts: accounts.into_iter().collect(), groups: groups.into_iter().collect() }
        })
    });
    for (entry, person) in
        value.entries().unwrap_or_default().into_iter().filter_map(|entry| Some((entry, people.get(&entry.key.parse().ok()?)?)))
    {
        for account in &person.accounts {
            if let Some(other) = owners.insert(account.clone(), entry.key) {
                entry.problem(format!("the account `{account}` is {other}'s already: an account is one person's"));
            }
        }
    }
    people
}

pub(super) fn parse_account(text: &str) -> Result<Account, String> {
    let (platform, id) = text.split_once(':').unwrap_or((text, ""));
    if !PLATFORMS.contains(&platform) {
        let hint = did_you_mean(platform, PLATFORMS);
        return Err(format!("it is `PLATFORM:ID` with a platform of {}{hint}", listed(PLATFORMS)));
    }
    match id {
        "" => Err(format!("what follows `{platform}:` is the account's id")),
        _ if id.chars().any(char::is_whitespace) || printable(id, 255) != id => {
            Err("an id has no spaces and no control characters".to_owned())
        }
        // Less than the whole would be somebody else on another homeserver.
        _ if platform == "matrix" && !is_matrix_user(id) => {
            Err("an account of Matrix is the full user id, `matrix:@anna:example.org`".to_owned())
        }
        _ => Ok(Account(text.to_owned())),
    }
}

fn registries(value: Value<'_>) -> BTreeMap<String, Login> {
    let registry = |entry: Value<'_>| {
        let (name, port) = entry.key.rsplit_once(':').unwrap_or((entry.key, "1"));
        if address(name.trim_matches(['[', ']'])).is_err() || port.parse::<u16>().is_err() {
            entry.problem(format!(
                "`{}` is no registry: it is a host with or without a port, as in `image`",
                printable(entry.key, 60)
            ));
        }
        Some((entry.key.to_owned(), entry.table("registry", |table| login(entry, &table))??))
    };
    value.entries().unwrap_or_default().into_iter().filter_map(registry).collect()
}

fn login(value: Value<'_>, table: &Table<'_>) -> Option<Login> {
    let (username, password) = (table.get("username"), table.get("password"));
    match (table.get("login"), username, password) {
        (None, Some(username), Some(password)) => {
            let (username, password) = (variable(username), variable(password));
            Some(Login::Variables { username: username?, password: password? })
        }
        (Some(login), None, None) => login.check(|text| {
            if text == "host" { Ok(Login::Host) } else { Err("it is \"host\": what the hosts' own `docker login` left") }
        }),
        _ => {
            value.problem("a registry has either `username` and `password`, or `login = \"host\"`");
            None
        }
    }
}

fn host(name: &HostName, value: Value<'_>) -> Option<HostSpec> {
    value.table("host", |table| HostSpec {
        address: table.get("address").and_then(|value| value.check(address)).unwrap_or_else(|| own_address(name)),
        docker_socket: table.or("docker_socket", DOCKER_SOCKET.to_owned(), |value| value.check(path)),
    })
}

fn router(name: &str, value: Value<'_>) -> Option<RouterSpec> {
    let router = value.table("router", |table| {
        let host =
            table.need("host", "the host that the commands run on, `host = \"balancer\"`").and_then(Value::parse::<HostName>);
        let join = table.need("join", "the command that brings a server in, `join = [\"lb-join\", \"{host}\", \"{address}\"]`");
        let leave = table.need("leave", "the command that takes a server out, `leave = [\"lb-leave\", \"{host}\", \"{address}\"]`");
        let (join, leave) = (join.and_then(filled_command), leave.and_then(filled_command));
        let deadline = table.or("deadline", Millis::seconds(10), some_time);
        Some(RouterSpec { name: name.to_owned(), host: host?, join: join?, leave: leave?, deadline })
    });
    router.flatten()
}

fn filled_command(value: Value<'_>) -> Option<Vec<String>> {
    let command = command(value)?;
    for name in command.iter().flat_map(|word| placeholders(word)).filter(|name| !PLACEHOLDERS.contains(name)) {
        value.problem(format!("nothing is filled in for {{{name}}}{}", hint(name, PLACEHOLDERS)));
    }
    Some(command)
}
