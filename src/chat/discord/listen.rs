//! From what happens in Discord to what the bot should know.
//!
//! One task does it all. Discord doesn't tell strictly in order, so what people write waits a moment for what was written before it.
//! Whenever a connection is new, what may have been missed is fetched before anything else is passed on, and the bot is told that the
//! room is there: it looks at the emojis itself. What comes twice is passed on once.

mod missed;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serenity::all::{
    ChannelId, Event, GetMessages, Interaction, Message as Said, MessageId, MessageType, Reaction, ReactionType, UserId,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::gateway::{Connection, Ended, Heard};
use super::rest::{self, trouble};
use super::room::Room;
use super::snowflake::{first_at, written_at};
use super::{Discord, account, interactions};
use crate::chat::ChatEvent;
use crate::domain::message::{Message, MessageRef, RoomId};

/// How long a lost connection may take to come back before anybody is told, and before another one is opened: serenity begins a
/// session every five seconds, for ever.
const PATIENCE: Duration = Duration::from_secs(30);
const GIVE_UP: Duration = Duration::from_secs(120);

const UNREACHED: &str = "Discord's gateway can't be reached";

/// How long to wait before the gateway is tried again, and at most: a thousand tries a day end the token's life.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LIMIT: Duration = Duration::from_secs(300);

/// How many sessions may begin, in which time, before the bot waits.
const SESSIONS: usize = 5;
const SESSIONS_WITHIN: Duration = Duration::from_secs(300);

/// How long Discord may take for what the listener waits for, its limits included.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How far back missed messages are fetched. Nobody waits for an answer to what is older.
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How often it is looked whether the channels can be read.
const CHECK_EVERY: Duration = Duration::from_secs(300);

/// When the slash commands are offered again that Discord didn't take.
const OFFER_AGAIN: Duration = Duration::from_secs(15);

/// How many messages of a room, and how many reactions, are remembered so that none is passed on twice.
pub(super) const REMEMBERED: usize = 4096;

/// Listens until nobody wants to hear any more. The marks are the numbers of messages.
pub(super) async fn listen(
    discord: &Discord,
    to: mpsc::Sender<ChatEvent>,
    marks: &BTreeMap<RoomId, String>,
    since: Option<Timestamp>,
) {
    let now = (discord.now)();
    let begin = first_at(since.unwrap_or(now));
    discord.posts.begin_at(begin);
    let oldest = first_at(now - LONGEST_GAP);
    let room = |name: &RoomId| {
        let mark = marks.get(name).and_then(|mark| mark.parse().ok()).map(MessageId::new);
        Room::new(name.clone(), mark.map_or(begin, Room::before), oldest)
    };
    let rooms = discord.channels.iter().map(|(name, channel)| (*channel, room(name))).collect();
    let mut ears = Ears { discord, to, rooms, held: BTreeMap::new(), reacted: BTreeMap::new(), me: None };
    let (mut reads, mut retry) = (true, RETRY_FIRST);
    loop {
        let connection = Connection::open(discord.access.clone(), reads, discord.desk.clone());
        let why = match ears.hear(connection, reads).await {
            Some((why, was_there)) => {
                if was_there {
                    retry = RETRY_FIRST;
                }
                why
            }
            None => return,
        };
        let why = match why {
            Ended::Token => "Discord doesn't accept the bot's token: set SHIPMATE_DISCORD_TOKEN to the newest one".to_owned(),
            Ended::Intent if reads => {
                reads = false;
                "the bot may not read messages".to_owned()
            }
            Ended::Intent => "Discord doesn't let the bot listen at all".to_owned(),
            Ended::Other(why) => why,
        };
        tracing::error!(%why, retry_in = retry.as_secs(), "the connection to Discord ended");
        discord.is_in_trouble(Some(why));
        tokio::select! {
            () = tokio::time::sleep(retry) => retry = (retry * 2).min(RETRY_LIMIT),
            () = ears.to.closed() => return,
        }
    }
}

struct Ears<'a> {
    discord: &'a Discord,
    to: mpsc::Sender<ChatEvent>,
    rooms: BTreeMap<ChannelId, Room>,
    /// What was said and waits for what was said before it, with the time at which it was told.
    held: BTreeMap<ChannelId, BTreeMap<MessageId, (Instant, Said)>>,
    /// Which reactions are there, as far as it was told since the last gap.
    reacted: BTreeMap<(MessageId, UserId, String), bool>,
    me: Option<UserId>,
}

