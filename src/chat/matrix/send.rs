//! What the bot sends: messages with a stable transaction id, so that none is shown twice, edits in place, emojis.
//!
//! The homeserver knows a transaction id of a device for a day. So each message carries the mark of its key too, and before the
//! first post of a life the newest messages are looked through for it.

use std::sync::PoisonError;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::events::relation::RelationType;
use matrix_sdk::ruma::{EventId, OwnedEventId, OwnedTransactionId, UserId};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::errors::{about, is_there_already, is_unknown, of_message, unavailable};
use super::render::{self, Shown};
use super::{CALLED, IN_ADDRESS, Matrix};
use crate::chat::{ChatError, Reply};
use crate::domain::message::{MessageRef, RoomId};

/// The field that has the mark of a message's key. It stands where relations do: those aren't encrypted, so also a new device finds it.
pub(super) const MARK: &str = "shipmate.ref";

/// How many messages are looked through for a mark.
const LOOKED_THROUGH: u32 = 100;

impl Matrix {
    /// Shows a reply, as an answer to a message if there is one.
    pub(super) async fn show(
        &self,
        name: &RoomId,
        to: Option<&MessageRef>,
        reply: &Reply,
        key: &str,
    ) -> Result<MessageRef, ChatError> {
        let room = self.room(name).await?;
        let mark = mark(name, key);
        let shown = render::shown(reply);
        let message = self.show_once(&room, name, to, &shown, &mark).await?;
        // Also where the message was there before: whoever showed it may have failed at the file.
        if let Some(whole) = shown.whole {
            self.keep_whole(&room, &message, whole, &format!("{mark}-whole")).await?;
        }
        Ok(message)
    }

    /// Shows it, unless it is there already.
    async fn show_once(
        &self,
        room: &Room,
        name: &RoomId,
        to: Option<&MessageRef>,
        shown: &Shown,
        mark: &str,
    ) -> Result<MessageRef, ChatError> {
        if let Some(message) = self.remembered(|memory| memory.posted(mark)) {
            return Ok(message);
        }
        let found = match self.remembered(|memory| memory.unsure.contains(name)) {
            true => marked(room, self.me(), mark).await?,
            false => None,
        };
        let id = match found {
            Some(id) => id,
            None => {
                let mut content = self.content(shown);
                let mut relation = to.map_or_else(|| json!({}), |to| self.relation_to(to));
                relation[MARK] = json!(mark);
                content.insert("m.relates_to".to_owned(), relation);
                send(room, Value::Object(content), Some(mark.into())).await.map_err(|error| of_message(&error))?
            }
        };
        let message = MessageRef { room: name.clone(), id: id.to_string() };
        self.remembered(|memory| memory.post(mark.to_owned(), message.clone()));
        Ok(message)
    }

    /// Changes a message in place.
    pub(super) async fn change(&self, message: &MessageRef, reply: &Reply, last: bool) -> Result<(), ChatError> {
        let (room, id) = self.place(message).await?;
        let shown = render::shown(reply);
        // Nobody is called again by an edit.
        let edit = json!({
            "msgtype": "m.notice",
            "body": format!("* {}", shown.title),
            "m.mentions": {},
            "m.new_content": self.content(&shown),
            "m.relates_to": { "rel_type": "m.replace", "event_id": id },
        });
        send(&room, edit, None).await.map_err(|error| about(message, &error))?;
        if let (true, Some(whole)) = (last, shown.whole) {
            let mark = mark(&message.room, &format!("whole:{}", message.id));
            // The message has its last state; that must not be tried for ever for the sake of the file.
            if let Err(error) = self.keep_whole(&room, message, whole, &mark).await {
                tracing::warn!(room = %message.room, %error, "what a message has no place for isn't in a file beside it");
            }
        }
        Ok(())
    }

