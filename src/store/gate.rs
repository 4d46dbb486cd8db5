//! What stands between a request and its start: waiting, the lock, and the locks that people put on.
//!
//! Whether a deployment may start is decided by the committer's thread, so of two that are due at the same moment one starts. That its
//! votes suffice is for `next` to hold; who may vote at all was asked before.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::committer::Writer;
use super::ledger::Ledger;
use super::projection::{self, Lock};
use super::record::{fit, mend};
use super::{Direction, Fact, LedgerError, RequestError, StoreError, Summary, rows};
use crate::domain::deployment::{DeploymentState, Event, Occasion, Order, Phase};
use crate::domain::environment_lock::{EnvironmentLock, Unlocked};
use crate::domain::message::{Account, MessageRef};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, PersonName};
use crate::domain::notice::Notice;
use crate::domain::plan::Plan;

/// A deployment that is asked for.
pub struct Ask {
    /// What it will do.
    pub plan: Plan,
    /// Who asked.
    pub by: PersonName,
    /// The chat message that asked, if it was one.
    pub cause: Option<MessageRef>,
    /// What was asked for; without it the deployment can't wait, and is refused when it would have to.
    pub order: Option<Order>,
    /// Whether it waits in any case: for votes.
    pub waits: bool,
    /// Whether a lock that a person put on the environment doesn't keep it out.
    pub through_lock: bool,
    /// Who is called if it is an emergency.
    pub calls: Vec<PersonName>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// It has the lock.
    Started(DeploymentId),
    /// It waits for votes or for its turn.
    Waits(DeploymentId),
}

/// How a waiting deployment comes to its start.
#[derive(Debug, Clone)]
pub struct Way {
    /// How many approvals it takes by the policy of this moment.
    pub needed: u32,
    /// Whose approvals count.
    pub counted: Vec<PersonName>,
    /// Whether a lock that a person put on the environment doesn't keep it out.
    pub through_lock: bool,
}

impl Ledger {
    /// Records a deployment with its plan, and takes the command that asked for it out of the inbox. If nothing is in its way it is
    /// granted the lock in the same write, else it waits. A lock whose holder is stuck is taken over. A plan that only reads takes none.
    ///
    /// # Errors
    /// When a person's lock is on the environment; when it can't wait and another deployment holds the lock; or when nothing can be
    /// recorded any more.
    pub async fn ask(&self, ask: Ask, at: Timestamp) -> Result<Granted, RequestError> {
        ask.cause.as_ref().map_or(Ok(()), fit)?;
        self.submit(move |writer| {
            let takes_lock = projection::takes_lock(&ask.plan.purpose);
            if takes_lock && !ask.through_lock {
                refuse_locked(writer, &ask.plan, at)?;
            }
            let holder = if takes_lock { holder(writer, &ask.plan)? } else { None };
            let ahead = takes_lock && writer.queued(&ask.plan.app, &ask.plan.environment).next().is_some();
            if let (Some(holder), None) = (&holder, &ask.order) {
                return Err(RequestError::Locked { by: holder.clone() });
            }
            let urgent = ask.order.as_ref().is_some_and(|order| order.occasion.is_urgent());
            let waits = ask.order.is_some() && (ask.waits || holder.is_some() || (ahead && !urgent));
            let id = DeploymentId(projection::counts(&writer.rows)?.deployments + 1);
            let Ask { plan, by, cause, order, calls, .. } = ask;
            let emergency = match order.as_ref().map(|order| &order.occasion) {
                Some(Occasion::Emergency { reason }) => {
                    Some(Notice::Emergency { id, by: by.clone(), reason: reason.clone(), calls })
                }
                Some(Occasion::Person | Occasion::Build { .. } | Occasion::Bake { .. } | Occasion::Rehearsal) | None => None,
            };
            let event = Event::Requested { plan: Box::new(plan), by, cause, order: order.map(Box::new), waits };
            writer.append(at, &Fact::Deployment { id, event })?;
            if let Some(notice) = emergency {
                writer.append(at, &Fact::Told { notice, only: None })?;
            }
            Ok(if waits { Granted::Waits(id) } else { Granted::Started(id) })
        })
        .await
    }

