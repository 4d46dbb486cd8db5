//! `!approve [CODE]`, `!reject [CODE]`: the typed twins of the emojis; and the review of what was done in an emergency.

use crate::bot::votes::{Ballot, Given};
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::ballot::is_among;
use crate::domain::deployment::{Event, Found, Phase};
use crate::domain::message::Message;
use crate::domain::names::DeploymentId;
use crate::domain::policy::Strength;
use crate::runbook::Invocation;
use crate::store::LedgerError;

pub(super) async fn answer(bot: &Bot, asked: &Invocation, message: &Message, ballot: Ballot) -> Result<Reply, Refusal> {
    let waiting = bot.ledger.waiting()?;
    let open: Vec<DeploymentId> =
        waiting.iter().filter(|(_, state)| matches!(state.phase, Phase::AwaitingApproval(_))).map(|(id, _)| *id).collect();
    let by_code = |code: &str| {
        let code = code.trim_start_matches('#').to_lowercase();
        waiting.iter().find(|(_, state)| matches!(&state.phase, Phase::AwaitingApproval(call) if call.hash.short() == code))
    };
    let (id, typed_code) = match &asked.word {
        Some(code) => match (by_code(code), code.parse::<DeploymentId>()) {
            (Some((id, _)), _) => (*id, true),
            (None, Ok(id)) => (id, false),
            (None, Err(_)) => return Ok(views::no_such_code(code)),
        },
        None => match open.as_slice() {
            [only] => (*only, false),
            open => return Ok(views::which_vote(open)),
        },
    };
    let Some(state) = bot.ledger.state(id)? else { return Ok(views::no_such_deployment(id)) };
    if ballot == Ballot::Approve && state.phase.is_final() && state.emergency().is_some() {
        return review(bot, id, message).await;
    }
    let Phase::AwaitingApproval(call) = &state.phase else {
        return Ok(views::nothing_to_vote_on(id, &state));
    };
    // Whoever types the code has read the plan; the number alone says nothing of it.
    if ballot == Ballot::Approve && call.strength == Strength::Typed && !typed_code {
        return Ok(views::type_the_code(id, call, &bot.prefix));
    }
    let (plan, account, at) = (&call.hash, &message.author, &message.at);
    let given = Given { id, plan, account, ballot, found: Found::Typed, message: at, doubt: message.doubt };
    let voted = bot.vote(given).await?;
    Ok(bot.voted(id, &voted)?)
}

/// Somebody looked at what was done without votes.
async fn review(bot: &Bot, id: DeploymentId, message: &Message) -> Result<Reply, Refusal> {
    let Some(state) = bot.ledger.state(id)? else { return Ok(views::no_such_deployment(id)) };
    let standing = bot.standing(&message.author).await?;
    let spec =
        bot.fleet.environment(&state.plan.app, Some(&state.plan.environment)).map_err(|error| Refusal::told(error.to_string()))?;
    let approvers = spec.policy.approval.as_ref().map(|policy| &policy.approvers);
    let may = |person| approvers.is_none_or(|approvers| is_among(approvers, person, &standing.groups));
    let by = match &standing.person {
        Some(person) if *person != state.by && may(person) => person.clone(),
        Some(_) | None => return Ok(views::may_not_review(id, &state)),
    };
    match bot.ledger.deployment(id, Event::Reviewed { by: by.clone() }, bot.now()).await {
        Ok(_) => Ok(views::reviewed(id, &by)),
        Err(LedgerError::Illegal(_) | LedgerError::NoSuchDeployment(_)) => Ok(views::nothing_to_review(id)),
        Err(error) => Err(error.into()),
    }
}
