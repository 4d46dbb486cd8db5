//! Discord, through serenity.
//!
//! | file | what |
//! |---|---|
//! | `gateway` | what happens, in order |
//! | `rest` | what the bot asks for, and how that goes wrong |
//! | `listen` | from what happens to what the bot should know; what it missed is fetched |
//! | `room` | what was said in a channel, and what may have been missed |
//! | `snowflake` | when something was made |
//! | `interactions` | slash commands and buttons |
//! | `post` | messages that are posted once, and changed as often as Discord lets them be |
//! | `render` | a reply as content and an embed |
//! | `check` | what `shipmate check` says |
//!
//! A room is a channel, `discord:NUMBER`. A message's id is Discord's own number, which also says when it was written.

mod check;
mod gateway;
mod interactions;
mod listen;
mod post;
mod render;
mod rest;
mod room;
mod snowflake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serenity::all::{
    AutoArchiveDuration, Builder, ChannelId, CreateAttachment, CreateEmbed, CreateMessage, CreateThread, EditAttachments,
    EditMessage, GuildId, Http, MessageId, Nonce, ReactionType, UserId,
};
use tokio::sync::{OnceCell, mpsc};

pub use self::check::permissions;
use self::interactions::Desk;
use self::post::{Posts, mark};
use self::rest::{Access, about, trouble};
use super::menu::Menu;
use super::{Audience, Chat, ChatError, ChatEvent, Reply};
use crate::domain::message::{Account, MessageRef, RoomId};
use crate::domain::names::PersonName;
use crate::secret::Secret;

/// What rooms, accounts and roles of Discord begin with.
pub const PLATFORM: &str = "discord:";

/// The name of the file that has what a message can't hold.
const FILE: &str = "message.txt";

/// The longest name of a thread.
const THREAD_NAME: usize = 100;

/// How many messages Discord tells at once.
const PAGE: u8 = 100;

/// What a Discord is made from.
pub struct Parts {
    /// The bot's token.
    pub token: Secret,
    /// The rooms, `discord:NUMBER`.
    pub rooms: Vec<RoomId>,
    /// The rooms in which a webhook may announce builds.
    pub announcing: BTreeSet<RoomId>,
    /// What stands before a command, with the space after it if it is a name; a mention of the bot stands for it.
    pub prefix: String,
    /// A proxy that stands in for `https://discord.com` and minds the rate limits; `None` = the real one.
    pub api: Option<String>,
    /// Makes a client with deadlines.
    pub client: Arc<dyn Fn() -> reqwest::Result<reqwest::Client> + Send + Sync>,
    /// The people of the fleet file who have accounts in Discord, by their numbers.
    pub people: BTreeMap<PersonName, Vec<u64>>,
    /// The commands, for those who don't type them; `None` = there are no slash commands.
    pub menu: Option<Arc<dyn Menu>>,
    /// What time it is.
    pub now: fn() -> Timestamp,
}

/// Discord.
pub struct Discord {
    access: Access,
    http: Arc<Http>,
    people: BTreeMap<PersonName, Vec<u64>>,
    announcing: BTreeSet<RoomId>,
    channels: BTreeMap<RoomId, ChannelId>,
    prefix: String,
    now: fn() -> Timestamp,
    /// What keeps the bot from hearing people in single rooms.
    deaf: Mutex<BTreeMap<RoomId, String>>,
    me: OnceCell<UserId>,
    guilds: Mutex<BTreeMap<ChannelId, GuildId>>,
    posts: Posts,
    desk: Desk,
    trouble: Mutex<Option<String>>,
}

/// Why Discord can't be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A room's name that is no channel.
    #[error("`{0}` is no channel of Discord: it is `discord:NUMBER`, with the number that \"Copy Channel ID\" gives")]
    NoChannel(RoomId),
    /// The system's TLS can't be used.
    #[error("there is no HTTP client for Discord: {0}")]
    Client(#[from] reqwest::Error),
}

