//! Posting: each message once, however often it is tried, and changed as often as Discord lets it be.
//!
//! Discord remembers a nonce for some minutes only. So each message ends with a mark of its key, and where one may stand that nobody
//! recorded (of an earlier life, or whose answer was lost) it is looked for before another is posted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serenity::all::{
    Builder, ChannelId, CreateAllowedMentions, CreateAttachment, CreateEmbed, CreateMessage, GetMessages, GuildId, Message,
    MessageId, MessageReference, MessageReferenceKind, Nonce, UserId,
};
use sha2::{Digest as _, Sha256};

use super::rest::{self, trouble};
use super::{Discord, FILE, PAGE, interactions, render, snowflake};
use crate::chat::{Block, ChatError, Place, Reply};
use crate::domain::message::{MessageRef, RoomId};

/// How many people one message calls at most.
const CALLED: usize = 5;

/// How many posts are remembered.
const POSTED: usize = 256;

/// How many pages of messages are looked through for one of its own.
const PAGES: usize = 10;

/// How far back a message of an earlier life is looked for when nobody said when that was.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// How long after the start a message of an earlier life may be shown again.
const UNSURE_FOR: Duration = Duration::from_secs(600);

/// From which age on a message is changed seldom, and how seldom: Discord's limit is an hour.
const OLD: SignedDuration = SignedDuration::from_mins(55);
const OLD_EVERY: Duration = Duration::from_secs(180);

/// What stands before the mark of a message.
const MARK: &str = "-# ref ";

/// What is remembered of messages that were posted.
pub(super) struct Posts {
    /// When this life began.
    began: Instant,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Since when there may be messages that an earlier life didn't record.
    begin: Option<MessageId>,
    /// The rooms in which this life has shown something.
    shown_in: BTreeSet<RoomId>,
    /// The marks of what was sent, or may have been, and isn't known to stand there.
    sending: BTreeSet<String>,
    /// What was posted last, by its mark: a key stays used when its message is deleted.
    posted: VecDeque<(String, MessageRef)>,
    /// When old messages were changed last.
    edited: BTreeMap<MessageId, Instant>,
}

impl Posts {
    pub fn new() -> Posts {
        Posts { began: Instant::now(), memory: Mutex::default() }
    }

    /// An earlier life may have shown something from this message on.
    pub fn begin_at(&self, message: MessageId) {
        self.memory().begin = Some(message);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn posted(&self, mark: &str) -> Option<MessageRef> {
        self.memory().posted.iter().find(|(known, _)| known == mark).map(|(_, message)| message.clone())
    }

    /// A message stands there.
    fn stands(&self, mark: String, message: &MessageRef) {
        let mut memory = self.memory();
        memory.sending.remove(&mark);
        memory.shown_in.insert(message.room.clone());
        memory.posted.push_front((mark, message.clone()));
        memory.posted.truncate(POSTED);
    }

    /// Whether a message with a mark may stand in a room that nobody recorded.
    fn is_unsure(&self, room: &RoomId, mark: &str) -> bool {
        let memory = self.memory();
        self.began.elapsed() < UNSURE_FOR || !memory.shown_in.contains(room) || memory.sending.contains(mark)
    }
}

impl Discord {
    /// Shows a reply, as an answer to a message if there is one.
    pub(super) async fn show(
        &self,
        room: &RoomId,
        to: Option<&MessageRef>,
        reply: &Reply,
        key: &str,
    ) -> Result<MessageRef, ChatError> {
        self.access.pause.over().await;
        let channel = self.channel(room)?;
        let mark = mark(room, key);
        if let Some(message) = self.posts.posted(&mark) {
            return Ok(message);
        }
        if self.posts.is_unsure(room, &mark)
            && let Some(found) = self.marked(channel, &mark, self.unrecorded_from()).await?
        {
            let message = MessageRef { room: room.clone(), id: found.to_string() };
            self.posts.stands(mark, &message);
            return Ok(message);
        }
        let shown = render::shown(reply, self.server_of(channel, reply).await);
        let called: Vec<UserId> = shown
            .calls
            .iter()
            .filter_map(|person| self.people.get(person))
            .flatten()
            .map(|id| UserId::new(*id))
            .take(CALLED)
            .collect();
        // Who is mentioned in an embed isn't called.
        let calls = called.iter().map(|user| format!("\n<@{user}>")).collect::<String>();
        let mut message = CreateMessage::new()
            .content(format!("{}{calls}{}", shown.content, marked(&mark)))
            .allowed_mentions(CreateAllowedMentions::new().users(called))
            .components(interactions::buttons(&shown.offers))
            .nonce(Nonce::String(mark.clone()))
            .enforce_nonce(true);
        if !shown.description.is_empty() {
            message = message.embed(CreateEmbed::new().description(shown.description).colour(shown.colour));
        }
        if let Some(whole) = shown.whole {
            message = message.add_file(CreateAttachment::bytes(whole, FILE));
        }
        if let Some((channel, id)) = to.and_then(|to| self.place(to).ok()) {
            let reference = MessageReference::new(MessageReferenceKind::Default, channel).message_id(id).fail_if_not_exists(false);
            message = message.reference_message(reference);
        }
        // Whoever waits for this may give up in the middle of it.
        self.posts.memory().sending.insert(mark.clone());
        match message.execute(&self.http, (channel, None)).await {
            Ok(message) => {
                let message = MessageRef { room: room.clone(), id: message.id.to_string() };
                self.posts.stands(mark, &message);
                Ok(message)
            }
            Err(error) => {
                if !rest::may_have_worked(&error) {
                    self.posts.memory().sending.remove(&mark);
                }
                Err(rest::failed(&error))
            }
        }
    }

