//! What waits: calls for votes, votes, the queue.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ago, between, code, headline, line, lines, span, stages, table, text};
use crate::bot::votes::{Emojis, Voted};
use crate::chat::{Block, Offer, Reply, Tone};
use crate::domain::ballot::{Tally, Uncounted};
use crate::domain::build::Build;
use crate::domain::changed::Changed;
use crate::domain::deployment::{Call, DeploymentState, Event, Found, Phase, Rejection};
use crate::domain::message::Account;
use crate::domain::names::{DeploymentId, PersonName};
use crate::domain::plan::{Action, Plan, Purpose};
use crate::domain::policy::Strength;
use crate::domain::spec::Millis;
use crate::runbook::Prefix;
use crate::store::{PhaseName, Summary};

/// How many commits a call for votes lists.
const COMMITS: usize = 8;

/// What a call for votes is made from, beside the deployment itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The builds since the release that runs, the newest first.
    pub builds: Vec<Build>,
    /// How long the last deployments that ended well took.
    pub took: Vec<Millis>,
    /// What was run beforehand.
    pub rehearsals: Vec<Rehearsed>,
    /// The people whose votes count.
    pub approvers: Vec<PersonName>,
    /// What made the call void, if people were, or are to be, asked anew.
    pub void: Option<Void>,
}

/// Why the votes at a call count no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Void {
    /// It is another plan now.
    Changed(Vec<Changed>),
    /// Somebody removed a message with the call.
    Deleted,
}

impl Void {
    /// What made a call void, by what happened to its deployment.
    pub fn of(call: &Call, events: &[Event]) -> Option<Void> {
        let asked = events.iter().position(|event| matches!(event, Event::VotesAsked { call: asked } if asked == call))?;
        events[asked + 1..].iter().find_map(|event| match event {
            Event::Replanned { changed, .. } => Some(Void::Changed(changed.clone())),
            Event::VotesLost { .. } => Some(Void::Deleted),
            _ => None,
        })
    }
}

/// A command that was run beforehand.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// The command.
    pub command: String,
    /// The end of what it wrote, or why it failed.
    pub said: Result<String, String>,
}