    /// Grants a waiting deployment the lock.
    ///
    /// # Errors
    /// When another deployment holds it, a person's lock is on the environment, its votes don't suffice, or nothing can be recorded
    /// any more. Then it waits on.
    pub async fn start(&self, id: DeploymentId, way: Way, at: Timestamp) -> Result<(), RequestError> {
        self.submit(move |writer| {
            let state = writer.state(id).cloned().ok_or(LedgerError::NoSuchDeployment(id))?;
            if projection::takes_lock(&state.plan.purpose) {
                if !way.through_lock {
                    refuse_locked(writer, &state.plan, at)?;
                }
                if let Some(by) = holder(writer, &state.plan)? {
                    return Err(RequestError::Locked { by });
                }
            }
            let event = Event::Started { needed: way.needed, counted: way.counted };
            let (_, state) = writer.append(at, &Fact::Deployment { id, event })?;
            // A plan without actions is over at once.
            state.map_or(Ok(()), |state| mend(writer, id, &state, at))?;
            Ok(())
        })
        .await
    }

    /// Puts a lock on an environment; one that is on it already is taken over, and that is recorded. Which that was.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn put_lock(
        &self,
        app: AppName,
        environment: EnvironmentName,
        lock: EnvironmentLock,
        cause: Option<MessageRef>,
    ) -> Result<Option<EnvironmentLock>, LedgerError> {
        self.submit(move |writer| {
            let at = lock.since;
            let instead_of: Option<EnvironmentLock> = writer.rows.get_json(&rows::environment_lock(&app, &environment))?;
            writer.append(at, &Fact::Locked { app, environment, lock, instead_of: instead_of.clone() })?;
            answered(writer, cause, at)?;
            Ok(instead_of)
        })
        .await
    }

    /// Takes a lock off an environment; which that was, if there was one. `how` may ask for one that is over only.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn take_lock_off(
        &self,
        app: AppName,
        environment: EnvironmentName,
        how: Unlocked,
        cause: Option<MessageRef>,
        at: Timestamp,
    ) -> Result<Option<EnvironmentLock>, LedgerError> {
        self.submit(move |writer| {
            let lock: Option<EnvironmentLock> = writer.rows.get_json(&rows::environment_lock(&app, &environment))?;
            let Some(lock) = lock.filter(|lock| how != Unlocked::Ended || !lock.holds(at)) else {
                return Ok(None);
            };
            writer.append(at, &Fact::Unlocked { app, environment, lock: lock.clone(), how })?;
            answered(writer, cause, at)?;
            Ok(Some(lock))
        })
        .await
    }

    /// Makes an account a person's.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn link(&self, account: Account, person: PersonName, at: Timestamp) -> Result<(), LedgerError> {
        self.submit(move |writer| writer.append(at, &Fact::Linked { account, person }).map(drop)).await
    }

    /// Takes an account from the person whom it was linked to; whether it was linked.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn unlink(&self, account: Account, by: PersonName, at: Timestamp) -> Result<bool, LedgerError> {
        self.submit(move |writer| {
            let linked = writer.rows.get(&rows::link(&account))?.is_some();
            if linked {
                writer.append(at, &Fact::Unlinked { account, by })?;
            }
            Ok(linked)
        })
        .await
    }

    /// The deployments that wait for votes or for their turn, the oldest first.
    ///
    /// # Errors
    /// When the ledger failed.
    pub fn waiting(&self) -> Result<Vec<(DeploymentId, Arc<DeploymentState>)>, LedgerError> {
        self.open_where(|state| state.phase.waits())
    }

    /// The deployments that were done without votes in an emergency and that nobody has looked at since.
    ///
    /// # Errors
    /// When the ledger failed.
    pub fn unreviewed(&self) -> Result<Vec<(DeploymentId, Arc<DeploymentState>)>, LedgerError> {
        self.open_where(|state| {
            let started = state.phase.is_final() && state.started_at.is_some();
            started && state.emergency().is_some() && state.reviewed_by.is_none()
        })
    }

    fn open_where(
        &self,
        is_meant: impl Fn(&DeploymentState) -> bool,
    ) -> Result<Vec<(DeploymentId, Arc<DeploymentState>)>, LedgerError> {
        self.read(|_| {
            let published = self.inner.shared.published.read().unwrap_or_else(PoisonError::into_inner);
            Ok(published.open.iter().filter(|(_, state)| is_meant(state)).map(|(id, state)| (*id, state.clone())).collect())
        })
    }

    /// The lock that is on an environment, even if its time is over and nobody noted that yet.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn environment_lock(&self, app: &AppName, environment: &EnvironmentName) -> Result<Option<EnvironmentLock>, LedgerError> {
        self.read(|rows| rows.get_json(&rows::environment_lock(app, environment)))
    }

    /// All locks that are on environments.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn environment_locks(&self) -> Result<Vec<(AppName, EnvironmentName, EnvironmentLock)>, LedgerError> {
        self.read(|_| {
            let found = self.inner.store.scan(rows::environment_locks(), Direction::Forward, usize::MAX)?;
            let lock = |(key, value): &(Vec<u8>, Vec<u8>)| {
                let (app, environment) = rows::named_place(key)?;
                Ok((app, environment, rows::read_json(value)?))
            };
            found.iter().map(lock).collect()
        })
    }

    /// The person whom an account was linked to.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn linked(&self, account: &Account) -> Result<Option<PersonName>, LedgerError> {
        self.read(|rows| rows.get_json(&rows::link(account)))
    }

    /// All accounts that were linked.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn links(&self) -> Result<Vec<(Account, PersonName)>, LedgerError> {
        self.read(|_| {
            let found = self.inner.store.scan(rows::links(), Direction::Forward, usize::MAX)?;
            found.iter().map(|(key, value)| Ok((rows::linked_account(key), rows::read_json(value)?))).collect()
        })
    }

    /// The builds that are to be deployed by themselves: where, and the fact that announced each.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn automatic(&self) -> Result<Vec<(AppName, EnvironmentName, u64)>, LedgerError> {
        let durable = self.head().seq;
        self.read(|_| {
            let found = self.inner.store.scan(rows::all_automatic(), Direction::Forward, usize::MAX)?;
            let wanted = |(key, value): &(Vec<u8>, Vec<u8>)| {
                let (app, environment) = rows::named_place(key)?;
                Ok((app, environment, rows::number(value)?))
            };
            let all: Result<Vec<_>, StoreError> = found.iter().map(wanted).collect();
            Ok(all?.into_iter().filter(|(_, _, seq)| *seq <= durable).collect())
        })
    }
}

