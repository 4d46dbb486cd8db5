//! `!apps`: what there is to deploy, and where.

use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;

pub(super) fn answer(bot: &Bot) -> Result<Reply, Refusal> {
    let mut rows = Vec::new();
    for (name, app) in &bot.fleet.apps {
        for (environment, spec) in &app.environments {
            let last = bot.ledger.history(name, Some(environment), 1, None)?.into_iter().next();
            rows.push((name.clone(), environment.clone(), spec.hosts.len(), last));
        }
    }
    Ok(views::apps(&rows, bot.now()))
}
