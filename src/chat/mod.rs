//! The seam to the chats: what people say comes in as [`ChatEvent`]s, what the bot shows goes out as [`Reply`]s.
//!
//! A reply is structure, not markup: each adapter escapes all text and decides how a table looks. The one convention
//! inside a text is a pair of backticks around what people may type or copy.

mod board;
mod checked;
pub mod console;
#[cfg(feature = "discord")]
pub mod discord;
mod emoji;
mod input;
pub mod local;
#[cfg(feature = "matrix")]
pub mod matrix;
pub mod menu;
pub mod news;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::checked::Checked;
use crate::domain::message::{Account, Message, MessageRef, RoomId};
use crate::domain::names::PersonName;

/// What a chat tells the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// A person wrote something new.
    Message(Message),
    /// A person wrote something that can't be read, since it is encrypted and its key hasn't come. If it comes, the message does.
    Unreadable {
        /// Which message.
        message: MessageRef,
        /// Who.
        author: Account,
    },
    /// A person put an emoji to a message.
    Reacted {
        /// Which message.
        to: MessageRef,
        /// Who.
        author: Account,
        /// The emoji, without variation selectors.
        emoji: String,
    },
    /// A person took an emoji back from a message.
    Unreacted {
        /// Which message.
        to: MessageRef,
        /// Who.
        author: Account,
        /// The emoji, without variation selectors.
        emoji: String,
    },
    /// A webhook wrote something new, in a room where it may announce builds.
    Announced {
        /// Which message.
        message: MessageRef,
        /// What it says.
        text: String,
    },
    /// A message is gone, whoever removed it.
    Deleted {
        /// Which.
        message: MessageRef,
    },
    /// The chat is there, for the first time or after a gap: reactions may have come and gone meanwhile. Sent for each room
    /// before anything else of it.
    Connected {
        /// Which room.
        room: RoomId,
    },
    /// More was written while nobody listened than is read back.
    NotRead {
        /// Where.
        room: RoomId,
        /// What was written before this is never passed on.
        before: Timestamp,
    },
    /// All of a room up to this point was passed on: whoever listens next may go on from there. Chats that don't know such points
    /// never say it.
    UpTo {
        /// Which room.
        room: RoomId,
        /// The platform's own word for the point.
        mark: String,
    },
    /// The people were there and have gone for good (end of the terminal's input): the bot does what they said, and ends. A chat
    /// in which nobody ever was just ends its listener.
    Closed,
}

/// How a reply feels; adapters turn it into colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Plain information.
    Info,
    /// Something is going on.
    Busy,
    /// Good news.
    Good,
    /// People should look.
    Warning,
    /// Bad news.
    Bad,
}

/// A part of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Block {
    /// One line of text; `code` in backticks is the only markup.
    Line(String),
    /// A table with a header.
    Table {
        /// The column names.
        header: Vec<String>,
        /// The rows, each as long as the header.
        rows: Vec<Vec<String>>,
    },
    /// The output of a program, shown as it is and without any markup.
    Output(String),
    /// What people may do about it, for chats that have buttons; a text says it anyway.
    Offers(Vec<Offer>),
    /// Whom it means to call, for chats that can; a text names them anyway.
    Calls(Vec<PersonName>),
    /// Where there is more about it. A text shows addresses, and says of other messages what they are about anyway.
    Links(Vec<Link>),
}

/// A place with more about what a reply says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// What is there, in some words.
    pub label: String,
    /// Where it is.
    pub to: Place,
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A page: `https://` or `http://` and visible ASCII.
    Page(String),
    /// A message of the same room.
    Message(MessageRef),
}

/// Something that people may do about what a reply says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The emoji that says the same.
    pub emoji: String,
    /// One or two words.
    pub label: String,
    /// The command that says the same, without the prefix.
    pub command: String,
}

/// What the bot shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// How it feels.
    pub tone: Tone,
    /// The first line, which says it all.
    pub title: String,
    /// The rest.
    pub body: Vec<Block>,
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever wrote the message; others may see it.
    Author,
    /// Everybody in the room.
    Room,
}