    /// The server that a channel is of, if a reply leads to other messages of it; one whose links are missing is better than none.
    pub(super) async fn server_of(&self, channel: ChannelId, reply: &Reply) -> Option<GuildId> {
        let to_messages =
            |block: &Block| matches!(block, Block::Links(links) if links.iter().any(|link| matches!(link.to, Place::Message(_))));
        if reply.body.iter().any(to_messages) { self.guild(channel).await.ok() } else { None }
    }

    /// Whether a message may be changed now. Discord lets messages of more than an hour be changed seldom only, and whoever does it more often
    /// waits for long: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#json>, 30046.
    pub(super) fn may_be_edited(&self, message: MessageId) -> bool {
        let age = (self.now)().duration_since(snowflake::written_at(message));
        if age < OLD {
            return true;
        }
        let mut memory = self.posts.memory();
        memory.edited.retain(|_, at| at.elapsed() < OLD_EVERY);
        match memory.edited.entry(message) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(Instant::now());
                true
            }
        }
    }

    /// From which message on there may be some that an earlier life didn't record. What is older is of another store, whose keys may
    /// have been the same.
    fn unrecorded_from(&self) -> MessageId {
        let begin = self.posts.memory().begin;
        begin.unwrap_or_else(|| snowflake::first_at((self.now)() - LOOK_BACK))
    }

    /// The message with a mark, from another one on: Discord itself knows a nonce for some minutes only.
    pub(super) async fn marked(&self, channel: ChannelId, mark: &str, begin: MessageId) -> Result<Option<MessageId>, ChatError> {
        let me = self.me().await?;
        let end = marked(mark);
        let mut oldest = None;
        for _ in 0..PAGES {
            let page = GetMessages::new().limit(PAGE);
            let page = oldest.map_or(page, |oldest| page.before(oldest));
            let page = channel.messages(&self.http, page).await.map_err(|error| ChatError::Unavailable(trouble(&error)))?;
            let is_it =
                |message: &&Message| message.id >= begin && message.author.id == me && message.content.ends_with(end.trim_start());
            if let Some(found) = page.iter().find(is_it) {
                return Ok(Some(found.id));
            }
            oldest = page.iter().map(|message| message.id).min();
            if page.len() < usize::from(PAGE) || oldest.is_none_or(|oldest| oldest < begin) {
                break;
            }
        }
        Ok(None)
    }
}

/// The end of a message with a mark.
pub(super) fn marked(mark: &str) -> String {
    format!("\n{MARK}{mark}")
}

/// A mark that only posts with the same key have; as a nonce it may have 25 characters.
pub(super) fn mark(room: &RoomId, key: &str) -> String {
    hex::encode(&Sha256::digest(format!("{room} {key}"))[..8])
}
