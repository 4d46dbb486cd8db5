//! The commands for chats that have menus: the same runbooks, and the values that are likely meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chat::menu::{Entry, Field, Holds, Menu, Suggestion};
use crate::domain::build::BuildOutcome;
use crate::domain::message::Account;
use crate::domain::names::{AppName, EnvironmentName};
use crate::domain::policy::Guests;
use crate::fleet::Fleet;
use crate::runbook::{Argument, Catalog, Kind, Runbook, Vocabulary};
use crate::store::Ledger;

/// How many builds and deployments are looked through.
const LOOKED_THROUGH: usize = 100;

/// The commands, and what the fleet and the ledger know of their values.
pub struct Commands {
    /// The commands.
    pub catalog: Arc<Catalog>,
    /// The apps, environments, roles and people.
    pub fleet: Arc<Fleet>,
    /// The builds and deployments.
    pub ledger: Ledger,
}

impl Menu for Commands {
    fn entries(&self) -> Vec<Entry> {
        let field = |argument: &Argument| Field {
            name: argument.name.clone(),
            help: argument.help.clone(),
            optional: argument.optional,
            holds: match argument.kind {
                Kind::App | Kind::Environment | Kind::Role | Kind::Tag | Kind::Deployment | Kind::Command | Kind::Person => {
                    Holds::Known
                }
                Kind::Count | Kind::Duration | Kind::Word | Kind::Words | Kind::Text => Holds::Text,
                Kind::Flag => Holds::Switch,
            },
        };
        let entry = |runbook: &Arc<Runbook>| Entry {
            name: runbook.name.to_string(),
            summary: runbook.summary.clone(),
            fields: runbook.arguments.iter().map(field).collect(),
        };
        self.catalog.runbooks().map(entry).collect()
    }

    fn suggest(&self, who: &Account, command: &str, field: &str, given: &BTreeMap<String, String>) -> Vec<Suggestion> {
        let Some(runbook) = self.runbook(command).filter(|runbook| self.may_see(who, runbook)) else { return Vec::new() };
        let Some(argument) = runbook.arguments.iter().find(|argument| argument.name == field) else { return Vec::new() };
        let begun = given.get(field).map(|text| text.trim().to_lowercase()).unwrap_or_default();
        let app = self.given(runbook, Kind::App, given).and_then(|app| app.parse::<AppName>().ok());
        let environment =
            self.given(runbook, Kind::Environment, given).and_then(|environment| environment.parse::<EnvironmentName>().ok());
        let all: Vec<Suggestion> = match argument.kind {
            Kind::App => Vocabulary::apps(&*self.fleet).iter().map(same).collect(),
            Kind::Environment => match &app {
                Some(app) => Vocabulary::environments(&*self.fleet, app).iter().map(same).collect(),
                None => Vec::new(),
            },
            Kind::Role => match &app {
                Some(app) => Vocabulary::roles(&*self.fleet, app, environment.as_ref()).iter().map(same).collect(),
                None => Vec::new(),
            },
            Kind::Tag => app.map(|app| self.tags(&app)).unwrap_or_default(),
            Kind::Deployment => self.deployments(),
            Kind::Command => self.catalog.runbooks().map(|runbook| same(&runbook.name)).collect(),
            Kind::Person => Vocabulary::people(&*self.fleet).iter().map(same).collect(),
            Kind::Count | Kind::Duration | Kind::Word | Kind::Words | Kind::Text | Kind::Flag => Vec::new(),
        };
        let (first, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|suggestion| suggestion.value.to_lowercase().starts_with(&begun));
        let within = rest.into_iter().filter(|suggestion| suggestion.label.to_lowercase().contains(&begun));
        first.into_iter().chain(within).collect()
    }