/// Takes a command out of the inbox in the same write.
fn answered(writer: &mut Writer<'_>, cause: Option<MessageRef>, at: Timestamp) -> Result<(), LedgerError> {
    let Some(message) = cause else { return Ok(()) };
    let Some(seq) = writer.rows.get(&rows::seen_message(&message))? else { return Ok(()) };
    if writer.rows.get(&rows::inbox(rows::number(&seq)?))?.is_some() {
        writer.append(at, &Fact::Answered { message })?;
    }
    Ok(())
}

fn refuse_locked(writer: &Writer<'_>, plan: &Plan, at: Timestamp) -> Result<(), RequestError> {
    let lock: Option<EnvironmentLock> = writer.rows.get_json(&rows::environment_lock(&plan.app, &plan.environment))?;
    match lock.filter(|lock| lock.holds(at)) {
        Some(lock) => Err(RequestError::EnvironmentLocked { lock: Box::new(lock) }),
        None => Ok(()),
    }
}

/// The deployment that keeps others out: it holds the lock, and isn't stuck.
fn holder(writer: &Writer<'_>, plan: &Plan) -> Result<Option<Box<Summary>>, StoreError> {
    let Some(lock) = writer.rows.get_json::<Lock>(&rows::lock(&plan.app, &plan.environment))? else {
        return Ok(None);
    };
    let holder = writer.state(lock.id).ok_or_else(|| StoreError::Damaged(format!("{} has a lock and is over", lock.id)))?;
    let stuck = matches!(holder.phase, Phase::Stuck(_));
    Ok((!stuck).then(|| Box::new(Summary::of(lock.id, holder))))
}
