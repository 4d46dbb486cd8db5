//! A file of expected answers: who may do what, as the team wants it, for `shipmate policy test`.
//!
//! It is read here, beside the fleet file, since it is read in the same way: every mistake at once, with its line and the name
//! that was meant. Whether the answers are right is not decided here.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Fleet;
use super::file::parse_account;
use super::reader::{Document, Table, Value};
use crate::domain::message::Account;
use crate::domain::names::{AppName, CommandName, EnvironmentName, PersonName};
use crate::nearest::hint;
use crate::problem::Problems;

/// What somebody is expected to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The line at which it begins.
    pub line: usize,
    /// Who asks.
    pub asker: Asker,
    /// The command; one that there is.
    pub command: CommandName,
    /// The app; one of the fleet.
    pub app: Option<AppName>,
    /// The environment; one of the app.
    pub environment: Option<EnvironmentName>,
    /// When; `None` = at a time without freezes.
    pub at: Option<Timestamp>,
    /// Whether they may.
    pub allowed: bool,
    /// How many votes it takes; `None` = as many as it may be.
    pub approvals: Option<u32>,
}

/// Who asks, in a file of expected answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A person of the fleet, whatever account they speak with.
    Person(PersonName),
    /// An account that has these roles of its chat; it may be nobody's.
    Account {
        /// The account.
        account: Account,
        /// The roles, such as `discord:1234`.
        roles: BTreeSet<String>,
    },
}

/// Reads the text of a file that people call `place`. `commands` are those that there are.
///
/// # Errors
/// All mistakes of the text, and all names that the fleet doesn't have.
pub fn expectations(place: &str, source: &str, fleet: &Fleet, commands: &[&str]) -> Result<Vec<Expectation>, Problems> {
    let document = Document::parse(place, source)?;
    let read = document.root().table("file of expected answers", |table| {
        let list = table.need("expect", "begin each expected answer with [[expect]]");
        if let Some(list) = list.filter(|list| list.is_list() && list.items().is_some_and(|items| items.is_empty())) {
            list.problem("nothing is expected: begin each expected answer with [[expect]]");
        }
        list.map(|list| list.list(|item| item.table("expected answer", |table| one(item, &table, fleet, commands)).flatten()))
    });
    document.finish(read.flatten())
}

fn one(item: Value<'_>, table: &Table<'_>, fleet: &Fleet, commands: &[&str]) -> Option<Expectation> {
    let person = table.get("person").map(|value| known(value, "person", fleet.people.keys().map(PersonName::as_str)));
    let account = table.get("account").map(|value| value.check(parse_account));
    let roles = table.or("roles", vec![], |value| Some(value.list(|role| role_of(role, fleet))));
    let asker = match (person, account) {
        (Some(person), None) if roles.is_empty() => person.map(Asker::Person),
        (Some(_), None) => wrong(table, "`roles` are those of an account: write `account` instead of `person`"),
        (None, Some(account)) => account.map(|account| Asker::Account { account, roles: roles.into_iter().collect() }),
        (Some(_), Some(_)) => wrong(table, "it is either a `person` or an `account`"),
        (None, None) => wrong(table, "who asks is missing: `person = \"anna\"` or `account = \"discord:1\"`"),
    };
    let command = table.need("command", "the name of a command, `command = \"deploy\"`");
    let command = command.and_then(|value| known(value, "command", commands.iter().copied()));
    let app = table.get("app").map(|value| known::<AppName>(value, "app", fleet.apps.keys().map(AppName::as_str)));
    let environment = table.get("environment");
    if let (Some(value), None) = (environment, &app) {
        value.problem("`environment` says nothing without an `app`");
    }
    let app = app.flatten();
    let environment = environment.zip(app.as_ref()).and_then(|(value, app)| {
        let of_app = fleet.apps.get(app).into_iter().flat_map(|app| app.environments.keys());
        let names: Vec<&str> = of_app.map(EnvironmentName::as_str).collect();
        known(value, "environment", names.iter().copied())
    });
    let at = table.get("at").and_then(|value| value.check(time));
    let allowed = table.need("allowed", "the right answer, `allowed = true` or `allowed = false`").and_then(Value::truth);
    let approvals = table.get("approvals").and_then(|value| value.whole(0..=99)).and_then(|votes| u32::try_from(votes).ok());
    Some(Expectation { line: item.line(), asker: asker?, command: command?, app, environment, at, allowed: allowed?, approvals })
}

/// A name that is one of those that there are.
fn known<'a, N: std::str::FromStr>(value: Value<'_>, what: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<N> {
    value.check(|text| match names.clone().find(|name| *name == text) {
        Some(name) => name.parse().map_err(|_| format!("it is no {what}")),
        None => Err(format!("there is no such {what}{}", hint(text, names.clone()))),
    })
}