/// The message that people vote at. It stays when the vote is over, and says how it ended.
pub fn votes(id: DeploymentId, state: &DeploymentState, call: &Call, facts: &Facts, emojis: &Emojis, prefix: &Prefix) -> Reply {
    let plan = &state.plan;
    let open = matches!(&state.phase, Phase::AwaitingApproval(now) if now == call);
    let counted = if open { state.votes.len() } else { state.counted.len() };
    let (tone, verdict) = match &state.phase {
        _ if open => (Tone::Busy, format!("needs {} ({counted} so far)", votes_of(call.votes))),
        _ if facts.void == Some(Void::Deleted) => {
            (Tone::Warning, "void: a message with this call was deleted, and these votes count no longer".to_owned())
        }
        _ if facts.void.is_some() => (Tone::Warning, "void: it is another plan now, and these votes count no longer".to_owned()),
        Phase::AwaitingApproval(_) | Phase::Queued => (Tone::Warning, "void: these votes count no longer".to_owned()),
        Phase::Rejected(Rejection::Vote { by }) => (Tone::Bad, format!("rejected by {by}")),
        Phase::Rejected(Rejection::Refused { why }) => (Tone::Bad, format!("not started: {}", text(why))),
        Phase::Expired => (Tone::Warning, expired(state, call).to_owned()),
        Phase::Superseded { by } => (Tone::Warning, format!("superseded by {by}")),
        Phase::Cancelled(_) if state.started_at.is_none() => (Tone::Warning, "cancelled".to_owned()),
        Phase::Running
        | Phase::Holding { .. }
        | Phase::Undoing(_)
        | Phase::Succeeded
        | Phase::Undone(_)
        | Phase::Cancelled(_)
        | Phase::Stuck(_)
        | Phase::Kept { .. } => (Tone::Good, format!("approved by {}", people(&state.counted))),
    };
    let title = format!("{id} {}, asked for by {}: {verdict}", headline(plan), state.by);
    let mut body = Vec::new();
    if !open {
        if let Some(Void::Changed(changed)) = &facts.void {
            body.extend(lines(changed.iter().map(super::changed)));
        }
        return Reply { tone, title, body };
    }
    body.extend(lines(state.changed.iter().map(|changed| format!("asked anew, since {}", super::changed(changed)))));
    if state.rounds > 1 && state.changed.is_empty() {
        body.push(Block::Line("asked anew, since a message with the call was deleted".to_owned()));
    }
    body.push(Block::Line(format!("plan {}, image {}@{}", code(call.hash.short()), plan.image, plan.release.digest.short())));
    if let Purpose::Run { command, .. } = &plan.purpose {
        // In full, and word by word as it would be typed: people vote on nothing less.
        body.push(Block::Output(words(command)));
    }
    body.extend(commits(plan, &facts.builds));
    body.push(stages(plan));
    body.extend(lines(migrations(plan)));
    body.extend(lines(plan.warnings.iter().map(|warning| format!("mind: {}", text(warning)))));
    for Rehearsed { command, said } in &facts.rehearsals {
        let (how, output) = match said {
            Ok(output) => ("rehearsed", output),
            Err(output) => ("rehearsed, and FAILED", output),
        };
        body.push(Block::Line(format!("{how}: {}", code(command))));
        body.push(Block::Output(output.clone()));
    }
    body.extend(lines(median(&facts.took).map(|took| format!("the last {} took {} (median)", facts.took.len(), span(took)))));
    body.extend(lines(state.votes.iter().map(|(person, vote)| format!("approved by {person} ({})", found(vote.found)))));
    let until = call.until.strftime("%Y-%m-%d %H:%M UTC");
    let typed = |command: &str| code(prefix.typed(&format!("{command} {}", call.hash.short())));
    let how = match call.strength {
        Strength::Reaction => {
            format!("{} or {} approves, {} or {} rejects", emojis.approve, typed("approve"), emojis.reject, typed("reject"))
        }
        Strength::Typed => {
            format!("{} approves (an emoji doesn't), {} or {} rejects", typed("approve"), emojis.reject, typed("reject"))
        }
    };
    let of = if facts.approvers.is_empty() { String::new() } else { format!("; for {}", people(&facts.approvers)) };
    body.push(Block::Line(format!("{how}, until {until}{of}")));
    let offer = |emoji: &str, label: &str, word: &str| Offer {
        emoji: emoji.to_owned(),
        label: label.to_owned(),
        command: format!("{word} {}", call.hash.short()),
    };
    // Whoever must type the code must not get by with a click.
    let approve = (call.strength == Strength::Reaction).then(|| offer(&emojis.approve, "Approve", "approve"));
    body.push(Block::Offers(approve.into_iter().chain([offer(&emojis.reject, "Reject", "reject")]).collect()));
    Reply { tone, title, body }
}

/// What ran out of time.
fn expired(state: &DeploymentState, call: &Call) -> &'static str {
    match state.votes.len() {
        0 => "expired: nobody voted in time",
        votes if votes < call.votes as usize => "expired: not enough people voted in time",
        _ => "expired: it was approved and could not start in time",
    }
}

/// The words of a command as a shell would take them, each quoted where it must be.
fn words(command: &[String]) -> String {
    shlex::try_join(command.iter().map(String::as_str)).unwrap_or_else(|_| command.join(" "))
}

pub(super) fn votes_of(n: u32) -> String {
    if n == 1 { "1 vote".to_owned() } else { format!("{n} votes") }
}

pub(super) fn people(people: &[PersonName]) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn found(found: Found) -> &'static str {
    match found {
        Found::Live => "by emoji",
        Found::AfterReconnect => "by emoji, found after reconnect",
        Found::Typed => "typed",
    }
}

fn median(took: &[Millis]) -> Option<Millis> {
    let mut took = took.to_vec();
    took.sort_unstable();
    took.get(took.len() / 2).copied()
}

