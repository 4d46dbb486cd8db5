//! Who an account is: the fleet file says, or a link that a person made; and the groups that they are in at this moment.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{Bot, access};
use crate::domain::ballot::may_vote;
use crate::domain::message::Account;
use crate::domain::names::{GroupName, PersonName};
use crate::domain::policy::Standing;
use crate::domain::spec::EnvironmentSpec;
use crate::store::LedgerError;

/// The groups that a person is in at a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// Those that are known.
    pub known: BTreeSet<GroupName>,
    /// A chat doesn't tell its roles: there may be more.
    pub unsure: bool,
}

impl Bot {
    /// Whose account it is.
    pub(super) fn person(&self, account: &Account) -> Result<Option<PersonName>, LedgerError> {
        if let Some(person) = self.fleet.person(account) {
            return Ok(Some(person.name.clone()));
        }
        // A person who is no longer in the fleet file is nobody.
        Ok(self.ledger.linked(account)?.filter(|person| self.fleet.people.contains_key(person)))
    }

    /// Someone as the rules see them now.
    pub(super) async fn standing(&self, account: &Account) -> Result<Standing, LedgerError> {
        let person = self.person(account)?;
        let groups = match &person {
            Some(person) => self.groups_of(person).await,
            None => Groups::default(),
        };
        Ok(Standing { account: account.clone(), person, groups: groups.known, unsure: groups.unsure })
    }

    /// A person as the rules see them now, wherever they speak.
    pub(super) async fn standing_of_person(&self, person: &PersonName) -> Standing {
        let groups = self.groups_of(person).await;
        Standing { unsure: groups.unsure, ..access::standing_of_person(&self.fleet, person, groups.known) }
    }

    /// The groups that a person is in now: those of the fleet file, and those that the chats' own roles stand for. Only the roles of
    /// accounts in the fleet file count: whoever links a stranger's account must not get what that one may. A chat that doesn't
    /// answer gives no rights.
    pub(super) async fn groups_of(&self, person: &PersonName) -> Groups {
        let Some(entry) = self.fleet.people.get(person) else { return Groups::default() };
        let access = &self.fleet.access;
        if access.platform_roles.is_empty() {
            return Groups { known: entry.groups.clone(), unsure: false };
        }
        let everywhere = entry.accounts.iter().flat_map(|account| self.chats.iter().map(move |chat| (account, chat)));
        let told = join_all(everywhere.map(|(account, chat)| self.within_deadline(chat.roles(account)))).await;
        let (mut all, mut unsure) = (BTreeSet::new(), false);
        for roles in told {
            match roles {
                Ok(roles) => all.extend(roles),
                Err(error) => {
                    tracing::warn!(%person, %error, "a chat doesn't tell a person's roles");
                    unsure = true;
                }
            }
        }
        Groups { known: access.groups(&entry.groups, &entry.accounts, &all), unsure }
    }

    /// The people of the fleet file whose votes count in an environment for what this person asks for, by the groups that they are in
    /// now.
    pub(super) async fn approvers(&self, spec: &EnvironmentSpec, requester: &PersonName) -> Vec<PersonName> {
        let Some(policy) = &spec.policy.approval else { return Vec::new() };
        let all = join_all(self.fleet.people.keys().map(|person| async move { (person, self.groups_of(person).await) })).await;
        let votes = |(person, groups): &(&PersonName, Groups)| may_vote(policy, requester, person, &groups.known).is_ok();
        all.into_iter().filter(votes).map(|(person, _)| person.clone()).collect()
    }
}
