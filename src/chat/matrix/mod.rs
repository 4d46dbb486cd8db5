//! Matrix, through matrix-sdk, end-to-end encrypted where the room is.
//!
//! A room is `matrix:!id:server`, or `matrix:!id` from room version 12 on; an account is `matrix:@anna:example.org`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use tokio::sync::mpsc;

use super::{Chat, ChatError, ChatEvent, Checked, Reply};
use crate::domain::message::{Account, MessageRef, RoomId};
use crate::domain::names::PersonName;
use crate::secret::Secret;

/// What rooms, accounts and roles of Matrix begin with.
pub const PLATFORM: &str = "matrix:";

/// What a Matrix is made from.
pub struct Parts {
    /// The address of the homeserver's client API.
    pub homeserver: String,
    /// The bot's full user id, `@bot:server`.
    pub user: String,
    /// How it logs in.
    pub login: Login,
    /// What its device is called.
    pub device_name: String,
    /// Opens what the homeserver keeps of its keys; `None` = it has none yet, or they are all in the store.
    pub recovery_key: Option<Secret>,
    /// The folder of its own store and session.
    pub store: PathBuf,
    /// The rooms, `matrix:!id:server`.
    pub rooms: Vec<RoomId>,
    /// The rooms in which another bot may announce builds.
    pub announcing: BTreeSet<RoomId>,
    /// What commands begin with; a mention of the bot stands for it.
    pub prefix: String,
    /// The people of the fleet file who have accounts in Matrix, by their full user ids.
    pub people: BTreeMap<PersonName, Vec<String>>,
    /// What time it is.
    pub now: fn() -> Timestamp,
}

/// How the bot logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// With its password, which makes a device of its own.
    Password(Secret),
    /// With the access token of a device that was made for it.
    Token(Secret),
}

/// Why Matrix can't be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A room's name that is no room's id.
    #[error("`{0}` is no room of Matrix: it is `matrix:!id:server`, the room's id and not its alias")]
    NoRoom(RoomId),
    /// The bot's user id isn't one.
    #[error("`{0}` is no user of Matrix: it is the full id, `@bot:example.org`")]
    NoUser(String),
}

/// Matrix.
pub struct Matrix {
    parts: Parts,
    rooms: BTreeMap<RoomId, OwnedRoomId>,
    user: OwnedUserId,
    trouble: Mutex<Option<String>>,
}

impl Matrix {
    /// Makes one; nothing is asked yet.
    ///
    /// # Errors
    /// If a room or the user is none of Matrix's.
    pub fn new(parts: Parts) -> Result<Matrix, Unusable> {
        let room = |room: &RoomId| match room.0.strip_prefix(PLATFORM).and_then(|id| OwnedRoomId::try_from(id).ok()) {
            Some(id) => Ok((room.clone(), id)),
            None => Err(Unusable::NoRoom(room.clone())),
        };
        let rooms = parts.rooms.iter().map(room).collect::<Result<_, _>>()?;
        let user = OwnedUserId::try_from(parts.user.as_str()).map_err(|_| Unusable::NoUser(parts.user.clone()))?;
        Ok(Matrix { parts, rooms, user, trouble: Mutex::default() })
    }

    /// Looks at all that can be known before the first message; nothing is shown in any room.
    pub async fn check(&self) -> Vec<Checked> {
        vec![Checked::new("login", Err(format!("{} can't log in to {} yet", self.user, self.parts.homeserver)))]
    }
}

#[async_trait]
impl Chat for Matrix {
    fn rooms(&self) -> Vec<RoomId> {
        self.rooms.keys().cloned().collect()
    }

    async fn listen(&self, _: mpsc::Sender<ChatEvent>, _: Option<Timestamp>) -> Result<(), ChatError> {
        Err(unavailable())
    }

    async fn post(&self, _: &RoomId, _: &Reply, _: &str) -> Result<MessageRef, ChatError> {
        Err(unavailable())
    }

    async fn edit(&self, _: &MessageRef, _: &Reply, _: bool) -> Result<(), ChatError> {
        Err(unavailable())
    }

    async fn react(&self, _: &MessageRef, _: &str) -> Result<(), ChatError> {
        Err(unavailable())
    }

    async fn reactions(&self, _: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        Err(unavailable())
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn unavailable() -> ChatError {
    ChatError::Unavailable("Matrix can't be spoken to yet".to_owned())
}
