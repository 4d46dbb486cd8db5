//! Who an account is: the fleet file says, or a link that a person made; and the groups that they are in at this moment.

use std::collections::BTreeSet;

use super::Bot;
use crate::domain::message::Account;
use crate::domain::names::{GroupName, PersonName};
use crate::domain::policy::Standing;
use crate::store::LedgerError;

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
            Some(person) => self.groups_of(person).await?,
            None => BTreeSet::new(),
        };
        Ok(Standing { account: account.clone(), person, groups })
    }

    /// The groups that a person is in now: those of the fleet file, and those that the chats' own roles stand for. Only the roles of
    /// accounts in the fleet file count: whoever links a stranger's account must not get what that one may.
    pub(super) async fn groups_of(&self, person: &PersonName) -> Result<BTreeSet<GroupName>, LedgerError> {
        let Some(entry) = self.fleet.people.get(person) else {
            return Ok(BTreeSet::new());
        };
        let mut groups = entry.groups.clone();
        if self.fleet.access.platform_roles.is_empty() {
            return Ok(groups);
        }
        for account in &entry.accounts {
            for chat in &self.chats {
                // A chat that doesn't answer gives no rights.
                let roles = self.within_deadline(chat.roles(account)).await.unwrap_or_default();
                groups.extend(roles.iter().filter_map(|role| self.fleet.access.platform_roles.get(role).cloned()));
            }
        }
        Ok(groups)
    }
}
