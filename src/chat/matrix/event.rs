//! What is known of an event beside what it says: when it was written, whether it was changed since, who can have written it.

use jiff::{SignedDuration, Timestamp};
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::UserId;
use serde_json::Value;

use super::read;
use crate::domain::message::Doubt;

/// How much the homeserver's clock may differ from ours before that is made up for.
pub(super) const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// When an event was written that has just come in. Never later than now.
pub(super) fn written(event: &TimelineEvent, now: Timestamp) -> Timestamp {
    claimed(event, now).min(now)
}

/// When an event was written, as far as the homeservers are to be believed, by our clock: where ours differs, its age says it.
pub(super) fn claimed(event: &TimelineEvent, now: Timestamp) -> Timestamp {
    let unsigned = event.raw().get_field::<Value>("unsigned").ok().flatten();
    let age = unsigned.and_then(|unsigned| unsigned.get("age")?.as_i64()).filter(|age| *age >= 0);
    let by_age = age.and_then(|age| now.checked_sub(SignedDuration::from_millis(age)).ok());
    match (origin(event), by_age) {
        // An answer takes its time, so the age is never exact.
        (Some(origin), Some(by_age)) if origin.duration_since(by_age).abs() <= SKEW => origin,
        (origin, by_age) => by_age.or(origin).unwrap_or(now),
    }
}

/// When an event was written, as its author's homeserver says.
pub(super) fn origin(event: &TimelineEvent) -> Option<Timestamp> {
    let milliseconds = event.raw().get_field::<i64>("origin_server_ts").ok().flatten()?;
    Timestamp::from_millisecond(milliseconds).ok()
}

/// Whether the homeserver says that a message was edited.
pub(super) fn is_edited(event: &TimelineEvent) -> bool {
    let unsigned = event.raw().get_field::<Value>("unsigned").ok().flatten();
    unsigned.is_some_and(|unsigned| unsigned.get("m.relations").is_some_and(|relations| relations.get("m.replace").is_some()))
}

/// Whether an event that can't be read may be a message of a person: neither an edit nor removed.
pub(super) fn is_encrypted_message(event: &TimelineEvent) -> bool {
    let content = event.raw().get_field::<Value>("content").ok().flatten().unwrap_or_default();
    let relation = content.get("m.relates_to").and_then(|relation| relation.get("rel_type")).and_then(Value::as_str);
    content.get("ciphertext").is_some() && relation != Some("m.replace")
}

/// Why the author of a message isn't proven.
pub(super) async fn doubt(room: &Room, event: &TimelineEvent, sender: &UserId, is_command: bool) -> Option<Doubt> {
    let Some(info) = event.encryption_info() else { return Some(Doubt::NotEncrypted) };
    let doubt = read::doubt(&info.verification_state)?;
    if !is_command {
        return Some(doubt);
    }
    // A device may be so new that the homeserver hasn't told of it yet.
    let asked = room.client().encryption().request_user_identity(sender).await;
    if let (Ok(_), Some(session)) = (asked, info.session_id())
        && let Some(info) = room.get_encryption_info(session, sender).await
    {
        return read::doubt(&info.verification_state);
    }
    Some(doubt)
}
