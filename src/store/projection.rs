//! From a fact to the rows that change: the same function for a new fact, for a start after damage and for an import.
//!
//! It decides nothing. What a fact means for later facts was settled when it was recorded, and stands in the fact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::overlay::Overlay;
use super::summary::{Counts, Summary, TargetRecord};
use super::{Fact, LedgerError, Post, PostId, StoreError, posts, rows};
use crate::domain::build::{Build, BuildOutcome};
use crate::domain::deployment::{DeploymentState, Event, Occasion, Phase, next};
use crate::domain::environment_lock::EnvironmentLock;
use crate::domain::message::{Message, MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName};
use crate::domain::notice::Notice;
use crate::domain::plan::{Plan, Purpose, Target};

/// The deployments that aren't over, and the stuck ones that aren't mended.
pub(super) type OpenDeployments = BTreeMap<DeploymentId, Arc<DeploymentState>>;

/// How many facts a build's row lists as completing it; more can't tell anything new.
const COMPLETIONS: usize = 32;

/// How many stuck deployments a lock remembers to have been taken over from.
const TAKEN_OVER: usize = 64;

/// Who holds an app's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    /// The deployment that holds it.
    pub id: DeploymentId,
    /// The stuck ones that it took the lock over from, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<DeploymentId>,
}

/// Whether a deployment of this purpose keeps others out. A command that only reads doesn't.
pub(super) fn takes_lock(purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Deploy | Purpose::Revert | Purpose::Restart => true,
        Purpose::Run { read, .. } => !read,
    }
}

/// Whether a deployment of this purpose brings all targets to its release.
pub(super) fn lands(purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Deploy | Purpose::Revert => true,
        Purpose::Restart | Purpose::Run { .. } => false,
    }
}

/// Changes the rows that a fact changes. After an [`LedgerError::Illegal`] nothing has changed.
pub(super) fn project(
    rows: &mut Overlay<'_>,
    open: &mut OpenDeployments,
    (seq, at): (u64, Timestamp),
    fact: &Fact,
) -> Result<Option<Arc<DeploymentState>>, LedgerError> {
    match fact {
        Fact::Built { build, keys, completes, automatic } => {
            built(rows, seq, build, keys, *completes)?;
            let announced = completes.unwrap_or(seq).to_be_bytes();
            for environment in automatic {
                rows.put(rows::automatic(&build.app, environment), announced.to_vec())?;
                rows.put(rows::followed(&build.app, environment), announced.to_vec())?;
            }
        }
        Fact::Heard { message } => heard(rows, seq, message)?,
        Fact::Answered { message } => answered(rows, message)?,
        Fact::HeardUpTo { marks } => {
            for (room, mark) in marks {
                rows.put_json(rows::heard_up_to(room), mark)?;
            }
        }
        Fact::Deployment { id, event } => return deployment(rows, open, (seq, at), *id, event).map(Some),
        Fact::RoomOpened { room } => {
            let newest = counts(rows)?.posts;
            rows.put(rows::cursor(room), newest.to_be_bytes().to_vec())?;
        }
        Fact::Posted { room, post, message, watched } => posted(rows, room, *post, message, *watched)?,
        Fact::Locked { app, environment, lock, .. } => {
            rows.put_json(rows::environment_lock(app, environment), lock)?;
            post(rows, &Post::Told { seq })?;
        }
        Fact::Unlocked { app, environment, .. } => {
            rows.remove(rows::environment_lock(app, environment))?;
            post(rows, &Post::Told { seq })?;
        }
        Fact::Linked { account, person } => rows.put_json(rows::link(account), person)?,
        Fact::Unlinked { account, .. } => rows.remove(rows::link(account))?,
        Fact::Told { notice, .. } => told(rows, (seq, at), notice)?,
        Fact::Settled { room, post } => rows.remove(rows::view(room, *post))?,
    }
    Ok(None)
}

/// How much there is of everything.
pub(super) fn counts(rows: &Overlay<'_>) -> Result<Counts, StoreError> {
    Ok(rows.get_json(rows::COUNTS)?.unwrap_or_default())
}

fn count(rows: &mut Overlay<'_>, what: impl FnOnce(&mut Counts) -> &mut u64) -> Result<u64, StoreError> {
    let mut counts = counts(rows)?;
    let count = what(&mut counts);
    *count += 1;
    let count = *count;
    rows.put_json(rows::COUNTS.to_vec(), &counts)?;
    Ok(count)
}