impl Ears<'_> {
    /// Hears a connection to its end: why it ended, and whether it ever was there. `None` = nobody listens any more.
    async fn hear(&mut self, mut connection: Connection, reads: bool) -> Option<(Ended, bool)> {
        let mut was_there = false;
        let mut lost_since = Some(Instant::now());
        let mut complained = false;
        let mut fetch_at: Option<Instant> = None;
        let mut offer_at: Option<Instant> = None;
        let mut sessions = Sessions::default();
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            let complains_at = lost_since.filter(|_| !complained).map(|since| since + PATIENCE);
            let gives_up_at = lost_since.map(|since| since + GIVE_UP);
            let order_at = self.order_at();
            let heard = tokio::select! {
                () = self.to.closed() => {
                    connection.close().await;
                    return None;
                }
                heard = connection.heard.recv() => heard,
                () = at(complains_at) => {
                    tracing::warn!(why = UNREACHED, "nothing is heard");
                    self.discord.is_in_trouble(Some(UNREACHED.to_owned()));
                    complained = true;
                    continue;
                }
                () = at(gives_up_at) => {
                    connection.close().await;
                    return Some((Ended::Other(UNREACHED.to_owned()), false));
                }
                () = sleep_until(check_at), if was_there && lost_since.is_none() => {
                    check_at = Instant::now() + CHECK_EVERY;
                    // A connection may be dead without a word.
                    if !self.check().await {
                        connection.close().await;
                        return Some((Ended::Other("Discord's gateway doesn't tell what is written".to_owned()), true));
                    }
                    continue;
                }
                () = at(offer_at), if lost_since.is_none() => {
                    offer_at = self.offer().await;
                    continue;
                }
                () = at(order_at) => {
                    self.pass_held(None).await;
                    continue;
                }
                () = at(fetch_at) => {
                    fetch_at = self.catch_up().await;
                    continue;
                }
            };
            if connection.lost_some() {
                tracing::warn!("too much at once in Discord; what was passed over is fetched");
                self.rooms.values_mut().for_each(Room::falls_behind);
                fetch_at = Some(Instant::now());
            }
            match heard {
                Some(Heard::Event(event)) => match *event {
                    Event::Ready(event) => {
                        if sessions.are_too_many(Instant::now()) {
                            connection.close().await;
                            return Some((Ended::Other("Discord ends each session at once".to_owned()), false));
                        }
                        self.me = Some(event.ready.user.id);
                        self.discord.http.set_application_id(event.ready.application.id);
                        if !was_there {
                            offer_at = Some(Instant::now());
                        }
                        (lost_since, complained, was_there) = (None, false, true);
                        fetch_at = self.is_there(reads).await;
                    }
                    Event::Resumed(_) => {
                        (lost_since, complained) = (None, false);
                        fetch_at = self.is_there(reads).await;
                    }
                    event => self.happened(event).await,
                },
                // What was seen before it was there, and told after it, doesn't count for long.
                Some(Heard::IsThere(true)) if was_there && !complained => lost_since = None,
                Some(Heard::IsThere(true)) => {}
                Some(Heard::IsThere(false)) => lost_since = lost_since.or_else(|| Some(Instant::now())),
                None => {
                    let why = (&mut connection.ended).await.unwrap_or(Ended::Other("its thread broke".to_owned()));
                    return Some((why, was_there));
                }
            }
        }
    }

    /// Offers the slash commands; when that is tried again.
    async fn offer(&self) -> Option<Instant> {
        // The limits may let it wait for long, and nobody hears anything meanwhile.
        let offered = matches!(timeout(ANSWER_WITHIN, interactions::register(self.discord)).await, Ok(true));
        (!offered).then(|| Instant::now() + OFFER_AGAIN)
    }

    /// The connection is there, for the first time or again; when more is fetched of what was missed.
    async fn is_there(&mut self, reads: bool) -> Option<Instant> {
        let deaf = "the bot reads only messages that mention it: switch on the Message Content Intent in Discord's developer portal (Bot, \
                    Privileged Gateway Intents) and restart it";
        self.discord.is_in_trouble((!reads).then(|| deaf.to_owned()));
        self.rooms.values_mut().for_each(Room::falls_behind);
        self.catch_up().await
    }

    /// Looks whether the channels can be read: who may no longer isn't told. Whether nothing is missing of what was written.
    async fn check(&self) -> bool {
        let mut all = true;
        for (channel, room) in &self.rooms {
            let newest = channel.messages(&self.discord.http, GetMessages::new().limit(1));
            match timeout(ANSWER_WITHIN, newest).await {
                Ok(Ok(newest)) => {
                    if !room.is_behind() {
                        self.discord.room_is(&room.name, None);
                    }
                    all &= !newest.iter().any(|said| room.has_missed(said.id, (self.discord.now)()));
                }
                Err(_) => {}
                Ok(Err(error)) if rest::is_refused(&error) => self.discord.room_is(&room.name, Some(trouble(&error))),
                // The service is ill, which is said elsewhere.
                Ok(Err(_)) => {}
            }
        }
        all
    }

    async fn happened(&mut self, event: Event) {
        match event {
            Event::MessageCreate(event) => {
                let (said, now) = (event.message, Instant::now());
                self.held.entry(said.channel_id).or_default().entry(said.id).or_insert((now, said));
            }
            Event::ChannelDelete(event) => {
                if let Some(room) = self.rooms.get(&event.channel.id) {
                    self.discord
                        .room_is(&room.name, Some("the channel was deleted: name another one in the fleet file".to_owned()));
                }
            }
            Event::ReactionAdd(event) => {
                let by_bot = event.reaction.member.as_ref().is_some_and(|member| member.user.bot);
                if !by_bot {
                    self.reacted(event.reaction, true).await;
                }
            }
            Event::ReactionRemove(event) => self.reacted(event.reaction, false).await,
            Event::MessageDelete(event) => self.deleted(event.channel_id, event.message_id).await,
            Event::MessageDeleteBulk(event) => {
                for message in event.ids {
                    self.deleted(event.channel_id, message).await;
                }
            }
            Event::InteractionCreate(event) => self.used(event.interaction).await,
            // Somebody took all of an emoji, or all emojis, away: what is there now is looked at.
            Event::ReactionRemoveAll(event) => self.look_again(event.channel_id).await,
            Event::ReactionRemoveEmoji(event) => self.look_again(event.reaction.channel_id).await,
            _ => {}
        }
    }

    async fn said(&mut self, said: Said) {
        let Some(room) = self.rooms.get_mut(&said.channel_id) else { return };
        let is_person = !said.author.bot && said.webhook_id.is_none();
        let is_new = room.is_new(said.id);
        if is_new && is_of_a_webhook(&said) && self.discord.announcing.contains(&room.name) {
            let message = MessageRef { room: room.name.clone(), id: said.id.to_string() };
            return self.pass(ChatEvent::Announced { message, text: written(&said) }).await;
        }
        if !is_new || !is_person || !matches!(said.kind, MessageType::Regular | MessageType::InlineReply) {
            return;
        }
        let at = MessageRef { room: room.name.clone(), id: said.id.to_string() };
        let Some(text) = spoken(&said.content, self.me, &self.discord.prefix) else { return };
        let message = Message { at, author: account(said.author.id), text, received: written_at(said.id), doubt: None };
        self.pass(ChatEvent::Message(message)).await;
    }

    /// A slash command or a button: the line that it stands for is said by whoever used it.
    async fn used(&mut self, interaction: Interaction) {
        let Some((channel, by, text)) = self.discord.desk.line(&interaction) else { return };
        self.pass_held(Some(channel)).await;
        let Some(room) = self.rooms.get(&channel) else { return };
        let id = MessageId::new(interaction.id().get());
        let at = MessageRef { room: room.name.clone(), id: id.to_string() };
        let message = Message { at, author: account(by), text, received: written_at(id), doubt: None };
        self.pass(ChatEvent::Message(message)).await;
    }

    async fn reacted(&mut self, reaction: Reaction, there: bool) {
        self.pass_held(Some(reaction.channel_id)).await;
        let (Some(room), Some(user)) = (self.rooms.get(&reaction.channel_id), reaction.user_id) else { return };
        let ReactionType::Unicode(emoji) = &reaction.emoji else { return };
        if Some(user) == self.me {
            return;
        }
        let (to, emoji) = (MessageRef { room: room.name.clone(), id: reaction.message_id.to_string() }, plain(emoji));
        if self.reacted.len() >= REMEMBERED {
            self.reacted.clear();
        }
        if self.reacted.insert((reaction.message_id, user, emoji.clone()), there) == Some(there) {
            // It was told again, or another one of this person's in between was told in the wrong order: whoever wants to know looks.
            return self.look_again(reaction.channel_id).await;
        }
        let author = account(user);
        self.pass(if there { ChatEvent::Reacted { to, author, emoji } } else { ChatEvent::Unreacted { to, author, emoji } }).await;
    }

    async fn deleted(&mut self, channel: ChannelId, message: MessageId) {
        self.pass_held(Some(channel)).await;
        let Some(room) = self.rooms.get(&channel) else { return };
        let message = MessageRef { room: room.name.clone(), id: message.to_string() };
        self.pass(ChatEvent::Deleted { message }).await;
    }

    async fn look_again(&mut self, channel: ChannelId) {
        let Some(room) = self.rooms.get(&channel) else { return };
        let room = room.name.clone();
        self.reacted.clear();
        self.pass(ChatEvent::Connected { room }).await;
    }

    async fn pass(&self, event: ChatEvent) {
        // If nobody hears any more, that is noticed by those who wait.
        let _ = self.to.send(event).await;
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// When new sessions were begun.
#[derive(Default)]
struct Sessions(Vec<Instant>);

impl Sessions {
    /// Another one is begun; whether that is too much.
    fn are_too_many(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < SESSIONS_WITHIN);
        self.0.push(now);
        self.0.len() > SESSIONS
    }
}

