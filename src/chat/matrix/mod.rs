//! Matrix, through matrix-sdk, end-to-end encrypted where the room is.
//!
//! | file | what |
//! |---|---|
//! | `session` | one login, one device for life; what doesn't belong together is refused |
//! | `folder` | what of that is kept, beside the SDK's own store |
//! | `identity` | cross-signing, and recovery of it |
//! | `listen` | from what the homeserver tells to what the bot should know, in order; what it missed is fetched |
//! | `place` | how far each room was passed on |
//! | `missed` | what was missed since, and when that was written |
//! | `event` | when an event was written, whether it was changed |
//! | `proof` | what proves who wrote a command |
//! | `known` | whose identity was seen first, which commands were heard |
//! | `unread` | messages whose keys haven't come yet |
//! | `read` | which text says something to the bot, and who proves it |
//! | `send` | messages, edits, emojis |
//! | `files` | files in threads |
//! | `ask` | whose emojis are at a message, how much power somebody has |
//! | `render` | a reply as a plain and an HTML body |
//! | `memory` | what is remembered while the process lives |
//! | `errors` | how it goes wrong |
//! | `check` | what `shipmate check` says |
//!
//! A room is `matrix:!id:server`, or `matrix:!id` from room version 12 on; an account is `matrix:@anna:example.org`. Nothing is asked
//! before somebody listens or something is to be shown: a bot whose homeserver is down starts, and deploys.

mod ask;
mod check;
mod errors;
mod event;
mod files;
mod folder;
mod identity;
mod known;
mod listen;
mod memory;
mod missed;
mod place;
mod proof;
mod read;
mod render;
mod send;
mod session;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use matrix_sdk::Room;
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId, UserId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::memory::Memory;
use self::session::Session;
use super::{Audience, Chat, ChatError, ChatEvent, Reply};
use crate::domain::message::{Account, MessageRef, RoomId};
use crate::domain::names::PersonName;
use crate::secret::Secret;

/// What rooms, accounts and roles of Matrix begin with.
pub const PLATFORM: &str = "matrix:";

/// What of the SDK's own log is passed over: what of it matters to people the adapter says, and it calls things errors that are none.
pub const QUIET: &str = "matrix_sdk=error,matrix_sdk::http_client=off";

/// How many people one message calls at most.
const CALLED: usize = 5;

/// What an address can't have as it is, but for what ids are made of.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'@').remove(b':').remove(b'.').remove(b'_').remove(b'-').remove(b'=');

/// How long to wait before a session is opened again that couldn't be, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LIMIT: Duration = Duration::from_secs(300);

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
    /// What stands before a command, with the space after it if it is a name; a mention of the bot stands for it.
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

/// Matrix. Cheap to clone.
#[derive(Clone)]
pub struct Matrix(Arc<Inner>);

struct Inner {
    parts: Parts,
    rooms: BTreeMap<RoomId, OwnedRoomId>,
    me: OwnedUserId,
    /// The session, once it is open.
    session: Mutex<Option<Session>>,
    /// Held by whoever opens it.
    opening: tokio::sync::Mutex<()>,
    /// Why the session couldn't be opened, and when that is tried again, after how long a wait.
    closed: Mutex<Option<(String, Instant, Duration)>>,
    memory: Mutex<Memory>,
    troubles: Mutex<Troubles>,
}

/// What keeps the bot from hearing people.
#[derive(Default)]
struct Troubles {
    link: Option<String>,
    /// What keeps people from trusting the bot's device, or the bot from reading them.
    weakness: Option<String>,
    rooms: BTreeMap<RoomId, String>,
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
        let rooms: BTreeMap<RoomId, OwnedRoomId> = parts.rooms.iter().map(room).collect::<Result<_, _>>()?;
        let me = OwnedUserId::try_from(parts.user.as_str()).map_err(|_| Unusable::NoUser(parts.user.clone()))?;
        let mut memory = Memory::default();
        memory.unsure.extend(rooms.keys().cloned());
        Ok(Matrix(Arc::new(Inner {
            parts,
            rooms,
            me,
            session: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            closed: Mutex::default(),
            memory: Mutex::new(memory),
            troubles: Mutex::default(),
        })))
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    fn me(&self) -> &UserId {
        &self.0.me
    }

    fn memory(&self) -> &Mutex<Memory> {
        &self.0.memory
    }

    fn room_names(&self) -> impl Iterator<Item = &RoomId> {
        self.0.rooms.keys()
    }

    /// Whether an account is heard: neither the bot itself nor a bridge's puppet that nobody listed.
    fn hears(&self, user: &UserId) -> bool {
        let listed = || self.parts().people.values().flatten().any(|account| account == user.as_str());
        user != self.me() && (!read::is_puppet(user) || listed())
    }

