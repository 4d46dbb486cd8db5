//! The gateway: what happens in Discord, in order.
//!
//! serenity hands each event to a task of its own, and tasks overtake each other. So the gateway has a thread and a runtime to itself
//! that runs one task at a time, first come first served: there they can't. It also keeps serenity's busy loop, into which it
//! falls when the service closes with some codes, away from everybody else's timers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serenity::all::{
    ChannelId, ClientBuilder, ConnectionStage, Context, Event, GatewayError, GatewayIntents, Interaction, RawEventHandler,
    ShardManager,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::interactions::Desk;
use super::rest::Access;

/// How many events may wait. Those that are dropped are found by a look back.
const WAITING: usize = 4096;

/// How many sessions the bot leaves unused: whoever begins more than a thousand a day loses the token.
const SESSIONS_LEFT: u64 = 20;

/// How long the service may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(6);

/// How often it is looked whether the connection is there: serenity tells of some losses only.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What is needed without the privileged intent: who is mentioned is told the text.
const UNPRIVILEGED: GatewayIntents =
    GatewayIntents::GUILDS.union(GatewayIntents::GUILD_MESSAGES).union(GatewayIntents::GUILD_MESSAGE_REACTIONS);

/// Something that the gateway says.
pub(super) enum Heard {
    /// Something happened.
    Event(Box<Event>),
    /// Whether the connection is there now.
    IsThere(bool),
}

/// Why a connection ended for good.
#[derive(Debug)]
pub(super) enum Ended {
    /// The token isn't accepted.
    Token,
    /// The bot may not read what people write.
    Intent,
    /// Anything else.
    Other(String),
}

/// A connection to the gateway, which lasts until it ends for good: what can be mended is mended.
pub(super) struct Connection {
    /// What it says.
    pub heard: mpsc::Receiver<Heard>,
    /// How it ended.
    pub ended: oneshot::Receiver<Ended>,
    lost: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Connection {
    /// Opens one. `reads` says whether the bot asks for the text of messages that don't mention it.
    pub fn open(access: Access, reads: bool, desk: Desk) -> Connection {
        let (to, heard) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let (lost, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let ears = Ears { to, lost: lost.clone(), desk };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("discord".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let how = match runtime {
                Ok(runtime) => runtime.block_on(talk(access, reads, ears, stopped)),
                Err(error) => Ended::Other(format!("no runtime for it: {error}")),
            };
            // Nobody may want to know any more.
            let _ = end.send(how);
        });
        if let Err(error) = thread {
            tracing::error!(%error, "there is no thread for Discord's gateway");
        }
        Connection { heard, ended, lost, stop }
    }

    /// Whether events were dropped since this was asked.
    pub fn lost_some(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.stop.cancel();
        // It gives up by itself.
        let _ = self.ended.await;
    }
}

async fn talk(access: Access, reads: bool, ears: Ears, stop: CancellationToken) -> Ended {
    let http = match access.http() {
        Ok(http) => http,
        Err(error) => return Ended::Other(format!("there is no HTTP client: {error}")),
    };
    // Asked for here: serenity would go to the real one whenever this fails.
    let url = match http.get_bot_gateway().await {
        Ok(gateway) if gateway.session_start_limit.remaining < SESSIONS_LEFT => {
            let minutes = gateway.session_start_limit.reset_after / 60_000 + 1;
            return Ended::Other(format!("the bot has begun too many sessions today; Discord grants new ones in {minutes} min"));
        }
        Ok(gateway) => gateway.url,
        Err(error) => return Ended::Other(super::rest::trouble(&error)),
    };
    let intents = if reads { UNPRIVILEGED | GatewayIntents::MESSAGE_CONTENT } else { UNPRIVILEGED };
    let client = ClientBuilder::new_with_http(http, intents).raw_event_handler(ears.clone()).await;
    let mut client = match client {
        Ok(client) => client,
        Err(error) => return Ended::Other(super::rest::trouble(&error)),
    };
    *client.ws_url.lock().await = url;
    let shards = client.shard_manager.clone();
    tokio::select! {
        never = watch(&shards, &ears) => match never {},
        end = client.start() => match end {
            Ok(()) => Ended::Other("the connection ended".to_owned()),
            Err(serenity::Error::Gateway(GatewayError::InvalidAuthentication)) => Ended::Token,
            Err(serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents)) => Ended::Intent,
            Err(error) => Ended::Other(super::rest::trouble(&error)),
        },
        () = stop.cancelled() => {
            // With no connection there is nobody to say goodbye to, and serenity waits for ever.
            let _ = tokio::time::timeout(GOODBYE, shards.shutdown_all()).await;
            Ended::Other("stopped".to_owned())
        }
    }
}

/// Tells now and then whether the connection is there.
async fn watch(shards: &ShardManager, ears: &Ears) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // One that is begun anew isn't listed meanwhile.
        let is_there = shards.runners.lock().await.values().any(|shard| shard.stage == ConnectionStage::Connected);
        ears.pass(Heard::IsThere(is_there));
    }
}

/// The channel that an event is of, if it is of one; `None` = of the whole server.
fn channel(event: &Event) -> Option<ChannelId> {
    match event {
        Event::MessageCreate(event) => Some(event.message.channel_id),
        Event::MessageDelete(event) => Some(event.channel_id),
        Event::MessageDeleteBulk(event) => Some(event.channel_id),
        Event::ReactionAdd(event) => Some(event.reaction.channel_id),
        Event::ReactionRemove(event) => Some(event.reaction.channel_id),
        Event::ReactionRemoveAll(event) => Some(event.channel_id),
        Event::ReactionRemoveEmoji(event) => Some(event.reaction.channel_id),
        Event::ChannelDelete(event) => Some(event.channel.id),
        Event::InteractionCreate(event) => match &event.interaction {
            Interaction::Command(command) | Interaction::Autocomplete(command) => Some(command.channel_id),
            Interaction::Component(component) => Some(component.channel_id),
            _ => None,
        },
        _ => None,
    }
}

/// Passes on what serenity hears.
#[derive(Clone)]
struct Ears {
    to: mpsc::Sender<Heard>,
    lost: Arc<AtomicBool>,
    desk: Desk,
}

impl Ears {
    /// Never waits: a task that waits could be overtaken.
    fn pass(&self, heard: Heard) {
        if self.to.try_send(heard).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl RawEventHandler for Ears {
    async fn raw_event(&self, context: Context, event: Event) {
        if let Event::InteractionCreate(event) = &event {
            self.desk.answer(&context.http, &event.interaction);
        }
        // What is said elsewhere in the server must not take the place of what is said to the bot.
        let is_ours = channel(&event).is_some_and(|channel| self.desk.channels.contains(&channel));
        if is_ours || matches!(event, Event::Ready(_) | Event::Resumed(_)) {
            self.pass(Heard::Event(Box::new(event)));
        }
    }
}
