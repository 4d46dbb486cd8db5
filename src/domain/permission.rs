//! Who may use a command: the one place that decides it, for the parser, the votes, the start of a deployment and `!can` alike.
//!
//! The answer always says why, so that what people are told is the reason itself and no retelling of it. A rule that fits decides
//! alone: whoever it doesn't name may not, also not by the group that the command's own file asks for.

use super::names::{AppName, CommandName, EnvironmentName, GroupName};
use super::policy::{Access, Guests, Rule, Standing, Who};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The command.
    pub command: &'a CommandName,
    /// Whether it changes something.
    pub acts: bool,
    /// The group that the command's own file asks for.
    pub group: Option<&'a GroupName>,
    /// The app; `None` = the command is about none.
    pub app: Option<&'a AppName>,
    /// The environment; `None` = the command is about none. Where one is only not known yet, find it out before asking: a rule
    /// about some environments doesn't fit a question without one, so the answer would be another rule's.
    pub environment: Option<&'a EnvironmentName>,
}

/// Whether somebody may, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether they may.
    pub allowed: bool,
    /// What decided it.
    pub basis: Basis,
    /// What makes them one of those who may; `None` if they may not, or everybody may.
    pub through: Option<Through>,
}

/// What decided a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// Whoever owns the terminal may everything while the fleet has no people.
    Owner,
    /// The first rule that fits.
    Rule {
        /// The line of the fleet file at which it begins.
        line: usize,
        /// Whom it is for.
        allow: Who,
    },
    /// No rule fits, and the command's own file asks for this group.
    CommandGroup(GroupName),
    /// No rule fits, and the command's own file asks for no group: it is for every person.
    NoGroupNeeded,
    /// Only a person may act, and the account is nobody's.
    ActsNeedAPerson,
    /// What the fleet file lets accounts read that are nobody's.
    Guests(Guests),
}

/// What makes somebody one of those who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// The rule names them.
    Name,
    /// They are in this group.
    Group(GroupName),
}

/// Decides a question. `owner` says that they are at the bot's own terminal while the fleet has no people.
pub fn decide(access: &Access, standing: &Standing, question: &Question<'_>, owner: bool) -> Decision {
    let rule = access.rules.iter().find(|rule| fits(rule, question));
    match (owner, &standing.person, rule) {
        (true, _, _) => Decision { allowed: true, basis: Basis::Owner, through: None },
        (false, None, rule) => guest(&access.guests, rule, question),
        (false, Some(_), Some(rule)) => {
            let through = through(standing, &rule.allow);
            Decision { allowed: through.is_some(), basis: basis(rule), through }
        }
        (false, Some(_), None) => match question.group {
            Some(group) => {
                let through = standing.groups.contains(group).then(|| Through::Group(group.clone()));
                Decision { allowed: through.is_some(), basis: Basis::CommandGroup(group.clone()), through }
            }
            None => Decision { allowed: true, basis: Basis::NoGroupNeeded, through: None },
        },
    }
}

/// What makes somebody one of these; the name goes before a group.
pub fn through(standing: &Standing, who: &Who) -> Option<Through> {
    let person = standing.person.as_ref()?;
    if who.people.contains(person) {
        return Some(Through::Name);
    }
    standing.groups.intersection(&who.groups).next().cloned().map(Through::Group)
}

/// An account that is nobody's: it may never do what some person may not, so a rule or a group stops it like one.
fn guest(guests: &Guests, rule: Option<&Rule>, question: &Question<'_>) -> Decision {
    let lets = match guests {
        Guests::Read => true,
        Guests::Only(commands) => commands.contains(question.command),
        Guests::Nothing => false,
    };
    let no = |basis| Decision { allowed: false, basis, through: None };
    match (question.acts, lets, rule, question.group) {
        (true, _, _, _) => no(Basis::ActsNeedAPerson),
        (false, false, _, _) => no(Basis::Guests(guests.clone())),
        (false, true, Some(rule), _) => no(basis(rule)),
        (false, true, None, Some(group)) => no(Basis::CommandGroup(group.clone())),
        (false, true, None, None) => Decision { allowed: true, basis: Basis::Guests(guests.clone()), through: None },
    }
}

