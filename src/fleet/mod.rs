//! The fleet file: which apps there are, where and how they run, who may command, how builds become tags.
//!
//! All of it is checked here, at once and with line numbers, and no other module ever sees the shape of the file: what
//! leaves is [`Fleet`], made of the domain's own types. A file with any mistake yields no fleet at all.
//!
//! `file` reads the file from the top; `access`, `app`, `rooms`, `policy`, `freeze`, `role`, `container`, `health`, `builds` and
//! `template` its parts, with `values` for the grammars in them and `who` for the people; `cross` checks what only the whole
//! shows; `reader` keeps the mistakes.

mod access;
mod app;
mod builds;
mod compare;
mod container;
mod cross;
mod expect;
mod file;
mod freeze;
mod health;
mod policy;
mod reader;
mod role;
mod rooms;
mod template;
mod values;
mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;

use crate::builds::Notice;
use crate::domain::build::{Build, BuildOutcome};
use crate::domain::message::{Account, RoomId};
use crate::domain::names::{AppName, CommandName, EnvironmentName, GroupName, HostName, PersonName, Repository, printable};
use crate::domain::policy::Access;
use crate::domain::spec::EnvironmentSpec;
use crate::nearest::{hint, listed};
use crate::problem::{Problem, Problems};

pub use builds::{BuildMatch, BuildRule};
pub use compare::Compare;
pub use expect::{Asker, Expectation, expectations};
pub use rooms::RoomSpec;
#[cfg(test)]
mod tests;

/// The largest fleet file, in bytes. A thousand apps fit in it.
const LARGEST: u64 = 4 << 20;

/// All that the fleet file says.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// What people call the file.
    place: String,
    /// The apps.
    pub apps: BTreeMap<AppName, App>,
    /// Who is known by which accounts.
    pub people: BTreeMap<PersonName, Person>,
    /// The groups that people say they are in, and who that is.
    pub groups: BTreeMap<GroupName, BTreeSet<PersonName>>,
    /// Who may do what.
    pub access: Access,
    /// How notices become builds, in order.
    pub builds: Vec<BuildRule>,
    /// The rooms of chat services, and of which apps each is told.
    pub rooms: BTreeMap<RoomId, RoomSpec>,
    /// How to log in to a registry.
    pub registries: BTreeMap<String, Login>,
    /// What is no mistake, but most likely none of what was meant.
    pub warnings: Vec<Problem>,
    secrets: Vec<SecretNeed>,
    commands: Vec<CommandNamed>,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Where its images are.
    pub image: Repository,
    /// Where it runs; never empty.
    pub environments: BTreeMap<EnvironmentName, EnvironmentSpec>,
    /// The environment that is meant when none is named: the one that the file says, or the only one.
    pub default_environment: Option<EnvironmentName>,
    /// Where the commits between two are shown, if the file says.
    pub compare: Option<Compare>,
}

/// Someone who may command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: PersonName,
    /// The accounts, on whatever chats; no one else has any of them.
    pub accounts: BTreeSet<Account>,
    /// The groups that the person is in.
    pub groups: BTreeSet<GroupName>,
}

/// How to log in to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    Anonymous,
    /// As the host's own `docker login` says.
    Host,
    /// With the values that these variables have in the bot's environment.
    Variables {
        /// The variable with the user's name.
        username: String,
        /// The variable with the password or token.
        password: String,
    },
}

/// A variable of the bot's environment that the fleet can't do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretNeed {
    /// The variable.
    pub variable: String,
    /// The first line that asks for it.
    pub line: usize,
    /// What for: `` `SECRET_KEY` of antisocial in production ``.
    pub purpose: String,
}

/// A command that the fleet file names, in a rule or a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandNamed {
    /// The command.
    pub command: CommandName,
    /// The line that names it.
    pub line: usize,
}

/// Why a name means nothing here; the message is meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The fleet has no such app.
    #[error("no app `{app}`{hint}")]
    UnknownApp {
        /// What was typed.
        app: String,
        /// What may have been meant.
        hint: String,
    },
    /// The app has no such environment.
    #[error("{app} has no environment `{environment}`{hint}")]
    UnknownEnvironment {
        /// The app.
        app: AppName,
        /// What was typed.
        environment: String,
        /// What may have been meant.
        hint: String,
    },
    /// The app has several environments, none is the default, and none was named.
    #[error("{app} runs in several environments; say which: {environments}")]
    WhichEnvironment {
        /// The app.
        app: AppName,
        /// Its environments.
        environments: String,
    },
}

impl Fleet {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn load(path: &Path) -> Result<Fleet, Problems> {
        let place = path.display().to_string();
        let trouble = |text: String| Problems::from(Problem::new(place.clone(), text));
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => trouble(
                "there is no such file: begin with a copy of fleet.example.toml, or say where it is with SHIPMATE_FLEET".to_owned(),
            ),
            _ => trouble(format!("it can't be read: {error}")),
        };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > LARGEST {
            return Err(trouble(format!("it has {length} bytes; a fleet file has at most {LARGEST}")));
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        let source = String::from_utf8(bytes).map_err(|_| trouble("it isn't UTF-8 text".to_owned()))?;
        Fleet::parse(&place, &source)
    }

