//! `!cancel [DEPLOYMENT]`: stop, and put back what was done.

use std::sync::PoisonError;

use tokio_util::sync::CancellationToken;

use crate::bot::access::Authorized;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::{Event, Phase};
use crate::domain::names::DeploymentId;
use crate::runbook::Invocation;
use crate::store::LedgerError;

/// Takes back what is still being planned; it says so itself.
fn withdraw(bot: &Bot, asked: &Authorized<Invocation>) -> Reply {
    let planning = bot.planning.lock().unwrap_or_else(PoisonError::into_inner);
    if planning.is_empty() {
        return views::nothing_to_cancel(&[]);
    }
    planning.iter().for_each(CancellationToken::cancel);
    views::withdrawing(asked.by())
}

/// What a cancel could stop: what runs, and what waits.
pub(in crate::bot) fn cancellable(bot: &Bot) -> Result<Vec<DeploymentId>, LedgerError> {
    let mut ids: Vec<DeploymentId> = bot.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
    ids.extend(bot.ledger.waiting()?.into_iter().map(|(id, _)| id));
    Ok(ids)
}

pub(super) async fn answer(bot: &Bot, asked: &Authorized<Invocation>) -> Result<Reply, Refusal> {
    let running = cancellable(bot)?;
    let id = match (asked.what().deployment, running.as_slice()) {
        (Some(id), _) => id,
        (None, [only]) => *only,
        (None, []) => return Ok(withdraw(bot, asked)),
        (None, running) => return Ok(views::nothing_to_cancel(running)),
    };
    let Some(state) = bot.ledger.state(id)? else {
        return Ok(views::no_such_deployment(id));
    };
    if !(state.phase.waits() || matches!(state.phase, Phase::Running | Phase::Holding { .. })) {
        return Ok(views::not_cancellable(id, state.phase.word()));
    }
    match bot.ledger.deployment(id, Event::CancelAsked { by: asked.by().clone() }, bot.now()).await {
        Ok(_) => {}
        // It ended, or failed by itself, in this moment.
        Err(LedgerError::Illegal(_)) => {
            let phase = bot.ledger.state(id)?.map_or("over", |state| state.phase.word());
            return Ok(views::not_cancellable(id, phase));
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(steering) = bot.running.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
        steering.cancel.cancel();
    }
    Ok(if state.phase.waits() { views::cancelled_waiting(id, asked.by()) } else { views::cancelling(id, asked.by()) })
}
