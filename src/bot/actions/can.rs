//! `!can PERSON COMMAND APP [ENVIRONMENT]`: whether somebody may, and why, from the decision that the bot itself goes by.

use crate::bot::access::{self, Subject};
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::runbook::Invocation;

pub(super) async fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let person = asked.person.as_ref().and_then(|name| bot.fleet.people.get(name));
    let runbook = asked.command.as_ref().and_then(|name| bot.catalog.get(name));
    let (Some(person), Some(runbook)) = (person, runbook) else {
        return Err(Refusal::told("name a person and a command"));
    };
    let spec = bot.environment(asked)?;
    let standing = bot.standing_of_person(&person.name).await;
    let subject = Subject::of(&bot.fleet, runbook, Some(&spec.app), Some(&spec.environment));
    Ok(views::can(&views::Can {
        person: &person.name,
        decision: &access::decision(&bot.fleet, &standing, runbook, &subject),
        subject: &subject,
        votes: access::votes_for(runbook, &spec.policy).map(|votes| (votes, &standing)),
        freeze: access::freeze_for(runbook, &spec.policy, bot.now()),
        access: &bot.fleet.access,
    }))
}
