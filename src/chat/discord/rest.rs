//! What the bot asks Discord for, and how that goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serenity::all::{ChannelId, Http, HttpBuilder, HttpError, LightMethod, Message, MessageId, ReactionType, Request, Route, User};
use serenity::builder::CreateAllowedMentions;
use tokio::time::{Instant, sleep_until};

use crate::chat::ChatError;
use crate::domain::message::MessageRef;
use crate::secret::Secret;

/// How many people Discord tells at once.
const PAGE: usize = 100;

/// What is wrong with a request, in Discord's numbers: <https://docs.discord.com/developers/topics/opcodes-and-status-codes>.
mod code {
    pub const UNKNOWN_CHANNEL: isize = 10_003;
    pub const UNKNOWN_MESSAGE: isize = 10_008;
    pub const TOO_MANY_EDITS_OF_OLD: isize = 30_046;
    pub const MISSING_ACCESS: isize = 50_001;
    pub const HAS_A_THREAD: isize = 160_004;
    pub const MISSING_PERMISSIONS: isize = 50_013;
}

/// Where Discord is, and who asks.
#[derive(Clone)]
pub(super) struct Access {
    /// The bot's token.
    pub token: Secret,
    /// A client with deadlines; each runtime has its own, since connections belong to one.
    pub client: Arc<dyn Fn() -> reqwest::Result<reqwest::Client> + Send + Sync>,
    /// When Discord wants nothing at all for a while.
    pub pause: Arc<Pause>,
    /// A proxy that stands in for `https://discord.com` and minds the rate limits; `None` = the real one, and serenity minds them.
    pub api: Option<String>,
}

impl Access {
    pub fn http(&self) -> reqwest::Result<Http> {
        let builder = HttpBuilder::new(self.token.expose())
            .client((self.client)()?)
            // Nobody is called but by name.
            .default_allowed_mentions(CreateAllowedMentions::new());
        let mut http = match &self.api {
            // With its limiter on, serenity passes the proxy over.
            Some(api) => builder.proxy(api).ratelimiter_disabled(true).build(),
            None => builder.build(),
        };
        if let Some(limiter) = &mut http.ratelimiter {
            let pause = self.pause.clone();
            // serenity holds up the one request that was told, and none of the others.
            limiter.set_ratelimit_callback(Box::new(move |limit| {
                if limit.global {
                    pause.begin(limit.timeout);
                }
            }));
        }
        Ok(http)
    }
}

/// A time in which nothing is asked for, since the bot has asked for too much altogether.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    fn begin(&self, for_so_long: Duration) {
        tracing::warn!(seconds = for_so_long.as_secs_f64(), "Discord wants to be asked for nothing for a while");
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = (*end).max(Some(Instant::now() + for_so_long));
    }

    /// When it ends, if it lasts.
    pub fn end(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).filter(|end| *end > Instant::now())
    }

    /// Waits for its end.
    pub async fn over(&self) {
        if let Some(end) = self.end() {
            sleep_until(end).await;
        }
    }
}

/// What went wrong with a message, for those who asked for it.
pub(super) fn about(message: &MessageRef, error: &serenity::Error) -> ChatError {
    match number(error) {
        Some(code::UNKNOWN_MESSAGE) => ChatError::Gone(message.clone()),
        Some(code::TOO_MANY_EDITS_OF_OLD) => ChatError::TooOld(message.clone()),
        _ => failed(error),
    }
}

/// What came of a request that failed, whatever it was about.
pub(super) fn failed(error: &serenity::Error) -> ChatError {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) if answer.status_code.as_u16() == 400 => {
            ChatError::Refused(trouble(error))
        }
        _ => ChatError::Unavailable(trouble(error)),
    }
}

