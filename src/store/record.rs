//! Everything that may be recorded, each with the rule that it must keep.
//!
//! The rules are checked by the committer's thread, in the order in which the facts are appended, so two callers can't both find
//! a lock free or a build unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::committer::Writer;
use super::gate::{Ask, Granted};
use super::ledger::Ledger;
use super::projection::{self, Lock};
use super::{Fact, LedgerError, PostId, RequestError, StoreError, lookup, rows};
use crate::domain::build::Build;
use crate::domain::deployment::{Choice, DeploymentState, Event, Phase, next};
use crate::domain::environment_lock::{EnvironmentLock, Locker};
use crate::domain::message::{Account, Message, MessageRef, RoomId};
use crate::domain::names::{DeploymentId, EnvironmentName, PersonName, Tag};
use crate::domain::notice::Notice;
use crate::domain::plan::{Plan, Purpose};
use crate::domain::policy::LockAfter;

/// The longest id that a chat may give to a room or a message, in bytes.
const CHAT_ID: usize = 1000;

/// What came of something that may have been recorded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is new.
    New {
        /// The fact's number.
        seq: u64,
    },
    /// It was recorded before; nothing was written.
    Known {
        /// The number of the fact that recorded it.
        seq: u64,
    },
    /// It tells more of a build that was announced before; there is nothing new to show.
    Merged {
        /// The fact's number.
        seq: u64,
    },
}