fn post(rows: &mut Overlay<'_>, post: &Post) -> Result<(), StoreError> {
    let id = PostId(count(rows, |counts| &mut counts.posts)?);
    posts::add(rows, id, post)
}

fn built(rows: &mut Overlay<'_>, seq: u64, build: &Build, keys: &[String], completes: Option<u64>) -> Result<(), StoreError> {
    let this = seq.to_be_bytes().to_vec();
    for key in keys {
        rows.put(rows::seen_build(key), this.clone())?;
    }
    if let Some(first) = completes {
        let row = rows::build(&build.app, first);
        let mut facts = rows.get(&row)?.unwrap_or_default();
        if facts.len() < COMPLETIONS * this.len() {
            facts.extend(this);
        }
        return rows.put(row, facts);
    }
    let tag = rows::tag(&build.app, &build.tag);
    if let Some(older) = rows.get(&tag)? {
        rows.remove(rows::good_build(&build.app, rows::number(&older)?))?;
    }
    rows.put(tag, this)?;
    rows.put(rows::build(&build.app, seq), Vec::new())?;
    if build.outcome == BuildOutcome::Succeeded {
        rows.put(rows::good_build(&build.app, seq), Vec::new())?;
    }
    count(rows, |counts| &mut counts.builds)?;
    post(rows, &Post::Build { seq })
}

fn heard(rows: &mut Overlay<'_>, seq: u64, message: &Message) -> Result<(), StoreError> {
    rows.put(rows::seen_message(&message.at), seq.to_be_bytes().to_vec())?;
    rows.put(rows::inbox(seq), Vec::new())?;
    count(rows, |counts| &mut counts.messages)?;
    Ok(())
}

fn answered(rows: &mut Overlay<'_>, message: &MessageRef) -> Result<(), StoreError> {
    match rows.get(&rows::seen_message(message))? {
        Some(seq) => rows.remove(rows::inbox(rows::number(&seq)?)),
        None => Ok(()),
    }
}

fn told(rows: &mut Overlay<'_>, (seq, at): (u64, Timestamp), notice: &Notice) -> Result<(), StoreError> {
    match notice {
        Notice::NotAutomatic { app, environment, seq: build, .. } => no_longer_automatic(rows, app, environment, *build)?,
        Notice::Drift { app, environment, fingerprint, .. } => {
            rows.put(rows::drift(app, environment), fingerprint.as_bytes().to_vec())?;
        }
        Notice::DriftOver { app, environment } => rows.remove(rows::drift(app, environment))?,
        Notice::Head { .. } => rows.put_json(rows::HEAD_TOLD.to_vec(), &at)?,
        Notice::Stale { messages } => messages.iter().try_for_each(|message| answered(rows, &message.at))?,
        Notice::Unreadable { message, .. } => rows.put(rows::seen_unreadable(message), seq.to_be_bytes().to_vec())?,
        Notice::LockEnds { app, environment, lock } => {
            let row = rows::environment_lock(app, environment);
            // It may have been taken off, or another one put on, meanwhile.
            if rows.get_json::<EnvironmentLock>(&row)?.as_ref() == Some(lock) {
                rows.put_json(row, &EnvironmentLock { reminded: true, ..lock.clone() })?;
            }
        }
        Notice::Emergency { .. }
        | Notice::Back { .. }
        | Notice::NotRead { .. }
        | Notice::BakeFailed { .. }
        | Notice::NotReverted { .. }
        | Notice::Overtaken { .. }
        | Notice::Baked { .. } => {}
    }
    post(rows, &Post::Told { seq })
}

fn posted(rows: &mut Overlay<'_>, room: &RoomId, post: PostId, message: &MessageRef, watched: bool) -> Result<(), StoreError> {
    let shown = rows.get(&rows::cursor(room))?.map_or(Ok(0), |cursor| rows::number(&cursor))?;
    rows.put(rows::cursor(room), shown.max(post.0).to_be_bytes().to_vec())?;
    let about = posts::get(rows, post)?;
    // What a room isn't told has no message there.
    let is_shown = !message.id.is_empty();
    if is_shown && (watched || matches!(about, Some(Post::Live { .. } | Post::Votes { .. }))) {
        rows.put_json(rows::view(room, post), message)?;
    }
    if let Some(Post::Closing { id }) = about {
        let row = rows::closings(room, id);
        let mut page: BTreeMap<DeploymentId, String> = rows.get_json(&row)?.unwrap_or_default();
        page.insert(id, message.id.clone());
        rows.put_json(row, &page)?;
    }
    Ok(())
}