    /// Puts an emoji to a message.
    pub(super) async fn put_emoji(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError> {
        let (room, id) = self.place(message).await?;
        let content = json!({ "m.relates_to": { "rel_type": RelationType::Annotation, "event_id": id, "key": emoji } });
        match room.send_raw("m.reaction", content).await {
            Ok(_) => Ok(()),
            Err(error) if is_there_already(&error) => Ok(()),
            Err(error) => Err(about(message, &error)),
        }
    }

    /// A message's room and event, if it is there.
    pub(super) async fn place(&self, message: &MessageRef) -> Result<(Room, OwnedEventId), ChatError> {
        let gone = || ChatError::Gone(message.clone());
        let id = OwnedEventId::try_from(message.id.as_str()).map_err(|_| gone())?;
        let room = self.room(&message.room).await?;
        let (is_gone, is_there) = self.remembered(|memory| (memory.gone.contains(message), memory.there.contains(message)));
        if is_gone {
            return Err(gone());
        }
        // What was said of it in an earlier life isn't known; from here on whoever removes it is heard.
        if !is_there {
            self.look_at(&room, &id, message).await?;
        }
        Ok((room, id))
    }

    /// Looks whether a message is there.
    pub(super) async fn look_at(&self, room: &Room, id: &EventId, message: &MessageRef) -> Result<(), ChatError> {
        let is_there = match room.event(id, None).await {
            Ok(event) => {
                event.raw().get_field::<Value>("unsigned").ok().flatten().is_none_or(|all| all.get("redacted_because").is_none())
            }
            Err(error) if is_unknown(&error) => false,
            Err(error) => return Err(unavailable(&error)),
        };
        self.remembered(|memory| if is_there { memory.there.insert(message.clone()) } else { memory.gone.insert(message.clone()) });
        if is_there { Ok(()) } else { Err(ChatError::Gone(message.clone())) }
    }

    /// What a message has in it. It mentions those whom it means to call, and says so in any case: without that, apps guess.
    fn content(&self, shown: &Shown) -> Map<String, Value> {
        let called: Vec<(&str, &str)> = shown
            .calls
            .iter()
            .filter_map(|person| Some((person.as_str(), self.parts().people.get(person)?)))
            .flat_map(|(name, accounts)| accounts.iter().map(move |account| (name, account.as_str())))
            .take(CALLED)
            .collect();
        let (mut plain, mut html) = (shown.plain.clone(), shown.html.clone());
        for (n, (name, account)) in called.iter().enumerate() {
            let (before, between) = if n == 0 { ("\n", "<br>") } else { (" ", " ") };
            plain.push_str(&format!("{before}{account}"));
            let target = percent_encoding::utf8_percent_encode(account, IN_ADDRESS);
            html.push_str(&format!("{between}<a href=\"https://matrix.to/#/{target}\">{}</a>", render::escaped(name)));
        }
        let ids: Vec<&str> = called.iter().map(|(_, account)| *account).collect();
        let mentions = if ids.is_empty() { json!({}) } else { json!({ "user_ids": ids }) };
        [
            ("msgtype", json!("m.notice")),
            ("body", json!(plain)),
            ("format", json!("org.matrix.custom.html")),
            ("formatted_body", json!(html)),
            ("m.mentions", mentions),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// How an answer belongs to a message: in its thread, if that is in one.
    fn relation_to(&self, message: &MessageRef) -> Value {
        let answered = json!({ "event_id": message.id });
        match self.remembered(|memory| memory.thread_of(&message.id)) {
            Some(root) => json!({ "rel_type": "m.thread", "event_id": root, "m.in_reply_to": answered, "is_falling_back": false }),
            None => json!({ "m.in_reply_to": answered }),
        }
    }

    pub(super) fn remembered<T>(&self, work: impl FnOnce(&mut super::memory::Memory) -> T) -> T {
        work(&mut self.memory().lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends a message; the SDK encrypts it where the room is.
pub(super) async fn send(room: &Room, content: Value, transaction: Option<OwnedTransactionId>) -> matrix_sdk::Result<OwnedEventId> {
    let mut sending = room.send_raw("m.room.message", content);
    if let Some(transaction) = transaction {
        sending = sending.with_transaction_id(&transaction);
    }
    Ok(sending.await?.response.event_id)
}

/// The message of the bot that has a mark, among the newest of a room.
async fn marked(room: &Room, me: &UserId, mark: &str) -> Result<Option<OwnedEventId>, ChatError> {
    let mut options = MessagesOptions::backward();
    options.limit = LOOKED_THROUGH.into();
    let newest = room.messages(options).await.map_err(|error| unavailable(&error))?;
    Ok(newest.chunk.iter().find(|event| has_mark(event, me, mark)).and_then(TimelineEvent::event_id))
}

/// Whether an event is the bot's and has a mark; also one that a new device can't read.
pub(super) fn has_mark(event: &TimelineEvent, me: &UserId, mark: &str) -> bool {
    let content = event.raw().get_field::<Value>("content").ok().flatten();
    let found = content.as_ref().and_then(|content| content.get("m.relates_to")?.get(MARK)?.as_str());
    found == Some(mark) && event.sender().is_some_and(|sender| sender == me)
}

/// A mark that only posts with the same key have; it is their transaction id too.
pub(super) fn mark(room: &RoomId, key: &str) -> String {
    hex::encode(&Sha256::digest(format!("{room} {key}"))[..16])
}
