//! `!plan APP [TAG] [ENVIRONMENT]`: what `!deploy` would do; nothing is touched.

use super::deploys;
use crate::bot::act::Planning;
use crate::bot::{Bot, Refusal, act, views};
use crate::chat::Reply;
use crate::runbook::Invocation;

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let plan = act::plan(bot, asked, deploys(bot)?, Planning::Shown).await?;
    Ok(views::plan(&plan))
}