impl Discord {
    /// Makes one; nothing is asked yet.
    ///
    /// # Errors
    /// If a room is none of Discord's, or no client can be made.
    pub fn new(parts: Parts) -> Result<Discord, Unusable> {
        let channel = |room: RoomId| match id(room.0.strip_prefix(PLATFORM).unwrap_or_default()) {
            Some(number) => Ok((room, ChannelId::new(number))),
            None => Err(Unusable::NoChannel(room)),
        };
        let channels: BTreeMap<RoomId, ChannelId> = parts.rooms.into_iter().map(channel).collect::<Result<_, _>>()?;
        let desk = Desk { menu: parts.menu, channels: channels.values().copied().collect(), prefix: parts.prefix.clone() };
        let access = Access { token: parts.token, client: parts.client, pause: Arc::default(), api: parts.api };
        Ok(Discord {
            http: Arc::new(access.http()?),
            people: parts.people,
            announcing: parts.announcing,
            access,
            channels,
            prefix: parts.prefix,
            now: parts.now,
            deaf: Mutex::default(),
            me: OnceCell::new(),
            guilds: Mutex::default(),
            posts: Posts::new(),
            desk,
            trouble: Mutex::default(),
        })
    }

    fn channel(&self, room: &RoomId) -> Result<ChannelId, ChatError> {
        let none = || ChatError::Unavailable(format!("the bot isn't in the room `{room}`"));
        self.channels.get(room).copied().ok_or_else(none)
    }

    fn place(&self, message: &MessageRef) -> Result<(ChannelId, MessageId), ChatError> {
        let id = id(&message.id).ok_or_else(|| ChatError::Gone(message.clone()))?;
        Ok((self.channel(&message.room)?, MessageId::new(id)))
    }

    async fn me(&self) -> Result<UserId, ChatError> {
        let ask = async || self.http.get_current_user().await.map(|user| user.id);
        self.me.get_or_try_init(ask).await.copied().map_err(|error| ChatError::Unavailable(trouble(&error)))
    }

    /// The server that a channel is of.
    async fn guild(&self, channel: ChannelId) -> Result<GuildId, ChatError> {
        self.http_guild(channel).await.map_err(|error| ChatError::Unavailable(trouble(&error)))
    }

    async fn http_guild(&self, channel: ChannelId) -> serenity::Result<GuildId> {
        if let Some(known) = self.guilds.lock().unwrap_or_else(PoisonError::into_inner).get(&channel) {
            return Ok(*known);
        }
        let told = self.http.get_channel(channel).await?;
        let guild = told.guild().map(|channel| channel.guild_id);
        let guild = guild.ok_or(serenity::Error::Other("the channel is of no server"))?;
        self.guilds.lock().unwrap_or_else(PoisonError::into_inner).insert(channel, guild);
        Ok(guild)
    }

    /// Notes whether people are heard in a room; says so when that has changed.
    fn room_is(&self, room: &RoomId, deaf: Option<String>) {
        let mut rooms = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &deaf {
            Some(why) => rooms.insert(room.clone(), why.clone()),
            None => rooms.remove(room),
        };
        match (before == deaf, deaf) {
            (true, _) => {}
            (false, Some(why)) => tracing::error!(%room, %why, "people may not be heard in the channel"),
            (false, None) => tracing::info!(%room, "the channel is well again"),
        }
    }

    fn is_in_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

#[async_trait]
impl Chat for Discord {
    fn rooms(&self) -> Vec<RoomId> {
        self.channels.keys().cloned().collect()
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
        self.access.pause.over().await;
        let (channel, id) = self.place(message)?;
        if !last && !self.may_be_edited(id) {
            return Err(ChatError::TooOld(message.clone()));
        }
        let shown = render::shown(reply, self.server_of(channel, reply).await);
        let embed = (!shown.description.is_empty()).then(|| CreateEmbed::new().description(shown.description).colour(shown.colour));
        let mut edit = EditMessage::new()
            .content(shown.content)
            .embeds(embed.into_iter().collect())
            .components(interactions::buttons(&shown.offers));
        if let Some(whole) = shown.whole {
            // In place of the one that is there.
            edit = edit.attachments(EditAttachments::new().add(CreateAttachment::bytes(whole, FILE)));
        }
        match edit.execute(&self.http, (channel, id, None)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(about(message, &error)),
        }
    }

