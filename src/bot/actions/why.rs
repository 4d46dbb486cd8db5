//! `!why DEPLOYMENT`: who asked and by which rule, whose votes counted and whose didn't, and what stands in its way now.

use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::runbook::Invocation;

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let Some(id) = asked.deployment else {
        return Err(Refusal::told("name a deployment by its number"));
    };
    let Some(state) = bot.ledger.state(id)? else { return Ok(views::no_such_deployment(id)) };
    let now = bot.now();
    let permission = bot.permission_of(&state).await;
    let mut ways = Vec::new();
    if state.phase.waits() {
        if let (Ok(spec), Some(order)) =
            (bot.fleet.environment(&state.plan.app, Some(&state.plan.environment)), state.order.as_ref())
            && let Some(obstacle) = bot.obstacle(spec, &state.plan.purpose, &order.occasion, Some(&state.plan.release), now)?
        {
            ways.push(views::obstacle(&spec.app, &spec.environment, &obstacle, &bot.prefix, now));
        }
        if let Some(holder) = bot.ledger.lock(&state.plan.app, &state.plan.environment)? {
            ways.push(views::held(&state.plan.app, &state.plan.environment, &holder, &bot.prefix, now));
        }
    }
    let tally = bot.tally(&state).await?;
    let events = bot.ledger.events(id)?;
    Ok(views::why(id, &state, &events, permission.as_ref(), &tally, &ways, now))
}
