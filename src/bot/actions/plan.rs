//! `!plan APP [TAG] [ENVIRONMENT]`: what `!deploy` would do; nothing is touched.

use crate::bot::{Bot, Refusal, act, views};
use crate::chat::Reply;
use crate::domain::step::Aim;
use crate::runbook::{Invocation, Work};

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let deploys = |work: &Work| matches!(work, Work::Steps { aim: Aim::Build, .. });
    let brings: Vec<_> = bot.catalog.runbooks().filter(|runbook| deploys(&runbook.work)).collect();
    let Some(runbook) = brings.iter().find(|runbook| runbook.name.as_str() == "deploy").or(brings.first()) else {
        return Err(Refusal::told("no command brings a build to the hosts, so there is nothing to plan"));
    };
    let plan = act::plan(bot, asked, runbook).await?;
    Ok(views::plan(&plan))
}
