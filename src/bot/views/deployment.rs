//! A deployment: its live message, and its closing message.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{between, code, counted, headline, line, lines, news, span, table, text};
use crate::chat::{Block, Offer, Reply, Tone};
use crate::domain::deployment::{Cause, DeploymentState, Failure, FailureKind, Phase, Rejection, Step};
use crate::domain::names::DeploymentId;
use crate::domain::news::News;
use crate::domain::plan::{Action, ActionIndex, Plan, Purpose, Target};
use crate::domain::spec::Millis;
use crate::pipeline::Notes;
use crate::runbook::Prefix;

/// The emojis that say how it goes on after a failure.
pub const RETRY: &str = "🔁";
/// See [`RETRY`].
pub const SKIP: &str = "⏭";
/// See [`RETRY`].
pub const UNDO: &str = "⏪";
/// See [`RETRY`].
pub const KEEP: &str = "✋";

/// After this time without a word the live message says that an action is silent.
const SILENCE: Millis = Millis::seconds(10);

/// The one message that is edited while the deployment runs: a row for each host and target, a mark for each action.
pub fn live(id: DeploymentId, state: &DeploymentState, notes: &Notes, prefix: &Prefix, now: Timestamp) -> Reply {
    let mut body: Vec<Block> =
        lines(state.emergency().map(|reason| format!("EMERGENCY, without votes: “{}”", text(reason)))).collect();
    body.extend(lines(state.plan.warnings.iter().map(|warning| format!("mind: {}", text(warning)))));
    body.push(table(&["where", "steps", "now"], rows(id, state, notes, now)));
    if matches!(state.plan.purpose, Purpose::Run { .. }) {
        // A typed command's output is what people wait for.
        let said = notes.iter().filter(|((of, _), note)| *of == id && !note.lines.is_empty());
        body.extend(said.map(|(_, note)| Block::Output(note.lines.join("\n"))));
    }
    if let Phase::Holding { cause, until } = &state.phase {
        body.push(Block::Line(format!("{}; how does it go on?", what_happened(&state.plan, cause))));
        body.extend(choices(id, state, prefix));
        let left = between(now, *until);
        // Coarse on purpose: each new text is an edit.
        let left = span(Millis::seconds(left.0.div_ceil(10_000) * 10));
        body.push(Block::Line(format!("Without a word everything is put back in {left}.")));
    }
    if matches!(state.phase, Phase::Running) {
        body.push(offers(id, &[("❌", "cancel", "Cancel")]));
    }
    let skipped: Vec<String> = state.skipped.iter().map(ToString::to_string).collect();
    body.extend(lines((!skipped.is_empty()).then(|| format!("goes on without {}", skipped.join(", ")))));
    let mut title = format!("{id} {}, by {}: {}", headline(&state.plan), state.by, state.phase.word());
    if let Some(started) = state.started_at {
        let elapsed = between(started, state.ended_at.unwrap_or(now));
        // Coarse on purpose, as above.
        let elapsed = Millis(elapsed.0 / SILENCE.0 * SILENCE.0);
        if elapsed >= SILENCE {
            title.push_str(&format!(", {}", span(elapsed)));
        }
    }
    Reply { tone: tone(&state.phase), title, body }
}

/// A live message that can't be changed any more as often as it should be.
pub fn goes_on_below(shown: &Reply) -> Reply {
    line(Tone::Info, format!("{}; it goes on in a message below", shown.title))
}

/// A reply without all that a chat may not take.
pub fn text_alone(shown: &Reply) -> Reply {
    let is_text = |block: &&Block| matches!(block, Block::Line(_) | Block::Table { .. } | Block::Output(_));
    Reply { body: shown.body.iter().filter(is_text).cloned().collect(), ..shown.clone() }
}

pub(super) fn tone(phase: &Phase) -> Tone {
    match phase {
        Phase::Queued | Phase::AwaitingApproval(_) | Phase::Running => Tone::Busy,
        Phase::Holding { .. } | Phase::Undoing(_) | Phase::Expired | Phase::Superseded { .. } => Tone::Warning,
        Phase::Succeeded => Tone::Good,
        Phase::Undone(_) | Phase::Cancelled(_) | Phase::Stuck(_) | Phase::Kept { .. } | Phase::Rejected(_) => Tone::Bad,
    }
}

/// A button for each of these: emoji, word, label.
fn offers(id: DeploymentId, all: &[(&str, &str, &str)]) -> Block {
    let offer = |(emoji, word, label): &(&str, &str, &str)| Offer {
        emoji: (*emoji).to_owned(),
        label: (*label).to_owned(),
        command: format!("{word} {}", id.0),
    };
    Block::Offers(all.iter().map(offer).collect())
}

