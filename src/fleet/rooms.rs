//! `[[rooms]]`: where in the chats the bot is, of which apps it tells there, and whether a CI's webhook may announce builds there.
//!
//! What a webhook writes in a channel proves nothing: whoever may make webhooks there can write it. So such a build is announced like
//! any other and is never deployed by itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use regex::Regex;

use super::builds::{known_app, searched};
use super::reader::{Table, Value};
use super::values::set;
use crate::domain::build::{Build, BuildOutcome};
use crate::domain::message::RoomId;
use crate::domain::names::{AppName, Tag, is_matrix_room, printable};
use crate::nearest::listed;

/// What of a webhook's message a pattern can name.
const GROUPS: [&str; 3] = ["app", "tag", "failed"];

/// A room.
#[derive(Debug, Clone)]
pub struct RoomSpec {
    /// The apps that it is told of; `None` = all.
    apps: Option<BTreeSet<AppName>>,
    /// How a webhook's message announces a build there; `None` = it doesn't.
    announces: Option<Regex>,
}

impl RoomSpec {
    /// Whether it is told of an app.
    pub fn tells(&self, app: &AppName) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// Whether a webhook's messages count there at all.
    pub fn announces(&self) -> bool {
        self.announces.is_some()
    }

    /// The build that a webhook's message announces, of one of these apps. `known` says which there are.
    pub(super) fn announced(
        &self,
        text: &str,
        source: &str,
        known: impl Fn(&str) -> Option<AppName>,
        at: Timestamp,
    ) -> Option<Build> {
        let found = self.announces.as_ref()?.captures(text)?;
        let app = known(found.name("app")?.as_str())?;
        let tag: Tag = found.name("tag")?.as_str().parse().ok()?;
        let failed = found.name("failed").is_some_and(|group| !group.is_empty());
        Some(Build {
            app,
            tag,
            outcome: if failed { BuildOutcome::Failed } else { BuildOutcome::Succeeded },
            number: None,
            digest: None,
            commit: None,
            branch: None,
            url: None,
            author: None,
            message: Some(printable(text.lines().next().unwrap_or_default(), 200)),
            seconds: None,
            source: source.to_owned(),
            at,
        })
    }
}

/// Reads all rooms; `apps` are the names of the file's apps.
pub(super) fn read(value: Value<'_>, apps: &[&str]) -> BTreeMap<RoomId, RoomSpec> {
    let mut rooms = BTreeMap::new();
    for (item, id, spec) in value.list(|item| item.table("room", |table| room(item, &table, apps)).flatten()) {
        if rooms.insert(id.clone(), spec).is_some() {
            item.problem(format!("the room `{id}` stands above already"));
        }
    }
    rooms
}

fn room<'a>(item: Value<'a>, table: &Table<'a>, apps: &[&str]) -> Option<(Value<'a>, RoomId, RoomSpec)> {
    let id = table
        .need(
            "room",
            "a channel of Discord or a room of Matrix, `room = \"discord:1234567890\"`, `room = \"matrix:!id:example.org\"`",
        )
        .and_then(|value| value.check(id));
    let told = table.get("apps").map(|value| {
        let named: BTreeSet<AppName> = set(value, |item| known_app(item, apps)).unwrap_or_default();
        if value.items().is_some_and(|items| items.is_empty()) {
            value.problem("`apps` is empty: leave it out for all");
        }
        named
    });
    let announces = table.get("announces").and_then(|value| {
        let pattern = searched(value)?;
        let names: Vec<&str> = pattern.capture_names().flatten().collect();
        let missing: Vec<&str> = ["app", "tag"].into_iter().filter(|name| !names.contains(name)).collect();
        if !missing.is_empty() {
            value.problem(format!("let the pattern have a group `(?<{}>...)`", missing.join(">...)` and `(?<")));
        }
        if let Some(unknown) = names.iter().find(|name| !GROUPS.contains(name)) {
            value.problem(format!("no group `{}` is known here; there is {}", printable(unknown, 40), listed(GROUPS)));
        }
        Some(pattern)
    });
    Some((item, id?, RoomSpec { apps: told, announces }))
}

fn id(text: &str) -> Result<RoomId, &'static str> {
    match text.split_once(':') {
        Some(("discord", id)) if id.parse::<u64>().is_ok_and(|number| number > 0) => Ok(RoomId(text.to_owned())),
        Some(("discord", _)) => {
            Err("it is `discord:NUMBER` with the number that \"Copy Channel ID\" gives, never the channel's name")
        }
        Some(("matrix", id)) if is_matrix_room(id) => Ok(RoomId(text.to_owned())),
        // Whoever may change an alias could lead the bot elsewhere.
        Some(("matrix", id)) if id.starts_with('#') => Err(
            "an alias can be led elsewhere: take the room's id, `matrix:!id:example.org`, which the room's settings show under Advanced",
        ),
        Some(("matrix", _)) => Err("it is `matrix:!id:example.org`, the room's id, which the room's settings show under Advanced"),
        _ => Err("it is `discord:NUMBER` with a channel's number, or `matrix:!id:example.org` with a room's id"),
    }
}