fn basis(rule: &Rule) -> Basis {
    Basis::Rule { line: rule.line, allow: rule.allow.clone() }
}

fn fits(rule: &Rule, question: &Question<'_>) -> bool {
    let command = rule.commands.as_ref().map_or(question.acts, |commands| commands.contains(question.command));
    let app = rule.apps.as_ref().is_none_or(|apps| question.app.is_some_and(|app| apps.contains(app)));
    let environment =
        rule.environments.as_ref().is_none_or(|known| question.environment.is_some_and(|environment| known.contains(environment)));
    command && app && environment
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::str::FromStr;

    use proptest::collection::{btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::domain::message::Account;
    use crate::domain::names::PersonName;

    fn set<T: FromStr<Err: std::fmt::Debug> + Ord>(names: &[&str]) -> BTreeSet<T> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn who(groups: &[&str], people: &[&str]) -> Who {
        Who { groups: set(groups), people: set(people) }
    }

    /// A rule for all commands that act, in these environments.
    fn rule(line: usize, environments: &[&str], allow: Who) -> Rule {
        let environments = Some(set(environments)).filter(|names| !names.is_empty());
        Rule { line, commands: None, apps: None, environments, allow }
    }

    fn person(name: &str, groups: &[&str]) -> Standing {
        Standing {
            account: Account(format!("terminal:{name}")),
            person: Some(name.parse().unwrap()),
            groups: set(groups),
            unsure: false,
        }
    }

    fn stranger() -> Standing {
        Standing { account: Account("discord:1".to_owned()), person: None, groups: BTreeSet::new(), unsure: false }
    }

    /// `!deploy blog production`, which is for deployers.
    fn deploy(access: &Access, standing: &Standing, environment: Option<&str>) -> Decision {
        let environment = environment.map(|name| name.parse().unwrap());
        let question = Question {
            command: &"deploy".parse().unwrap(),
            acts: true,
            group: Some(&"deployers".parse().unwrap()),
            app: Some(&"blog".parse().unwrap()),
            environment: environment.as_ref(),
        };
        decide(access, standing, &question, false)
    }

    /// `!logs blog production`, which is for everybody.
    fn logs(access: &Access, standing: &Standing, group: Option<&str>) -> Decision {
        let group = group.map(|name| name.parse().unwrap());
        let question = Question {
            command: &"logs".parse().unwrap(),
            acts: false,
            group: group.as_ref(),
            app: Some(&"blog".parse().unwrap()),
            environment: Some(&"production".parse().unwrap()),
        };
        decide(access, standing, &question, false)
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_no_group_helps_against_it() {
        let rules = vec![rule(4, &["production"], who(&["seniors"], &["anna"])), rule(8, &[], who(&["deployers"], &[]))];
        let access = Access { rules, ..Access::default() };
        let basis = Basis::Rule { line: 4, allow: who(&["seniors"], &["anna"]) };
        let by_name = Decision { allowed: true, basis: basis.clone(), through: Some(Through::Name) };
        assert_eq!(deploy(&access, &person("anna", &["seniors"]), Some("production")), by_name);
        let by_group = Decision { through: Some(Through::Group("seniors".parse().unwrap())), ..by_name };
        assert_eq!(deploy(&access, &person("berta", &["deployers", "seniors"]), Some("production")), by_group);
        let refused = Decision { allowed: false, basis, through: None };
        assert_eq!(deploy(&access, &person("carl", &["deployers"]), Some("production")), refused);
        for environment in [Some("staging"), None] {
            let carl = deploy(&access, &person("carl", &["deployers"]), environment);
            assert!(carl.allowed && matches!(carl.basis, Basis::Rule { line: 8, .. }), "{environment:?}");
        }
    }

    #[test]
    fn a_rule_is_about_its_commands_or_else_about_those_that_act() {
        let all = Access { rules: vec![rule(4, &[], who(&[], &["anna"]))], ..Access::default() };
        assert!(!deploy(&all, &person("carl", &["deployers"]), None).allowed);
        assert!(logs(&all, &person("carl", &[]), None).allowed);
        let one = Rule { commands: Some(set(&["logs"])), ..rule(4, &[], who(&[], &["anna"])) };
        let one = Access { rules: vec![one], ..Access::default() };
        assert!(deploy(&one, &person("carl", &["deployers"]), None).allowed);
        assert!(!logs(&one, &person("carl", &[]), None).allowed);
        let elsewhere = Rule { apps: Some(set(&["shop"])), ..rule(4, &[], who(&[], &["anna"])) };
        assert!(deploy(&Access { rules: vec![elsewhere], ..Access::default() }, &person("carl", &["deployers"]), None).allowed);
    }

    #[test]
    fn a_rule_for_nobody_is_for_nobody() {
        let frozen = Access { rules: vec![rule(4, &[], Who::default())], ..Access::default() };
        assert!(!deploy(&frozen, &person("anna", &["deployers"]), Some("production")).allowed);
    }

    #[test]
    fn without_a_rule_the_commands_own_group_decides() {
        let access = Access::default();
        let group = || "deployers".parse().unwrap();
        let yes = Decision { allowed: true, basis: Basis::CommandGroup(group()), through: Some(Through::Group(group())) };
        assert_eq!(deploy(&access, &person("anna", &["deployers"]), None), yes);
        assert_eq!(deploy(&access, &person("ben", &["readers"]), None), Decision { allowed: false, through: None, ..yes });
        let open = Decision { allowed: true, basis: Basis::NoGroupNeeded, through: None };
        assert_eq!(logs(&access, &person("ben", &[]), None), open);
    }

    #[test]
    fn an_account_that_is_nobodys_reads_what_the_fleet_file_lets_it_and_never_acts() {
        let named = |guests| Access { guests, ..Access::default() };
        let read = named(Guests::Read);
        assert_eq!(deploy(&read, &stranger(), None).basis, Basis::ActsNeedAPerson);
        assert!(logs(&read, &stranger(), None).allowed);
        assert_eq!(logs(&read, &stranger(), Some("readers")).basis, Basis::CommandGroup("readers".parse().unwrap()));
        let only = Guests::Only(set(&["logs", "deploy"]));
        assert!(logs(&named(only.clone()), &stranger(), None).allowed);
        assert!(!deploy(&named(only), &stranger(), None).allowed);
        let others = Guests::Only(set(&["status"]));
        assert_eq!(logs(&named(others.clone()), &stranger(), None).basis, Basis::Guests(others));
        assert_eq!(logs(&named(Guests::Nothing), &stranger(), None).basis, Basis::Guests(Guests::Nothing));
        let ruled = Rule { commands: Some(set(&["logs"])), ..rule(4, &[], who(&[], &["anna"])) };
        assert!(!logs(&Access { rules: vec![ruled], ..Access::default() }, &stranger(), None).allowed);
    }

    #[test]
    fn the_owner_of_the_terminal_may_everything() {
        let access = Access { rules: vec![rule(4, &[], Who::default())], guests: Guests::Nothing, ..Access::default() };
        let question = Question { command: &"deploy".parse().unwrap(), acts: true, group: None, app: None, environment: None };
        let yes = Decision { allowed: true, basis: Basis::Owner, through: None };
        assert_eq!(decide(&access, &stranger(), &question, true), yes);
    }

    fn some<T: FromStr<Err: std::fmt::Debug> + std::fmt::Debug + Ord>(
        names: &'static [&'static str],
    ) -> impl Strategy<Value = BTreeSet<T>> {
        btree_set(select(names).prop_map(|name| name.parse().unwrap()), 0..3)
    }

    const GROUPS: &[&str] = &["deployers", "seniors"];
    const PEOPLE: &[&str] = &["anna", "berta", "carl"];
    const COMMANDS: &[&str] = &["deploy", "logs", "help"];
    const APPS: &[&str] = &["blog", "shop"];
    const ENVIRONMENTS: &[&str] = &["production", "staging"];

    fn accesses() -> impl Strategy<Value = Access> {
        let who = (some(GROUPS), some(PEOPLE)).prop_map(|(groups, people)| Who { groups, people });
        let parts = (1usize..99, option::of(some(COMMANDS)), option::of(some(APPS)), option::of(some(ENVIRONMENTS)), who);
        let rule = parts.prop_map(|(line, commands, apps, environments, allow)| Rule { line, commands, apps, environments, allow });
        let guests = prop_oneof![Just(Guests::Read), Just(Guests::Nothing), some(COMMANDS).prop_map(Guests::Only)];
        (vec(rule, 0..5), guests).prop_map(|(rules, guests)| Access { rules, guests, ..Access::default() })
    }

    fn standings() -> impl Strategy<Value = Standing> {
        (option::of(select(PEOPLE)), some(GROUPS)).prop_map(|(name, groups)| Standing {
            person: name.map(|name| name.parse().unwrap()),
            groups,
            ..stranger()
        })
    }

    /// A question without borrows: command, whether it acts, group, app, environment.
    type Asked = (CommandName, bool, Option<GroupName>, Option<AppName>, Option<EnvironmentName>);

    fn questions() -> impl Strategy<Value = Asked> {
        fn one<T: FromStr<Err: std::fmt::Debug> + std::fmt::Debug>(names: &'static [&'static str]) -> impl Strategy<Value = T> {
            select(names).prop_map(|name| name.parse().unwrap())
        }
        (one(COMMANDS), any::<bool>(), option::of(one(GROUPS)), option::of(one(APPS)), option::of(one(ENVIRONMENTS)))
    }

    fn ask(access: &Access, standing: &Standing, (command, acts, group, app, environment): &Asked) -> Decision {
        let (group, app, environment) = (group.as_ref(), app.as_ref(), environment.as_ref());
        decide(access, standing, &Question { command, acts: *acts, group, app, environment }, false)
    }

    proptest! {
        #[test]
        fn a_guest_never_acts_and_never_does_what_some_person_may_not(
            access in accesses(),
            asked in questions(),
            nobody in standings(),
        ) {
            let guest = ask(&access, &Standing { person: None, ..nobody }, &asked);
            prop_assert!(!(guest.allowed && asked.1));
            prop_assert!(!guest.allowed || ask(&access, &person("dora", &[]), &asked).allowed);
        }

        #[test]
        fn adding_somebody_to_a_rule_never_takes_a_right_away(
            access in accesses(),
            standing in standings(),
            asked in questions(),
            place in 0usize..5,
            added in select(PEOPLE),
            group in select(GROUPS),
        ) {
            let before = ask(&access, &standing, &asked);
            let mut after = access;
            if let Some(rule) = after.rules.get_mut(place) {
                rule.allow.people.insert(added.parse().unwrap());
                rule.allow.groups.insert(group.parse().unwrap());
            }
            prop_assert!(!before.allowed || ask(&after, &standing, &asked).allowed);
        }

        #[test]
        fn a_decision_says_through_what_exactly_when_a_rule_or_a_group_allowed_it(
            access in accesses(),
            standing in standings(),
            asked in questions(),
        ) {
            let decision = ask(&access, &standing, &asked);
            let for_some = matches!(decision.basis, Basis::Rule { .. } | Basis::CommandGroup(_));
            prop_assert_eq!(decision.through.is_some(), decision.allowed && for_some);
            let is_theirs = match &decision.through {
                Some(Through::Group(group)) => standing.groups.contains(group),
                Some(Through::Name) => standing.person.is_some(),
                None => true,
            };
            prop_assert!(is_theirs);
        }
    }

    #[test]
    fn who_somebody_is_among_and_through_what_agree() {
        let approvers = who(&["seniors"], &["anna"]);
        let people: [PersonName; 3] = PEOPLE.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        for name in people {
            for groups in [set(&[]), set(GROUPS)] {
                let standing = Standing { person: Some(name.clone()), groups, ..stranger() };
                assert_eq!(standing.is_among(&approvers), through(&standing, &approvers).is_some(), "{standing:?}");
            }
        }
    }
}