    fn keeps_details(&self) -> bool {
        true
    }

    async fn keep_beside(&self, message: &MessageRef, title: &str, file: &str, text: String) -> Result<(), ChatError> {
        self.access.pause.over().await;
        let (channel, id) = self.place(message)?;
        let title = render::cut(&super::text::clean(title), THREAD_NAME).0;
        let thread = CreateThread::new(title).auto_archive_duration(AutoArchiveDuration::OneDay);
        let mark = mark(&message.room, &format!("beside:{}", message.id));
        let (place, may_be_there) = match self.http.create_thread_from_message(channel, id, &thread, None).await {
            Ok(thread) => (thread.id, false),
            // It has the number of its message.
            Err(error) if rest::has_a_thread(&error) => (ChannelId::new(id.get()), true),
            Err(error) if rest::is_gone(&error) => return Err(ChatError::Gone(message.clone())),
            // Where the bot may make no threads the file stands in the channel.
            Err(error) if rest::is_refused(&error) => (channel, true),
            Err(error) => return Err(about(message, &error)),
        };
        if may_be_there && self.marked(place, &mark, id).await?.is_some() {
            return Ok(());
        }
        let kept = CreateMessage::new()
            .content(post::marked(&mark))
            .add_file(CreateAttachment::bytes(text, file))
            .nonce(Nonce::String(mark))
            .enforce_nonce(true);
        kept.execute(&self.http, (place, None)).await.map(drop).map_err(|error| match about(message, &error) {
            // It won't take it later either.
            ChatError::Unavailable(why) if rest::is_refused(&error) => ChatError::Refused(why),
            other => other,
        })
    }

    async fn react(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError> {
        self.access.pause.over().await;
        let (channel, id) = self.place(message)?;
        let emoji = ReactionType::Unicode(emoji.to_owned());
        self.http.create_reaction(channel, id, &emoji).await.map_err(|error| about(message, &error))
    }

    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        self.access.pause.over().await;
        let (channel, id) = self.place(message)?;
        let told = self.http.get_message(channel, id).await.map_err(|error| about(message, &error))?;
        let found = rest::reactions(&self.http, &told).await.map_err(|error| about(message, &error))?;
        Ok(found.into_iter().map(|(user, emoji)| (account(user.id), listen::plain(&emoji))).collect())
    }

    async fn roles(&self, account: &Account) -> Result<BTreeSet<String>, ChatError> {
        let Some(user) = account.0.strip_prefix(PLATFORM).and_then(id) else { return Ok(BTreeSet::new()) };
        self.access.pause.over().await;
        let mut guilds = BTreeSet::new();
        for channel in self.channels.values() {
            match self.http_guild(*channel).await {
                Ok(guild) => drop(guilds.insert(guild)),
                // A channel that is gone takes no roles away from those of other servers.
                Err(error) if rest::is_refused(&error) => {}
                Err(error) => return Err(ChatError::Unavailable(trouble(&error))),
            }
        }
        let mut roles = BTreeSet::new();
        for guild in guilds {
            match self.http.get_member(guild, UserId::new(user)).await {
                Ok(member) => roles.extend(member.roles.iter().map(|role| format!("{PLATFORM}{role}"))),
                // Not of this server.
                Err(error) if rest::is_unknown(&error) => {}
                Err(error) => return Err(ChatError::Unavailable(trouble(&error))),
            }
        }
        Ok(roles)
    }

    fn trouble(&self) -> Option<String> {
        let all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rooms = deaf.into_iter().map(|(room, why)| format!("{room}: {why}"));
        let pause =
            self.access.pause.end().map(|_| "Discord wants to be asked for nothing for a while: too much was asked".to_owned());
        let all: Vec<String> = all.into_iter().chain(rooms).chain(pause).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn account(user: UserId) -> Account {
    Account(format!("{PLATFORM}{user}"))
}

/// A number of Discord's: never 0.
fn id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number != 0)
}
