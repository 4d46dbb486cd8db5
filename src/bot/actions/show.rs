//! `!show DEPLOYMENT`: every action with its time and output.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::{DeploymentState, Step};
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
    Ok(views::show(id, &state, &events, &outputs(bot, id, &state), Timestamp::now()))
}

/// The end of what each action wrote, with the file that has the rest.
fn outputs(bot: &Bot, id: DeploymentId, state: &DeploymentState) -> BTreeMap<ActionIndex, String> {
    let hash = |step: &Step| match step {
        Step::Done { outcome, .. } => outcome.output_hash.clone(),
        Step::Failed { failure, .. } => failure.output_hash.clone(),
        Step::Started { .. } | Step::Undoing { .. } | Step::Undone { .. } | Step::UndoFailed { .. } => None,
    };
    let wrote = state.steps.iter().filter_map(|(index, step)| hash(step).map(|hash| (*index, hash)));
    wrote.map(|(index, hash)| (index, read(bot, id, index, &hash))).collect()
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
