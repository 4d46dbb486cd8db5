//! What an environment demands of those who change it: votes, freezes, the order of environments, and what follows a failure.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::{Table, Value};
use super::values::{command_line, set, some_time, span, word};
use super::who::Roster;
use super::{access, freeze};
use crate::domain::names::{AppName, EnvironmentName};
use crate::domain::policy::{ApprovalPolicy, Automatic, LockAfter, OnFailure, Policy, Strength, Who};
use crate::domain::span::InvalidSpan;
use crate::domain::spec::Millis;
use crate::nearest::hint;

/// How long people have to vote, at least and at most.
const EXPIRES: (Millis, Millis) = (Millis::seconds(60), Millis::seconds(30 * 24 * 60 * 60));

/// Reads what an environment demands.
pub(super) fn read(table: &Table<'_>, app: &AppName, environment: &EnvironmentName, roster: Roster<'_>) -> Policy {
    if let (Some(rehearse), None) = (table.get("rehearse"), table.get("approval")) {
        rehearse.warn("`rehearse` runs before people vote, and nothing here takes votes: add `approval`, or leave it out");
    }
    Policy {
        approval: table.get("approval").and_then(|value| value.table("approval", |table| approval(&table, roster))?),
        freezes: table.or("freeze", vec![], |value| Some(value.list(freeze::read))),
        automatic: table.get("automatic").and_then(automatic),
        after: table.get("after").and_then(|value| after(value, app, environment)),
        lock_after: table.or("lock_after", BTreeSet::new(), |value| set(value, lock_after)),
        revert_through_lock: table.or("revert_through_lock", false, Value::truth),
        on_failure: table.or("on_failure", OnFailure::default(), on_failure),
        bake: table.or("bake", Millis(0), span),
        rehearse: table.or("rehearse", vec![], |value| Some(value.list(command_line))),
        mention_authors: table.or("mention_authors", false, Value::truth),
    }
}

fn approval(table: &Table<'_>, roster: Roster<'_>) -> Option<ApprovalPolicy> {
    let votes = table.or("votes", 1, |value| value.whole(1..=20).and_then(|votes| u32::try_from(votes).ok()));
    let approvers = roster.who(table, "whose votes count? `groups = [\"approvers\"]`, `people = [\"anna\"]`, or both");
    let advice = "who may go ahead without votes? `groups = [\"leads\"]`, `people = [\"anna\"]`, or both";
    let emergency = |value: Value<'_>| value.table("emergency", |table| roster.who(&table, advice))?;
    let policy = ApprovalPolicy {
        votes,
        requester_counts: table.or("requester_counts", false, Value::truth),
        expires: table.or("expires", Millis::seconds(4 * 60 * 60), |value| value.check(expires)),
        strength: table.or("strength", Strength::default(), |value| value.check(strength)),
        commands: table.get("commands").and_then(access::commands),
        emergency: table.or("emergency", Who::default(), emergency),
        approvers: approvers?,
    };
    let reachable = match roster.voters(&policy.approvers) {
        0 => "nobody could vote: name people, or groups that somebody is in".to_owned(),
        voters if policy.votes as usize <= voters => return Some(policy),
        1 => format!("`votes` can't be {votes}: only 1 person could vote; name more people or groups, or ask for fewer votes"),
        voters => {
            format!("`votes` can't be {votes}: only {voters} people could vote; name more people or groups, or ask for fewer votes")
        }
    };
    match table.get("votes") {
        Some(value) => value.problem(reachable),
        None => table.problem(reachable),
    }
    None
}

fn expires(text: &str) -> Result<Millis, &'static str> {
    let (least, most) = EXPIRES;
    match Millis::up_to(most, text) {
        Ok(span) if span >= least => Ok(span),
        Ok(_) | Err(InvalidSpan::OutOfRange { .. }) => Err("it is a time from 1m to 30 days"),
        Err(InvalidSpan::Unreadable) => Err("it is a time such as `30m`, `4h` or `2 days`"),
    }
}

fn strength(text: &str) -> Result<Strength, &'static str> {
    match text {
        "reaction" => Ok(Strength::Reaction),
        "typed" => Ok(Strength::Typed),
        _ => Err("it is `reaction`, or `typed` if the plan's code must be typed"),
    }
}

fn automatic(value: Value<'_>) -> Option<Automatic> {
    value.table("automatic", |table| {
        let branch = table.need("branch", "the branch whose good builds are deployed, `automatic = { branch = \"main\" }`")?;
        Some(Automatic { branch: word(branch)? })
    })?
}

fn after(value: Value<'_>, app: &AppName, environment: &EnvironmentName) -> Option<EnvironmentName> {
    let name: EnvironmentName = value.parse()?;
    let declared = value.elsewhere(&["apps", app.as_str(), "environments"]).map(|of| of.keys()).unwrap_or_default();
    if name == *environment {
        value.problem("`after` names another environment of the app, not its own");
    } else if !declared.contains(&name.as_str()) {
        let others = declared.into_iter().filter(|other| *other != environment.as_str());
        value.problem(format!("the app has no environment `{name}`{}", hint(name.as_str(), others.collect::<Vec<_>>())));
    }
    Some(name)
}

/// Reports environments of an app that wait for each other.
pub(super) fn circles(environments: Value<'_>) {
    let waiting = environments.children().into_iter();
    let waiting = waiting.filter_map(|entry| Some((entry.key, entry.entry("after").filter(Value::is_text)?)));
    let after: BTreeMap<&str, Value<'_>> = waiting.collect();
    for (&first, value) in &after {
        let mut way = vec![first];
        let mut next = value.text();
        while let Some(name) = next.filter(|name| !way.contains(name)) {
            way.push(name);
            next = after.get(name).and_then(|value| value.text());
        }
        // Each circle is reported once, where its first name is; who waits for itself was reported already.
        if next == Some(first) && way.len() > 1 && way.iter().all(|name| first <= *name) {
            let way = way.iter().chain([&first]).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" after ");
            value.problem(format!("a circle that no release could enter: {way}; take one `after` away"));
        }
    }
}

fn lock_after(value: Value<'_>) -> Option<LockAfter> {
    value.check(|text| match text {
        "undone" => Ok(LockAfter::Undone),
        "revert" => Ok(LockAfter::Revert),
        _ => Err("it is `undone`, for a deployment that was put back, or `revert`"),
    })
}

fn on_failure(value: Value<'_>) -> Option<OnFailure> {
    const ADVICE: &str = "\"undo\", or { hold = \"10m\", quorum = 1 } to ask people first";
    if value.is_table() {
        let hold = |table: Table<'_>| {
            let hold = table.need("hold", "how long people are asked before all is put back, { hold = \"10m\" }");
            let quorum = table.or("quorum", 1, |value| value.whole(0..=10_000).and_then(|hosts| u32::try_from(hosts).ok()));
            Some(OnFailure::Hold { span: hold.and_then(some_time)?, quorum })
        };
        return value.table("on_failure", hold)?;
    }
    if !value.is_text() {
        value.problem(format!("`on_failure` is {ADVICE}"));
        return None;
    }
    value.check(|text| if text == "undo" { Ok(OnFailure::Undo) } else { Err(format!("it is {ADVICE}")) })
}
