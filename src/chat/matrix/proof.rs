//! Who wrote a message: what proves it, looked at afresh for each command.
//!
//! What the SDK notes when it gets a key holds for that moment: a device may have been removed since, and an account's identity
//! replaced by whoever got at the account. And a key opens the same message as often as it is sent: whoever runs the homeserver
//! could send a copy of last week's command, so each is remembered.

use std::io;
use std::time::Duration;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::{AlgorithmInfo, EncryptionInfo, TimelineEvent};
use matrix_sdk::encryption::vodozemac::megolm::MegolmMessage;
use matrix_sdk::ruma::UserId;
use matrix_sdk::ruma::api::client::room::get_room_event;
use matrix_sdk::ruma::events::room::encrypted::OriginalSyncRoomEncryptedEvent;
use matrix_sdk::ruma::serde::Raw;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::errors::{of_http, trouble};
use super::folder::Folder;
use super::{Matrix, Parts, known, read};
use crate::domain::message::Doubt;

/// How long the homeserver may take to say what proves a command; the next messages wait for it.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// How long nothing is looked up for somebody with whom that took too long: everybody else's messages waited.
const REST: Duration = Duration::from_secs(60);

/// What proves who wrote a message.
pub(super) enum Proof {
    /// Nothing is in its way, or this.
    Of(Option<Doubt>),
    /// It is a copy of a command that was heard before: nobody wrote it.
    Copied,
}

/// Why there is no proof.
enum Lacks {
    Proof(Doubt),
    Copied,
}

impl Matrix {
    /// What proves who wrote a message.
    pub(super) async fn proof(&self, room: &Room, event: &TimelineEvent, sender: &UserId, is_command: bool) -> Proof {
        let Some(info) = event.encryption_info() else { return Proof::Of(Some(Doubt::NotEncrypted)) };
        if !is_command {
            return Proof::Of(read::doubt(&info.verification_state));
        }
        let now = Instant::now();
        if self.remembered(|memory| memory.slow.get(sender).is_some_and(|until| *until > now)) {
            return Proof::Of(Some(unchecked("the last look at what proves this person's commands took too long")));
        }
        let look = async {
            // First who wrote it: what others send must not be remembered in its author's place.
            self.is_of(room, info, sender).await.map_err(Lacks::Proof)?;
            self.is_no_copy(room, event, sender).await
        };
        match timeout(LOOK_WITHIN, look).await {
            Ok(Ok(())) => Proof::Of(None),
            Ok(Err(Lacks::Proof(doubt))) => Proof::Of(Some(doubt)),
            Ok(Err(Lacks::Copied)) => Proof::Copied,
            Err(_) => {
                self.remembered(|memory| {
                    memory.slow.retain(|_, until| *until > now);
                    memory.slow.insert(sender.to_owned(), Instant::now() + REST);
                });
                Proof::Of(Some(unchecked("the homeserver takes too long to tell it")))
            }
        }
    }

    /// Whether a device that its owner has and signed sent it, and the owner is who they were when the bot first saw them.
    async fn is_of(&self, room: &Room, info: &EncryptionInfo, sender: &UserId) -> Result<(), Doubt> {
        let encryption = room.client().encryption();
        let asked = encryption.request_user_identity(sender).await;
        let identity = asked.map_err(|error| unchecked(&trouble(&error)))?.ok_or(Doubt::UnsignedDevice)?;
        let key = identity.master_key().get_first_key().ok_or(Doubt::UnsignedDevice)?.to_base64();
        match known::is_first_identity(&Folder::at(&self.parts().store), sender, &key) {
            Ok(true) => {}
            Ok(false) => return Err(Doubt::ChangedIdentity),
            Err(error) => return Err(unchecked(&error.to_string())),
        }
        // The device may have been so new that nothing was known of it when its message came.
        let newest = match info.session_id() {
            Some(session) => room.get_encryption_info(session, sender).await,
            None => None,
        };
        if let Some(doubt) = read::doubt(&newest.as_deref().unwrap_or(info).verification_state) {
            return Err(doubt);
        }
        // A key that somebody else passed on says only what they say.
        let (Some(device), None) = (&info.sender_device, &info.forwarder) else { return Err(Doubt::UnknownDevice) };
        let device = encryption.get_device(sender, device).await.map_err(|error| unchecked(&error.to_string()))?;
        let device = device.filter(|device| !device.is_deleted()).ok_or(Doubt::UnknownDevice)?;
        let sent_by = match &info.algorithm_info {
            AlgorithmInfo::MegolmV1AesSha2 { curve25519_key, .. } => curve25519_key,
            AlgorithmInfo::OlmV1Curve25519AesSha2 { .. } => return Err(Doubt::UnknownDevice),
        };
        if device.curve25519_key().is_none_or(|key| key.to_base64() != *sent_by) {
            return Err(Doubt::UnknownDevice);
        }
        if device.is_cross_signed_by_owner() { Ok(()) } else { Err(Doubt::UnsignedDevice) }
    }

