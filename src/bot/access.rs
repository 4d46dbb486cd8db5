//! Who may do what: from an account to a standing, and from a standing and a command to a decision.
//!
//! [`Authorized`] is made here and nowhere else, and everything that acts demands one, so a forgotten check doesn't compile.
//! What decides is `domain::permission`; here it only gets its question.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::domain::freeze::{Freeze, in_force};
use crate::domain::message::Account;
use crate::domain::names::{AppName, CommandName, EnvironmentName, GroupName, PersonName};
use crate::domain::permission::{Decision, Question, decide};
use crate::domain::policy::{ApprovalPolicy, Policy, Standing};
use crate::fleet::Fleet;
use crate::runbook::{Argument, Invocation, Kind, Runbook, Work};

/// Who asks for what the policy does by itself.
const BOT: &str = "shipmate";

/// Something that a person may do, with who asked for it.
#[derive(Debug, Clone)]
pub struct Authorized<T> {
    what: T,
    by: PersonName,
    standing: Standing,
}

impl<T> Authorized<T> {
    /// What may be done.
    pub fn what(&self) -> &T {
        &self.what
    }

    /// Who asked.
    pub fn by(&self) -> &PersonName {
        &self.by
    }

    /// Who asked, as the rules saw them when they asked.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// A command with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The command.
    pub command: CommandName,
    /// The app; `None` = about none.
    pub app: Option<AppName>,
    /// The environment; `None` = about none, or the app runs in several and none of them is the usual one.
    pub environment: Option<EnvironmentName>,
}