impl Ledger {
    /// Records a build. One with a key that was seen before is known. One that tells more of a build that was announced before
    /// (the registry knows the digest, CI the commit) completes it, and gets no post of its own.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn built(&self, build: Build, keys: Vec<String>, at: Timestamp) -> Result<Appended, LedgerError> {
        self.built_for(build, keys, Vec::new(), at).await
    }

    /// The same of a build that is to be deployed to environments by itself. One that only completes another is when nobody knew
    /// the branch before: a registry tells of an image while CI is still at work. One that comes after a newer one isn't, and rooms
    /// are told.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn built_for(
        &self,
        build: Build,
        keys: Vec<String>,
        automatic: Vec<EnvironmentName>,
        at: Timestamp,
    ) -> Result<Appended, LedgerError> {
        self.submit(move |writer| {
            for key in &keys {
                if let Some(seq) = writer.rows.get(&rows::seen_build(key))? {
                    return Ok(Appended::Known { seq: rows::number(&seq)? });
                }
            }
            let newest = writer.rows.get(&rows::tag(&build.app, &build.tag))?.map(|seq| rows::number(&seq)).transpose()?;
            let known = newest.map(|first| lookup::build(&writer.rows, &build.app, first)).transpose()?.flatten();
            let known = known.filter(|known| known.is_completed_by(&build));
            let completes = newest.filter(|_| known.is_some());
            let mut automatic = automatic;
            if known.as_ref().is_some_and(|known| known.branch.is_some()) {
                automatic.clear();
            }
            let mut whole = known.unwrap_or_else(|| build.clone());
            whole.complete(build.clone());
            let mut overtaken = Vec::new();
            for environment in std::mem::take(&mut automatic) {
                match newer_automatic(writer, &whole, &environment)? {
                    Some(by) => overtaken.push((environment, by)),
                    None => automatic.push(environment),
                }
            }
            let Build { app, tag, .. } = whole;
            let (seq, _) = writer.append(at, &Fact::Built { build, keys, completes, automatic })?;
            for (environment, by) in overtaken {
                let notice = Notice::Overtaken { app: app.clone(), environment, tag: tag.clone(), by };
                writer.append(at, &Fact::Told { notice, only: None })?;
            }
            Ok(if completes.is_some() { Appended::Merged { seq } } else { Appended::New { seq } })
        })
        .await
    }

    /// Records a command that a person wrote, and puts it into the inbox. The same message of the same room is known.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or the message's ids are unfit.
    pub async fn heard(&self, message: Message, at: Timestamp) -> Result<Appended, LedgerError> {
        fit(&message.at)?;
        self.submit(move |writer| {
            if let Some(seq) = writer.rows.get(&rows::seen_message(&message.at))? {
                return Ok(Appended::Known { seq: rows::number(&seq)? });
            }
            let (seq, _) = writer.append(at, &Fact::Heard { message })?;
            Ok(Appended::New { seq })
        })
        .await
    }

    /// Tells the room of a message that it can't be read, once. If it can be later, it is heard like any other.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or the message's ids are unfit.
    pub async fn unreadable(&self, message: MessageRef, author: Account, at: Timestamp) -> Result<Appended, LedgerError> {
        fit(&message)?;
        fit_id(&author.0)?;
        self.submit(move |writer| {
            let known = [rows::seen_unreadable(&message), rows::seen_message(&message)];
            for key in known {
                if let Some(seq) = writer.rows.get(&key)? {
                    return Ok(Appended::Known { seq: rows::number(&seq)? });
                }
            }
            let only = Some(message.room.clone());
            let (seq, _) = writer.append(at, &Fact::Told { notice: Notice::Unreadable { message, author }, only })?;
            Ok(Appended::New { seq })
        })
        .await
    }

    /// Records that a command is dealt with, and takes it out of the inbox. Nothing happens if it isn't in there.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn answered(&self, message: MessageRef, at: Timestamp) -> Result<(), LedgerError> {
        self.submit(move |writer| {
            let Some(seq) = writer.rows.get(&rows::seen_message(&message))? else {
                return Ok(());
            };
            if writer.rows.get(&rows::inbox(rows::number(&seq)?))?.is_some() {
                writer.append(at, &Fact::Answered { message })?;
            }
            Ok(())
        })
        .await
    }

    /// Records that all that people said in these rooms is dealt with or recorded up to these points. Nothing happens if that is
    /// known.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or a room's id or a point is unfit.
    pub async fn heard_up_to(&self, mut marks: BTreeMap<RoomId, String>, at: Timestamp) -> Result<(), LedgerError> {
        for (room, mark) in &marks {
            fit(&MessageRef { room: room.clone(), id: mark.clone() })?;
        }
        self.submit(move |writer| {
            for (room, mark) in std::mem::take(&mut marks) {
                if writer.rows.get_json::<String>(&rows::heard_up_to(&room))?.as_ref() != Some(&mark) {
                    marks.insert(room, mark);
                }
            }
            if !marks.is_empty() {
                writer.append(at, &Fact::HeardUpTo { marks })?;
            }
            Ok(())
        })
        .await
    }

    /// Records a deployment with its plan, takes the lock for it, and takes the command that asked for it out of the inbox. A
    /// lock whose holder is stuck is taken over. A plan that only reads takes none.
    ///
    /// # Errors
    /// When another deployment that isn't over holds the lock, or nothing can be recorded any more.
    pub async fn request(
        &self,
        plan: Plan,
        by: PersonName,
        cause: Option<MessageRef>,
        at: Timestamp,
    ) -> Result<DeploymentId, RequestError> {
        let ask = Ask { plan, by, cause, order: None, waits: false, through_lock: true, calls: Vec::new() };
        match self.ask(ask, at).await? {
            Granted::Started(id) | Granted::Waits(id) => Ok(id),
        }
    }

    /// Records what happened to a deployment; its state after that. When it ended well, so that all targets have its release, the
    /// stuck ones that it took the lock over from are mended in the same write.
    ///
    /// # Errors
    /// When this can't happen to the deployment as it is, and then nothing is written; or when nothing can be recorded any more.
    pub async fn deployment(&self, id: DeploymentId, event: Event, at: Timestamp) -> Result<DeploymentState, LedgerError> {
        let state = self.submit(move |writer| record_event(writer, id, event, at)).await?;
        Ok(Arc::unwrap_or_clone(state))
    }

    /// Lets a room that was never seen begin with what is posted from now on.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or the room's id is unfit.
    pub async fn open_room(&self, room: RoomId, at: Timestamp) -> Result<(), LedgerError> {
        fit_id(&room.0)?;
        self.submit(move |writer| {
            if writer.rows.get(&rows::cursor(&room))?.is_none() {
                writer.append(at, &Fact::RoomOpened { room })?;
            }
            Ok(())
        })
        .await
    }

    /// Records that a room shows a post.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or the message's ids are unfit.
    pub async fn posted(&self, room: RoomId, post: PostId, message: MessageRef, at: Timestamp) -> Result<(), LedgerError> {
        self.shown(room, post, message, false, at).await
    }

    /// The same of a post that is kept in mind if it is `watched`, since people may still answer to it.
    ///
    /// # Errors
    /// When nothing can be recorded any more, or the message's ids are unfit.
    pub async fn shown(
        &self,
        room: RoomId,
        post: PostId,
        message: MessageRef,
        watched: bool,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        fit_id(&room.0)?;
        fit(&message)?;
        self.submit(move |writer| {
            writer.append(at, &Fact::Posted { room, post, message, watched })?;
            Ok(())
        })
        .await
    }

    /// Records that a room shows the last state of a live post. Nothing happens if the room has no such live message.
    ///
    /// # Errors
    /// When nothing can be recorded any more.
    pub async fn settled(&self, room: RoomId, post: PostId, at: Timestamp) -> Result<(), LedgerError> {
        self.submit(move |writer| {
            if writer.rows.get(&rows::view(&room, post))?.is_some() {
                writer.append(at, &Fact::Settled { room, post })?;
            }
            Ok(())
        })
        .await
    }
}

fn record_event(
    writer: &mut Writer<'_>,
    id: DeploymentId,
    event: Event,
    at: Timestamp,
) -> Result<Arc<DeploymentState>, LedgerError> {
    // What needs the lock is granted elsewhere.
    let elsewhere = matches!(event, Event::Requested { .. } | Event::Started { .. });
    if elsewhere || writer.state(id).is_none_or(|state| !is_open(state)) {
        return Err(refuse(writer, id, &event, at)?);
    }
    if let Event::Chosen { choice: Choice::Retry | Choice::Undo, .. } = event {
        refuse_taken_over(writer, id)?;
    }
    let (_, state) = writer.append(at, &Fact::Deployment { id, event })?;
    let state = state.ok_or(LedgerError::NoSuchDeployment(id))?;
    mend(writer, id, &state, at)?;
    Ok(state)
}