/// What became of something that a person wrote, or of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// Nothing: it is none of the bot's business.
    Ignored,
    /// It was answered, and that was all.
    Answered,
    /// It was refused, and the answer says why.
    Refused,
    /// It started a deployment, whose messages are the answer; how that ends is told later.
    Started,
    /// The deployment succeeded.
    Succeeded,
    /// The deployment didn't: all is as before, or it is stuck.
    Failed,
}

/// Why a chat did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The service does not answer; trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The message isn't there any more.
    #[error("the message {0:?} is gone")]
    Gone(MessageRef),
    /// The chat doesn't take such a message, however often it is tried.
    #[error("{0}")]
    Refused(String),
    /// The message is so old that it can't be changed as often as it should be.
    #[error("the message {0:?} is too old to be changed this often")]
    TooOld(MessageRef),
}

/// A chat service.
///
/// It passes on what people do and nothing else: the messages and reactions of bots and webhooks, the bot's own among them, are
/// never heard and never counted, but for announcements where the fleet file wants them.
#[async_trait]
pub trait Chat: Send + Sync {
    /// The rooms that it serves.
    fn rooms(&self) -> Vec<RoomId>;

    /// Passes on what people do, each once and in order, until the receiver or the chat closes. A chat that keeps messages passes on
    /// too what was written after `since`, while nobody listened; the bot knows what it heard before. `None` = from now on.
    async fn listen(&self, to: mpsc::Sender<ChatEvent>, since: Option<Timestamp>) -> Result<(), ChatError>;

    /// The same after a life in which the chat told with [`ChatEvent::UpTo`] how far it had come in some rooms: what was written
    /// there after these `marks` is passed on, whatever it says of its time. `since` is for the other rooms, and for those whose
    /// mark the service doesn't know any more.
    async fn listen_from(
        &self,
        to: mpsc::Sender<ChatEvent>,
        _marks: BTreeMap<RoomId, String>,
        since: Option<Timestamp>,
    ) -> Result<(), ChatError> {
        self.listen(to, since).await
    }

    /// Shows a reply. The same `key` is never shown twice, even when the bot died between showing it and noting that.
    async fn post(&self, room: &RoomId, reply: &Reply, key: &str) -> Result<MessageRef, ChatError>;

    /// Shows a reply that belongs to a message; otherwise as [`post`](Chat::post), which is all that most chats do.
    async fn answer(&self, to: &MessageRef, _whom: Audience, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        self.post(&to.room, reply, key).await
    }

    /// Tells what became of a message, or of the newest reaction to one of the bot's, once all that belongs to it has been
    /// shown. Chats whose people are programs pass it on; it must not wait for them.
    async fn became(&self, _message: &MessageRef, _what: Became) {}

    /// Changes a reply in place. `last` says that it is the message's final state.
    async fn edit(&self, message: &MessageRef, reply: &Reply, last: bool) -> Result<(), ChatError>;

    /// Whether it has a place for details beside messages: elsewhere they are asked for.
    fn keeps_details(&self) -> bool {
        false
    }

    /// Keeps the details of what a message shows beside it, as a file, where the chat has a place for them. They are kept once, however
    /// often that is tried.
    async fn keep_beside(&self, _message: &MessageRef, _title: &str, _file: &str, _text: String) -> Result<(), ChatError> {
        Ok(())
    }

    /// Puts an emoji to a message, once.
    async fn react(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError>;

    /// Which people have which emoji at a message now.
    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError>;

    /// Whether its messages and the reactions to them end with this process. Then a message that is gone says nothing of what people
    /// want; elsewhere somebody deleted it.
    fn forgets(&self) -> bool {
        false
    }

    /// What keeps it from hearing people, if something does; what keeps it from showing something is the error of that.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// The platform's own roles of an account, by id with the platform in front: `discord:1234`. Asked anew whenever a vote is
    /// counted. A platform without roles has none to tell.
    async fn roles(&self, _account: &Account) -> Result<BTreeSet<String>, ChatError> {
        Ok(BTreeSet::new())
    }
}
