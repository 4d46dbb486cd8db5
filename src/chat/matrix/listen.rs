//! From what the homeserver tells to what the bot should know.
//!
//! One task does it all, in order. The SDK takes note of an answer before anybody has seen it, so an answer may be lost with the
//! process: at each start, and whenever the homeserver leaves something out, the newest messages are fetched back to the last one
//! that was passed on. What comes twice is passed on once. The bot is told how far that is, and tells it at the next start.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::events::room::message::OriginalSyncRoomMessageEvent;
use matrix_sdk::ruma::events::room::redaction::SyncRoomRedactionEvent;
use matrix_sdk::ruma::events::{AnySyncMessageLikeEvent, AnySyncTimelineEvent, SyncMessageLikeEvent};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use matrix_sdk::sync::SyncResponse;
use matrix_sdk::{Client, Room};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::errors::{has_run_out, is_unknown_token, trouble};
use super::event::{changed_by, is_edited, is_encrypted_message, written};
use super::missed::missed;
use super::place::Place;
use super::proof::Proof;
use super::read::{self, Read};
use super::{Login, Matrix, account, identity, session};
use crate::chat::ChatEvent;
use crate::domain::message::{Message, RoomId};

/// How long the homeserver may wait with an answer while nothing happens.
const LONG_POLL: Duration = Duration::from_secs(25);

/// How long to wait before the homeserver is asked again after it failed, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait before missed messages are fetched again.
const FETCH_AGAIN: Duration = Duration::from_secs(15);

/// Listens until nobody wants to hear any more.
pub(super) async fn listen(
    matrix: &Matrix,
    to: mpsc::Sender<ChatEvent>,
    marks: &BTreeMap<RoomId, String>,
    since: Option<Timestamp>,
) {
    let begin = since.unwrap_or_else(matrix.parts().now);
    let mark = |room: &RoomId| marks.get(room).and_then(|mark| OwnedEventId::try_from(mark.as_str()).ok());
    let place = |(name, id): (&RoomId, &OwnedRoomId)| (id.clone(), Place::new(name.clone(), mark(name), begin));
    let places = matrix.0.rooms.iter().map(place).collect();
    let mut ears = Ears { matrix, to: to.clone(), places, names: Vec::new() };
    tokio::select! {
        () = to.closed() => {}
        () = ears.hear() => {}
        () = identity::mend(matrix) => {}
    }
}

struct Ears<'a> {
    matrix: &'a Matrix,
    to: mpsc::Sender<ChatEvent>,
    places: BTreeMap<OwnedRoomId, Place>,
    /// What the bot may be called.
    names: Vec<String>,
}

/// What a message means to the bot.
enum Meaning {
    /// A person says this.
    Said {
        /// What.
        text: String,
        /// It is said to the bot.
        is_command: bool,
    },
    /// It may announce a build.
    Announced {
        /// What it says.
        text: String,
    },
}