/// A deployment that brought all targets to its release mends the stuck ones that it took the lock over from.
pub(super) fn mend(writer: &mut Writer<'_>, id: DeploymentId, state: &DeploymentState, at: Timestamp) -> Result<(), LedgerError> {
    if state.phase == Phase::Succeeded && state.skipped.is_empty() && projection::lands(&state.plan.purpose) {
        // Whoever has the lock after a deployment that is over, had it before and is stuck.
        let lock: Option<Lock> = writer.rows.get_json(&rows::lock(&state.plan.app, &state.plan.environment))?;
        let holders = lock.into_iter().flat_map(|lock| std::iter::once(lock.id).chain(lock.stuck)).collect::<Vec<_>>();
        for stuck in holders {
            let is_stuck =
                writer.state(stuck).is_some_and(|state| matches!(state.phase, Phase::Stuck(_)) && state.mended_by.is_none());
            if !is_stuck {
                continue;
            }
            writer.append(at, &Fact::Deployment { id: stuck, event: Event::Mended { by: id } })?;
        }
    }
    lock_after(writer, id, state, at)
}

/// Locks the environment in the same write when the policy wants that after such an end, unless somebody did before and for longer.
fn lock_after(writer: &mut Writer<'_>, id: DeploymentId, state: &DeploymentState, at: Timestamp) -> Result<(), LedgerError> {
    let Plan { app, environment, purpose, .. } = &state.plan;
    let wanted = match (&state.phase, purpose) {
        (Phase::Undone(_), _) => LockAfter::Undone,
        (Phase::Succeeded, Purpose::Revert) => LockAfter::Revert,
        _ => return Ok(()),
    };
    let before: Option<EnvironmentLock> = writer.rows.get_json(&rows::environment_lock(app, environment))?;
    let ends = before.as_ref().is_none_or(|lock| lock.until.is_some());
    if state.plan.lock_after.contains(&wanted) && ends {
        let lock = EnvironmentLock { by: Locker::Policy(id), reason: String::new(), since: at, until: None, reminded: false };
        let (app, environment) = (app.clone(), environment.clone());
        writer.append(at, &Fact::Locked { app, environment, lock, instead_of: before })?;
    }
    Ok(())
}

/// A stuck deployment from which another one took the environment over must not go on beside that one.
fn refuse_taken_over(writer: &Writer<'_>, id: DeploymentId) -> Result<(), LedgerError> {
    let Some(state) = writer.state(id).filter(|state| matches!(state.phase, Phase::Stuck(_))) else { return Ok(()) };
    let lock: Option<Lock> = writer.rows.get_json(&rows::lock(&state.plan.app, &state.plan.environment))?;
    match lock {
        Some(lock) if lock.id != id => Err(LedgerError::TakenOver { by: lock.id }),
        Some(_) | None => Ok(()),
    }
}

fn is_open(state: &DeploymentState) -> bool {
    !state.phase.is_final() || matches!(state.phase, Phase::Stuck(_)) || projection::stays_open(state)
}

/// Why an event can't happen to a deployment that isn't open.
fn refuse(writer: &Writer<'_>, id: DeploymentId, event: &Event, at: Timestamp) -> Result<LedgerError, LedgerError> {
    let state = match writer.state(id) {
        Some(state) => Some((**state).clone()),
        None => lookup::replay(&writer.rows, id)?,
    };
    let Some(state) = state else {
        return Ok(LedgerError::NoSuchDeployment(id));
    };
    Ok(next(Some(state), at, event).map_or_else(LedgerError::Illegal, |_| LedgerError::NoSuchDeployment(id)))
}

pub(super) fn fit(message: &MessageRef) -> Result<(), LedgerError> {
    fit_id(&message.room.0)?;
    fit_id(&message.id)
}

/// Ids of chats stand in keys: not endless, and without the sign that ends a name.
fn fit_id(id: &str) -> Result<(), LedgerError> {
    if id.len() > CHAT_ID || id.contains('\0') {
        return Err(LedgerError::Unfit(format!("a chat's id of {} bytes, or with a NUL in it", id.len())));
    }
    Ok(())
}

/// The tag of a newer build that an environment follows, or waits to be deployed there.
fn newer_automatic(writer: &Writer<'_>, build: &Build, environment: &EnvironmentName) -> Result<Option<Tag>, StoreError> {
    for row in [rows::automatic(&build.app, environment), rows::followed(&build.app, environment)] {
        let Some(seq) = writer.rows.get(&row)? else { continue };
        let other = lookup::build(&writer.rows, &build.app, rows::number(&seq)?)?;
        if let Some(other) = other.filter(|other| other.branch == build.branch && !build.is_newer_than(other, true)) {
            return Ok(Some(other.tag));
        }
    }
    Ok(None)
}