    /// Whether a command is sent for the first time. By the place that it has among those of its key, which nobody but its author
    /// can give to a message: the SDK doesn't tell it, so the message is fetched as it was sent, and must say the same.
    async fn is_no_copy(&self, room: &Room, event: &TimelineEvent, sender: &UserId) -> Result<(), Lacks> {
        let unsure = |why: &str| Lacks::Proof(unchecked(why));
        let id = event.event_id().ok_or_else(|| unsure("it has no id"))?;
        let asked = room.client().send(get_room_event::v3::Request::new(room.room_id().to_owned(), id.clone())).await;
        let sent = asked.map_err(|error| unsure(&of_http(&error)))?.event;
        let content = sent.get_field::<Value>("content").ok().flatten().unwrap_or_default();
        let text = |name: &str| content.get(name).and_then(Value::as_str);
        let (Some(session), Some(ciphertext)) = (text("session_id"), text("ciphertext")) else {
            return Err(unsure("it isn't there any more as it was sent"));
        };
        let place = MegolmMessage::from_base64(ciphertext).map_err(|error| unsure(&error.to_string()))?.message_index();
        let sent: Raw<OriginalSyncRoomEncryptedEvent> = sent.cast_unchecked();
        let opened = room.decrypt_event(&sent, None).await.map_err(|error| unsure(&trouble(&error)))?;
        let says = |event: &TimelineEvent| event.raw().get_field::<Value>("content").ok().flatten();
        if opened.encryption_info().is_none() || says(&opened) != says(event) {
            return Err(unsure("the homeserver tells something else of it than before"));
        }
        let (folder, what) = (Folder::at(&self.parts().store), format!("{session}:{place}"));
        let by = sender.to_string();
        let noted = tokio::task::spawn_blocking(move || known::is_first_event(&folder, &by, &what, id.as_str())).await;
        match noted.map_err(io::Error::other).and_then(|noted| noted) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Lacks::Copied),
            Err(error) => Err(unsure(&error.to_string())),
        }
    }
}

fn unchecked(why: &str) -> Doubt {
    tracing::warn!(why, "what proves a command can't be looked at");
    Doubt::Unchecked
}

/// Makes the acquaintance of the people of the fleet file: from now on another identity of theirs isn't theirs.
pub(super) async fn meet(client: &matrix_sdk::Client, parts: &Parts, folder: &Folder) {
    let all = async {
        for account in parts.people.values().flatten() {
            let Ok(user) = <&UserId>::try_from(account.as_str()) else { continue };
            if known::has_identity(folder, user).unwrap_or(true) {
                continue;
            }
            let identity = client.encryption().request_user_identity(user).await.ok().flatten();
            let key = identity.and_then(|identity| identity.master_key().get_first_key());
            if let Some(key) = key
                && let Err(error) = known::is_first_identity(folder, user, &key.to_base64())
            {
                tracing::warn!(%error, "the identities of people can't be kept");
            }
        }
    };
    if timeout(LOOK_WITHIN, all).await.is_err() {
        tracing::warn!("the homeserver doesn't tell the identities of people in time; they are looked at when they say something");
    }
}
