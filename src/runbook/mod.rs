//! Runbooks: the chat commands, each described by one file in `commands/`, and the way from a chat line to an [`Invocation`].
//!
//! A runbook says who may use a command, what its arguments are, and what it does: a built-in action, or a list of the
//! planner's steps. The file's language has no conditions, loops, templates or shell, so that reading a runbook is
//! knowing it, and the same file serves typed commands, slash commands and the help.

mod catalog;
mod file;
mod fill;
mod fit;
pub mod help;
mod line;
mod parse;
mod prefix;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use catalog::Catalog;
pub use prefix::{InvalidPrefix, Prefix};

use crate::domain::names::{AppName, CommandName, DeploymentId, EnvironmentName, GroupName, PersonName, RoleName, Tag};
use crate::domain::spec::Millis;
use crate::domain::step::{Aim, Step};

/// One chat command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runbook {
    /// What people type.
    pub name: CommandName,
    /// What it does, in one line.
    pub summary: String,
    /// Who may use it; `None` = everybody whom the fleet file knows.
    pub group: Option<GroupName>,
    /// What it takes, in the order in which it is typed.
    pub arguments: Vec<Argument>,
    /// What it does.
    pub work: Work,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Something that is written in Rust.
    Builtin(Builtin),
    /// A deployment, planned from these steps.
    Steps {
        /// Which release it brings to the hosts.
        aim: Aim,
        /// The steps, in order; at least one.
        steps: Vec<Step>,
    },
}

impl Work {
    /// Whether it changes something on hosts, or stops something that does.
    pub fn acts(&self) -> bool {
        match self {
            Work::Steps { .. } => true,
            Work::Builtin(builtin) => builtin.acts(),
        }
    }
}

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name in lower case: `app`, `environment`, `n`. Unique in its command.
    pub name: String,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out; always true of a flag.
    pub optional: bool,
    /// Whether it is given as `--name VALUE` only, never by its place.
    pub by_name: bool,
    /// What it is for, in one line.
    pub help: String,
}

/// Declares an enum whose variants have a word in the runbook files.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// Its word in a runbook file.
            pub fn word(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<$type> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }
    };
}

words!(
    /// What an argument may be. A command has at most one of each kind, but for flags.
    Kind {
        /// An app of the fleet.
        App = "app",
        /// An environment of the app.
        Environment = "environment",
        /// A role of the app.
        Role = "role",
        /// An image tag.
        Tag = "tag",
        /// The number of a deployment, with or without `#`.
        Deployment = "deployment",
        /// A number of things, from 1 to [`MAX_COUNT`].
        Count = "count",
        /// The name of a command.
        Command = "command",
        /// A span of time, up to [`LONGEST_DAYS`]: `2h`, `3d`.
        Duration = "duration",
        /// One word, or several in quotes.
        Word = "word",
        /// A person of the fleet.
        Person = "person",
        /// The rest of the line, word by word; at least one.
        Words = "words",
        /// The rest of the line, as one text.
        Text = "text",
        /// `--name`, given or not.
        Flag = "flag",
    }
);

words!(
    /// The flags that commands understand; a flag argument has one of these names.
    Flag {
        /// The command only reads, so it takes no lock.
        Read = "read",
    }
);

words!(
    /// The commands that are written in Rust.
    Builtin {
        /// Which commands there are, and how they are used.
        Help = "help",
        /// Which apps there are.
        Apps = "apps",
        /// The builds of an app.
        Builds = "builds",
        /// What is wanted and what really runs.
        Status = "status",
        /// The deployments of an app.
        History = "history",
        /// One deployment with all its actions.
        Show = "show",
        /// What a deployment would do.
        Plan = "plan",
        /// What the containers wrote.
        Logs = "logs",
        /// Stops a deployment.
        Cancel = "cancel",
        /// Votes for a plan, or says that an emergency was looked at.
        Approve = "approve",
        /// Votes against a plan.
        Reject = "reject",
        /// What waits for votes.
        Approvals = "approvals",
        /// What waits at all.
        Queue = "queue",
        /// Locks an environment.
        Lock = "lock",
        /// Takes a lock off.
        Unlock = "unlock",
        /// Which environments are locked.
        Locks = "locks",
        /// When nothing may change.
        Freeze = "freeze",
        /// Tries again what failed.
        Retry = "retry",
        /// Goes on without the hosts that failed.
        Skip = "skip",
        /// Puts everything back.
        Undo = "undo",
        /// Leaves everything as it is.
        Keep = "keep",
        /// Why a deployment went as it did.
        Why = "why",
        /// Makes an account a person's.
        Link = "link",
        /// Takes an account from a person.
        Unlink = "unlink",
        /// Whether a person may use a command, and why.
        Can = "can",
    }
);

/// The largest number that a [`Kind::Count`] takes.
pub const MAX_COUNT: u32 = 1000;

impl Kind {
    /// Whether it takes the rest of the line.
    pub fn is_rest(self) -> bool {
        matches!(self, Kind::Words | Kind::Text)
    }
}

/// The longest span of a [`Kind::Duration`], in days.
pub const LONGEST_DAYS: u64 = 366;

impl Builtin {
    /// Whether it changes something on hosts, or keeps others from it.
    pub fn acts(self) -> bool {
        match self {
            Builtin::Cancel | Builtin::Lock | Builtin::Unlock | Builtin::Retry | Builtin::Skip | Builtin::Undo | Builtin::Keep => {
                true
            }
            Builtin::Help
            | Builtin::Apps
            | Builtin::Builds
            | Builtin::Status
            | Builtin::History
            | Builtin::Show
            | Builtin::Plan
            | Builtin::Logs
            | Builtin::Can
            | Builtin::Approve
            | Builtin::Reject
            | Builtin::Approvals
            | Builtin::Queue
            | Builtin::Locks
            | Builtin::Freeze
            | Builtin::Why
            | Builtin::Link
            | Builtin::Unlink => false,
        }
    }

