//! Who may do what: from an account to a person, from a person's groups to a command.
//!
//! [`Authorized`] is made here and nowhere else, and everything that acts demands one, so a forgotten check doesn't compile.

use crate::domain::message::Account;
use crate::domain::names::PersonName;
use crate::fleet::Fleet;
use crate::runbook::{Invocation, Runbook};

/// Something that a person may do, with who asked for it.
#[derive(Debug, Clone)]
pub struct Authorized<T> {
    what: T,
    by: PersonName,
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
}

/// Why a person may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Nobody in the fleet file has this account.
    Stranger {
        /// The account.
        account: Account,
    },
    /// The person isn't in the group that the command needs.
    NotInGroup {
        /// The person.
        person: PersonName,
        /// The group.
        group: String,
        /// The command.
        command: String,
    },
}

/// Checks one command of one account.
///
/// # Errors
/// When the account is nobody's, or the person isn't in the command's group.
pub fn authorize(fleet: &Fleet, author: &Account, invocation: Invocation) -> Result<Authorized<Invocation>, Denied> {
    let by = match fleet.person(author) {
        Some(person) => person.name.clone(),
        None => guest(fleet, author, &invocation.runbook)?,
    };
    if may(fleet, author, &invocation.runbook) {
        return Ok(Authorized { what: invocation, by });
    }
    let group = invocation.runbook.group.as_ref().map(ToString::to_string).unwrap_or_default();
    Err(Denied::NotInGroup { person: by, group, command: invocation.runbook.name.to_string() })
}

/// Whether an account may use a runbook; what `!help` lists.
pub fn may(fleet: &Fleet, author: &Account, runbook: &Runbook) -> bool {
    match (&runbook.group, fleet.person(author)) {
        (None, _) => true,
        (Some(group), Some(person)) => person.groups.contains(group),
        (Some(_), None) => owns_the_terminal(fleet, author),
    }
}

/// A person without an entry in the fleet file: at the terminal, while nobody has one, they own the bot anyway; elsewhere
/// they may use what needs no group.
fn guest(fleet: &Fleet, author: &Account, runbook: &Runbook) -> Result<PersonName, Denied> {
    let stranger = || Denied::Stranger { account: author.clone() };
    if runbook.group.is_some() && !owns_the_terminal(fleet, author) {
        return Err(stranger());
    }
    let name: String = author.0.rsplit(':').next().unwrap_or_default().to_lowercase();
    // A guest must not be taken for a person of the same name.
    let name = if owns_the_terminal(fleet, author) { name } else { format!("guest-{name}") };
    name.parse().or_else(|_| "guest".parse()).map_err(|_| stranger())
}

fn owns_the_terminal(fleet: &Fleet, author: &Account) -> bool {
    fleet.people.is_empty() && author.0.starts_with("terminal:")
}