fn commits(plan: &Plan, builds: &[Build]) -> Vec<Block> {
    let said = builds.iter().take(COMMITS).map(|build| {
        let commit = build.commit.as_ref().map(|commit| format!(" {}", commit.short())).unwrap_or_default();
        let by = build.author.as_deref().map(|author| format!(" by {}", text(author))).unwrap_or_default();
        let message = build.message.as_deref().map(|message| format!(": “{}”", text(message))).unwrap_or_default();
        format!("{}{commit}{by}{message}", build.tag)
    });
    let mut blocks: Vec<Block> = Vec::new();
    if let Some(from) = plan.from().filter(|from| from.tag != plan.release.tag && !builds.is_empty()) {
        blocks.push(Block::Line(format!("since {}:", from.tag)));
    }
    blocks.extend(lines(said));
    blocks.extend(lines((builds.len() > COMMITS).then(|| format!("and {} more", builds.len() - COMMITS))));
    blocks
}

fn migrations(plan: &Plan) -> Vec<String> {
    let tasks: Vec<&Action> =
        plan.actions().map(|(_, action)| action).filter(|action| matches!(action, Action::Task { .. })).collect();
    let stays = tasks.iter().filter(|action| matches!(action, Action::Task { irreversible: true, .. }));
    stays.map(|action| format!("{} will run, and going back doesn't take back what it changes", action.verb())).collect()
}

/// The answer to a typed vote.
pub fn voted(id: DeploymentId, state: &DeploymentState, voted: &Voted, prefix: &Prefix) -> Reply {
    match (voted, &state.phase) {
        (Voted::Recorded, Phase::AwaitingApproval(call)) => {
            let missing = call.votes.saturating_sub(u32::try_from(state.votes.len()).unwrap_or(u32::MAX));
            let rest = if missing == 0 { "that is enough".to_owned() } else { format!("{} missing", votes_of(missing)) };
            line(Tone::Good, format!("{id}: your vote is recorded; {rest}"))
        }
        (Voted::Recorded, phase) => line(Tone::Info, format!("{id} is {}", phase.word())),
        (Voted::Known, _) => line(Tone::Info, format!("{id}: you have voted for it already")),
        (Voted::NotCounted(why), _) => line(Tone::Warning, format!("{id}: your vote doesn't count: {}", uncounted(*why, prefix))),
        (Voted::Over, phase) => line(Tone::Warning, format!("{id} is {}, so there is nothing to vote on", phase.word())),
    }
}

/// A vote in vain, told to whoever gave it.
pub fn not_counted(id: DeploymentId, account: &Account, why: Uncounted, prefix: &Prefix) -> Reply {
    line(Tone::Warning, format!("{id}: the vote of {} doesn't count: {}", text(&account.0), uncounted(why, prefix)))
}

fn uncounted(why: Uncounted, prefix: &Prefix) -> String {
    match why {
        Uncounted::Stranger => {
            format!("nobody in the fleet file has this account; {} joins it to a person", code(prefix.typed("link")))
        }
        Uncounted::Requester => "whoever asked can't approve it too".to_owned(),
        Uncounted::NotAnApprover => "the policy counts the votes of others".to_owned(),
        Uncounted::Again => "this person has voted already".to_owned(),
        Uncounted::TooWeak => format!("here an emoji isn't enough: type {} and the plan's code", code(prefix.typed("approve"))),
        Uncounted::Unproven(doubt) => format!("here it must be proven who typed it, and {}", super::doubt::doubt(doubt)),
    }
}

/// A code that no plan has.
pub fn no_such_code(typed: &str) -> Reply {
    line(Tone::Warning, format!("no plan that waits for votes has the code {}; an earlier one may be void", code(typed)))
}

/// A vote that doesn't say on what.
pub fn which_vote(open: &[DeploymentId]) -> Reply {
    let title = match open {
        [] => "nothing waits for votes".to_owned(),
        open => format!("say which one: {}", ids(open)),
    };
    line(Tone::Warning, title)
}

