//! Who may do what, as the file says it.

use super::*;
use crate::domain::policy::{Access, Guests, Rule, Who};

/// An app in two environments with two people, and what is added.
pub(super) fn fleet(more: &str) -> Fleet {
    let people = "[people.anna]\naccounts = [\"local:anna\"]\ngroups = [\"deployers\"]\n[people.ben]\naccounts = [\"discord:7\"]\n";
    let (one, other) = (with_web("a", "production", ""), with_web("a", "staging", "").replace("h1", "h2"));
    let source = format!("{people}[apps.a]\nimage = \"a\"\n{one}{other}{more}");
    Fleet::parse("f", &source).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Names as a set of whatever kind is wanted.
pub(super) fn names<N: std::str::FromStr<Err: std::fmt::Debug> + Ord>(names: &[&str]) -> BTreeSet<N> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(super) fn who(groups: &[&str], people: &[&str]) -> Who {
    Who { groups: names(groups), people: names(people) }
}

#[test]
fn without_rules_guests_may_read_and_the_commands_own_groups_decide() {
    assert_eq!(fleet("").access, Access::default());
    assert_eq!(fleet("[access]").access, Access { rules: vec![], guests: Guests::Read, platform_roles: BTreeMap::new() });
    assert_eq!(fleet("").commands_named(), []);
}

#[test]
fn guests_may_read_or_use_some_commands_or_nothing() {
    let guests = |value: &str| fleet(&format!("[access]\nguests = {value}")).access.guests;
    assert_eq!(guests("true"), Guests::Read);
    assert_eq!(guests("false"), Guests::Nothing);
    assert_eq!(guests("[\"status\", \"help\"]"), Guests::Only(names(&["help", "status"])));
    let source = format!("access.guests = []\n[apps.a]\nimage = \"a\"\n{}", with_web("a", "x", ""));
    assert_eq!(answers(&source), ["1: `guests` is empty: if they may do nothing, write `guests = false`"]);
}

#[test]
fn rules_keep_their_order_and_what_they_leave_out_is_all() {
    let fleet = fleet(
        "[[access.rules]]\ncommands = [\"deploy\", \"revert\"]\napps = [\"a\"]\nenvironments = [\"production\"]\n\
         groups = [\"deployers\"]\npeople = [\"ben\"]\n[[access.rules]]\npeople = []\n",
    );
    let narrow = Rule {
        line: 16,
        commands: Some(names(&["deploy", "revert"])),
        apps: Some(names(&["a"])),
        environments: Some(names(&["production"])),
        allow: who(&["deployers"], &["ben"]),
    };
    let wide = Rule { line: 22, commands: None, apps: None, environments: None, allow: Who::default() };
    assert_eq!(fleet.access.rules, [narrow, wide]);
    assert_eq!(fleet.warnings, []);
}

#[test]
fn a_chat_s_roles_stand_for_groups_by_their_ids() {
    let fleet = fleet("[groups.approvers]\nroles = [\"discord:1\", \"discord:2\"]\n[[access.rules]]\ngroups = [\"approvers\"]");
    let roles = [("discord:1", "approvers"), ("discord:2", "approvers")];
    let roles = roles.map(|(role, group)| (role.to_owned(), group.parse().unwrap()));
    assert_eq!(fleet.access.platform_roles, BTreeMap::from(roles));
    assert_eq!(fleet.warnings, []);
}

#[test]
fn a_group_that_nobody_is_in_is_warned_about_where_it_is_named() {
    let fleet = fleet(
        "[groups.approvers]\nroles = [\"discord:1\"]\n[[access.rules]]\ngroups = [\"deployers\", \"leads\"]\n\
         [apps.a.environments.staging]\ntag_folder = false\n\
         approval = { groups = [\"aprovers\"], people = [\"ben\"], emergency = { groups = [\"leads\"] } }",
    );
    let warnings: Vec<_> = fleet.warnings.iter().map(|warning| (warning.line.unwrap(), warning.text.as_str())).collect();
    let leads =
        "nobody is in the group `leads`: give it to someone in [people], or let a chat's role stand for it in [groups.leads]";
    let approvers = "nobody is in the group `aprovers`; did you mean `approvers`?";
    assert_eq!(warnings, [(19, leads), (22, approvers), (22, leads)]);
}

#[test]
fn the_commands_that_a_file_names_are_known_with_their_lines() {
    let fleet = fleet(
        "[access]\nguests = [\"status\"]\n[[access.rules]]\npeople = [\"ben\"]\ncommands = [\n  \"deploy\",\n  \"frobnicate\",\n]\n\
         [apps.a.environments.staging]\napproval = { people = [\"ben\"], commands = [\"revrt\"] }",
    );
    let named: Vec<_> = fleet.commands_named().iter().map(|named| (named.command.as_str(), named.line)).collect();
    assert_eq!(named, [("status", 17), ("deploy", 21), ("frobnicate", 22), ("revrt", 25)]);
    let known = ["status", "deploy", "revert"];
    let unknown: Vec<String> = fleet.commands_unknown(known).iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        [
            "f:22: no command `frobnicate`; there are `status`, `deploy` and `revert`",
            "f:25: no command `revrt`; did you mean `revert`?"
        ]
    );
    let many = fleet.commands_unknown(std::iter::repeat_n("x", 20));
    assert_eq!(many[0].to_string(), "f:17: no command `status`; `!help` lists those that there are");
    assert_eq!(fleet.commands_unknown(["status", "deploy", "frobnicate", "revrt"]), []);
}

#[test]
fn a_user_of_the_bot_s_own_machine_is_an_account() {
    let fleet = fleet("");
    let person = fleet.person(&Account("local:anna".to_owned())).map(|person| person.name.as_str());
    assert_eq!(person, Some("anna"));
}