/// What people can say after a failure, with the emoji that says the same.
fn choices(id: DeploymentId, state: &DeploymentState, prefix: &Prefix) -> Vec<Block> {
    let stuck = matches!(state.phase, Phase::Stuck(_));
    let all = [
        (RETRY, "retry", "tries again what failed"),
        (SKIP, "skip", "puts that host back and goes on without it"),
        (UNDO, "undo", if stuck { "tries again to put everything back" } else { "puts everything back" }),
        (KEEP, "keep", "leaves everything as it is"),
    ];
    let offered: Vec<_> = all.into_iter().filter(|(_, word, _)| *word != "skip" || (!stuck && state.may_skip().is_ok())).collect();
    let labels = [("retry", "Try again"), ("skip", "Go on without it"), ("undo", "Put back"), ("keep", "Leave as it is")];
    let label = |word: &str| labels.iter().find(|(known, _)| *known == word).map_or("", |(_, label)| *label);
    let buttons: Vec<_> = offered.iter().map(|(emoji, word, _)| (*emoji, *word, label(word))).collect();
    let said =
        offered.iter().map(|(emoji, word, what)| format!("{emoji} {} {what}", code(prefix.typed(&format!("{word} {}", id.0)))));
    lines(said).chain([offers(id, &buttons)]).collect()
}

fn rows(id: DeploymentId, state: &DeploymentState, notes: &Notes, now: Timestamp) -> Vec<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    let mut by_place: BTreeMap<String, Vec<(ActionIndex, &Action)>> = BTreeMap::new();
    for (index, action) in state.plan.actions() {
        let place = match (action, action.target(), action.host()) {
            (Action::Task { task, target, .. }, _, _) => format!("{task}@{}", target.host),
            (_, Some(target), _) => target.to_string(),
            (_, None, Some(host)) => host.to_string(),
            (_, None, None) => continue,
        };
        if !by_place.contains_key(&place) {
            order.push(place.clone());
        }
        by_place.entry(place).or_default().push((index, action));
    }
    let row = |place: &String| {
        let actions = by_place.get(place)?;
        let steps: Vec<String> =
            actions.iter().map(|(index, action)| format!("{} {}", mark(state.steps.get(index)), verb(action))).collect();
        Some(vec![place.clone(), steps.join("  "), now_doing(id, state, actions, notes, now)])
    };
    order.iter().filter_map(row).collect()
}

fn verb(action: &Action) -> &str {
    match action {
        // Its row is named after it already.
        Action::Task { .. } => "ran",
        other => other.verb(),
    }
}

fn mark(step: Option<&Step>) -> char {
    match step {
        None => '·',
        Some(Step::Started { .. } | Step::Undoing { .. }) => '…',
        Some(Step::Done { .. }) => '✓',
        Some(Step::Failed { .. }) => '✗',
        Some(Step::Undone { .. }) => '↩',
        Some(Step::UndoFailed { .. }) => '‼',
    }
}

/// What a row is about at the moment: the running action's last word, or what came of the last one.
fn now_doing(
    id: DeploymentId,
    state: &DeploymentState,
    actions: &[(ActionIndex, &Action)],
    notes: &Notes,
    now: Timestamp,
) -> String {
    let newest = actions.iter().rev().find_map(|(index, action)| Some((index, action, state.steps.get(index)?)));
    let Some((index, _, step)) = newest else { return String::new() };
    match step {
        Step::Started { at } | Step::Undoing { at } => {
            let said = notes.get(&(id, *index)).map(|note| text(&note.last)).unwrap_or_default();
            let age = between(*at, now);
            // Coarse on purpose: each new text is an edit.
            let coarse = Millis::seconds(age.0 / SILENCE.0 * (SILENCE.0 / 1000));
            if coarse < SILENCE {
                said
            } else {
                [said, format!("since {}", span(coarse))].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
            }
        }
        Step::Done { started, at, outcome } => {
            let took = span(between(*started, *at));
            outcome.note.as_deref().map_or(took.clone(), |note| format!("{}, {took}", text(note)))
        }
        Step::Failed { failure, .. } | Step::UndoFailed { failure, .. } => text(&failure.message),
        Step::Undone { .. } => "put back".to_owned(),
    }
}