fn deployment(
    rows: &mut Overlay<'_>,
    open: &mut OpenDeployments,
    (seq, at): (u64, Timestamp),
    id: DeploymentId,
    event: &Event,
) -> Result<Arc<DeploymentState>, LedgerError> {
    let before = open.get(&id);
    let was = before.map(|state| state.phase.clone());
    let state = Arc::new(next(before.map(|state| (**state).clone()), at, event)?);
    list_event(rows, id, seq)?;
    open.insert(id, state.clone());
    match event {
        Event::Requested { cause, waits, .. } => {
            requested(rows, id, &state, cause.as_ref())?;
            if !waits {
                started(rows, id, &state)?;
            }
        }
        Event::Started { .. } => started(rows, id, &state)?,
        Event::VotesAsked { .. } => post(rows, &Post::Votes { seq })?,
        Event::NotCounted { .. } => post(rows, &Post::Told { seq })?,
        // The live message of the first attempt has its last state.
        Event::Chosen { .. } if was.as_ref().is_some_and(Phase::is_final) && !state.phase.is_final() => {
            post(rows, &Post::Live { id })?;
        }
        Event::Mended { .. } | Event::Reviewed { .. } => rows.put_json(rows::summary(id), &Summary::of(id, &state))?,
        Event::Replanned { .. }
        | Event::Approved { .. }
        | Event::ApprovalWithdrawn { .. }
        | Event::VotedDown { .. }
        | Event::VotesLost { .. }
        | Event::Expired {}
        | Event::Superseded { .. }
        | Event::Refused { .. }
        | Event::ActionStarted { .. }
        | Event::ActionDone { .. }
        | Event::ActionFailed { .. }
        | Event::CancelAsked { .. }
        | Event::Chosen { .. }
        | Event::UndoStarted { .. }
        | Event::UndoDone { .. }
        | Event::UndoFailed { .. } => {}
    }
    if state.phase.is_final() {
        if was.as_ref() != Some(&state.phase) {
            ended(rows, at, id, &state)?;
        }
        if !keeps_lock(&state) {
            leave_lock(rows, &state.plan, id)?;
        }
        if !stays_open(&state) {
            rows.remove(rows::open(id))?;
            open.remove(&id);
        }
    }
    Ok(state)
}

/// Whether a deployment that is over still holds its environment: it is stuck. One that never had a lock leaves nothing to mend.
fn keeps_lock(state: &DeploymentState) -> bool {
    matches!(state.phase, Phase::Stuck(_)) && state.mended_by.is_none() && takes_lock(&state.plan.purpose)
}

/// Whether something may still happen to a deployment that is over: it is mended, or looked at after an emergency.
pub(super) fn stays_open(state: &DeploymentState) -> bool {
    keeps_lock(state) || (state.emergency().is_some() && state.started_at.is_some() && state.reviewed_by.is_none())
}

/// The event's place in the list of its deployment's events.
fn list_event(rows: &mut Overlay<'_>, id: DeploymentId, seq: u64) -> Result<(), StoreError> {
    let n = rows.get(&rows::open(id))?.map_or(Ok(0), |n| rows::number(&n))?;
    rows.put(rows::open(id), (n + 1).to_be_bytes().to_vec())?;
    let page = rows::events(id, u32::try_from(n).unwrap_or(u32::MAX));
    let mut seqs = rows.get(&page)?.unwrap_or_default();
    seqs.extend(seq.to_be_bytes());
    rows.put(page, seqs)
}

fn requested(
    rows: &mut Overlay<'_>,
    id: DeploymentId,
    state: &DeploymentState,
    cause: Option<&MessageRef>,
) -> Result<(), StoreError> {
    let Plan { app, environment, .. } = &state.plan;
    count(rows, |counts| &mut counts.deployments)?;
    rows.put_json(rows::summary(id), &Summary::of(id, state))?;
    rows.put(rows::history(app, environment, id), Vec::new())?;
    if let Some(Occasion::Build { seq }) = state.order.as_ref().map(|order| &order.occasion) {
        no_longer_automatic(rows, app, environment, Some(*seq))?;
    }
    cause.map_or(Ok(()), |cause| answered(rows, cause))
}

/// A build was asked for, or can't be. A newer one may have come in between.
fn no_longer_automatic(
    rows: &mut Overlay<'_>,
    app: &AppName,
    environment: &EnvironmentName,
    seq: Option<u64>,
) -> Result<(), StoreError> {
    let row = rows::automatic(app, environment);
    let waits = rows.get(&row)?.map(|seq| rows::number(&seq)).transpose()?;
    if seq.is_some() && waits != seq { Ok(()) } else { rows.remove(row) }
}

