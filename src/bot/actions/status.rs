//! `!status [APP]`: what shall run and what really runs.

use crate::bot::{Bot, Refusal, views};
use crate::chat::{Block, Reply, Tone};
use crate::domain::spec::EnvironmentSpec;
use crate::runbook::Invocation;

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let apps = bot.fleet.apps.iter().filter(|(name, _)| asked.app.as_ref().is_none_or(|app| app == *name));
    let of_app = apps.flat_map(|(_, app)| app.environments.values());
    let specs: Vec<&EnvironmentSpec> =
        of_app.filter(|spec| asked.environment.as_ref().is_none_or(|name| *name == spec.environment)).collect();
    let observed = futures_util::future::join_all(specs.iter().map(|spec| bot.observe(spec))).await;
    bot.engine.rest().await;
    let mut replies = Vec::new();
    for (spec, observed) in specs.iter().zip(observed) {
        let records = bot.ledger.records(&spec.app, &spec.environment)?;
        let lock = bot.ledger.lock(&spec.app, &spec.environment)?;
        replies.push(views::status(spec, &records, &observed, lock.as_ref(), bot.now()));
    }
    Ok(match replies.len() {
        1 => replies.remove(0),
        _ => {
            let worst = if replies.iter().any(|reply| reply.tone != Tone::Good) { Tone::Warning } else { Tone::Good };
            let body = replies.into_iter().flat_map(|reply| std::iter::once(Block::Line(reply.title)).chain(reply.body)).collect();
            Reply { tone: worst, title: "status".to_owned(), body }
        }
    })
}