    /// What the action can't do without, and what else it understands.
    fn arguments(self) -> (&'static [Kind], &'static [Kind]) {
        use Kind::{App, Command, Count, Deployment, Duration, Environment, Person, Role, Tag, Text, Word};
        match self {
            Builtin::Help => (&[], &[Command]),
            Builtin::Apps => (&[], &[]),
            Builtin::Builds => (&[App], &[Count]),
            Builtin::Status => (&[], &[App, Environment]),
            Builtin::History => (&[], &[App, Environment, Count]),
            Builtin::Show => (&[Deployment], &[]),
            Builtin::Plan => (&[App], &[Tag, Environment]),
            Builtin::Logs => (&[App], &[Role, Environment, Count]),
            Builtin::Cancel | Builtin::Retry | Builtin::Skip | Builtin::Undo | Builtin::Keep => (&[], &[Deployment]),
            Builtin::Approve | Builtin::Reject => (&[], &[Word]),
            Builtin::Can => (&[Person, Command, App], &[Environment]),
            Builtin::Approvals | Builtin::Locks => (&[], &[]),
            Builtin::Queue => (&[], &[App, Environment]),
            Builtin::Lock => (&[App, Text], &[Environment, Duration]),
            Builtin::Unlock => (&[App], &[Environment]),
            Builtin::Freeze => (&[App], &[Environment]),
            Builtin::Why => (&[Deployment], &[]),
            Builtin::Link => (&[], &[Word]),
            Builtin::Unlink => (&[Word], &[]),
        }
    }
}

/// The names that a line may use. What a line yields is always one of these.
pub trait Vocabulary {
    /// All apps.
    fn apps(&self) -> Vec<AppName>;
    /// The environments of an app.
    fn environments(&self, app: &AppName) -> Vec<EnvironmentName>;
    /// The roles of an app in an environment; `None` = in any of its environments.
    fn roles(&self, app: &AppName, environment: Option<&EnvironmentName>) -> Vec<RoleName>;
    /// All people.
    fn people(&self) -> Vec<PersonName>;
}

/// What a chat line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Talk among people; the bot keeps silent.
    NotACommand,
    /// A command with all that it needs.
    Invocation(Box<Invocation>),
    /// Meant as a command, but not understood.
    Error(UsageError),
}

/// A command with its arguments. An argument that the command doesn't have, or that was left out, is `None` or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The command.
    pub runbook: Arc<Runbook>,
    /// The app; of a command about a deployment, which takes none, the bot puts in the deployment's.
    pub app: Option<AppName>,
    /// The environment; only with an app, and one of its environments. Of a command about a deployment: the deployment's.
    pub environment: Option<EnvironmentName>,
    /// The role; only with an app, and a role in the environment if that was given, else in any.
    pub role: Option<RoleName>,
    /// The tag.
    pub tag: Option<Tag>,
    /// The deployment.
    pub deployment: Option<DeploymentId>,
    /// How many; 1 to [`MAX_COUNT`].
    pub count: Option<u32>,
    /// The name of another command.
    pub command: Option<CommandName>,
    /// A span of time.
    pub duration: Option<Millis>,
    /// One word, or several in quotes; without control characters.
    pub word: Option<String>,
    /// A person.
    pub person: Option<PersonName>,
    /// The rest of the line, word by word, without control characters.
    pub words: Vec<String>,
    /// The rest of the line, as one text, without control characters.
    pub text: Option<String>,
    /// The flags that were given.
    pub flags: BTreeSet<Flag>,
}

impl Invocation {
    /// A command to which nothing was given.
    pub fn bare(runbook: Arc<Runbook>) -> Invocation {
        Invocation {
            runbook,
            app: None,
            environment: None,
            role: None,
            tag: None,
            deployment: None,
            count: None,
            command: None,
            person: None,
            duration: None,
            word: None,
            words: Vec::new(),
            text: None,
            flags: BTreeSet::new(),
        }
    }
}

/// Why a line wasn't understood, for the person who typed it: one line, safe to show, with `code` in backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// What is wrong, and the nearest name if there is one.
    pub what: String,
    /// How the command is used; `None` if it isn't known which was meant.
    pub usage: Option<String>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let Some(usage) = &self.usage else { return Ok(()) };
        let stop = if self.what.ends_with(['.', '?', '!']) { "" } else { "." };
        write!(f, "{stop} Usage: `{usage}`")
    }
}

impl Error for UsageError {}

/// How a command is typed: `!deploy APP [TAG] [ENVIRONMENT]`.
pub fn usage(runbook: &Runbook, prefix: &Prefix) -> String {
    let mut text = prefix.typed(runbook.name.as_str());
    for argument in &runbook.arguments {
        text.push(' ');
        text.push_str(&argument.shown());
    }
    text
}

impl Argument {
    /// How it stands in the usage: `APP`, `[TAG]`, `COMMAND...`, `[--read]`, `[--env ENVIRONMENT]`.
    pub fn shown(&self) -> String {
        let value = match self.kind {
            Kind::Flag => format!("--{}", self.name),
            Kind::Words => format!("{}...", self.name.to_uppercase()),
            Kind::Word if self.by_name => format!("--{} \"WHY\"", self.name),
            _ if self.by_name => format!("--{} {}", self.name, self.kind.word().to_uppercase()),
            _ => self.name.to_uppercase(),
        };
        if self.optional { format!("[{value}]") } else { value }
    }
}