    /// The session, which is opened if it isn't yet. After a failure it isn't tried again for a while.
    async fn session(&self) -> Result<Session, ChatError> {
        if let Some(session) = self.0.session() {
            return Ok(session);
        }
        if let Some((why, again, _)) = &*self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
            && *again > Instant::now()
        {
            return Err(ChatError::Unavailable(why.clone()));
        }
        let inner = self.0.clone();
        // A task of its own: whoever waits for it may give up, and half a login would leave a device behind.
        let opening = tokio::spawn(async move {
            let _opening = inner.opening.lock().await;
            if let Some(session) = inner.session() {
                return Ok(session);
            }
            let (session, weakness) = session::open(&inner.parts, &inner.me).await.inspect_err(|why| inner.failed(why))?;
            inner.weakness_is(weakness);
            inner.session_is(Some(session.clone()));
            Ok(session)
        });
        match opening.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(why)) => Err(ChatError::Unavailable(why)),
            Err(broken) => Err(ChatError::Unavailable(format!("opening the session broke: {broken}"))),
        }
    }

    /// The session has run out: the next one who needs it logs in again.
    fn session_ran_out(&self) {
        self.0.session_is(None);
    }

    /// When the session may be opened again.
    fn opens_again_at(&self) -> Instant {
        let closed = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.as_ref().map_or_else(Instant::now, |(_, again, _)| *again)
    }

    /// A room that the bot is in.
    async fn room(&self, name: &RoomId) -> Result<Room, ChatError> {
        let none = || ChatError::Unavailable(format!("the fleet file doesn't name the room `{name}`"));
        let id = self.0.rooms.get(name).ok_or_else(none)?;
        let session = self.session().await?;
        session::is_in(&session.client, id, self.me()).map_err(ChatError::Unavailable)
    }

    /// Why nothing is heard at the moment.
    fn deaf(&self) -> Option<String> {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).link.clone()
    }

    fn weakness(&self) -> Option<String> {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).weakness.clone()
    }

    fn weakness_is(&self, why: Option<String>) {
        self.0.weakness_is(why);
    }

    fn link_is(&self, why: Option<String>) {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).link = why;
    }

    /// Notes whether a room is well; says so when that has changed.
    fn room_is(&self, room: &RoomId, why: Option<String>) {
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &why {
            Some(why) => troubles.rooms.insert(room.clone(), why.clone()),
            None => troubles.rooms.remove(room),
        };
        match (before == why, why) {
            (true, _) => {}
            (false, Some(why)) => tracing::error!(%room, %why, "nothing is heard in the room"),
            (false, None) => tracing::info!(%room, "the room is well again"),
        }
    }
}

impl Inner {
    fn session(&self) -> Option<Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn session_is(&self, session: Option<Session>) {
        if session.is_some() {
            // The next trouble is a new one.
            *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    fn weakness_is(&self, why: Option<String>) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).weakness = why;
    }

    fn failed(&self, why: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = closed.as_ref().map_or(RETRY_FIRST, |(_, _, wait)| (*wait * 2).min(RETRY_LIMIT));
        tracing::error!(%why, retry_in = wait.as_secs(), "the session in Matrix can't be opened");
        *closed = Some((why.to_owned(), Instant::now() + wait, wait));
    }
}

#[async_trait]
impl Chat for Matrix {
    fn rooms(&self) -> Vec<RoomId> {
        self.room_names().cloned().collect()
    }

    async fn listen(&self, to: mpsc::Sender<ChatEvent>, since: Option<Timestamp>) -> Result<(), ChatError> {
        self.listen_from(to, BTreeMap::new(), since).await
    }

    async fn listen_from(
        &self,
        to: mpsc::Sender<ChatEvent>,
        marks: BTreeMap<RoomId, String>,
        since: Option<Timestamp>,
    ) -> Result<(), ChatError> {
        listen::listen(self, to, &marks, since).await;
        Ok(())
    }

    async fn post(&self, room: &RoomId, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        self.show(room, None, reply, key).await
    }

    async fn answer(&self, to: &MessageRef, _: Audience, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        self.show(&to.room, Some(to), reply, key).await
    }

    async fn edit(&self, message: &MessageRef, reply: &Reply, last: bool) -> Result<(), ChatError> {
        self.change(message, reply, last).await
    }

    fn keeps_details(&self) -> bool {
        true
    }

    async fn keep_beside(&self, message: &MessageRef, title: &str, file: &str, text: String) -> Result<(), ChatError> {
        self.keep_in_thread(message, title, file, text).await
    }

    async fn react(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError> {
        self.put_emoji(message, emoji).await
    }

    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        self.emojis(message).await
    }

    fn trouble(&self) -> Option<String> {
        let troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let rooms = troubles.rooms.iter().map(|(room, why)| format!("{room}: {why}"));
        let all: Vec<String> = troubles.link.clone().into_iter().chain(troubles.weakness.clone()).chain(rooms).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    async fn roles(&self, account: &Account) -> Result<BTreeSet<String>, ChatError> {
        self.powers(account).await
    }
}

fn account(user: &UserId) -> Account {
    Account(format!("{PLATFORM}{user}"))
}
