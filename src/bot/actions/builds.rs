//! `!builds APP`: what CI announced.

use super::app;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::runbook::Invocation;

/// How many builds are listed when no number was typed.
const SHOWN: usize = 10;

pub(super) fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let app = app(asked)?;
    let limit = asked.count.map_or(SHOWN, |count| count as usize);
    let builds = bot.ledger.builds(app, limit)?;
    let mut running = Vec::new();
    for environment in bot.fleet.apps.get(app).into_iter().flat_map(|app| app.environments.keys()) {
        running.extend(bot.ledger.records(app, environment)?.into_iter().map(|(_, record)| record.current.tag.to_string()));
    }
    Ok(views::builds(app, &builds, &running, bot.now()))
}