impl Subject {
    /// What a command is about: the app's usual environment if none was named, and nothing if the command is about no app.
    pub fn of(fleet: &Fleet, runbook: &Runbook, app: Option<&AppName>, environment: Option<&EnvironmentName>) -> Subject {
        let app = app.filter(|_| place(runbook).is_some());
        let environment = environment.filter(|_| app.is_some());
        let usual = || Some(fleet.environment(app?, None).ok()?.environment.clone());
        Subject { command: runbook.name.clone(), app: app.cloned(), environment: environment.cloned().or_else(usual) }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The account is nobody's.
    Stranger {
        /// The account.
        account: Account,
        /// What they wanted.
        subject: Subject,
        /// Why that takes a person.
        decision: Box<Decision>,
    },
    /// The person is none of those who may.
    Person {
        /// The person.
        person: PersonName,
        /// What they wanted.
        subject: Subject,
        /// Which rule or group is against it.
        decision: Box<Decision>,
        /// A chat doesn't tell their roles at the moment, which may be for it.
        unsure: bool,
    },
}

/// An account as the rules see it: whose it is, and the groups of that person. `platform_roles` are the roles that the chat says
/// the account has; they give groups to people only, never to an account that is nobody's.
pub fn standing_of(fleet: &Fleet, account: &Account, platform_roles: &BTreeSet<String>) -> Standing {
    let Some(person) = fleet.person(account) else {
        return Standing { account: account.clone(), person: None, groups: BTreeSet::new(), unsure: false };
    };
    let groups = fleet.access.groups(&person.groups, &person.accounts, platform_roles);
    Standing { account: account.clone(), person: Some(person.name.clone()), groups, unsure: false }
}

/// Checks one command of somebody.
///
/// # Errors
/// With the decision that is against it.
pub fn authorize(fleet: &Fleet, standing: &Standing, invocation: Invocation) -> Result<Authorized<Invocation>, Denied> {
    may_have(fleet, standing, &invocation)?;
    let by = match &standing.person {
        Some(person) => person.clone(),
        None => guest(fleet, &standing.account),
    };
    Ok(Authorized { what: invocation, by, standing: standing.clone() })
}

/// Something that the policy itself asks for: no person's right is needed for it.
pub fn by_policy(invocation: Invocation) -> Authorized<Invocation> {
    let standing = Standing { account: Account(BOT.to_owned()), person: None, groups: BTreeSet::new(), unsure: false };
    Authorized { what: invocation, by: bot(), standing }
}

/// The name under which the bot itself acts. No person may have it.
pub fn bot() -> PersonName {
    named(BOT)
}

/// A person as the rules see them wherever they speak, in these groups.
pub fn standing_of_person(fleet: &Fleet, person: &PersonName, groups: BTreeSet<GroupName>) -> Standing {
    let known = fleet.people.get(person);
    let account = known.and_then(|person| person.accounts.first().cloned());
    // While nobody has an entry, whoever is at the terminal owns the bot.
    let account = account.unwrap_or_else(|| Account(format!("terminal:{person}")));
    Standing { account, person: known.map(|person| person.name.clone()), groups, unsure: false }
}

/// Whether somebody may have what they ask for, or asked for earlier.
///
/// # Errors
/// With the decision that is against it.
pub fn may_have(fleet: &Fleet, standing: &Standing, invocation: &Invocation) -> Result<Decision, Denied> {
    let subject = Subject::of(fleet, &invocation.runbook, invocation.app.as_ref(), invocation.environment.as_ref());
    let decision = decision(fleet, standing, &invocation.runbook, &subject);
    if decision.allowed { Ok(decision) } else { Err(denied(standing, subject, decision)) }
}

fn denied(standing: &Standing, subject: Subject, decision: Decision) -> Denied {
    let decision = Box::new(decision);
    match &standing.person {
        Some(person) => Denied::Person { person: person.clone(), subject, decision, unsure: standing.unsure },
        None => Denied::Stranger { account: standing.account.clone(), subject, decision },
    }
}

/// Whether the policy lets somebody do without votes in an emergency.
pub fn may_hurry(policy: &Policy, standing: &Standing) -> bool {
    policy.approval.as_ref().is_some_and(|approval| standing.is_among(&approval.emergency))
}

/// Whether somebody may use a command, and why.
pub fn decision(fleet: &Fleet, standing: &Standing, runbook: &Runbook, subject: &Subject) -> Decision {
    let question = Question {
        command: &runbook.name,
        acts: runbook.work.acts(),
        group: runbook.group.as_ref(),
        app: subject.app.as_ref(),
        environment: subject.environment.as_ref(),
    };
    decide(&fleet.access, standing, &question, owns_the_terminal(fleet, &standing.account))
}

/// Whether somebody may use a command at all, be it in one environment of one app; what `!help` lists.
pub fn may(fleet: &Fleet, standing: &Standing, runbook: &Runbook) -> bool {
    let place = place(runbook);
    let nowhere = Subject { command: runbook.name.clone(), app: None, environment: None };
    let everywhere = fleet.environments().filter(|_| place.is_some()).map(|spec| Subject {
        app: Some(spec.app.clone()),
        environment: Some(spec.environment.clone()),
        ..nowhere.clone()
    });
    let without = place.is_none_or(|argument| argument.optional).then(|| nowhere.clone());
    everywhere.chain(without).any(|subject| decision(fleet, standing, runbook, &subject).allowed)
}

/// The votes that a command takes in an environment; `None` = none.
pub fn votes_for<'a>(runbook: &Runbook, policy: &'a Policy) -> Option<&'a ApprovalPolicy> {
    let is_about = |approval: &&ApprovalPolicy| approval.commands.as_ref().is_none_or(|names| names.contains(&runbook.name));
    policy.approval.as_ref().filter(|_| changes(runbook)).filter(is_about)
}

/// The freeze that is in a command's way in an environment, with its end; `None` = none.
pub fn freeze_for<'a>(runbook: &Runbook, policy: &'a Policy, now: Timestamp) -> Option<(&'a Freeze, Timestamp)> {
    in_force(&policy.freezes, now).filter(|_| changes(runbook))
}

/// Whether a command makes a deployment; a cancel acts too, but takes something back.
fn changes(runbook: &Runbook) -> bool {
    matches!(runbook.work, Work::Steps { .. })
}

/// The argument that says which app a command is about.
fn place(runbook: &Runbook) -> Option<&Argument> {
    runbook.arguments.iter().find(|argument| matches!(argument.kind, Kind::App | Kind::Deployment))
}

