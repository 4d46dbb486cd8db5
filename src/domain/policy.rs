//! What a fleet demands of those who change it: who may use which command where, and what must be so before something changes.
//!
//! These are the checked values of the fleet file, and nothing decides here: `permission` answers who may, `gate` what stands in
//! the way, `ballot` counts votes. All of them work from these values alone, so what `!can` explains is what the bot does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::freeze::Freeze;
use super::message::Account;
use super::names::{AppName, CommandName, EnvironmentName, GroupName, PersonName};
use super::spec::Millis;

/// Groups and people, named as such.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// Whoever is in one of these groups.
    pub groups: BTreeSet<GroupName>,
    /// These people.
    pub people: BTreeSet<PersonName>,
}

impl Who {
    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.people.is_empty()
    }
}

/// One rule of the fleet file. The first rule that fits a command, an app and an environment decides who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The line at which it begins, for people.
    pub line: usize,
    /// The commands that it is about; `None` = all that act.
    pub commands: Option<BTreeSet<CommandName>>,
    /// The apps; `None` = all.
    pub apps: Option<BTreeSet<AppName>>,
    /// The environments; `None` = all, and what is about no environment.
    pub environments: Option<BTreeSet<EnvironmentName>>,
    /// Who may; nobody if it is empty.
    pub allow: Who,
}

/// What accounts may do that are nobody's: read at the most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Guests {
    /// Everything that changes nothing and needs no group.
    #[default]
    Read,
    /// These commands, as far as they change nothing.
    Only(BTreeSet<CommandName>),
    /// Nothing.
    Nothing,
}

/// Who may do what, in the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// What accounts may do that are nobody's.
    pub guests: Guests,
    /// The groups that a chat's own roles stand for, such as `discord:1234`; or that take power in a chat's rooms, `matrix:power:50`.
    pub platform_roles: BTreeMap<String, GroupName>,
}

/// What the roles begin with that give no group, and that those need who are in it and have accounts there.
const POWER: &str = "matrix:power:";

impl Access {
    /// The groups that a person with these accounts is in: those that the fleet file puts them in, and those that `roles` stand for.
    /// Power in rooms gives none, since whoever runs the chat's server could give it: it is a further condition.
    pub fn groups(
        &self,
        listed: &BTreeSet<GroupName>,
        accounts: &BTreeSet<Account>,
        roles: &BTreeSet<String>,
    ) -> BTreeSet<GroupName> {
        let is_power = |role: &&String| role.starts_with(POWER);
        let given = roles.iter().filter(|role| !is_power(role)).filter_map(|role| self.platform_roles.get(role));
        let mut groups: BTreeSet<GroupName> = listed.iter().chain(given).cloned().collect();
        if accounts.iter().any(|account| account.0.starts_with("matrix:")) {
            groups.retain(|group| {
                let mut needed = self.platform_roles.iter().filter(|(role, of)| *of == group && is_power(role)).peekable();
                needed.peek().is_none() || needed.any(|(role, _)| roles.contains(role))
            });
        }
        groups
    }
}

/// Someone as the rules see them: a person (or a mere account), and the groups that they are in at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The account that spoke.
    pub account: Account,
    /// Whose it is; `None` = nobody's.
    pub person: Option<PersonName>,
    /// The groups, from the fleet file and from the chat's roles.
    pub groups: BTreeSet<GroupName>,
    /// A chat doesn't tell the roles at the moment: there may be more groups.
    pub unsure: bool,
}

impl Policy {
    /// Whether it must be proven who approves, as far as the chat can prove it.
    pub fn wants_proof(&self) -> bool {
        self.approval.as_ref().is_some_and(|approval| approval.strength == Strength::Typed)
    }

    /// The votes that a command takes here, if it takes any.
    pub fn approval_of(&self, command: &CommandName) -> Option<&ApprovalPolicy> {
        self.approval.as_ref().filter(|approval| approval.commands.as_ref().is_none_or(|commands| commands.contains(command)))
    }
}

impl OnFailure {
    /// For plans of journals that knew no other way.
    pub fn is_undo(&self) -> bool {
        *self == OnFailure::Undo
    }
}

impl Standing {
    /// Whether they are among these.
    pub fn is_among(&self, who: &Who) -> bool {
        self.person.as_ref().is_some_and(|person| who.people.contains(person) || self.groups.iter().any(|g| who.groups.contains(g)))
    }
}

/// What an environment demands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The votes that it takes; `None` = none.
    pub approval: Option<ApprovalPolicy>,
    /// When nothing may change.
    pub freezes: Vec<Freeze>,
    /// Which good builds are deployed by themselves; `None` = none.
    pub automatic: Option<Automatic>,
    /// The environment of the same app in which a release must have ended well before.
    pub after: Option<EnvironmentName>,
    /// After what the environment is locked by itself.
    pub lock_after: BTreeSet<LockAfter>,
    /// Whether a revert goes through a lock that a person put on.
    pub revert_through_lock: bool,
    /// What happens when an action fails.
    pub on_failure: OnFailure,
    /// How long health is watched after a deployment ended well; 0 = not at all.
    pub bake: Millis,
    /// Commands that change nothing and that run in the new image before people are asked for their vote.
    pub rehearse: Vec<Vec<String>>,
    /// Whether the authors of the commits are mentioned when a deployment fails.
    pub mention_authors: bool,
}

/// The votes that a change of an environment takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPolicy {
    /// How many people must approve; at least 1.
    pub votes: u32,
    /// Whose votes count.
    pub approvers: Who,
    /// Whether the vote of the person who asked counts.
    pub requester_counts: bool,
    /// How long people have.
    pub expires: Millis,
    /// How a vote is given.
    pub strength: Strength,
    /// The commands that need it; `None` = all that act and take the environment.
    pub commands: Option<BTreeSet<CommandName>>,
    /// Who may do without it, in an emergency.
    pub emergency: Who,
}

/// How a vote is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// An emoji at the message suffices.
    #[default]
    Reaction,
    /// The plan's code must be typed.
    Typed,
}

/// Which builds are deployed by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// Builds of exactly this branch.
    pub branch: String,
}

/// What an environment is locked after, by the bot itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockAfter {
    /// A deployment that was put back.
    Undone,
    /// A revert that ended well.
    Revert,
}

/// What happens when an action fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "then")]
pub enum OnFailure {
    /// All is put back at once.
    #[default]
    Undo,
    /// People are asked for so long; without an answer all is put back.
    Hold {
        /// How long.
        span: Millis,
        /// How many hosts of each role must be left when one is skipped.
        quorum: u32,
    },
}
