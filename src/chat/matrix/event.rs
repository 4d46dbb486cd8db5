//! What is known of an event beside what it says: when it was written, whether it was changed since.

use jiff::{SignedDuration, Timestamp};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::OwnedEventId;
use serde_json::Value;

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
    content.get("ciphertext").is_some() && changed_by(event).is_none()
}

/// The message that an edit changes. Relations aren't encrypted, so it is known of one that can't be read too.
pub(super) fn changed_by(event: &TimelineEvent) -> Option<OwnedEventId> {
    let content = event.raw().get_field::<Value>("content").ok().flatten()?;
    let relation =
        content.get("m.relates_to").filter(|relation| relation.get("rel_type").is_some_and(|kind| kind == "m.replace"))?;
    OwnedEventId::try_from(relation.get("event_id")?.as_str()?).ok()
}
