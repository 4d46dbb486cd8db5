//! What was missed in a room: its newest events, back to the last one that was passed on.
//!
//! That one is looked for by its id, since other servers may say of their events what time they like. Only where nobody knows it
//! any more the time has to do.

use jiff::Timestamp;
use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::{OwnedEventId, ServerName};

use super::errors::is_unknown;
use super::event::{SKEW, claimed, origin};
use super::place::Place;

/// How many events are fetched at once, and how many pages at most.
const PAGE: u32 = 100;
const PAGES: usize = 200;

/// What was missed.
#[derive(Default)]
pub(super) struct Missed {
    /// What may matter of it, the oldest first, with the time at which it was written at the latest.
    pub events: Vec<(TimelineEvent, Timestamp)>,
    /// The newest event of all, and when it was written.
    pub newest: Option<(OwnedEventId, Timestamp)>,
    /// There was more than is fetched, before this time.
    pub cut: Option<Timestamp>,
}

/// Fetches what was missed in a room, and keeps what `matters`.
pub(super) async fn missed(
    room: &Room,
    place: &Place,
    matters: impl Fn(&TimelineEvent) -> bool,
    now: fn() -> Timestamp,
) -> matrix_sdk::Result<Missed> {
    let mut clock = Clock { now: now(), latest: now(), floor: place.floor, ours: room.own_user_id().server_name() };
    let (mut mark, mut is_known) = (place.newest.as_ref(), false);
    let mut missed = Missed::default();
    let (mut from, mut oldest): (Option<String>, _) = (None, None);
    for _ in 0..PAGES {
        let mut options = MessagesOptions::backward().from(from.as_deref());
        options.limit = PAGE.into();
        let page = room.messages(options).await?;
        // How old an event is was counted when the page was told, which may be long after the first.
        clock.now = now();
        let mut all_old = !page.chunk.is_empty();
        for event in page.chunk {
            let Some(id) = event.event_id() else { continue };
            if mark == Some(&id) {
                return Ok(missed.in_order(None));
            }
            let written = clock.written(&event);
            all_old &= origin(&event).is_some_and(|written| written < place.floor);
            missed.newest.get_or_insert((id, written));
            oldest = Some(written);
            if matters(&event) {
                missed.events.push((event, written));
            }
        }
        // One old event alone says nothing, and of those of other servers not even a hundred.
        if all_old && let (Some(id), false) = (mark, is_known) {
            is_known = knows(room, id).await?;
            mark = mark.filter(|_| is_known);
        }
        match page.end {
            Some(end) if (mark.is_some() || !all_old) && from.as_ref() != Some(&end) => from = Some(end),
            _ => return Ok(missed.in_order(Some(place.floor))),
        }
    }
    missed.cut = oldest;
    if let (Some(id), false) = (mark, is_known) {
        is_known = knows(room, id).await?;
    }
    Ok(missed.in_order(if is_known { None } else { Some(place.floor) }))
}

impl Missed {
    /// The same, the oldest first, without what isn't younger than this.
    fn in_order(mut self, floor: Option<Timestamp>) -> Missed {
        if let Some(floor) = floor {
            self.events.retain(|(_, written)| *written > floor);
        }
        self.events.reverse();
        self
    }
}

/// Whether the homeserver knows an event.
async fn knows(room: &Room, event: &OwnedEventId) -> matrix_sdk::Result<bool> {
    match room.event(event, None).await {
        Ok(_) => Ok(true),
        Err(error) if is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells when missed events were written, from the newest to the oldest.
///
/// An event that our own homeserver's people wrote has an honest time, and what came before it isn't younger. What claims to be
/// of the future has none at all: it counts as being as old as it can be, so that nobody's wrong clock makes an old command young.
struct Clock<'a> {
    now: Timestamp,
    latest: Timestamp,
    floor: Timestamp,
    ours: &'a ServerName,
}

impl Clock<'_> {
    fn written(&mut self, event: &TimelineEvent) -> Timestamp {
        let claimed = claimed(event, self.now);
        if claimed > self.now.checked_add(SKEW).unwrap_or(Timestamp::MAX) {
            return self.floor.min(self.latest);
        }
        let written = claimed.min(self.latest);
        if event.sender().is_some_and(|sender| sender.server_name() == self.ours) {
            self.latest = written;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::serde::Raw;
    use matrix_sdk::ruma::server_name;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn event(sender: &str, second: i64) -> TimelineEvent {
        let raw = json!({
            "type": "m.room.message", "event_id": "$x", "sender": sender, "origin_server_ts": at(second).as_millisecond(),
            "content": { "msgtype": "m.text", "body": "!deploy" }
        });
        TimelineEvent::from_plaintext(Raw::from_json_string(raw.to_string()).unwrap())
    }

    #[test]
    fn no_wrong_clock_makes_a_missed_event_younger_than_what_came_after_it() {
        let mut clock = Clock { now: at(1000), latest: at(1000), floor: at(0), ours: server_name!("our.org") };
        let mut told = |sender, second| clock.written(&event(sender, second));
        assert_eq!(told("@a:other.org", 900), at(900));
        assert_eq!(told("@a:other.org", 5000), at(0), "of the future");
        assert_eq!(told("@b:our.org", 500), at(500));
        assert_eq!(told("@a:other.org", 900), at(500), "before an honest one");
        assert_eq!(told("@a:other.org", 100), at(100));
        assert_eq!(told("@b:our.org", 400), at(400), "another server's old one says nothing");
        assert_eq!(told("@a:other.org", 5000), at(0));
    }
}
