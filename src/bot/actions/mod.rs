//! The built-in chat commands, one file each. Those that act on hosts have no file: their runbooks' steps are all there is.

mod apps;
mod builds;
mod can;
mod cancel;
mod help;
mod history;
mod logs;
mod plan;
mod show;
mod status;

use super::access::Authorized;
use super::{Bot, Refusal};
use crate::chat::Reply;
use crate::domain::names::AppName;
use crate::runbook::{Builtin, Invocation};

/// Answers a built-in command.
///
/// # Errors
/// With what the person should know.
pub async fn answer(bot: &Bot, builtin: Builtin, asked: &Authorized<Invocation>) -> Result<Reply, Refusal> {
    match builtin {
        Builtin::Help => Ok(help::answer(bot, asked)),
        Builtin::Apps => apps::answer(bot),
        Builtin::Builds => builds::answer(bot, asked.what()),
        Builtin::Status => status::answer(bot, asked.what()).await,
        Builtin::History => history::answer(bot, asked.what()),
        Builtin::Show => show::answer(bot, asked.what()),
        Builtin::Plan => plan::answer(bot, asked.what()).await,
        Builtin::Logs => logs::answer(bot, asked.what()).await,
        Builtin::Cancel => cancel::answer(bot, asked).await,
        Builtin::Can => can::answer(bot, asked.what()),
    }
}

/// The app that was typed. The parser demands one where a runbook does; a runbook of the user's own may have left it out.
fn app(asked: &Invocation) -> Result<&AppName, Refusal> {
    asked.app.as_ref().ok_or_else(|| Refusal::told("name an app"))
}
