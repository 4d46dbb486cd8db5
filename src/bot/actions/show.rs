//! `!show DEPLOYMENT`: every action with its time and output.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::bot::{Bot, Refusal, views};
use crate::chat::{Reply, text};
use crate::domain::deployment::Event;
use crate::domain::names::{DeploymentId, printable};
use crate::domain::plan::ActionIndex;
use crate::runbook::Invocation;
use crate::store::LedgerError;

/// How many of the last lines of an action's output are shown; all of it is in the file.
const LINES: usize = 20;

/// The longest line that is shown, in characters.
const WIDTH: usize = 200;

/// The same of a file that has all of it.
const LINES_OF_ALL: usize = 20_000;

/// The longest file, in bytes; its beginning is left out.
const LONGEST: usize = 4 << 20;

pub(super) fn answer(bot: &Bot, asked: &Invocation) -> Result<Reply, Refusal> {
    let Some(id) = asked.deployment else {
        return Err(Refusal::told("name a deployment by its number"));
    };
    let Some(state) = bot.ledger.state(id)? else {
        return Ok(views::no_such_deployment(id));
    };
    let events = bot.ledger.events(id)?;
    Ok(views::show(id, &state, &events, &outputs(bot, id, &events, LINES), bot.now()))
}

/// All of it as a text for a file: each action with its time and what it wrote.
///
/// # Errors
/// When the ledger can't be read.
pub(in crate::bot) fn whole(bot: &Bot, id: DeploymentId) -> Result<Option<String>, LedgerError> {
    let Some(state) = bot.ledger.state(id)? else { return Ok(None) };
    let events = bot.ledger.events(id)?;
    let shown = views::show(id, &state, &events, &outputs(bot, id, &events, LINES_OF_ALL), bot.now());
    let mut whole = text::lines(&shown, "", None).into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
    if whole.len() > LONGEST {
        let begin = (whole.len() - LONGEST..).find(|place| whole.is_char_boundary(*place)).unwrap_or(whole.len());
        whole = format!("[{begin} bytes before]\n{}", &whole[begin..]);
    }
    Ok(Some(whole))
}

/// The end of what each action wrote, with the file that has the rest. The events tell, since the state of an action that was
/// undone no longer knows what it wrote: and that of a failed migration is what people look for.
fn outputs(bot: &Bot, id: DeploymentId, events: &[(Timestamp, Event)], most: usize) -> BTreeMap<ActionIndex, String> {
    let wrote = events.iter().filter_map(|(_, event)| match event {
        Event::ActionDone { action, outcome } => Some((*action, outcome.output_hash.as_ref()?)),
        Event::ActionFailed { action, failure } => Some((*action, failure.output_hash.as_ref()?)),
        _ => None,
    });
    wrote.map(|(action, hash)| (action, read(bot, id, action, hash, most))).collect()
}

fn read(bot: &Bot, id: DeploymentId, index: ActionIndex, hash: &str, most: usize) -> String {
    let file = bot.pipeline.outputs().file(id, index);
    match std::fs::read(&file) {
        Ok(bytes) => {
            let wrote = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = wrote.lines().collect();
            let shown: Vec<String> =
                lines.iter().skip(lines.len().saturating_sub(most)).map(|line| printable(line, WIDTH)).collect();
            let rest = lines.len() - shown.len();
            let more = (rest > 0).then(|| format!("[{rest} lines before: {}]", file.display()));
            more.into_iter().chain(shown).collect::<Vec<_>>().join("\n")
        }
        Err(_) => format!("[no longer kept; its SHA-256 was {hash}]"),
    }
}
