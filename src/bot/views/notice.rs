//! What rooms are told beside builds and deployments.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ago, between, clock, code, line, lines, lock_ends, lock_put_on, lock_taken_off, not_counted, span, text};
use crate::bot::votes::Emojis;
use crate::chat::{Block, Reply, Tone};
use crate::domain::message::{Account, Message};
use crate::domain::names::DeploymentId;
use crate::domain::notice::Notice;
use crate::runbook::Prefix;
use crate::store::Told;

/// What a room is told.
pub fn told(told: &Told, at: Timestamp, emojis: &Emojis, prefix: &Prefix) -> Reply {
    match told {
        Told::Locked { app, environment, lock, instead_of } => lock_put_on(app, environment, lock, instead_of.as_ref(), prefix),
        Told::Unlocked { app, environment, lock, how } => lock_taken_off(app, environment, lock, how, at),
        Told::NotCounted { id, account, why, .. } => not_counted(*id, account, *why, prefix),
        Told::Notice { notice, .. } => self::notice(notice, at, emojis, prefix),
    }
}

fn notice(notice: &Notice, at: Timestamp, emojis: &Emojis, prefix: &Prefix) -> Reply {
    match notice {
        Notice::LockEnds { app, environment, lock } => lock_ends(app, environment, lock, prefix, at),
        Notice::NotAutomatic { app, environment, tag, why, .. } => {
            line(Tone::Warning, format!("{tag} of {app} is not deployed to {environment} by itself: {}", text(why)))
        }
        Notice::Overtaken { app, environment, tag, by } => {
            let deploy = code(prefix.typed(&format!("deploy {app} {tag} {environment}")));
            Reply {
                body: lines([format!("{deploy} does it all the same, and the builds after it count from there.")]).collect(),
                ..line(Tone::Warning, format!("{tag} of {app} is not deployed to {environment} by itself: {by} is newer"))
            }
        }
        Notice::Emergency { id, by, reason, calls } => {
            let named: Vec<String> = calls.iter().map(|person| format!("@{person}")).collect();
            let said = lines([format!("{}: please look; it asks for a review when it has ended.", named.join(" "))]);
            let body = said.chain([Block::Calls(calls.clone())]).collect();
            Reply { body, ..line(Tone::Bad, format!("EMERGENCY: {id} by {by}, without votes: “{}”", text(reason))) }
        }
        Notice::Back { since, going_on, waiting, stuck } => back(*since, at, [going_on, waiting, stuck], prefix),
        Notice::Stale { messages } => stale(messages, at, emojis),
        Notice::Unreadable { author, .. } => unreadable(author, prefix),
        Notice::NotRead { before } => not_read(*before, at, prefix),
        Notice::Drift { app, environment, lines: differs, .. } => super::drift(app, environment, differs),
        Notice::DriftOver { app, environment } => line(Tone::Good, format!("{app} {environment} is as recorded again")),
        Notice::BakeFailed { id, by: Some(by), why } => {
            line(Tone::Bad, format!("{id} is reverted: {by} says that it isn't well{}", colon(why)))
        }
        Notice::BakeFailed { id, by: None, why } => {
            line(Tone::Bad, format!("{id} is reverted, since it didn't stay well{}", colon(why)))
        }
        Notice::NotReverted { id, why } => line(Tone::Bad, format!("{id} could NOT be reverted: {}", text(why))),
        Notice::Baked { id } => line(Tone::Good, format!("{id} stayed well and is kept")),
        Notice::Head { seq, hash } => {
            let check = code(format!("shipmate audit verify --expect {seq}:{hash}"));
            Reply {
                body: lines([format!("{check} holds the journal to it.")]).collect(),
                ..line(Tone::Info, format!("the journal's head today: {seq}:{hash}"))
            }
        }
    }
}

fn colon(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {}", text(why)) }
}

/// Something is encrypted, and its key hasn't come.
fn unreadable(author: &Account, prefix: &Prefix) -> Reply {
    let why = "It is encrypted, and your app didn't send me the key. If the key comes soon, I do what it says; if it stays away, look in \
               your app whether it sends keys to my device, and type it again.";
    let whose = format!("Only what is said to me is meant: what begins with {}.", code(prefix.typed("")));
    Reply {
        body: lines([why.to_owned(), whose]).collect(),
        ..line(Tone::Warning, format!("I could not read that, {}", text(&author.0)))
    }
}

/// More was written while the bot was away than it reads back.
fn not_read(before: Timestamp, now: Timestamp, prefix: &Prefix) -> Reply {
    let when = format!("{} ({})", clock(before, &TimeZone::UTC), ago(before, now));
    let advice = format!("Whoever typed a command before that ({}…) and still means it, type it again.", code(prefix.typed("")));
    Reply {
        body: lines([advice]).collect(),
        ..line(
            Tone::Warning,
            format!("I was away for so long, or so much was written, that I did not read what is from before {when}"),
        )
    }
}

/// The bot was away, and is back.
fn back(since: Option<Timestamp>, now: Timestamp, [going_on, waiting, stuck]: [&Vec<DeploymentId>; 3], prefix: &Prefix) -> Reply {
    let away = since.map_or_else(|| "I was away".to_owned(), |since| format!("I was away for {}", span(between(since, now))));
    let ids = |ids: &[DeploymentId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let title = if going_on.is_empty() {
        format!("{away}; nothing was under way")
    } else {
        format!("{away}; going on with {}", ids(going_on))
    };
    let mut body: Vec<Block> = Vec::new();
    body.extend(lines((!waiting.is_empty()).then(|| format!("{} wait; votes that came in meanwhile count", ids(waiting)))));
    body.extend(lines(stuck.iter().map(|id| {
        let typed = |word: &str| code(prefix.typed(&format!("{word} {}", id.0)));
        format!("{id} is stuck and keeps its environment: {}, {} or {}?", typed("retry"), typed("undo"), typed("keep"))
    })));
    Reply { tone: Tone::Warning, title, body }
}

/// Commands that were typed while the bot was away.
fn stale(messages: &[Message], now: Timestamp, emojis: &Emojis) -> Reply {
    let title = match messages {
        [_] => "this was typed while I was away, and was not run".to_owned(),
        several => format!("these {} were typed while I was away, and were not run", several.len()),
    };
    let said = messages
        .iter()
        .map(|message| format!("{} by {} {}", code(&message.text), text(&message.author.0), ago(message.received, now)));
    let advice = format!("{} by the one who typed it runs it now; or type it again.", emojis.approve);
    Reply { tone: Tone::Warning, title, body: lines(said.chain([advice])).collect() }
}
