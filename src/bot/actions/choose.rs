//! `!retry`, `!skip`, `!undo`, `!keep`: how it goes on after a failure, when the policy asks people or an undo failed.

use crate::bot::access::Authorized;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::{Choice, Event, Phase};
use crate::domain::names::DeploymentId;
use crate::pipeline::DeployLock;
use crate::runbook::Invocation;
use crate::store::LedgerError;

pub(super) async fn answer(bot: &Bot, asked: &Authorized<Invocation>, choice: Choice) -> Result<Reply, Refusal> {
    let id = match asked.what().deployment {
        Some(id) => id,
        None => match asking(bot)?.as_slice() {
            [only] => *only,
            several => return Ok(views::which_asks(several)),
        },
    };
    let Some(state) = bot.ledger.state(id)? else { return Ok(views::no_such_deployment(id)) };
    let was_over = state.phase.is_final();
    if let (Choice::Skip, Err(why)) = (choice, state.may_skip()) {
        return Ok(views::cant_skip(id, &why));
    }
    // What goes forward again after it was over must be let in like anything that begins.
    if was_over
        && choice == Choice::Retry
        && let (Some(order), Ok(spec)) = (&state.order, bot.fleet.environment(&state.plan.app, Some(&state.plan.environment)))
        && let Some(obstacle) = bot.obstacle(spec, &state.plan.purpose, &order.occasion, None, bot.now())?
    {
        return Ok(views::obstacle(&spec.app, &spec.environment, &obstacle, &bot.prefix, bot.now()));
    }
    let event = Event::Chosen { choice, by: Some(asked.by().clone()) };
    match bot.ledger.deployment(id, event, bot.now()).await {
        Ok(_) => {}
        Err(LedgerError::Illegal(_) | LedgerError::NoSuchDeployment(_)) => return Ok(views::nothing_to_choose(id, &state)),
        Err(LedgerError::TakenOver { by }) => return Ok(views::taken_over(id, by)),
        Err(error) => return Err(error.into()),
    }
    if was_over && let Some(lock) = DeployLock::taken_up(&bot.ledger, id)? {
        bot.drive(lock);
    }
    Ok(views::chosen(id, choice, asked.by()))
}

/// The deployments that ask people how they go on.
pub(in crate::bot) fn asking(bot: &Bot) -> Result<Vec<DeploymentId>, LedgerError> {
    let mut asking = bot.ledger.stuck()?;
    for id in bot.ledger.open_deployments()? {
        if bot.ledger.state(id)?.is_some_and(|state| matches!(state.phase, Phase::Holding { .. })) {
            asking.push(id);
        }
    }
    Ok(asking)
}
