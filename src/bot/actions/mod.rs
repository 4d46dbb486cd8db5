//! The built-in chat commands, one file each. Those that act on hosts have no file: their runbooks' steps are all there is.

mod apps;
mod builds;
mod can;
mod cancel;
mod choose;
mod help;
mod history;
mod link;
mod locks;
mod logs;
mod plan;
mod show;
pub(super) use self::show::whole;
mod status;
mod vote;
mod waiting;
mod why;

use std::sync::Arc;

pub(super) use self::cancel::cancellable;
pub(super) use self::choose::asking;
pub use self::link::Codes;
use super::votes::Ballot;

use super::access::Authorized;
use super::{Bot, Refusal};
use crate::chat::Reply;
use crate::domain::deployment::Choice;
use crate::domain::message::Message;
use crate::domain::names::AppName;
use crate::domain::step::Aim;
use crate::runbook::{Builtin, Invocation, Runbook, Work};

/// Answers a built-in command; `None` if what all rooms are told is the answer.
///
/// # Errors
/// With what the person should know.
pub async fn answer(
    bot: &Bot,
    builtin: Builtin,
    asked: &Authorized<Invocation>,
    message: &Message,
) -> Result<Option<Reply>, Refusal> {
    let what = asked.what();
    match builtin {
        Builtin::Lock => return locks::lock(bot, asked, message).await,
        Builtin::Unlock => return locks::unlock(bot, asked, message).await,
        Builtin::Help => Ok(help::answer(bot, asked)),
        Builtin::Apps => apps::answer(bot),
        Builtin::Builds => builds::answer(bot, what),
        Builtin::Status => status::answer(bot, what).await,
        Builtin::History => history::answer(bot, what),
        Builtin::Show => show::answer(bot, what),
        Builtin::Plan => plan::answer(bot, what).await,
        Builtin::Logs => logs::answer(bot, what).await,
        Builtin::Cancel => cancel::answer(bot, asked).await,
        Builtin::Approve => vote::answer(bot, what, message, Ballot::Approve).await,
        Builtin::Reject => vote::answer(bot, what, message, Ballot::Reject).await,
        Builtin::Approvals => waiting::approvals(bot).await,
        Builtin::Queue => waiting::queue(bot, what),
        Builtin::Locks => locks::list(bot),
        Builtin::Freeze => locks::freezes(bot, what),
        Builtin::Retry => choose::answer(bot, asked, Choice::Retry).await,
        Builtin::Skip => choose::answer(bot, asked, Choice::Skip).await,
        Builtin::Undo => choose::answer(bot, asked, Choice::Undo).await,
        Builtin::Keep => choose::answer(bot, asked, Choice::Keep).await,
        Builtin::Why => why::answer(bot, what).await,
        Builtin::Link => link::link(bot, what, message).await,
        Builtin::Unlink => link::unlink(bot, asked).await,
        Builtin::Can => can::answer(bot, what).await,
    }
    .map(Some)
}

/// The command that brings a build to the hosts: what is deployed by itself, and what `!plan` shows.
///
/// # Errors
/// When the commands have none.
pub(super) fn deploys(bot: &Bot) -> Result<&Arc<Runbook>, Refusal> {
    the(bot, "deploy", Aim::Build)
}

/// The command that goes back.
///
/// # Errors
/// When the commands have none.
pub(super) fn reverts(bot: &Bot) -> Result<&Arc<Runbook>, Refusal> {
    the(bot, "revert", Aim::Previous)
}

/// The command of this name if it has this aim, else the first one that has it.
fn the<'a>(bot: &'a Bot, name: &str, wanted: Aim) -> Result<&'a Arc<Runbook>, Refusal> {
    let has_aim = |work: &Work| matches!(work, Work::Steps { aim, .. } if *aim == wanted);
    let all: Vec<_> = bot.catalog.runbooks().filter(|runbook| has_aim(&runbook.work)).collect();
    let found = all.iter().find(|runbook| runbook.name.as_str() == name).or(all.first());
    found.copied().ok_or_else(|| Refusal::told(format!("no command does what `{name}` does, so this can't be done")))
}

/// The app that was typed. The parser demands one where a runbook does; a runbook of the user's own may have left it out.
fn app(asked: &Invocation) -> Result<&AppName, Refusal> {
    asked.app.as_ref().ok_or_else(|| Refusal::told("name an app"))
}