/// What a person said to the bot: with the prefix where they mentioned it. `None` = it is a quote or code, and no command.
fn spoken(content: &str, me: Option<UserId>, prefix: &str) -> Option<String> {
    let content = content.trim_start();
    if content.starts_with(['`', '>']) {
        return None;
    }
    let mentioned = me.and_then(|me| {
        let rest = content.strip_prefix("<@")?;
        let rest = rest.strip_prefix('!').unwrap_or(rest);
        rest.strip_prefix(&me.to_string())?.strip_prefix('>')
    });
    Some(mentioned.map_or_else(|| content.to_owned(), |rest| format!("{prefix}{}", rest.trim_start())))
}

/// Whether a webhook wrote it that people made in the channel. An application's answer to a slash command looks like one too, and
/// says whatever its user typed.
fn is_of_a_webhook(said: &Said) -> bool {
    #[allow(deprecated)]
    let answers = said.interaction.is_some() || said.interaction_metadata.is_some();
    said.webhook_id.is_some() && said.application_id.is_none() && !answers && said.kind == MessageType::Regular
}

/// All that a webhook wrote: CIs like embeds.
fn written(said: &Said) -> String {
    let embeds = said.embeds.iter().flat_map(|embed| [embed.title.as_deref(), embed.description.as_deref()]).flatten();
    std::iter::once(said.content.as_str()).chain(embeds).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// An emoji without variation selectors.
pub(super) fn plain(emoji: &str) -> String {
    emoji.chars().filter(|c| *c != '\u{fe0f}').collect()
}

#[cfg(test)]
mod tests;
