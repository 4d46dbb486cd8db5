//! Why nobody can be sure who wrote something, and what to do about it.

use super::line;
use crate::chat::{Reply, Tone};
use crate::domain::message::Doubt;

/// The reason, after an `and`.
pub(super) fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::NotEncrypted => {
            "this wasn't encrypted, so the chat's server could have written it: type it in an encrypted room, or in another chat"
        }
        Doubt::UnsignedDevice => {
            "your device isn't signed by your account: verify this session in your app (with another session or your recovery key), \
             and type it again"
        }
        Doubt::ChangedIdentity => {
            "your account's identity has changed since I first saw it, and somebody else could have done that: if you have reset it, ask \
             whoever runs me to remove your line from `matrix/identities.txt` in my store, and type it again"
        }
        Doubt::Unchecked => "the chat's server doesn't tell me at the moment what would prove it: type it again in a minute",
        Doubt::UnknownDevice => {
            "it can't be told which of your devices sent it: type it again, from a verified session of your app"
        }
    }
}

/// An emergency in an environment whose votes must be proven.
pub fn unproven_emergency(doubt: Doubt) -> Reply {
    line(
        Tone::Warning,
        format!("an emergency does without votes, so it must be proven who asks for it, and {}", self::doubt(doubt)),
    )
}

/// A code that joins an account to a person.
pub fn unproven_link(doubt: Doubt) -> Reply {
    line(
        Tone::Warning,
        format!("an account gets your rights by this, so it must be proven who asks for it, and {}", self::doubt(doubt)),
    )
}