    fn line(&self, command: &str, given: &BTreeMap<String, String>) -> Option<String> {
        let runbook = self.runbook(command)?;
        let mut line = runbook.name.to_string();
        for argument in &runbook.arguments {
            let Some(value) = given.get(&argument.name).map(|value| value.trim()).filter(|value| !value.is_empty()) else {
                continue;
            };
            // A line is one line, whatever was pasted.
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            match argument.kind {
                Kind::Flag => line.push_str(&format!(" --{}", argument.name)),
                // What begins with dashes would be taken for an option.
                Kind::Words if value.starts_with(['-', '–', '—']) => line.push_str(&format!(" -- {value}")),
                Kind::Words | Kind::Text => line.push_str(&format!(" {value}")),
                // By its name: as a word among others it could be taken for the value of another field.
                _ if argument.by_name || argument.optional => line.push_str(&format!(" --{} {}", argument.name, quoted(&value))),
                _ => line.push_str(&format!(" {}", quoted(&value))),
            }
        }
        Some(line)
    }
}

impl Commands {
    fn runbook(&self, command: &str) -> Option<&Arc<Runbook>> {
        self.catalog.get(&command.parse().ok()?)
    }

    /// Whether the names of the fleet are anybody's business who uses this command; what they may do is asked when they do it.
    fn may_see(&self, who: &Account, runbook: &Runbook) -> bool {
        let is_person = self.fleet.person(who).is_some() || self.ledger.linked(who).is_ok_and(|person| person.is_some());
        is_person
            || match &self.fleet.access.guests {
                Guests::Read => true,
                Guests::Nothing => false,
                Guests::Only(commands) => commands.contains(&runbook.name),
            }
    }

    fn given<'a>(&self, runbook: &Runbook, kind: Kind, given: &'a BTreeMap<String, String>) -> Option<&'a str> {
        let argument = runbook.arguments.iter().find(|argument| argument.kind == kind)?;
        given.get(&argument.name).map(String::as_str)
    }

    /// The newest good builds first, and then the others.
    fn tags(&self, app: &AppName) -> Vec<Suggestion> {
        let builds = self.ledger.builds(app, LOOKED_THROUGH).unwrap_or_default();
        let (good, bad): (Vec<_>, Vec<_>) = builds.into_iter().partition(|build| build.outcome == BuildOutcome::Succeeded);
        let shown = good.into_iter().chain(bad).map(|build| {
            let more: Vec<String> = [build.branch, build.message].into_iter().flatten().collect();
            let outcome = match build.outcome {
                BuildOutcome::Succeeded => String::new(),
                other => format!(" ({other})"),
            };
            Suggestion {
                label: format!("{}{outcome} {}", build.tag, more.join(": ")).trim().to_owned(),
                value: build.tag.to_string(),
            }
        });
        shown.collect()
    }

    fn deployments(&self) -> Vec<Suggestion> {
        let apps = self.fleet.apps.keys();
        let mut all: Vec<_> =
            apps.flat_map(|app| self.ledger.history(app, None, LOOKED_THROUGH, None).unwrap_or_default()).collect();
        all.sort_by_key(|summary| std::cmp::Reverse(summary.id));
        let shown = all.into_iter().map(|summary| Suggestion {
            label: format!(
                "{} {} {} {} {} ({})",
                summary.id,
                summary.purpose.word(),
                summary.app,
                summary.environment,
                summary.release.tag,
                summary.phase
            ),
            value: summary.id.0.to_string(),
        });
        shown.collect()
    }
}

/// A value as one word of a line. Quotes inside it mean nothing in any field, and would end it.
fn quoted(value: &str) -> String {
    let bare: String = value.chars().filter(|c| !matches!(c, '"' | '“' | '”' | '„' | '‟' | '`')).collect();
    let is_word =
        !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '#'));
    if is_word && !bare.starts_with('-') { bare } else { format!("\"{bare}\"") }
}

fn same(name: &impl ToString) -> Suggestion {
    Suggestion { value: name.to_string(), label: name.to_string() }
}
