//! What a chat with menus and buttons asks about the commands: which there are, and what may stand in them.

use std::collections::BTreeMap;

use crate::domain::message::Account;

/// A command as a menu shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What people type, without the prefix.
    pub name: String,
    /// What it does, in one line.
    pub summary: String,
    /// What it takes, in the order in which it is typed.
    pub fields: Vec<Field>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in lower case.
    pub name: String,
    /// What it is for, in one line.
    pub help: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// What may stand in it.
    pub holds: Holds,
}

/// What may stand in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A text; people may be helped with it.
    Known,
    /// A text that only they know.
    Text,
    /// It is on or off.
    Switch,
}

/// A value that fits what somebody has begun to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What is typed.
    pub value: String,
    /// What people choose by.
    pub label: String,
}

/// Knows the commands.
pub trait Menu: Send + Sync {
    /// All of them, in the order of the help.
    fn entries(&self) -> Vec<Entry>;

    /// What fits, the best first: nothing for whom the commands are none of their business.
    fn suggest(&self, who: &Account, command: &str, field: &str, given: &BTreeMap<String, String>) -> Vec<Suggestion>;

    /// The line that says the same, without the prefix; `None` = there is no such command.
    fn line(&self, command: &str, given: &BTreeMap<String, String>) -> Option<String>;
}