/// The lock is granted, and the rooms see it run.
fn started(rows: &mut Overlay<'_>, id: DeploymentId, state: &DeploymentState) -> Result<(), StoreError> {
    let Plan { app, environment, purpose, .. } = &state.plan;
    if takes_lock(purpose) {
        let row = rows::lock(app, environment);
        let holder: Option<Lock> = rows.get_json(&row)?;
        let stuck = holder.into_iter().flat_map(|holder| std::iter::once(holder.id).chain(holder.stuck)).take(TAKEN_OVER).collect();
        rows.put_json(row, &Lock { id, stuck })?;
    }
    if is_shown(state) { post(rows, &Post::Live { id }) } else { Ok(()) }
}

/// A rehearsal is shown by those who vote on it.
fn is_shown(state: &DeploymentState) -> bool {
    state.order.as_ref().is_none_or(|order| order.occasion != Occasion::Rehearsal)
}

fn ended(rows: &mut Overlay<'_>, at: Timestamp, id: DeploymentId, state: &DeploymentState) -> Result<(), StoreError> {
    let purpose = &state.plan.purpose;
    rows.put_json(rows::summary(id), &Summary::of(id, state))?;
    let is_what_runs = matches!(state.phase, Phase::Succeeded | Phase::Kept { .. });
    if is_what_runs && lands(purpose) {
        record_targets(rows, at, id, state)?;
    }
    if is_what_runs {
        follow(rows, state)?;
    }
    if is_shown(state) { post(rows, &Post::Closing { id }) } else { Ok(()) }
}

/// The deployment holds the lock no longer. If it had taken it over from a stuck one, that one has it again.
fn leave_lock(rows: &mut Overlay<'_>, plan: &Plan, id: DeploymentId) -> Result<(), StoreError> {
    let row = rows::lock(&plan.app, &plan.environment);
    let Some(lock) = rows.get_json::<Lock>(&row)? else {
        return Ok(());
    };
    let mut holders = std::iter::once(lock.id).chain(lock.stuck).filter(|holder| *holder != id);
    match holders.next() {
        Some(first) => rows.put_json(row, &Lock { id: first, stuck: holders.collect() }),
        None => rows.remove(row),
    }
}

/// Builds that go out by themselves are counted on from the one that a person deployed: CI's numbers may have begun anew.
fn follow(rows: &mut Overlay<'_>, state: &DeploymentState) -> Result<(), StoreError> {
    let plan = &state.plan;
    let by_person = match state.order.as_ref().map(|order| &order.occasion) {
        Some(Occasion::Person | Occasion::Emergency { .. }) => plan.purpose == Purpose::Deploy,
        Some(Occasion::Build { .. } | Occasion::Bake { .. } | Occasion::Rehearsal) | None => false,
    };
    let row = rows::followed(&plan.app, &plan.environment);
    match rows.get(&rows::tag(&plan.app, &plan.release.tag))? {
        Some(build) if by_person && rows.get(&row)?.is_some() => rows.put(row, build),
        Some(_) | None => Ok(()),
    }
}

/// TAG and REVERT of each target that runs the release now. What it ran comes from the plan, which was made from what the host
/// really ran.
fn record_targets(rows: &mut Overlay<'_>, at: Timestamp, id: DeploymentId, state: &DeploymentState) -> Result<(), StoreError> {
    let plan = &state.plan;
    let landed: BTreeSet<&Target> = state.landed().collect();
    for before in plan.before.iter().filter(|before| landed.contains(&before.target)) {
        let row = rows::record(&plan.app, &plan.environment, &before.target);
        let old: Option<TargetRecord> = rows.get_json(&row)?;
        let other = |release: &crate::domain::plan::Release| release.digest != plan.release.digest;
        let revert = before.release.clone().filter(other).or_else(|| old.and_then(|old| old.revert).filter(other));
        rows.put_json(row, &TargetRecord { current: plan.release.clone(), revert, since: at, by: id, missed: None })?;
    }
    let skipped = |target: &Target| state.skipped.contains(&target.host);
    for target in plan.before.iter().map(|before| &before.target).filter(|target| skipped(target)) {
        let row = rows::record(&plan.app, &plan.environment, target);
        if let Some(old) = rows.get_json::<TargetRecord>(&row)? {
            rows.put_json(row, &TargetRecord { missed: Some(plan.release.clone()), ..old })?;
        }
    }
    Ok(())
}
