//! The explanation of a deployment: who let it happen, and what stands in its way.

use jiff::Timestamp;

use super::votes::{found, people, votes_of};
use super::{ago, between, code, headline, lines, span, text};
use crate::chat::{Reply, Tone};
use crate::domain::ballot::{Tally, Uncounted};
use crate::domain::deployment::{Choice, DeploymentState, Event, Occasion, Phase};
use crate::domain::names::DeploymentId;
use crate::domain::permission::Decision;

/// Who let it happen, and what stands in its way.
pub fn why(
    id: DeploymentId,
    state: &DeploymentState,
    events: &[(Timestamp, Event)],
    permission: Option<&Decision>,
    tally: &Tally,
    ways: &[Reply],
    now: Timestamp,
) -> Reply {
    let mut said = vec![occasion(state, now)];
    said.extend(permission.map(|decision| format!("{} {}", state.by, super::permitted(decision))));
    for (at, event) in events {
        said.extend(vote_told(*at, state, event));
    }
    if let Phase::AwaitingApproval(call) = &state.phase {
        said.push(format!("it needs {}, and has {}", votes_of(call.votes.max(tally.needed)), tally.counted.len()));
        said.extend(
            tally.uncounted.iter().map(|(person, why)| format!("{person}'s vote doesn't count now: {}", plain_uncounted(*why))),
        );
    }
    said.extend(ways.iter().map(|way| way.title.clone()));
    if let Some(by) = &state.reviewed_by {
        said.push(format!("reviewed by {by}"));
    }
    Reply {
        tone: Tone::Info,
        title: format!("{id} {}: {}", headline(&state.plan), state.phase.word()),
        body: lines(said).collect(),
    }
}

fn occasion(state: &DeploymentState, now: Timestamp) -> String {
    let when = ago(state.requested_at, now);
    match state.order.as_ref().map(|order| &order.occasion) {
        None | Some(Occasion::Person) => format!("asked for by {} {when}", state.by),
        Some(Occasion::Emergency { reason }) => {
            format!("asked for by {} {when} without votes, as an EMERGENCY: “{}”", state.by, text(reason))
        }
        Some(Occasion::Build { .. }) => format!("started {when} by the build itself, as the policy says"),
        Some(Occasion::Bake { of }) => format!("started {when} since {of} didn't stay well"),
        Some(Occasion::Rehearsal) => format!("a rehearsal {when}, before people were asked for their votes"),
    }
}

fn plain_uncounted(why: Uncounted) -> &'static str {
    match why {
        Uncounted::Stranger => "the account is nobody's",
        Uncounted::Requester => "whoever asked can't approve it too",
        Uncounted::NotAnApprover => "not among those whose votes count",
        Uncounted::Again => "voted already",
        Uncounted::TooWeak => "an emoji isn't enough here",
        Uncounted::Unproven(_) => "it isn't proven who typed it",
    }
}

fn vote_told(at: Timestamp, state: &DeploymentState, event: &Event) -> Option<String> {
    let after = span(between(state.requested_at, at));
    Some(match event {
        Event::VotesAsked { call } => {
            format!("+{after}: people were asked for {} on plan {}", votes_of(call.votes), code(call.hash.short()))
        }
        Event::Replanned { changed, .. } => {
            let what: Vec<String> = changed.iter().map(super::changed).collect();
            format!("+{after}: planned anew, since {}", what.join("; "))
        }
        Event::Approved { by, account, found: how, .. } => {
            format!("+{after}: approved by {by} ({}, {})", text(&account.0), found(*how))
        }
        Event::NotCounted { account, why, .. } => {
            format!("+{after}: the vote of {} didn't count: {}", text(&account.0), plain_uncounted(*why))
        }
        Event::ApprovalWithdrawn { by } => format!("+{after}: {by} took the vote back"),
        Event::VotedDown { by, .. } => format!("+{after}: rejected by {by}"),
        Event::VotesLost { .. } => format!("+{after}: the message that people voted at was deleted, and the votes with it"),
        Event::Expired {} => format!("+{after}: it expired, since it did not start in time"),
        Event::Superseded { by } => format!("+{after}: {by} took its place"),
        Event::Refused { why } => format!("+{after}: not started: {}", text(why)),
        Event::Started { needed, counted } => match needed {
            0 => format!("+{after}: started; no votes were needed"),
            needed => format!("+{after}: started with the votes of {} (it took {needed})", people(counted)),
        },
        Event::Chosen { choice, by } => {
            let who =
                by.as_ref().map_or_else(|| "nobody said anything in time, so it".to_owned(), |by| format!("{by} said that it"));
            let what = match choice {
                Choice::Retry => "tries again",
                Choice::Skip => "goes on without the host that failed",
                Choice::Undo => "puts everything back",
                Choice::Keep => "is left as it is",
            };
            format!("+{after}: {who} {what}")
        }
        Event::Requested { .. }
        | Event::ActionStarted { .. }
        | Event::ActionDone { .. }
        | Event::ActionFailed { .. }
        | Event::CancelAsked { .. }
        | Event::UndoStarted { .. }
        | Event::UndoDone { .. }
        | Event::UndoFailed { .. }
        | Event::Mended { .. }
        | Event::Reviewed { .. } => return None,
    })
}
