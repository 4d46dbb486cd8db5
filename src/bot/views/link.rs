//! Accounts that are joined to a person.

use super::{code, line, span, text};
use crate::chat::{Reply, Tone};
use crate::domain::message::Account;
use crate::domain::names::PersonName;
use crate::domain::spec::Millis;
use crate::runbook::Prefix;

/// The code for an account that nobody knows.
pub fn link_code(code_: &str, account: &Account, good_for: Millis, prefix: &Prefix) -> Reply {
    let typed = code(prefix.typed(&format!("link {code_}")));
    line(
        Tone::Info,
        format!("to make {} yours, type {typed} from an account of yours that I know, within {}", text(&account.0), span(good_for)),
    )
}

/// Where a link begins.
pub fn link_where(person: &PersonName, prefix: &Prefix) -> Reply {
    let typed = code(prefix.typed("link"));
    line(
        Tone::Info,
        format!("I know you as {person}; type {typed} from the other account, and the code that it gets from this one"),
    )
}

/// A code typed by nobody we know.
pub fn link_from_known(account: &Account) -> Reply {
    line(Tone::Warning, format!("the code is typed from an account that I know, and I don't know {}", text(&account.0)))
}

/// A code that nobody got.
pub fn no_such_link_code() -> Reply {
    line(Tone::Warning, "nobody got this code, or its time is over")
}

/// Somebody floods us.
pub fn too_many_codes() -> Reply {
    line(Tone::Warning, "too many accounts ask for a code; try again in some minutes")
}

/// An account is a person's.
pub fn linked(account: &Account, person: &PersonName) -> Reply {
    line(Tone::Good, format!("{} is {person}'s from now on", text(&account.0)))
}

/// An account is nobody's any more.
pub fn unlinked(account: &Account, person: &PersonName) -> Reply {
    line(Tone::Good, format!("{} is no longer {person}'s", text(&account.0)))
}

/// Somebody else's account.
pub fn not_your_link(account: &Account) -> Reply {
    line(Tone::Warning, format!("{} was linked to somebody else, who has to unlink it", text(&account.0)))
}

/// An account that was never linked.
pub fn not_linked(account: &Account) -> Reply {
    line(Tone::Warning, format!("{} isn't linked to anybody; accounts of the fleet file are taken away there", text(&account.0)))
}
