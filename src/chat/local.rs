//! A chat over a Unix socket in the store's folder, for people on the bot's own machine: it works when no chat service does.
//!
//! Who speaks is not said but known: the system tells whose process is at the other end, and the account is `local:NAME` with
//! the name of that user. The socket is open to the folder's owner and group, as far as the folder lets them in; `door` has more.
//!
//! Both sides write one JSON object a line, the bot first: [`wire`] has them all. A client's line is taken as a message or a
//! reaction, or is found wrong, and told so in order. What answers a message goes to whoever wrote it; the bot's other messages
//! and their changes go to all clients. A message lives as long as the bot: with nobody connected it is taken and not shown to
//! anybody, and is no trouble.
//!
//! A client that doesn't read is dropped as soon as its queue is full: it can hold up neither the bot nor the others. Connections,
//! lines, queues and remembered messages all have a limit.

mod client;
mod desk;
mod door;
pub mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::door::{OpenError, socket, system_user};

use self::client::Hall;
use self::desk::Desk;
use super::{Audience, Became, Chat, ChatError, ChatEvent, Reply};
use crate::domain::message::{Account, MessageRef, RoomId};

/// The name of the one room.
pub const ROOM: &str = "local";

/// How many things that clients said may wait for the bot; then clients wait.
const EVENTS: usize = 64;

/// The chat on the bot's own machine.
pub struct Local {
    room: RoomId,
    path: PathBuf,
    desk: Arc<Mutex<Desk>>,
    said: tokio::sync::Mutex<Option<mpsc::Receiver<ChatEvent>>>,
    /// Closes the door and all connections when it is dropped.
    _open: DropGuard,
}

impl Local {
    /// Opens the socket in the store's folder, where no other bot may live: what a dead one left there is taken over.
    /// `names` tells a user's name by the system's number. To be called inside of a tokio runtime.
    ///
    /// # Errors
    /// When there can be no socket, or something else has its name; says what to do.
    pub fn open(
        store: &Path,
        names: impl Fn(u32) -> Option<String> + Send + Sync + 'static,
        now: fn() -> Timestamp,
    ) -> Result<Local, OpenError> {
        let path = socket(store);
        let listener = door::open(&path)?;
        let room = RoomId(ROOM.to_owned());
        let desk = Arc::new(Mutex::new(Desk::new(room.clone(), now())));
        let (events, said) = mpsc::channel(EVENTS);
        let open = CancellationToken::new();
        let hall = Hall { desk: desk.clone(), names: Box::new(names), events, now, open: open.clone() };
        tokio::spawn(door::welcome(listener, Arc::new(hall)));
        Ok(Local { room, path, desk, said: tokio::sync::Mutex::new(Some(said)), _open: open.drop_guard() })
    }

    /// Takes the socket away. To be called while no other bot can have the store, so that it can't be another one's.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn close(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    fn has(&self, room: &RoomId) -> Result<(), ChatError> {
        let no = || ChatError::Unavailable(format!("the local chat has no room `{room}`"));
        if *room == self.room { Ok(()) } else { Err(no()) }
    }

    fn desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        work(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Chat for Local {
    fn forgets(&self) -> bool {
        true
    }

    fn rooms(&self) -> Vec<RoomId> {
        vec![self.room.clone()]
    }

    async fn listen(&self, to: mpsc::Sender<ChatEvent>, _: Option<Timestamp>) -> Result<(), ChatError> {
        let Some(mut said) = self.said.lock().await.take() else {
            return Err(ChatError::Unavailable("somebody listens to the local chat already".to_owned()));
        };
        let mut event = Some(ChatEvent::Connected { room: self.room.clone() });
        while let Some(next) = event {
            if to.send(next).await.is_err() {
                break;
            }
            event = tokio::select! {
                event = said.recv() => event,
                () = to.closed() => None,
            };
        }
        Ok(())
    }

    async fn post(&self, room: &RoomId, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        self.has(room)?;
        Ok(self.desk(|desk| desk.post(None, Audience::Room, reply, key)))
    }

    async fn answer(&self, to: &MessageRef, whom: Audience, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        self.has(&to.room)?;
        Ok(self.desk(|desk| desk.post(Some(to), whom, reply, key)))
    }

    async fn became(&self, message: &MessageRef, what: Became) {
        self.desk(|desk| desk.became(message, what));
    }

    async fn edit(&self, message: &MessageRef, reply: &Reply, last: bool) -> Result<(), ChatError> {
        self.desk(|desk| desk.edit(message, reply, last)).ok_or_else(|| ChatError::Gone(message.clone()))
    }

    async fn react(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError> {
        self.desk(|desk| desk.react_ourselves(message, emoji)).ok_or_else(|| ChatError::Gone(message.clone()))
    }

    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        self.desk(|desk| desk.reactions(message)).ok_or_else(|| ChatError::Gone(message.clone()))
    }
}