/// The message that ends a deployment, with a line for what is new about how it ended.
pub fn closing(id: DeploymentId, state: &DeploymentState, news: Option<&News<DeploymentId>>, prefix: &Prefix) -> Reply {
    let mut reply = ending(id, state, prefix);
    let said = news.and_then(|news| news::of_deployment(news, state.plan.from()));
    let called = if said.is_some() { news.map(|news| news.calls.clone()).unwrap_or_default() } else { Vec::new() };
    reply.body.extend(lines(said));
    if !called.is_empty() {
        reply.body.push(Block::Calls(called));
    }
    if let (Some(reason), Some(_), None) = (state.emergency(), state.started_at, &state.reviewed_by) {
        let typed = code(prefix.typed(&format!("approve {}", id.0)));
        reply.body.push(Block::Line(format!(
            "It was an EMERGENCY without votes (“{}”): {typed}, by somebody whose votes count, says that it was looked at.",
            text(reason)
        )));
    }
    reply
}

fn ending(id: DeploymentId, state: &DeploymentState, prefix: &Prefix) -> Reply {
    let plan = &state.plan;
    let took = span(state.elapsed(state.ended_at.unwrap_or(state.requested_at)));
    let place = format!("{} {}", plan.app, plan.environment);
    let to = &plan.release.tag;
    match (&state.phase, &plan.purpose) {
        (Phase::Succeeded, Purpose::Deploy | Purpose::Revert) => {
            let was = plan.from().filter(|from| from.tag != *to).map_or_else(String::new, |from| format!(" (was {})", from.tag));
            let skipped: Vec<String> = state.skipped.iter().map(ToString::to_string).collect();
            let without = if skipped.is_empty() { String::new() } else { format!(", without {}", skipped.join(", ")) };
            line(Tone::Good, format!("{id} {place} runs {to}{was}{without}: {} by {}, {took}", plan.purpose.word(), state.by))
        }
        (Phase::Succeeded, Purpose::Restart) => line(Tone::Good, format!("{id} {place} restarted by {}, {took}", state.by)),
        (Phase::Succeeded, Purpose::Run { command, .. }) => {
            let title = format!("{id} {place}: {} ended with exit status 0, {took}", code(command.join(" ")));
            Reply { tone: Tone::Good, title, body: last_words(state).collect() }
        }
        (Phase::Queued | Phase::AwaitingApproval(_) | Phase::Running | Phase::Holding { .. } | Phase::Undoing(_), _) => {
            line(Tone::Busy, format!("{id} {} is {}", headline(plan), state.phase.word()))
        }
        (Phase::Rejected(Rejection::Vote { by }), _) => line(Tone::Bad, format!("{id} {} was rejected by {by}", headline(plan))),
        (Phase::Rejected(Rejection::Refused { why }), _) => {
            line(Tone::Bad, format!("{id} {} was not started: {}", headline(plan), text(why)))
        }
        (Phase::Expired, _) if state.votes.is_empty() => {
            line(Tone::Warning, format!("{id} {} expired: nobody voted in time", headline(plan)))
        }
        (Phase::Expired, _) => {
            let votes = counted(state.votes.len(), "vote");
            line(Tone::Warning, format!("{id} {} expired: it had {votes} and did not start in time", headline(plan)))
        }
        (Phase::Superseded { by }, _) => {
            let title = format!("{id} {} is superseded by {by}, a newer build; {} was the one who asked", headline(plan), state.by);
            Reply { body: vec![Block::Calls(vec![state.by.clone()])], ..line(Tone::Warning, title) }
        }
        (Phase::Cancelled(Cause::Cancelled { by }), _) if state.started_at.is_none() => {
            line(Tone::Warning, format!("{id} {} was cancelled by {by} before it started; nothing was touched", headline(plan)))
        }
        (Phase::Kept { cause, by }, _) => {
            let title = format!("{id} {}: {}; left as it is by {by}", headline(plan), what_happened(plan, cause));
            let landed: Vec<String> = state.landed().map(Target::to_string).collect();
            let runs = if landed.is_empty() { "no target runs".to_owned() } else { format!("{} run", landed.join(", ")) };
            let advice = format!("{runs} {to}. {} shows what the others run.", code(prefix.typed(&format!("status {}", plan.app))));
            Reply { tone: Tone::Bad, title, body: details(state, cause).chain(lines([advice])).collect() }
        }
        (Phase::Undone(cause) | Phase::Cancelled(cause), _) => {
            let title = format!("{id} {}: {}, {took}", headline(plan), what_happened(plan, cause));
            Reply { tone: Tone::Bad, title, body: details(state, cause).chain(lines([put_back(state)])).collect() }
        }
        (Phase::Stuck(cause), _) => {
            let title =
                format!("{id} {} is STUCK: {}, and not everything could be put back", headline(plan), what_happened(plan, cause));
            let left =
                left_behind(state).map(|(action, failure)| format!("{action} could not be put back: {}", text(&failure.message)));
            let mend = |line: String| code(prefix.typed(&line));
            let advice = format!(
                "{place} stays locked. Look at the hosts named above; when they are back, {} or {} mends it.",
                mend(format!("revert {} {}", plan.app, plan.environment)),
                mend(format!("deploy {} {to} {}", plan.app, plan.environment)),
            );
            let body = details(state, cause).chain(lines(left)).chain(lines([put_back(state), advice]));
            let body = body.chain(choices(id, state, prefix)).collect();
            Reply { tone: Tone::Bad, title, body }
        }
    }
}

