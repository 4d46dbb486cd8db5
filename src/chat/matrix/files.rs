//! Files in the threads of messages: what a message has no place for, and the details of deployments.
//!
//! A file is there once, however often it is tried. The homeserver knows a transaction id of a device for a day only, so a file
//! carries a mark as messages do, and the thread is looked through for it first.

use std::io::Cursor;

use matrix_sdk::Room;
use matrix_sdk::room::{IncludeRelations, RelationsOptions};
use matrix_sdk::ruma::api::Direction;
use matrix_sdk::ruma::events::relation::RelationType;
use matrix_sdk::ruma::{EventId, OwnedEventId};
use serde_json::{Value, json};

use super::Matrix;
use super::errors::{about, is_answered_no, trouble, unavailable};
use super::send::{MARK, has_mark, mark, send};
use crate::chat::ChatError;
use crate::domain::message::MessageRef;

/// The name of the file that has what a message can't hold.
const FILE: &str = "message.txt";

/// How much of a thread is looked through for a file: so many events at once, and so many times.
const PAGE: u32 = 100;
const PAGES: usize = 10;

/// A file of the homeserver's, as the content of a message names it.
struct Uploaded {
    file: &'static str,
    at: Value,
    size: usize,
}

/// A file that is to be kept.
struct Beside<'a> {
    title: &'a str,
    file: &'a str,
    text: String,
    mark: &'a str,
}

impl Matrix {
    /// Keeps a text as a file in the thread of a message.
    pub(super) async fn keep_in_thread(
        &self,
        message: &MessageRef,
        title: &str,
        file: &str,
        text: String,
    ) -> Result<(), ChatError> {
        let (room, id) = self.place(message).await?;
        let mark = mark(&message.room, &format!("beside:{}", message.id));
        self.put_beside(&room, &id, Beside { title, file, text, mark: &mark }).await.map_err(|error| match about(message, &error) {
            // It won't take it later either.
            ChatError::Unavailable(why) if is_answered_no(&error) => ChatError::Refused(why),
            other => other,
        })
    }

    /// Keeps what a message has no place for. Where the homeserver takes no such file, the message stays without it.
    pub(super) async fn keep_whole(&self, room: &Room, message: &MessageRef, text: String, mark: &str) -> Result<(), ChatError> {
        let root = OwnedEventId::try_from(message.id.as_str()).map_err(|_| ChatError::Gone(message.clone()))?;
        match self.put_beside(room, &root, Beside { title: FILE, file: FILE, text, mark }).await {
            Ok(()) => Ok(()),
            Err(error) if is_answered_no(&error) => {
                tracing::warn!(room = %message.room, error = %trouble(&error), "what a message has no place for can't be kept in a file");
                self.remembered(|memory| memory.beside.insert(mark.to_owned()));
                Ok(())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Uploads a text and shows it in a message's thread, unless it is there.
    async fn put_beside(&self, room: &Room, root: &EventId, what: Beside<'_>) -> matrix_sdk::Result<()> {
        let mark = what.mark.to_owned();
        if self.remembered(|memory| memory.beside.contains(&mark)) {
            return Ok(());
        }
        if !self.is_beside(room, root, &mark).await? {
            let uploaded = upload(room, what.text).await?;
            let mut relation = json!({
                "rel_type": "m.thread",
                "event_id": root,
                "is_falling_back": true,
                "m.in_reply_to": { "event_id": root },
            });
            relation[MARK] = json!(mark);
            let mut content = json!({
                "msgtype": "m.file",
                "body": crate::chat::text::clean(what.title),
                "filename": what.file,
                "info": { "mimetype": "text/plain", "size": uploaded.size },
                "m.mentions": {},
                "m.relates_to": relation,
            });
            content[uploaded.file] = uploaded.at;
            send(room, content, Some(mark.as_str().into())).await?;
        }
        self.remembered(|memory| memory.beside.insert(mark));
        Ok(())
    }

    /// Whether a message's thread has a file with this mark.
    async fn is_beside(&self, room: &Room, root: &EventId, mark: &str) -> matrix_sdk::Result<bool> {
        let mut from = None;
        for _ in 0..PAGES {
            let options = RelationsOptions {
                from: from.clone(),
                dir: Direction::Backward,
                limit: Some(PAGE.into()),
                include_relations: IncludeRelations::RelationsOfType(RelationType::Thread),
                recurse: false,
            };
            let page = room.relations(root.to_owned(), options).await?;
            if page.chunk.iter().any(|event| has_mark(event, self.me(), mark)) {
                return Ok(true);
            }
            match page.next_batch_token {
                Some(next) if from.as_ref() != Some(&next) => from = Some(next),
                _ => break,
            }
        }
        Ok(false)
    }
}

/// Uploads a text, encrypted where the room is.
async fn upload(room: &Room, text: String) -> matrix_sdk::Result<Uploaded> {
    let (client, bytes) = (room.client(), text.into_bytes());
    let size = bytes.len();
    if room.latest_encryption_state().await?.is_encrypted() {
        let file = client.upload_encrypted_file(&mut Cursor::new(bytes)).await?;
        return Ok(Uploaded { file: "file", at: serde_json::to_value(file)?, size });
    }
    let kind = "text/plain".parse().map_err(|error| matrix_sdk::Error::UnknownError(Box::new(error)))?;
    let uploaded = client.media().upload(&kind, bytes, None).await?;
    Ok(Uploaded { file: "url", at: json!(uploaded.content_uri), size })
}
