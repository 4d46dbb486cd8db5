//! Groups and people where the file names them: whether there is such a person, and whether anybody is in such a group.
//!
//! A person whom nobody knows is a mistake. A group that nobody is in is only warned of, because someone may join it later;
//! that an approval could never get its votes is judged where the votes are, by [`Roster::voters`].

use std::collections::{BTreeMap, BTreeSet};

use super::Person;
use super::reader::{Table, Value};
use super::values::set;
use crate::domain::names::{GroupName, PersonName};
use crate::domain::policy::Who;
use crate::nearest::{did_you_mean, hint};

/// Who there is.
#[derive(Clone, Copy)]
pub(super) struct Roster<'f> {
    /// `[people]`.
    pub(super) people: &'f BTreeMap<PersonName, Person>,
    /// The groups that people say they are in.
    pub(super) groups: &'f BTreeMap<GroupName, BTreeSet<PersonName>>,
    /// `[groups]`: the groups that a chat's own roles stand for.
    pub(super) platform_roles: &'f BTreeMap<String, GroupName>,
}

impl Roster<'_> {
    /// Reads `groups` and `people` of a table, which must have one of them, or `advice` says what to write. Nothing if a name
    /// in them is wrong.
    pub(super) fn who(self, table: &Table<'_>, advice: &str) -> Option<Who> {
        let (groups, people) = (table.get("groups"), table.get("people"));
        if groups.is_none() && people.is_none() {
            table.problem(advice);
            return None;
        }
        let groups = groups.map_or_else(|| Some(BTreeSet::new()), |value| set(value, |item| self.group(item)));
        let people = people.map_or_else(|| Some(BTreeSet::new()), |value| set(value, person));
        Some(Who { groups: groups?, people: people? })
    }

    /// How many people can be among these: a chat's role may have been given to any of the people.
    pub(super) fn voters(self, who: &Who) -> usize {
        if who.groups.iter().any(|group| self.is_platform_group(group)) {
            return self.people.len();
        }
        let members = who.groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        members.chain(&who.people).collect::<BTreeSet<_>>().len()
    }

    fn group(self, value: Value<'_>) -> Option<GroupName> {
        let group: GroupName = value.parse()?;
        if !self.groups.contains_key(&group) && !self.is_platform_group(&group) {
            let known = self.groups.keys().chain(self.platform_roles.values()).map(GroupName::as_str);
            let advice = match did_you_mean(group.as_str(), known) {
                none if none.is_empty() => {
                    format!(": give it to someone in [people], or let a chat's role stand for it in [groups.{group}]")
                }
                hint => hint,
            };
            value.warn(format!("nobody is in the group `{group}`{advice}"));
        }
        Some(group)
    }

    fn is_platform_group(self, group: &GroupName) -> bool {
        self.platform_roles.values().any(|of| of == group)
    }
}

fn person(value: Value<'_>) -> Option<PersonName> {
    let name: PersonName = value.parse()?;
    // A person who is there and wrong was reported there.
    let declared = value.elsewhere(&["people"]).map(|people| people.keys()).unwrap_or_default();
    if !declared.contains(&name.as_str()) {
        value.problem(format!("no person `{name}` in [people]{}", hint(name.as_str(), declared)));
        return None;
    }
    Some(name)
}
