//! `!lock`, `!unlock`, `!locks`: what people keep closed, who, why, since and until when; and `!freeze`: what the policy does.

use crate::bot::access::Authorized;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::environment_lock::{EnvironmentLock, Locker, Unlocked};
use crate::domain::freeze;
use crate::domain::message::Message;
use crate::domain::names::printable;
use crate::runbook::Invocation;

/// The longest reason, in characters.
const REASON: usize = 200;

/// How many freezes are shown.
const FREEZES: usize = 5;

/// Locks an environment; every room is told, and that is the answer.
pub(super) async fn lock(bot: &Bot, asked: &Authorized<Invocation>, message: &Message) -> Result<Option<Reply>, Refusal> {
    let spec = bot.environment(asked.what())?;
    let now = bot.now();
    let lock = EnvironmentLock {
        by: Locker::Person(asked.by().clone()),
        reason: printable(asked.what().text.as_deref().unwrap_or_default(), REASON),
        since: now,
        until: asked.what().duration.map(|span| span.after(now)),
        reminded: false,
    };
    bot.ledger.put_lock(spec.app.clone(), spec.environment.clone(), lock, Some(message.at.clone())).await?;
    Ok(None)
}

pub(super) async fn unlock(bot: &Bot, asked: &Authorized<Invocation>, message: &Message) -> Result<Option<Reply>, Refusal> {
    let spec = bot.environment(asked.what())?;
    let (app, environment) = (spec.app.clone(), spec.environment.clone());
    let how = Unlocked::By(asked.by().clone());
    let off = bot.ledger.take_lock_off(app, environment, how, Some(message.at.clone()), bot.now()).await?;
    Ok(off.is_none().then(|| views::not_locked(&spec.app, &spec.environment)))
}

pub(super) fn list(bot: &Bot) -> Result<Reply, Refusal> {
    Ok(views::locks(&bot.ledger.environment_locks()?, bot.now()))
}

pub(super) fn freezes(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let spec = bot.environment(asked)?;
    let now = bot.now();
    let upcoming = freeze::upcoming(&spec.policy.freezes, now, FREEZES);
    Ok(views::freezes(&spec.app, &spec.environment, &upcoming, now))
}
