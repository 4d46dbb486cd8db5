//! `!history APP [N]`: who did what, when, and how it ended.

use super::app;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::runbook::Invocation;

/// How many deployments are listed when no number was typed.
const SHOWN: usize = 10;

pub(super) fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let app = app(asked)?;
    let limit = asked.count.map_or(SHOWN, |count| count as usize);
    let history = bot.ledger.history(app, asked.environment.as_ref(), limit, None)?;
    Ok(views::history(app, &history, bot.now()))
}