fn role_of(value: Value<'_>, fleet: &Fleet) -> Option<String> {
    let known = fleet.access.platform_roles.keys().map(String::as_str);
    value.check(|text| match fleet.access.platform_roles.contains_key(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("no group of the fleet file has this role{}", hint(text, known.clone()))),
    })
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "it is a moment with its offset, such as 2026-12-24T10:00:00+01:00")
}

fn wrong<T>(table: &Table<'_>, text: &str) -> Option<T> {
    table.problem(text);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = r#"
[people.berta]
accounts = ["terminal:berta"]

[apps.antisocial]
image = "antisocial"
[apps.antisocial.environments.production.roles.web]
hosts = ["web1"]
health = { running = "1s" }
"#;

    fn read(source: &str) -> Result<Vec<Expectation>, String> {
        let mut fleet = Fleet::parse("fleet.toml", FLEET).unwrap();
        fleet.access.platform_roles.insert("discord:77".to_owned(), "deployers".parse().unwrap());
        expectations("expect.toml", source, &fleet, &["deploy", "status"]).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_file_of_expected_answers_is_read() {
        let source = r#"
[[expect]]
person = "berta"
command = "deploy"
app = "antisocial"
environment = "production"
at = "2026-12-24T10:00:00+01:00"
allowed = true
approvals = 1

[[expect]]
account = "discord:1"
roles = ["discord:77"]
command = "status"
allowed = false
"#;
        let berta = Expectation {
            line: 2,
            asker: Asker::Person("berta".parse().unwrap()),
            command: "deploy".parse().unwrap(),
            app: Some("antisocial".parse().unwrap()),
            environment: Some("production".parse().unwrap()),
            at: Some("2026-12-24T09:00:00Z".parse().unwrap()),
            allowed: true,
            approvals: Some(1),
        };
        let asker = Asker::Account { account: Account("discord:1".to_owned()), roles: BTreeSet::from(["discord:77".to_owned()]) };
        let command = "status".parse().unwrap();
        let guest =
            Expectation { line: 11, asker, command, app: None, environment: None, at: None, allowed: false, approvals: None };
        assert_eq!(read(source), Ok(vec![berta, guest]));
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_the_nearest_name() {
        let source = r#"[[expect]]
person = "berte"
command = "deplyo"
app = "antisocal"
environment = "production"
at = "2026-12-24"
allowed = "yes"
[[expect]]
person = "berta"
account = "discord:1"
command = "status"
app = "antisocial"
environment = "prodction"
allowed = true
approvlas = 2
[[expect]]
account = "discrod:1"
roles = ["discord:7"]
environment = "production"
"#;
        let told = read(source).unwrap_err();
        let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("    ")).collect();
        assert_eq!(
            told,
            [
                "expect.toml:2: `person` can't be \"berte\": there is no such person; did you mean `berta`?",
                "expect.toml:3: `command` can't be \"deplyo\": there is no such command; did you mean `deploy`?",
                "expect.toml:4: `app` can't be \"antisocal\": there is no such app; did you mean `antisocial`?",
                "expect.toml:6: `at` can't be \"2026-12-24\": it is a moment with its offset, such as 2026-12-24T10:00:00+01:00",
                "expect.toml:7: `allowed` is true or false, not a text",
                "expect.toml:8: it is either a `person` or an `account`",
                "expect.toml:13: `environment` can't be \"prodction\": there is no such environment; did you mean `production`?",
                "expect.toml:15: unknown key `approvlas`; did you mean `approvals`?",
                "expect.toml:16: `command` is missing: the name of a command, `command = \"deploy\"`",
                "expect.toml:16: `allowed` is missing: the right answer, `allowed = true` or `allowed = false`",
                "expect.toml:17: `account` can't be \"discrod:1\": it is `PLATFORM:ID` with a platform of `terminal`, `discord`, \
                 `matrix` and `local`; did you mean `discord`?",
                "expect.toml:18: `roles` can't be \"discord:7\": no group of the fleet file has this role; did you mean `discord:77`?",
                "expect.toml:19: `environment` says nothing without an `app`",
            ]
        );
    }

    #[test]
    fn an_empty_file_says_how_to_begin() {
        assert_eq!(read("").unwrap_err(), "expect.toml:1: `expect` is missing: begin each expected answer with [[expect]]");
        let nothing = read("expect = []").unwrap_err();
        assert!(nothing.starts_with("expect.toml:1: nothing is expected: begin each expected answer with [[expect]]"), "{nothing}");
    }
}
