//! `!show DEPLOYMENT`: every action with its time and output.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::Event;
use crate::domain::names::{DeploymentId, printable};
use crate::domain::plan::ActionIndex;
use crate::runbook::Invocation;

/// How many of the last lines of an action's output are shown; all of it is in the file.
const LINES: usize = 20;

/// The longest line that is shown, in characters.
const WIDTH: usize = 200;

pub(super) fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let Some(id) = asked.deployment else {
        return Err(Refusal::told("name a deployment by its number"));
    };
    let Some(state) = bot.ledger.state(id)? else {
        return Ok(views::no_such_deployment(id));
    };
    let events = bot.ledger.events(id)?;
    Ok(views::show(id, &state, &events, &outputs(bot, id, &events), bot.now()))
}

/// The end of what each action wrote, with the file that has the rest. The events tell, since the state of an action that was
/// undone no longer knows what it wrote: and that of a failed migration is what people look for.
fn outputs(bot: &Bot, id: DeploymentId, events: &[(Timestamp, Event)]) -> BTreeMap<ActionIndex, String> {
    let wrote = events.iter().filter_map(|(_, event)| match event {
        Event::ActionDone { action, outcome } => Some((*action, outcome.output_hash.as_ref()?)),
        Event::ActionFailed { action, failure } => Some((*action, failure.output_hash.as_ref()?)),
        _ => None,
    });
    wrote.map(|(action, hash)| (action, read(bot, id, action, hash))).collect()
}

fn read(bot: &Bot, id: DeploymentId, index: ActionIndex, hash: &str) -> String {
    let file = bot.pipeline.outputs().file(id, index);
    match std::fs::read(&file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let shown: Vec<String> =
                lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| printable(line, WIDTH)).collect();
            let rest = lines.len() - shown.len();
            let more = (rest > 0).then(|| format!("[{rest} lines before: {}]", file.display()));
            more.into_iter().chain(shown).collect::<Vec<_>>().join("\n")
        }
        Err(_) => format!("[no longer kept; its SHA-256 was {hash}]"),
    }
}
