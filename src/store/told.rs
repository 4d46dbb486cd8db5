//! What rooms are told that is no build and no deployment: locks, votes that don't count, notices.

use jiff::Timestamp;

use super::ledger::Ledger;
use super::{Fact, LedgerError, facts, rows};
use crate::domain::ballot::Uncounted;
use crate::domain::deployment::{Call, Event};
use crate::domain::environment_lock::{EnvironmentLock, Unlocked};
use crate::domain::message::{Account, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName};
use crate::domain::notice::Notice;

/// Something that rooms are told, with the room if only one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A lock was put on.
    Locked {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The lock.
        lock: EnvironmentLock,
        /// The lock that was taken over.
        instead_of: Option<EnvironmentLock>,
    },
    /// A lock is off.
    Unlocked {
        /// The app.
        app: AppName,
        /// The environment.
        environment: EnvironmentName,
        /// The lock that was on it.
        lock: EnvironmentLock,
        /// Why it isn't any more.
        how: Unlocked,
    },
    /// A vote doesn't count.
    NotCounted {
        /// Of which deployment.
        id: DeploymentId,
        /// Whose.
        account: Account,
        /// Why not.
        why: Uncounted,
        /// The room that is told.
        only: RoomId,
    },
    /// Anything else.
    Notice {
        /// What.
        notice: Notice,
        /// The only room that is told.
        only: Option<RoomId>,
    },
}

impl Ledger {
    /// Tells rooms something: one room, or all.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn tell(&self, notice: Notice, only: Option<RoomId>, at: Timestamp) -> Result<(), LedgerError> {
        self.submit(move |writer| writer.append(at, &Fact::Told { notice, only }).map(drop)).await
    }

    /// The fingerprint of the last report of how an environment's hosts differ from the record.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn drift_told(&self, app: &AppName, environment: &EnvironmentName) -> Result<Option<String>, LedgerError> {
        self.read(|rows| Ok(rows.get(&rows::drift(app, environment))?.map(|text| String::from_utf8_lossy(&text).into_owned())))
    }

    /// When the journal's head was last told to the rooms.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn head_told(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read(|rows| rows.get_json(rows::HEAD_TOLD))
    }

    /// What a fact tells rooms.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn told(&self, seq: u64) -> Result<Option<(Timestamp, Told)>, LedgerError> {
        self.read(|rows| {
            let Some((at, fact)) = facts::get(rows, seq)?.map(facts::StoredFact::open).transpose()? else {
                return Ok(None);
            };
            let told = match fact {
                Fact::Locked { app, environment, lock, instead_of } => Told::Locked { app, environment, lock, instead_of },
                Fact::Unlocked { app, environment, lock, how } => Told::Unlocked { app, environment, lock, how },
                Fact::Told { notice, only } => Told::Notice { notice, only },
                Fact::Deployment { id, event: Event::NotCounted { account, why, message } } => {
                    Told::NotCounted { id, account, why, only: message.room }
                }
                Fact::Built { .. }
                | Fact::Heard { .. }
                | Fact::Answered { .. }
                | Fact::Deployment { .. }
                | Fact::Linked { .. }
                | Fact::Unlinked { .. }
                | Fact::HeardUpTo { .. }
                | Fact::RoomOpened { .. }
                | Fact::Posted { .. }
                | Fact::Settled { .. } => return Ok(None),
            };
            Ok(Some((at, told)))
        })
    }

    /// What a fact called people to vote on.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn call(&self, seq: u64) -> Result<Option<(DeploymentId, Call)>, LedgerError> {
        self.read(|rows| match facts::get(rows, seq)?.map(facts::StoredFact::open).transpose()? {
            Some((_, Fact::Deployment { id, event: Event::VotesAsked { call } })) => Ok(Some((id, call))),
            Some(_) | None => Ok(None),
        })
    }
}
