//! What keeps deployments out of an environment: locks, freezes, the order of environments.

use jiff::Timestamp;

use super::{between, code, line, lines, span, table, text};
use crate::bot::gate::Obstacle;
use crate::chat::{Block, Reply, Tone};
use crate::domain::environment_lock::{EnvironmentLock, Locker};
use crate::domain::freeze::Freeze;
use crate::domain::names::{AppName, EnvironmentName};
use crate::runbook::Prefix;

/// What keeps a deployment out, whoever asks.
pub fn obstacle(app: &AppName, environment: &EnvironmentName, obstacle: &Obstacle, prefix: &Prefix, now: Timestamp) -> Reply {
    match obstacle {
        Obstacle::Locked(lock) => {
            let advice = format!("{} takes it off", code(prefix.typed(&format!("unlock {app} {environment}"))));
            Reply {
                body: lines([advice]).collect(),
                ..line(Tone::Warning, format!("{app} {environment} is locked {}", locked(lock, now)))
            }
        }
        Obstacle::Frozen { reason, until } => {
            let left = span(between(now, *until));
            let until = until.strftime("%Y-%m-%d %H:%M UTC");
            line(Tone::Warning, format!("{app} {environment} is frozen until {until}, for {left} more: {}", text(reason)))
        }
        Obstacle::NotAfter { environment: after } => line(
            Tone::Warning,
            format!(
                "{app} {environment} takes only what ended well in {after} before, and this release didn't; deploy it there first"
            ),
        ),
    }
}

/// Not everybody may do without votes.
pub fn no_emergency(spec: &crate::domain::spec::EnvironmentSpec) -> Reply {
    let why = match &spec.policy.approval {
        Some(_) => "the policy doesn't let you do without votes here",
        None => "nothing here needs votes, so there is nothing to do without",
    };
    line(Tone::Warning, format!("{} {}: {why}; leave `--emergency` out", spec.app, spec.environment))
}

/// `by anna since 5 min (until …): schema work`.
fn locked(lock: &EnvironmentLock, now: Timestamp) -> String {
    let since = span(between(lock.since, now));
    let until = lock.until.map(|until| format!(", for {} more", span(between(now, until)))).unwrap_or_default();
    match &lock.by {
        Locker::Person(person) => format!("by {person} since {since}{until}: {}", text(&lock.reason)),
        Locker::Policy(id) => format!("by the policy since {since}, after {id}{until}"),
    }
}

/// A lock was put on.
pub fn lock_put_on(
    app: &AppName,
    environment: &EnvironmentName,
    lock: &EnvironmentLock,
    instead_of: Option<&EnvironmentLock>,
    prefix: &Prefix,
) -> Reply {
    let until = lock.until.map(|until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
    let by = match &lock.by {
        Locker::Person(person) => format!("by {person}{until}: {}", text(&lock.reason)),
        Locker::Policy(id) => format!("by the policy{until}, after {id}"),
    };
    let mut body: Vec<Block> =
        lines(instead_of.map(|old| format!("It was locked before {}; that is taken over.", locked(old, lock.since)))).collect();
    body.push(Block::Line(format!("{} takes it off.", code(prefix.typed(&format!("unlock {app} {environment}"))))));
    Reply { body, ..line(Tone::Warning, format!("{app} {environment} is locked {by}")) }
}

/// A lock is off.
pub fn lock_taken_off(
    app: &AppName,
    environment: &EnvironmentName,
    lock: &EnvironmentLock,
    how: &crate::domain::environment_lock::Unlocked,
    at: Timestamp,
) -> Reply {
    use crate::domain::environment_lock::Unlocked;
    let how = match how {
        Unlocked::By(person) => format!("unlocked by {person}"),
        Unlocked::Ended => "open again, the time of the lock is over".to_owned(),
    };
    line(
        Tone::Good,
        format!("{app} {environment} is {how}; it was locked {}", locked(&EnvironmentLock { until: None, ..lock.clone() }, at)),
    )
}

/// A lock ends soon.
pub fn lock_ends(app: &AppName, environment: &EnvironmentName, lock: &EnvironmentLock, prefix: &Prefix, at: Timestamp) -> Reply {
    let longer = code(prefix.typed(&format!("lock {app} {environment} 2h …")));
    let title = format!("the lock on {app} {environment} ends soon: it is locked {}", locked(lock, at));
    Reply { body: lines([format!("{longer} keeps it longer.")]).collect(), ..line(Tone::Warning, title) }
}

/// There is no lock to take off.
pub fn not_locked(app: &AppName, environment: &EnvironmentName) -> Reply {
    line(Tone::Info, format!("{app} {environment} isn't locked"))
}

/// All locks.
pub fn locks(locks: &[(AppName, EnvironmentName, EnvironmentLock)], now: Timestamp) -> Reply {
    if locks.is_empty() {
        return line(Tone::Good, "nothing is locked");
    }
    let said = locks.iter().map(|(app, environment, lock)| format!("{app} {environment}: {}", locked(lock, now)));
    Reply { tone: Tone::Info, title: format!("{} locked", locks.len()), body: lines(said).collect() }
}

/// When nothing may change.
pub fn freezes(
    app: &AppName,
    environment: &EnvironmentName,
    upcoming: &[(Timestamp, Timestamp, &Freeze)],
    now: Timestamp,
) -> Reply {
    if upcoming.is_empty() {
        return line(Tone::Info, format!("{app} {environment} has no freeze"));
    }
    let rows = upcoming.iter().map(|(from, to, freeze)| {
        let local = |at: &Timestamp| at.to_zoned(freeze.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string();
        let when = if *from <= now { "now".to_owned() } else { format!("in {}", span(between(now, *from))) };
        vec![when, local(from), local(to), text(&freeze.reason)]
    });
    let frozen = upcoming.iter().any(|(from, _, _)| *from <= now);
    let (tone, verdict) = if frozen { (Tone::Warning, "is frozen now") } else { (Tone::Info, "is not frozen now") };
    Reply { tone, title: format!("{app} {environment} {verdict}"), body: vec![table(&["", "from", "until before", "why"], rows)] }
}