/// The last lines of what was run by a command.
fn last_words(state: &DeploymentState) -> impl Iterator<Item = Block> {
    state.steps.values().filter_map(|step| match step {
        Step::Done { outcome, .. } if !outcome.output.is_empty() => Some(Block::Output(outcome.output.join("\n"))),
        _ => None,
    })
}

fn what_happened(plan: &Plan, cause: &Cause) -> String {
    match cause {
        Cause::Cancelled { by } => format!("cancelled by {by}"),
        Cause::Failed { action, failure } => {
            let action = plan.action(*action).map_or_else(|| "an action".to_owned(), Action::to_string);
            format!("{action} failed ({})", kind(failure.kind))
        }
    }
}

pub(super) fn kind(kind: FailureKind) -> String {
    match kind {
        FailureKind::Exit { status } => format!("exit status {status}"),
        FailureKind::Signal { signal: Some(signal) } => format!("killed by signal {signal}"),
        FailureKind::Signal { signal: None } => "killed by a signal".to_owned(),
        FailureKind::Lost => "connection lost".to_owned(),
        FailureKind::Unreachable => "host not reachable".to_owned(),
        FailureKind::Timeout => "deadline passed".to_owned(),
        FailureKind::Unhealthy => "not healthy".to_owned(),
        FailureKind::DiskFull => "disk full".to_owned(),
        FailureKind::Missing => "not found".to_owned(),
        FailureKind::Refused => "refused".to_owned(),
        FailureKind::Skipped => "not tried".to_owned(),
        FailureKind::Cancelled => "broken off".to_owned(),
    }
}

/// The failure in full: its message and the last lines of output.
fn details(state: &DeploymentState, cause: &Cause) -> impl Iterator<Item = Block> {
    let failure = match cause {
        Cause::Failed { failure, .. } => Some(failure),
        Cause::Cancelled { .. } => None,
    };
    let message = failure.map(|failure| text(&failure.message));
    let output = failure.filter(|failure| !failure.output.is_empty()).map(|failure| Block::Output(failure.output.join("\n")));
    let stays: Vec<String> =
        state.irreversible_tasks().map(|action| format!("{} had begun; what it changed stays changed", action.verb())).collect();
    lines(message).chain(output).chain(lines(stays))
}

/// The targets that were touched and are as they were again.
fn put_back(state: &DeploymentState) -> String {
    let mut back: Vec<&Target> = Vec::new();
    for (index, step) in &state.steps {
        let target = state.plan.action(*index).filter(|action| !matches!(action, Action::Task { .. })).and_then(Action::target);
        if let (Step::Undone { .. }, Some(target)) = (step, target)
            && !back.contains(&target)
        {
            back.push(target);
        }
    }
    let failed: Vec<&Target> = left_behind(state).filter_map(|(action, _)| action.target()).collect();
    back.retain(|target| !failed.contains(target));
    if back.is_empty() {
        return if failed.is_empty() {
            "Nothing was switched; all runs as before.".to_owned()
        } else {
            "Nothing could be put back.".to_owned()
        };
    }
    let was = |target: &Target| {
        let before = state.plan.before.iter().find(|before| before.target == *target).and_then(|before| before.release.as_ref());
        before.map_or_else(|| format!("{target} (ran nothing)"), |release| format!("{target} ({})", release.tag))
    };
    format!("Put back: {}.", back.into_iter().map(was).collect::<Vec<_>>().join(", "))
}

fn left_behind(state: &DeploymentState) -> impl Iterator<Item = (&Action, &Failure)> {
    state.steps.iter().filter_map(|(index, step)| match step {
        Step::UndoFailed { failure, .. } => Some((state.plan.action(*index)?, failure)),
        Step::Started { .. } | Step::Done { .. } | Step::Failed { .. } | Step::Undoing { .. } | Step::Undone { .. } => None,
    })
}
