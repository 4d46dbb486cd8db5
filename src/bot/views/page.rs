//! All about one deployment, as `!show` tells it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::deployment::{kind, tone};
use super::{ago, between, code, headline, span, table, text};
use crate::chat::{Block, Reply};
use crate::domain::deployment::{Choice, DeploymentState, Event, Step};
use crate::domain::names::DeploymentId;
use crate::domain::plan::{Action, ActionIndex};

/// Everything about one deployment: each action with its time, and what failed.
pub fn show(
    id: DeploymentId,
    state: &DeploymentState,
    events: &[(Timestamp, Event)],
    outputs: &BTreeMap<ActionIndex, String>,
    now: Timestamp,
) -> Reply {
    let tone = tone(&state.phase);
    let mended = state.mended_by.map_or_else(String::new, |by| format!(", mended by {by}"));
    let title = format!(
        "{id} {}, by {}, {}: {}{mended}",
        headline(&state.plan),
        state.by,
        ago(state.requested_at, now),
        state.phase.word()
    );
    let mut body = vec![Block::Line(format!(
        "asked for at {}, took {}, plan {}, image {}@{}",
        state.requested_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        span(state.elapsed(now)),
        code(state.plan.hash().short()),
        state.plan.image,
        state.plan.release.digest.short(),
    ))];
    let rows = events.iter().filter_map(|(at, event)| event_row(state, *at, event));
    body.push(table(&["after", "what", ""], rows));
    for (index, output) in outputs {
        let action = state.plan.action(*index).map_or_else(String::new, Action::to_string);
        body.push(Block::Line(format!("output of {action}:")));
        body.push(Block::Output(output.clone()));
    }
    Reply { tone, title, body }
}

fn event_row(state: &DeploymentState, at: Timestamp, event: &Event) -> Option<Vec<String>> {
    let action = |index: &ActionIndex| state.plan.action(*index).map_or_else(String::new, Action::to_string);
    let (what, note) = match event {
        // `!why` tells of these.
        Event::Requested { .. }
        | Event::Replanned { .. }
        | Event::VotesAsked { .. }
        | Event::NotCounted { .. }
        | Event::ApprovalWithdrawn { .. }
        | Event::VotesLost { .. }
        | Event::ActionStarted { .. }
        | Event::UndoStarted { .. } => return None,
        Event::Approved { by, .. } => ("approved".to_owned(), format!("by {by}")),
        Event::VotedDown { by, .. } => ("rejected".to_owned(), format!("by {by}")),
        Event::Expired {} => ("expired".to_owned(), String::new()),
        Event::Superseded { by } => ("superseded".to_owned(), format!("by {by}")),
        Event::Refused { why } => ("not started".to_owned(), why.clone()),
        Event::Started { counted, .. } => {
            let by: Vec<String> = counted.iter().map(ToString::to_string).collect();
            ("started".to_owned(), if by.is_empty() { String::new() } else { format!("with the votes of {}", by.join(", ")) })
        }
        Event::Chosen { choice, by } => {
            let what = match choice {
                Choice::Retry => "retry",
                Choice::Skip => "skip",
                Choice::Undo => "undo",
                Choice::Keep => "keep",
            };
            (what.to_owned(), by.as_ref().map_or_else(|| "nobody said anything in time".to_owned(), |by| format!("by {by}")))
        }
        Event::Reviewed { by } => ("reviewed".to_owned(), format!("by {by}")),
        Event::ActionDone { action: index, outcome } => {
            let took = match state.steps.get(index) {
                Some(Step::Done { started, at, .. }) => span(between(*started, *at)),
                _ => String::new(),
            };
            (
                action(index),
                [outcome.note.clone().unwrap_or_default(), took]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        }
        Event::ActionFailed { action: index, failure } => {
            (format!("{} FAILED", action(index)), format!("{}: {}", kind(failure.kind), failure.message))
        }
        Event::CancelAsked { by } => ("cancel".to_owned(), format!("by {by}")),
        Event::UndoDone { action: index } => (format!("undo {}", action(index)), String::new()),
        Event::UndoFailed { action: index, failure } => (format!("undo {} FAILED", action(index)), failure.message.clone()),
        Event::Mended { by } => ("mended".to_owned(), format!("by {by}")),
    };
    Some(vec![format!("+{}", span(between(state.requested_at, at))), what, text(&note)])
}
