//! `!help [COMMAND]`: what the asker may do, generated from the runbooks.

use crate::bot::access::Authorized;
use crate::bot::{Bot, access};
use crate::chat::Reply;
use crate::runbook::{Invocation, help};

pub(super) fn answer(bot: &Bot, asked: &Authorized<Invocation>) -> Reply {
    match asked.what().command.as_ref().and_then(|name| bot.catalog.get(name)) {
        Some(runbook) => help::command(runbook, &bot.prefix),
        None => help::commands(&bot.catalog, &bot.prefix, |runbook| access::may(&bot.fleet, asked.standing(), runbook)),
    }
}