pub(super) fn ids(ids: &[DeploymentId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A vote on what doesn't wait for any.
pub fn nothing_to_vote_on(id: DeploymentId, state: &DeploymentState) -> Reply {
    line(Tone::Warning, format!("{id} is {}, so there is nothing to vote on", state.phase.word()))
}

/// The number alone isn't enough.
pub fn type_the_code(id: DeploymentId, call: &Call, prefix: &Prefix) -> Reply {
    let typed = code(prefix.typed(&format!("approve {}", call.hash.short())));
    line(Tone::Warning, format!("{id}: here a vote is typed with the code of the plan, so that it is that plan: {typed}"))
}

/// Somebody who may not review.
pub fn may_not_review(id: DeploymentId, state: &DeploymentState) -> Reply {
    line(Tone::Warning, format!("{id}: somebody whose votes count, other than {}, has to look at it", state.by))
}

/// An emergency was looked at.
pub fn reviewed(id: DeploymentId, by: &PersonName) -> Reply {
    line(Tone::Good, format!("{id}: reviewed by {by}"))
}

/// There is nothing to review.
pub fn nothing_to_review(id: DeploymentId) -> Reply {
    line(Tone::Warning, format!("{id} needs no review, or had one"))
}

/// What waits for votes, and what was done without.
pub fn approvals(
    waiting: &[(DeploymentId, Arc<DeploymentState>, Tally)],
    unreviewed: &[(DeploymentId, Arc<DeploymentState>)],
    prefix: &Prefix,
    now: Timestamp,
) -> Reply {
    if waiting.is_empty() && unreviewed.is_empty() {
        return line(Tone::Info, "nothing waits for votes");
    }
    let rows = waiting.iter().map(|(id, state, tally)| {
        let (plan, until) = match &state.phase {
            Phase::AwaitingApproval(call) => (call.hash.short().to_owned(), format!("{} left", span(between(now, call.until)))),
            _ => (String::new(), String::new()),
        };
        let votes = format!("{} of {}", tally.counted.len(), tally.needed);
        vec![id.to_string(), headline(&state.plan), state.by.to_string(), plan, votes, until]
    });
    let mut body = vec![table(&["", "what", "by", "plan", "votes", ""], rows)];
    body.extend(lines(unreviewed.iter().map(|(id, state)| {
        let reason = state.emergency().map(text).unwrap_or_default();
        let typed = code(prefix.typed(&format!("approve {}", id.0)));
        format!("{id} was an emergency of {} (“{reason}”); {typed} says that you have looked at it", state.by)
    })));
    Reply { tone: Tone::Info, title: format!("{} wait for votes", waiting.len()), body }
}

/// What waits for its turn.
pub fn queue(waiting: &[(DeploymentId, Arc<DeploymentState>, Option<Summary>)], now: Timestamp) -> Reply {
    if waiting.is_empty() {
        return line(Tone::Info, "nothing waits");
    }
    let rows = waiting.iter().map(|(id, state, holder)| {
        let why = match (&state.phase, holder) {
            (Phase::AwaitingApproval(call), _) => format!("{} of {}", state.votes.len(), votes_of(call.votes)),
            (_, Some(holder)) if holder.phase != PhaseName::Stuck => {
                format!("the end of {} ({} by {})", holder.id, holder.purpose.word(), holder.by)
            }
            (_, Some(holder)) => format!("{}, which is stuck", holder.id),
            (_, None) => "its turn".to_owned(),
        };
        vec![id.to_string(), headline(&state.plan), state.by.to_string(), ago(state.requested_at, now), why]
    });
    Reply {
        tone: Tone::Info,
        title: format!("{} waiting, first in first out", waiting.len()),
        body: vec![table(&["", "what", "by", "since", "waits for"], rows)],
    }
}

/// The answer to a command that has to wait.
pub fn queued(id: DeploymentId, state: &DeploymentState, holder: Option<&Summary>, now: Timestamp) -> Reply {
    let behind = match holder {
        Some(holder) => {
            let since = span(between(holder.requested_at, now));
            format!(
                "waits for the end of {} ({} {} by {}, since {since})",
                holder.id,
                holder.purpose.word(),
                holder.release.tag,
                holder.by
            )
        }
        None => "waits for its turn".to_owned(),
    };
    line(Tone::Busy, format!("{id} {}: {behind}", headline(&state.plan)))
}
