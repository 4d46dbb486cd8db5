//! `!approvals`, `!queue`: what waits, for what, and since when.

use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::Phase;
use crate::runbook::Invocation;

pub(super) async fn approvals(bot: &Bot) -> Result<Reply, Refusal> {
    let mut rows = Vec::new();
    for (id, state) in bot.ledger.waiting()? {
        if matches!(state.phase, Phase::AwaitingApproval(_)) {
            let tally = bot.tally(&state).await?;
            rows.push((id, state, tally));
        }
    }
    Ok(views::approvals(&rows, &bot.ledger.unreviewed()?, &bot.prefix, bot.now()))
}

pub(super) fn queue(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let mut waiting = bot.ledger.waiting()?;
    waiting.retain(|(_, state)| {
        asked.app.as_ref().is_none_or(|app| *app == state.plan.app)
            && asked.environment.as_ref().is_none_or(|environment| *environment == state.plan.environment)
    });
    let mut rows = Vec::new();
    for (id, state) in waiting {
        let holder = bot.ledger.lock(&state.plan.app, &state.plan.environment)?;
        rows.push((id, state, holder));
    }
    Ok(views::queue(&rows, bot.now()))
}
