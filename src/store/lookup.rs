//! Builds and deployments put together from their facts.

use std::sync::Arc;

use jiff::Timestamp;

use super::overlay::Overlay;
use super::projection::OpenDeployments;
use super::{Direction, Fact, Store, StoreError, facts, rows};
use crate::domain::build::Build;
use crate::domain::deployment::{DeploymentState, Event};
use crate::domain::names::{AppName, DeploymentId};

/// The build that a fact announced, with what later facts told of it.
pub(super) fn build(rows: &Overlay<'_>, app: &AppName, seq: u64) -> Result<Option<Build>, StoreError> {
    build_before(rows, app, seq, u64::MAX)
}

/// The build that a fact announced, with what was told of it before the fact `before`.
pub(super) fn build_before(rows: &Overlay<'_>, app: &AppName, seq: u64, before: u64) -> Result<Option<Build>, StoreError> {
    let Some(more) = rows.get(&rows::build(app, seq))? else {
        return Ok(None);
    };
    let told = |seq| match facts::must_get(rows, seq)?.open()? {
        (_, Fact::Built { build, .. }) => Ok(build),
        _ => Err(StoreError::Damaged(format!("record {seq} is no build"))),
    };
    let mut build = told(seq)?;
    for seq in rows::numbers(&more)?.into_iter().filter(|seq| *seq < before) {
        build.complete(told(seq)?);
    }
    Ok(Some(build))
}

/// A deployment's events, the oldest first.
pub(super) fn events(rows: &Overlay<'_>, id: DeploymentId) -> Result<Vec<(Timestamp, Event)>, StoreError> {
    let mut events = Vec::new();
    for page in (0..).step_by(rows::EVENTS_A_PAGE as usize) {
        let Some(seqs) = rows.get(&rows::events(id, page))? else {
            break;
        };
        for seq in rows::numbers(&seqs)? {
            match facts::must_get(rows, seq)?.open()? {
                (at, Fact::Deployment { event, .. }) => events.push((at, event)),
                _ => return Err(StoreError::Damaged(format!("record {seq} is no event of {id}"))),
            }
        }
    }
    Ok(events)
}

/// A deployment's state from its events.
pub(super) fn replay(rows: &Overlay<'_>, id: DeploymentId) -> Result<Option<DeploymentState>, StoreError> {
    let events = events(rows, id)?;
    if events.is_empty() {
        return Ok(None);
    }
    let state = DeploymentState::replay(events.iter().map(|(at, event)| (*at, event)));
    state.map(Some).map_err(|error| StoreError::Damaged(format!("the events of {id}: {error}")))
}

/// The deployments that aren't over, from their events.
pub(super) fn open_deployments(store: &dyn Store) -> Result<OpenDeployments, StoreError> {
    let rows = Overlay::new(store);
    let mut open = OpenDeployments::new();
    for (key, _) in store.scan(rows::all_open(), Direction::Forward, usize::MAX)? {
        let id = DeploymentId(rows::last_number(&key)?);
        let state = replay(&rows, id)?.ok_or_else(|| StoreError::Damaged(format!("{id} is open and has no events")))?;
        open.insert(id, Arc::new(state));
    }
    Ok(open)
}