/// What somebody is called who has no entry in the fleet file.
fn guest(fleet: &Fleet, account: &Account) -> PersonName {
    let id = account.0.split_once(':').map_or(account.0.as_str(), |(_, id)| id);
    // In Matrix the server follows, after another colon.
    let name = id.trim_start_matches('@').split(':').next().unwrap_or_default().to_lowercase();
    // A guest must not be taken for a person of the same name.
    let name = if owns_the_terminal(fleet, account) { name } else { format!("guest-{name}") };
    name.parse().unwrap_or_else(|_| named("guest"))
}

fn named(name: &'static str) -> PersonName {
    // All that are used are within the grammar; tests hold them to that.
    name.parse().unwrap_or_else(|_| unreachable!("`{name}` is a name"))
}

/// At the terminal, while nobody has an entry in the fleet file, they own the bot anyway.
fn owns_the_terminal(fleet: &Fleet, account: &Account) -> bool {
    fleet.people.is_empty() && account.0.starts_with("terminal:")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::permission::{Basis, Through};
    use crate::domain::policy::{Rule, Who};
    use crate::runbook::{Catalog, Parsed, Prefix};

    const FLEET: &str = r#"
[people.anna]
accounts = ["terminal:anna", "discord:1"]
groups = ["deployers"]

[people.berta]
accounts = ["discord:2"]

[apps.blog]
image = "blog"
default_environment = "production"
[apps.blog.environments.production.roles.web]
hosts = ["web1"]
health = { running = "1s" }
[apps.blog.environments.staging.roles.web]
hosts = ["web2"]
health = { running = "1s" }
"#;

    fn fleet(rules: Vec<Rule>) -> Fleet {
        let mut fleet = Fleet::parse("fleet.toml", FLEET).unwrap();
        fleet.access.rules = rules;
        fleet.access.platform_roles.insert("discord:77".to_owned(), "deployers".parse().unwrap());
        fleet
    }

    /// All that acts, in these environments of the blog, for berta.
    fn for_berta(environments: &[&str]) -> Rule {
        Rule {
            line: 3,
            commands: None,
            apps: Some(["blog".parse().unwrap()].into()),
            environments: Some(environments.iter().map(|name| name.parse().unwrap()).collect()),
            allow: Who { people: ["berta".parse().unwrap()].into(), ..Who::default() },
        }
    }

    fn asked(fleet: &Fleet, line: &str) -> Invocation {
        match Catalog::builtin().unwrap().parse(line, &Prefix::default(), fleet) {
            Parsed::Invocation(invocation) => *invocation,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn standing(fleet: &Fleet, account: &str, roles: &[&str]) -> Standing {
        standing_of(fleet, &Account(account.to_owned()), &roles.iter().map(|role| (*role).to_owned()).collect())
    }

    fn runbook(name: &str) -> Arc<Runbook> {
        Catalog::builtin().unwrap().get(&name.parse().unwrap()).unwrap().clone()
    }

    #[test]
    fn a_chats_roles_give_groups_to_people_only() {
        let fleet = fleet(vec![]);
        let deploys = |account, roles: &[&str]| {
            authorize(&fleet, &standing(&fleet, account, roles), asked(&fleet, "!deploy blog")).map(|asked| asked.by().to_string())
        };
        assert_eq!(deploys("terminal:anna", &[]).unwrap(), "anna");
        assert_eq!(deploys("discord:2", &["discord:77", "discord:78"]).unwrap(), "berta");
        assert!(matches!(deploys("discord:2", &["discord:78"]), Err(Denied::Person { .. })));
        assert!(matches!(deploys("discord:3", &["discord:77"]), Err(Denied::Stranger { .. })));
    }

    #[test]
    fn power_in_matrix_is_a_condition_and_gives_nothing() {
        let text =
            FLEET.replace("\"discord:1\"]", "\"discord:1\", \"matrix:@anna:x\"]").replace("\"discord:2\"", "\"matrix:@berta:x\"");
        let mut fleet = Fleet::parse("fleet.toml", &text).unwrap();
        fleet.access.platform_roles.insert("matrix:power:50".to_owned(), "deployers".parse().unwrap());
        let deploys =
            |account, roles: &[&str]| authorize(&fleet, &standing(&fleet, account, roles), asked(&fleet, "!deploy blog")).is_ok();
        assert!(deploys("matrix:@anna:x", &["matrix:power:49", "matrix:power:50"]));
        for account in ["matrix:@anna:x", "discord:1"] {
            assert!(!deploys(account, &["matrix:power:49"]), "it counts for the person, wherever they speak");
        }
        assert!(!deploys("matrix:@berta:x", &["matrix:power:50"]), "the fleet file doesn't put her there");
        fleet
            .people
            .get_mut(&"anna".parse::<PersonName>().unwrap())
            .unwrap()
            .accounts
            .retain(|account| !account.0.starts_with("matrix:"));
        let anna = standing(&fleet, "discord:1", &[]);
        assert!(authorize(&fleet, &anna, asked(&fleet, "!deploy blog")).is_ok(), "who isn't in Matrix needs no power there");
    }

    #[test]
    fn without_an_environment_the_usual_one_is_asked_about() {
        let fleet = fleet(vec![for_berta(&["production"])]);
        let anna = standing(&fleet, "terminal:anna", &[]);
        let Err(Denied::Person { subject, decision, .. }) = authorize(&fleet, &anna, asked(&fleet, "!deploy blog")) else {
            panic!("the rule for production is for berta")
        };
        assert_eq!(subject.environment, Some("production".parse().unwrap()));
        assert!(matches!(decision.basis, Basis::Rule { line: 3, .. }));
        let staging = authorize(&fleet, &anna, asked(&fleet, "!deploy blog staging")).unwrap();
        assert_eq!((staging.by().as_str(), staging.standing()), ("anna", &anna));
    }

    #[test]
    fn a_guest_is_never_called_like_a_person() {
        let fleet = fleet(vec![]);
        let name = |account| {
            let asked = authorize(&fleet, &standing(&fleet, account, &[]), asked(&fleet, "!apps"));
            asked.unwrap().by().to_string()
        };
        assert_eq!(name("discord:anna"), "guest-anna");
        assert_eq!(name("matrix:@Anna:example.org"), "guest-anna");
        assert_eq!(name("discord:%%%"), "guest");
    }

    #[test]
    fn whoever_is_at_the_terminal_owns_a_bot_without_people() {
        let mut fleet = fleet(vec![Rule { allow: Who::default(), ..for_berta(&["production"]) }]);
        fleet.people.clear();
        let by = |account| {
            authorize(&fleet, &standing(&fleet, account, &[]), asked(&fleet, "!deploy blog")).map(|asked| asked.by().to_string())
        };
        assert_eq!(by("terminal:zoe").unwrap(), "zoe");
        let Err(Denied::Stranger { decision, .. }) = by("discord:1") else { panic!("only the terminal is the owner's") };
        assert_eq!(decision.basis, Basis::ActsNeedAPerson);
    }

    #[test]
    fn help_lists_what_somebody_may_use_somewhere() {
        let somewhere = fleet(vec![for_berta(&["production"])]);
        let berta = standing(&somewhere, "discord:2", &[]);
        let anna = standing(&somewhere, "terminal:anna", &[]);
        let uses = |fleet: &Fleet, standing: &Standing, name: &str| may(fleet, standing, &runbook(name));
        assert!(uses(&somewhere, &berta, "deploy") && uses(&somewhere, &anna, "deploy"));
        assert!(uses(&somewhere, &berta, "cancel"), "of what runs in production");
        let everywhere = fleet(vec![for_berta(&["production", "staging"])]);
        assert!(!uses(&everywhere, &anna, "deploy"));
        assert!(uses(&everywhere, &anna, "status") && uses(&everywhere, &anna, "help"));
        assert!(!uses(&fleet(vec![]), &berta, "deploy"));
    }

    #[test]
    fn a_person_stands_the_same_wherever_they_are_asked_about() {
        let fleet = fleet(vec![]);
        let person = &fleet.people[&"anna".parse::<PersonName>().unwrap()];
        let anna = standing_of_person(&fleet, &person.name, person.groups.clone());
        let subject = Subject::of(&fleet, &runbook("deploy"), Some(&"blog".parse().unwrap()), None);
        let through = decision(&fleet, &anna, &runbook("deploy"), &subject).through;
        assert_eq!(through, Some(Through::Group("deployers".parse().unwrap())));
    }
}
