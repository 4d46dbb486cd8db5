//! `[[rooms]]`: where in the chats the bot is, and of which apps it tells there.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::known_app;
use super::reader::{Table, Value};
use super::values::set;
use crate::domain::message::RoomId;
use crate::domain::names::AppName;

/// The apps that a room is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// All.
    All,
    /// These.
    Only(BTreeSet<AppName>),
}

impl Told {
    /// Whether a room is told of an app.
    pub fn has(&self, app: &AppName) -> bool {
        match self {
            Told::All => true,
            Told::Only(apps) => apps.contains(app),
        }
    }
}

/// Reads all rooms; `apps` are the names of the file's apps.
pub(super) fn read(value: Value<'_>, apps: &[&str]) -> BTreeMap<RoomId, Told> {
    let mut rooms = BTreeMap::new();
    for (item, id, told) in value.list(|item| item.table("room", |table| room(item, &table, apps)).flatten()) {
        if rooms.insert(id.clone(), told).is_some() {
            item.problem(format!("the room `{id}` stands above already"));
        }
    }
    rooms
}

fn room<'a>(item: Value<'a>, table: &Table<'a>, apps: &[&str]) -> Option<(Value<'a>, RoomId, Told)> {
    let id = table.need("room", "a channel of Discord, `room = \"discord:1234567890\"`").and_then(|value| value.check(id));
    let told = table.or("apps", Told::All, |value| {
        let named: BTreeSet<AppName> = set(value, |item| known_app(item, apps))?;
        if named.is_empty() {
            value.problem("`apps` is empty: leave it out for all");
        }
        Some(Told::Only(named))
    });
    Some((item, id?, told))
}

fn id(text: &str) -> Result<RoomId, &'static str> {
    match text.split_once(':') {
        Some(("discord", id)) if id.parse::<u64>().is_ok_and(|number| number > 0) => Ok(RoomId(text.to_owned())),
        _ => Err("it is `discord:NUMBER` with the number that \"Copy Channel ID\" gives, never the channel's name"),
    }
}