/// What went wrong, and how to mend it.
pub(super) fn trouble(error: &serenity::Error) -> String {
    let serenity::Error::Http(http) = error else { return format!("Discord: {error}") };
    match http {
        HttpError::UnsuccessfulRequest(answer) => match (answer.error.code, answer.status_code.as_u16()) {
            (_, 401) => "Discord doesn't accept the bot's token: set SHIPMATE_DISCORD_TOKEN to the newest one".to_owned(),
            (code::UNKNOWN_CHANNEL, _) => "Discord has no such channel: it was deleted, or its number is wrong".to_owned(),
            (code::MISSING_ACCESS, _) => {
                "Discord doesn't let the bot see the channel: give it the permission View Channel there".to_owned()
            }
            (code::MISSING_PERMISSIONS, _) => {
                "Discord doesn't let the bot do that in the channel: `shipmate check` says which permission is missing".to_owned()
            }
            (_, status) => format!("Discord answers {status}: {}", answer.error.message),
        },
        HttpError::Request(error) if error.is_timeout() => "Discord doesn't answer in time".to_owned(),
        HttpError::Request(error) => format!("Discord can't be reached: {}", innermost(error)),
        other => format!("Discord: {other}"),
    }
}

/// The cause that says what happened; those around it name the address.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn number(error: &serenity::Error) -> Option<isize> {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) => Some(answer.error.code),
        _ => None,
    }
}

/// Whether Discord says that the message isn't there.
pub(super) fn is_gone(error: &serenity::Error) -> bool {
    number(error) == Some(code::UNKNOWN_MESSAGE)
}

/// Whether a message has a thread already.
pub(super) fn has_a_thread(error: &serenity::Error) -> bool {
    number(error) == Some(code::HAS_A_THREAD)
}

/// Whether Discord says that there is no such thing.
pub(super) fn is_unknown(error: &serenity::Error) -> bool {
    matches!(error, serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) if answer.status_code.as_u16() == 404)
}

/// Whether Discord says that there is no such thing, or none for the bot.
pub(super) fn is_refused(error: &serenity::Error) -> bool {
    matches!(error, serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) if matches!(answer.status_code.as_u16(), 403 | 404))
}

/// Whether a failed request may have been carried out all the same.
pub(super) fn may_have_worked(error: &serenity::Error) -> bool {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) => answer.status_code.is_server_error(),
        _ => true,
    }
}

/// Who reacted how to a message: people only.
pub(super) async fn reactions(http: &Http, message: &Message) -> serenity::Result<Vec<(User, String)>> {
    let mut found = Vec::new();
    for reaction in &message.reactions {
        let ReactionType::Unicode(emoji) = &reaction.reaction_type else { continue };
        let mut users = BTreeMap::new();
        // A reaction is a common or a super one; each kind is told apart.
        for kind in ["0", "1"] {
            users.extend(reacted(http, (message.channel_id, message.id), &reaction.reaction_type, kind).await?);
        }
        let people = users.into_values().filter(|user: &User| !user.bot);
        found.extend(people.map(|user| (user, emoji.clone())));
    }
    Ok(found)
}

async fn reacted(
    http: &Http,
    (channel_id, message_id): (ChannelId, MessageId),
    emoji: &ReactionType,
    kind: &str,
) -> serenity::Result<BTreeMap<u64, User>> {
    let mut users = BTreeMap::new();
    let emoji = emoji.as_data();
    loop {
        let route = Route::ChannelMessageReactionEmoji { channel_id, message_id, reaction: &emoji };
        let after = users.keys().next_back().copied().unwrap_or(0u64);
        let params = vec![("limit", PAGE.to_string()), ("type", kind.to_owned()), ("after", after.to_string())];
        let page: Vec<User> = http.fire(Request::new(route, LightMethod::Get).params(Some(params))).await?;
        let (count, before) = (page.len(), users.len());
        users.extend(page.into_iter().map(|user| (user.id.get(), user)));
        // One that tells the same people again would never end.
        if count < PAGE || users.len() == before {
            return Ok(users);
        }
    }
}