impl Ears<'_> {
    async fn hear(&mut self) {
        loop {
            let client = self.open().await;
            self.hear_as(&client).await;
            tracing::warn!("the session in Matrix has run out; the bot logs in again, with the same device");
            drop(client);
            self.matrix.session_ran_out();
            self.places.values_mut().for_each(Place::falls_behind);
            sleep(RETRY_FIRST).await;
        }
    }

    /// Hears the homeserver until the session has run out and another one can be had.
    async fn hear_as(&mut self, client: &Client) {
        self.names = session::names(client, self.matrix.me()).await;
        let mut retry = RETRY_FIRST;
        // The first answer comes at once: it tells which rooms are there.
        let mut wait = Duration::ZERO;
        loop {
            let settings = SyncSettings::new().timeout(wait).filter(session::filter().into());
            match client.sync_once(settings).await {
                Ok(told) => {
                    retry = RETRY_FIRST;
                    if self.matrix.deaf().is_some() {
                        tracing::info!("the homeserver is heard again");
                        self.places.values_mut().for_each(Place::falls_behind);
                        self.matrix.link_is(None);
                    }
                    self.told(client, told).await;
                    wait = self.wait();
                }
                Err(error) if has_run_out(&error) && matches!(self.matrix.parts().login, Login::Password(_)) => return,
                Err(error) => {
                    let why = trouble(&error);
                    if is_unknown_token(&error) {
                        retry = RETRY_LIMIT;
                    }
                    tracing::error!(%why, retry_in = retry.as_secs(), "the homeserver isn't heard");
                    self.matrix.link_is(Some(why));
                    sleep(retry).await;
                    retry = (retry * 2).min(RETRY_LIMIT);
                }
            }
        }
    }

    /// The session, however long it takes.
    async fn open(&self) -> Client {
        loop {
            match self.matrix.session().await {
                Ok(session) => {
                    if let Some(why) = self.matrix.weakness() {
                        tracing::error!(%why, "people can't trust the bot's device");
                    }
                    return session.client;
                }
                Err(error) => {
                    self.matrix.link_is(Some(error.to_string()));
                    // Somebody else may have tried in the same moment.
                    sleep_until(self.matrix.opens_again_at().max(Instant::now() + RETRY_FIRST)).await;
                }
            }
        }
    }

    /// How long the next answer may take.
    fn wait(&self) -> Duration {
        let due = self.places.values().filter(|place| place.is_in).filter_map(|place| place.behind).min();
        due.map_or(LONG_POLL, |due| due.saturating_duration_since(Instant::now()).min(LONG_POLL))
    }

    async fn told(&mut self, client: &Client, told: SyncResponse) {
        let ids: Vec<OwnedRoomId> = self.places.keys().cloned().collect();
        for id in ids {
            let room = session::is_in(client, &id, self.matrix.me());
            let Some(place) = self.places.get_mut(&id) else { continue };
            let update = told.rooms.joined.get(&id);
            match &room {
                Ok(room) => {
                    let successor = room.successor_room().map(|successor| successor.room_id);
                    let why = successor.map(|successor| {
                        format!("the room was replaced by {successor}; the bot follows only if the fleet file says so: name that room there")
                    });
                    self.matrix.room_is(&place.name, why);
                    // A room that is new, or new again.
                    if !std::mem::replace(&mut place.is_in, true) || update.is_some_and(|update| update.timeline.limited) {
                        place.falls_behind();
                    }
                }
                Err(why) => {
                    place.is_in = false;
                    self.matrix.room_is(&place.name, Some(why.clone()));
                }
            }
            let Ok(room) = room else { continue };
            if place.behind.is_some_and(|due| due <= Instant::now()) {
                self.catch_up(&id, &room).await;
            }
            for event in update.into_iter().flat_map(|update| &update.timeline.events) {
                let written = written(event, (self.matrix.parts().now)());
                self.happened(&id, &room, event, written).await;
            }
            self.read_late(&id, &room).await;
            let news =
                self.places.get_mut(&id).and_then(|place| Some((place.name.clone(), place.news((self.matrix.parts().now)())?)));
            if let Some((room, mark)) = news {
                self.pass(ChatEvent::UpTo { room, mark: mark.to_string() }).await;
            }
        }
        // The next answer has them.
        session::join_invited(client, self.matrix.parts()).await;
    }

    /// Tells that a room is there, and fetches what was missed in it.
    async fn catch_up(&mut self, id: &OwnedRoomId, room: &Room) {
        let Some(place) = self.places.get_mut(id) else { return };
        let (name, connected) = (place.name.clone(), std::mem::replace(&mut place.connected, true));
        let missed = match self.places.get(id) {
            Some(place) => missed(room, place, |event| self.matters(place, event), self.matrix.parts().now).await,
            None => return,
        };
        if !connected {
            self.pass(ChatEvent::Connected { room: name.clone() }).await;
        }
        let Some(place) = self.places.get_mut(id) else { return };
        match missed {
            Ok(missed) => {
                place.behind = None;
                if let Some(before) = missed.cut {
                    tracing::warn!(room = %name, %before, "more was missed than is fetched; the newest count");
                    self.pass(ChatEvent::NotRead { room: name, before }).await;
                }
                for (event, written) in missed.events {
                    // What was edited since isn't meant any more: if it was heard when it was sent, it was passed on then. Of an
                    // emoji of before this life nobody knows whether it was obeyed; the bot looks at the votes itself.
                    let is_over = is_edited(&event) || !connected && self.remembers_reaction(id, &event);
                    if !is_over {
                        self.happened(id, room, &event, written).await;
                    } else if let (Some(place), Some(event)) = (self.places.get_mut(id), event.event_id()) {
                        place.passed.insert(event);
                    }
                }
                if let (Some(place), Some((newest, written))) = (self.places.get_mut(id), missed.newest) {
                    place.comes_to(newest, written);
                }
            }
            Err(error) => {
                place.behind = Some(Instant::now() + FETCH_AGAIN);
                tracing::warn!(room = %name, error = %trouble(&error), "what people wrote meanwhile can't be fetched; it is tried again");
            }
        }
    }

    /// Whether an event is a reaction, which is remembered then.
    fn remembers_reaction(&self, id: &OwnedRoomId, event: &TimelineEvent) -> bool {
        let Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::Reaction(SyncMessageLikeEvent::Original(reaction)))) =
            event.raw().deserialize()
        else {
            return false;
        };
        let to = self.places.get(id).map(|place| place.reference(&reaction.content.relates_to.event_id));
        if let Some((event, reaction)) = to.and_then(|to| self.matrix.reaction(&to, &reaction)) {
            self.matrix.remembered(|memory| memory.react(event, reaction));
        }
        true
    }

    /// The messages whose keys have come since.
    async fn read_late(&mut self, id: &OwnedRoomId, room: &Room) {
        let Some(place) = self.places.get_mut(id).filter(|place| !place.unread.is_empty()) else { return };
        for (event, written) in place.unread.readable(room).await {
            self.said(id, room, &event, written).await;
        }
    }

    /// Whether an event that was missed may matter to the bot: so much may be missed that the rest isn't kept.
    fn matters(&self, place: &Place, event: &TimelineEvent) -> bool {
        if event.kind.is_utd() {
            let is_heard = event.sender().is_some_and(|sender| self.matrix.hears(&sender));
            return is_heard && (is_encrypted_message(event) || changed_by(event).is_some());
        }
        match event.raw().deserialize() {
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomMessage(SyncMessageLikeEvent::Original(
                message,
            )))) => match self.meaning(place, &message) {
                Some(Meaning::Said { is_command, .. }) => is_command,
                Some(Meaning::Announced { .. }) => true,
                None => false,
            },
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::Reaction(SyncMessageLikeEvent::Original(reaction)))) => {
                self.matrix.hears(&reaction.sender)
            }
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomRedaction(_))) => true,
            Ok(_) | Err(_) => false,
        }
    }

    async fn happened(&mut self, id: &OwnedRoomId, room: &Room, event: &TimelineEvent, written: Timestamp) {
        let Some(place) = self.places.get_mut(id) else { return };
        let Some(event_id) = event.event_id() else { return };
        let before = place.newest.clone();
        // What was missed is looked for from the last one before the gap.
        if place.behind.is_none() {
            place.comes_to(event_id.clone(), written);
        }
        if !place.passed.insert(event_id.clone()) {
            return;
        }
        if let (Some(changed), Some(by)) = (changed_by(event), event.sender()) {
            place.unread.forget(&changed, Some(&by));
        }
        if let TimelineEventKind::UnableToDecrypt { utd_info, .. } = &event.kind {
            let Some(sender) = event.sender().filter(|sender| self.matrix.hears(sender)) else { return };
            // Which kind of relation it is can be read; an edit is no command anyway.
            if is_encrypted_message(event) && place.unread.add(event_id.clone(), &sender, event, utd_info, written, before) {
                tracing::warn!(room = %place.name, %sender, reason = ?utd_info.reason, "a message can't be read");
                let message = place.reference(&event_id);
                self.pass(ChatEvent::Unreadable { message, author: account(&sender) }).await;
            }
            return;
        }
        match event.raw().deserialize() {
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomMessage(_))) => {
                self.said(id, room, event, written).await;
            }
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::Reaction(SyncMessageLikeEvent::Original(reaction)))) => {
                let to = place.reference(&reaction.content.relates_to.event_id);
                if let Some((event, reaction)) = self.matrix.reaction(&to, &reaction) {
                    self.matrix.remembered(|memory| memory.react(event, reaction.clone()));
                    self.pass(ChatEvent::Reacted { to, author: reaction.author, emoji: reaction.emoji }).await;
                }
            }
            Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomRedaction(redaction))) => {
                self.removed(id, room, &redaction).await;
            }
            Ok(_) | Err(_) => {}
        }
    }

    async fn said(&self, id: &OwnedRoomId, room: &Room, event: &TimelineEvent, written: Timestamp) {
        let Some(place) = self.places.get(id) else { return };
        let Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomMessage(SyncMessageLikeEvent::Original(message)))) =
            event.raw().deserialize()
        else {
            return;
        };
        let at = place.reference(&message.event_id);
        if let Some(root) = read::thread_of(&message.content) {
            self.matrix.remembered(|memory| memory.in_thread(&message.event_id, root));
        }
        match self.meaning(place, &message) {
            Some(Meaning::Said { text, is_command }) => {
                let doubt = match self.matrix.proof(room, event, &message.sender, is_command).await {
                    Proof::Of(doubt) => doubt,
                    Proof::Copied => {
                        tracing::error!(room = %place.name, sender = %message.sender, event = %message.event_id, "a command was \
                             sent again as a copy: only whoever runs the homeserver can do that. It isn't run");
                        return;
                    }
                };
                let message = Message { at, author: account(&message.sender), text, received: written, doubt };
                self.pass(ChatEvent::Message(message)).await;
            }
            Some(Meaning::Announced { text }) => self.pass(ChatEvent::Announced { message: at, text }).await,
            None => {}
        }
    }

    /// What a message means to the bot; `None` = nothing, or its author isn't heard.
    fn meaning(&self, place: &Place, message: &OriginalSyncRoomMessageEvent) -> Option<Meaning> {
        let parts = self.matrix.parts();
        match read::read(&message.content, &self.names, &parts.prefix) {
            Read::Said(text) if self.matrix.hears(&message.sender) => {
                let is_command = text.to_lowercase().starts_with(parts.prefix.to_lowercase().trim_end());
                Some(Meaning::Said { text, is_command })
            }
            // What a webhook says comes from a puppet as often as from a bot.
            Read::Said(text) | Read::Noted(text)
                if message.sender != self.matrix.me() && parts.announcing.contains(&place.name) =>
            {
                Some(Meaning::Announced { text })
            }
            Read::Said(_) | Read::Noted(_) | Read::Nothing => None,
        }
    }

    /// Something was removed: a message, or an emoji.
    async fn removed(&mut self, id: &OwnedRoomId, room: &Room, redaction: &SyncRoomRedactionEvent) {
        let Some(place) = self.places.get_mut(id) else { return };
        let rules = room.clone_info().room_version_rules_or_default().redaction;
        let Some(removed) = redaction.redacts(&rules) else { return };
        place.unread.forget(removed, None);
        if let Some((reaction, still_there)) = self.matrix.remembered(|memory| memory.unreact(removed)) {
            if !still_there {
                self.pass(ChatEvent::Unreacted { to: reaction.to, author: reaction.author, emoji: reaction.emoji }).await;
            }
            return;
        }
        let message = place.reference(removed);
        let known = self.matrix.remembered(|memory| {
            memory.gone.insert(message.clone());
            memory.there.contains(&message)
        });
        let known = known || place.passed.contains(&removed.to_owned());
        let room = place.name.clone();
        self.pass(ChatEvent::Deleted { message }).await;
        // It may have been an emoji of an earlier life: what is there now is looked at.
        if !known {
            self.pass(ChatEvent::Connected { room }).await;
        }
    }

    async fn pass(&self, event: ChatEvent) {
        // If nobody hears any more, that is noticed by those who wait.
        let _ = self.to.send(event).await;
    }
}
