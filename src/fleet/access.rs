//! `[access]` and `[groups]`: who may use which command where, and which groups a chat's own roles stand for.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::known_app;
use super::reader::{Table, Value};
use super::values::set;
use super::who::Roster;
use crate::domain::names::{AppName, CommandName, EnvironmentName, GroupName};
use crate::domain::policy::{Access, Guests, Rule};
use crate::nearest::{hint, listed};

/// Reads `[access]`, but for the roles, which stand in `[groups]`.
pub(super) fn read(value: Value<'_>, roster: Roster<'_>) -> Option<Access> {
    value.table("access", |table| Access {
        rules: table.or("rules", vec![], |value| Some(value.list(|item| rule(item, roster)))),
        guests: table.or("guests", Guests::default(), guests),
        ..Access::default()
    })
}

/// Reads `[groups]`: by the chats' roles, the group that each stands for.
pub(super) fn platform_roles(value: Value<'_>) -> BTreeMap<String, GroupName> {
    let groups = value.named(|_: &GroupName, entry| {
        entry.table("group", |table| {
            let advice = "the chats' own roles that stand for the group, by id, `roles = [\"discord:1234567890\"]`";
            let roles = table.need("roles", advice)?;
            if roles.items()?.is_empty() {
                roles.problem(format!("`roles` is empty: {advice}"));
            }
            Some(roles.list(|item| Some((item.check(role)?, item))))
        })?
    });
    let mut stands_for: BTreeMap<String, GroupName> = BTreeMap::new();
    for (group, roles) in groups {
        for (role, item) in roles {
            let first = stands_for.entry(role.clone()).or_insert_with(|| group.clone());
            if *first != group {
                item.problem(format!("the role `{role}` stands for the group {first} already: a role stands for one group"));
            }
        }
    }
    stands_for
}

/// A role by its platform and id. Discord has roles; in Matrix a power level stands for one.
fn role(text: &str) -> Result<String, &'static str> {
    match text.split_once(':') {
        Some(("matrix", level)) => match level.strip_prefix("power:").map(str::parse) {
            Some(Ok(1..=100u8)) => Ok(text.to_owned()),
            Some(Ok(_) | Err(_)) | None => {
                Err("it is `matrix:power:N` with a power level from 1 to 100, which one has to have in all the bot's rooms")
            }
        },
        Some(("discord", id)) if !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit()) => Ok(text.to_owned()),
        Some(("discord", _)) => Err("it is `discord:ID` with the role's number, never its name"),
        _ => Err("it is `discord:ID` with the role's number, or `matrix:power:N`"),
    }
}

fn guests(value: Value<'_>) -> Option<Guests> {
    match value.as_truth() {
        Some(true) => Some(Guests::Read),
        Some(false) => Some(Guests::Nothing),
        None if value.is_list() => {
            let commands: BTreeSet<CommandName> = set(value, Value::parse)?;
            if commands.is_empty() {
                value.problem("`guests` is empty: if they may do nothing, write `guests = false`");
            }
            Some(Guests::Only(commands))
        }
        None => {
            value.problem("`guests` is true, false, or a list of commands such as [\"status\", \"help\"]");
            None
        }
    }
}

fn rule(value: Value<'_>, roster: Roster<'_>) -> Option<Rule> {
    value.table("rule", |table| read_rule(value, &table, roster)).flatten()
}

fn read_rule(value: Value<'_>, table: &Table<'_>, roster: Roster<'_>) -> Option<Rule> {
    let commands = table.get("commands").and_then(commands);
    let apps = table.get("apps").and_then(|value| narrowed(value, app));
    let environments = table.get("environments").and_then(|value| narrowed(value, |item| environment(item, apps.as_ref())));
    let allow = roster.who(table, "a rule says who may: `groups = [\"deployers\"]`, `people = [\"anna\"]`, or both");
    Some(Rule { line: value.line(), commands, apps, environments, allow: allow? })
}

/// The commands that something is about. Whether there are such commands, the file can't know.
pub(super) fn commands(value: Value<'_>) -> Option<BTreeSet<CommandName>> {
    narrowed(value, Value::parse)
}

/// A list that narrows down what something is about.
fn narrowed<'a, T: Ord>(value: Value<'a>, read: impl Fn(Value<'a>) -> Option<T>) -> Option<BTreeSet<T>> {
    let items = set(value, read)?;
    if items.is_empty() {
        value.problem(format!("`{0}` is empty, which fits nothing: leave `{0}` out for all", value.key));
    }
    Some(items)
}

fn app(value: Value<'_>) -> Option<AppName> {
    let apps = value.elsewhere(&["apps"]).map(|apps| apps.keys()).unwrap_or_default();
    known_app(value, &apps).filter(|name| apps.contains(&name.as_str()))
}

/// An environment of one of `apps`, or of any.
fn environment(value: Value<'_>, apps: Option<&BTreeSet<AppName>>) -> Option<EnvironmentName> {
    let name: EnvironmentName = value.parse()?;
    let all = value.elsewhere(&["apps"]).map(|apps| apps.children()).unwrap_or_default();
    let meant = |app: &&Value<'_>| apps.is_none_or(|apps| apps.iter().any(|name| name.as_str() == app.key));
    let environments = all.iter().filter(meant).filter_map(|app| app.entry("environments"));
    let known: BTreeSet<&str> = environments.flat_map(|of| of.keys()).collect();
    if !known.contains(name.as_str()) {
        let of = apps.map_or_else(|| "any app".to_owned(), |apps| listed(apps.iter().map(AppName::as_str)));
        value.problem(format!("no environment `{name}` of {of}{}", hint(name.as_str(), known.iter().copied())));
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::role;

    #[test]
    fn a_role_is_named_by_its_number() {
        assert_eq!(role("discord:1234567890").as_deref(), Ok("discord:1234567890"));
        assert_eq!(role("matrix:power:50").as_deref(), Ok("matrix:power:50"));
        for text in ["matrix:power:0", "matrix:power:101", "matrix:power:050x", "matrix:50", "matrix:@anna:example.org"] {
            assert!(role(text).is_err(), "{text}");
        }
        for text in ["", "discord", "discord:", "discord:deployers", "discord:1 2", "terminal:1", "1234567890"] {
            assert!(role(text).is_err(), "{text}");
        }
    }
}
