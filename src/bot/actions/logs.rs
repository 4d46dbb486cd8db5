//! `!logs APP [ROLE] [N]`: what a role last wrote.

use crate::bot::{Bot, Refusal, views};
use crate::chat::{Block, Reply, Tone};
use crate::domain::plan::Target;
use crate::runbook::Invocation;

/// How many lines of each target are shown when no number was typed.
const SHOWN: usize = 20;

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let spec = bot.environment(asked)?;
    let roles = spec.roles.iter().filter(|(name, _)| asked.role.as_ref().is_none_or(|wanted| wanted == *name));
    let targets = roles.flat_map(|(name, role)| role.hosts.iter().map(|host| Target { role: name.clone(), host: host.clone() }));
    let targets: Vec<Target> = targets.collect();
    let lines = asked.count.map_or(SHOWN, |count| count as usize);
    let logs = futures_util::future::join_all(targets.iter().map(|target| bot.engine.logs(spec, target, lines))).await;
    bot.engine.rest().await;
    let mut body = Vec::new();
    for (target, log) in targets.iter().zip(logs) {
        match log {
            Ok(said) => {
                let said: Vec<String> = said.iter().map(|line| bot.pipeline.outputs().redact(line)).collect();
                let reply = views::logs(target, &said);
                body.push(Block::Line(reply.title));
                body.extend(reply.body);
            }
            Err(failure) => body.push(Block::Line(format!("{target}: {}", bot.pipeline.outputs().redact(&failure.message)))),
        }
    }
    Ok(Reply { tone: Tone::Info, title: format!("logs of {} {}", spec.app, spec.environment), body })
}