    /// Reads a file's text; `place` is what the messages call the file.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(place: &str, source: &str) -> Result<Fleet, Problems> {
        file::read(place, source)
    }

    /// The app that a typed name means.
    ///
    /// # Errors
    /// When the fleet has none of that name.
    pub fn app(&self, name: &str) -> Result<(&AppName, &App), LookupError> {
        let found = self.apps.iter().find(|(known, _)| known.as_str() == name);
        found.ok_or_else(|| {
            let names = self.apps.keys().map(AppName::as_str);
            LookupError::UnknownApp { app: printable(name, 40), hint: hint(name, names) }
        })
    }

    /// The environment that is meant by a name, or by none.
    ///
    /// # Errors
    /// When there is none of that name, or it takes a name to tell which.
    pub fn environment(&self, app: &AppName, environment: Option<&EnvironmentName>) -> Result<&EnvironmentSpec, LookupError> {
        let (app, of) = self.app(app.as_str())?;
        let names = of.environments.keys().map(EnvironmentName::as_str);
        let Some(wanted) = environment.or(of.default_environment.as_ref()) else {
            return Err(LookupError::WhichEnvironment { app: app.clone(), environments: listed(names) });
        };
        of.environments.get(wanted).ok_or_else(|| LookupError::UnknownEnvironment {
            app: app.clone(),
            environment: wanted.to_string(),
            hint: hint(wanted.as_str(), names),
        })
    }

    /// The environments of all apps.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentSpec> {
        self.apps.values().flat_map(|app| app.environments.values())
    }

    /// All hosts: those of the roles and those that routers are commanded on.
    pub fn hosts(&self) -> BTreeSet<&HostName> {
        let of_roles = self.environments().flat_map(|spec| spec.hosts.keys());
        let of_routers = self.environments().flat_map(|spec| spec.roles.values()).filter_map(|role| role.router.as_ref());
        of_roles.chain(of_routers.map(|router| &router.host)).collect()
    }

    /// Whether a room is told of an app. One that the file doesn't name, as the terminal, is told of all.
    pub fn tells(&self, room: &RoomId, app: &AppName) -> bool {
        self.rooms.get(room).is_none_or(|spec| spec.tells(app))
    }

    /// The build that a webhook's message in a room announces, where such counts.
    pub fn announced(&self, room: &RoomId, text: &str, at: Timestamp) -> Option<Build> {
        let known = |name: &str| self.apps.keys().find(|app| app.as_str() == name).cloned();
        let source = room.0.split(':').next().unwrap_or_default();
        self.rooms.get(room)?.announced(text, source, known, at)
    }

    /// Who has this account.
    pub fn person(&self, account: &Account) -> Option<&Person> {
        self.people.values().find(|person| person.accounts.contains(account))
    }

    /// How to log in to where an image is.
    pub fn login(&self, image: &Repository) -> &Login {
        self.registries.get(image.registry()).unwrap_or(&Login::Anonymous)
    }

    /// What the fleet makes of a notice of `source` that came in at `at`.
    pub fn build(&self, source: &str, notice: &Notice, at: Timestamp) -> BuildMatch {
        let known = |name: &str| self.apps.keys().find(|app| app.as_str() == name).cloned();
        builds::read_notice(&self.builds, known, self.apps.keys().map(AppName::as_str), source, notice, at)
    }

    /// The environments that a build is deployed to by itself: it is good, and of the branch that they follow.
    pub fn automatic(&self, build: &Build) -> Vec<EnvironmentName> {
        let environments = self.apps.get(&build.app).into_iter().flat_map(|app| &app.environments);
        let follows = |spec: &EnvironmentSpec| {
            let branch = spec.policy.automatic.as_ref().map(|automatic| automatic.branch.as_str());
            build.outcome == BuildOutcome::Succeeded && branch.is_some() && branch == build.branch.as_deref()
        };
        environments.filter(|(_, spec)| follows(spec)).map(|(name, _)| name.clone()).collect()
    }

    /// The variables of the bot's environment that containers and registries get values from, each once.
    pub fn secrets_needed(&self) -> &[SecretNeed] {
        &self.secrets
    }

    /// Those of them that have no value; a deployment that needs one would fail.
    pub fn secrets_unset(&self, is_set: impl Fn(&str) -> bool) -> Vec<Problem> {
        let unset = self.secrets.iter().filter(|need| !is_set(&need.variable));
        unset
            .map(|need| {
                let text = format!("`{}` has no value, which {} needs: set it in deploy.env", need.variable, need.purpose);
                Problem::new(&self.place, text).at_line(need.line)
            })
            .collect()
    }

    /// The commands that rules and policies name, in the order of their lines. Whether there are such commands, the file can't know.
    pub fn commands_named(&self) -> &[CommandNamed] {
        &self.commands
    }

    /// Those of them that aren't among `known`: a rule that names one would never fit.
    pub fn commands_unknown<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
        let known: Vec<&str> = known.into_iter().collect();
        let unknown = self.commands.iter().filter(|named| !known.contains(&named.command.as_str()));
        unknown
            .map(|named| {
                let hint = match hint(named.command.as_str(), known.iter().copied()) {
                    none if none.is_empty() => "; `!help` lists those that there are".to_owned(),
                    hint => hint,
                };
                Problem::new(&self.place, format!("no command `{}`{hint}", named.command)).at_line(named.line)
            })
            .collect()
    }
}
