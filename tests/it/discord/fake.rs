//! A Discord of our own: REST and gateway over real sockets, as far as the bot uses them, and the faults that the real one has.
//!
//! What it demands and what it sends follows the measured behaviour of serenity 0.12.5 and Discord's documentation: numbers are
//! strings, `enforce_nonce` answers with the first message, sessions replay what was missed or are invalid, and the bot's own doings
//! come back as events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State as Part};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::until;

pub const GUILD: u64 = 900;
pub const CHANNEL: u64 = 901;
pub const TOKEN: &str = "Bot the-token";
const BOT: u64 = 42;

/// Discord's first millisecond.
const EPOCH: i64 = 1_420_070_400_000;

/// The service.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    rest: SocketAddr,
    gateway: SocketAddr,
}

#[derive(Default)]
struct State {
    count: u64,
    users: BTreeMap<String, u64>,
    bots: BTreeSet<u64>,
    roles: BTreeMap<u64, BTreeSet<u64>>,
    messages: BTreeMap<u64, Said>,
    nonces: HashMap<String, u64>,
    sessions: BTreeMap<String, Session>,
    /// The paths that fail next, with the answers.
    faults: Vec<(String, u16, Value)>,
    /// What was asked for, `METHOD path`.
    requests: Vec<String>,
    identified: usize,
    resumed: usize,
    is_down: bool,
    /// Why nothing may be done in the channel: status and code.
    forbids: Option<(u16, u64)>,
    limits: Option<Limits>,
    /// Until when nobody may ask for anything, and how often somebody did all the same.
    enough: Option<(Instant, usize)>,
    /// The names of the threads, by their messages.
    threads: BTreeMap<u64, String>,
    /// The slash commands, and what the bot answered to which interaction.
    commands: Vec<Value>,
    responses: BTreeMap<u64, Value>,
    /// Whether the bot may read messages, and what it may do in the server.
    reads: bool,
    permissions: u64,
    /// What happened and isn't told yet, by session; `None` = all is told at once.
    held: Option<Vec<(String, Value)>>,
    /// How often the bot has to give a sign of life; `None` = as often as Discord asks for it.
    beat_every: Option<Duration>,
    beats: usize,
    /// No sign of life is answered any more.
    is_numb: bool,
    /// No connection of the gateway is taken.
    is_shut: bool,
    /// Each session is over as soon as it began.
    ends_sessions: bool,
    /// The close code that each IDENTIFY is answered with, and the intents that it refuses.
    refuses: Option<(u16, u64)>,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Said {
    channel: u64,
    author: u64,
    pub content: String,
    pub embeds: Vec<Value>,
    pub components: Value,
    pub files: Vec<String>,
    pub allowed_mentions: Value,
    pub reference: Option<String>,
    pub edits: usize,
    changed_at: Option<String>,
    reactions: Vec<(String, u64)>,
    webhook: bool,
    answers: bool,
}

#[derive(Default)]
struct Session {
    seq: u64,
    log: Vec<Value>,
    to: Option<mpsc::UnboundedSender<Frame>>,
}

impl Session {
    /// A connection that broke is noticed by its other end.
    fn tell(&self, event: &Value) {
        let _ = self.to.as_ref().map(|to| to.send(Frame::Text(event.to_string())));
    }
}

/// So many changes of messages in a channel in a time.
struct Limits {
    burst: usize,
    within: Duration,
    spent: Vec<Instant>,
    /// How many came too early.
    refused: usize,
    /// Who comes isn't told how much is left.
    secret: bool,
}

impl Fake {
    pub async fn start() -> Fake {
        Fake::begin(None).await
    }

    /// The same behind TLS, with a certificate for `discord.com`; the certificate.
    pub async fn start_as_discord() -> (Fake, Vec<u8>) {
        let (certificate, identity) = identity();
        (Fake::begin(Some(identity)).await, certificate)
    }

    async fn begin(identity: Option<native_tls::Identity>) -> Fake {
        let (rest, gateway) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let inner = Inner {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            rest: rest.local_addr().unwrap(),
            gateway: gateway.local_addr().unwrap(),
        };
        let fake = Fake(Arc::new(inner));
        let routes = Router::new()
            .route("/gateway/bot", get(where_is_the_gateway))
            .route("/users/@me", get(me))
            .route("/channels/{channel}", get(channel))
            .route("/channels/{channel}/messages", post(create).get(list))
            .route("/channels/{channel}/messages/{message}", get(one).patch(edit))
            .route("/channels/{channel}/messages/{message}/threads", post(thread))
            .route("/channels/{channel}/messages/{message}/reactions/{emoji}/@me", put(react))
            .route("/channels/{channel}/messages/{message}/reactions/{emoji}", get(reacted))
            .route("/oauth2/applications/@me", get(application))
            .route("/guilds/{guild}", get(guild))
            .route("/applications/{application}/guilds/{guild}/commands", put(offer))
            .route("/interactions/{interaction}/{token}/callback", post(respond))
            .route("/guilds/{guild}/members/{user}", get(member));
        let app = Router::new()
            .nest("/api/v10", routes)
            .layer(middleware::from_fn_with_state(fake.clone(), admit))
            .with_state(fake.clone());
        match identity {
            None => drop(tokio::spawn(async move { axum::serve(rest, app).await })),
            Some(identity) => {
                let acceptor = native_tls::TlsAcceptor::new(identity).unwrap().into();
                tokio::spawn(async move { axum::serve(Secure { rest, acceptor }, app).await });
            }
        }
        let talker = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = gateway.accept().await {
                tokio::spawn(talker.clone().talk(stream));
            }
        });
        fake
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.rest
    }

    pub fn api(&self) -> String {
        format!("http://{}", self.0.rest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn touch(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// Waits until the service is as wanted.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&Fake) -> Option<T>) -> T {
        let found = until::found(Duration::from_secs(20), &self.0.changed, || found(self)).await;
        found.unwrap_or_else(|| panic!("never: {what}; there are:\n{}", self.texts().join("\n---\n")))
    }

    /// A person's number.
    pub fn user(&self, who: &str) -> u64 {
        let mut state = self.state();
        let next = 100 + state.users.len() as u64;
        *state.users.entry(who.to_owned()).or_insert(next)
    }

    /// The names of the slash commands.
    pub fn commands(&self) -> Vec<String> {
        self.state().commands.iter().map(|command| command["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A person clicks a button with this label; what the bot answers at once.
    pub async fn click(&self, who: &str, message: u64, label: &str) -> Value {
        let shown = self.of_the_bot().into_iter().find(|(id, _)| *id == message).unwrap().1;
        let rows = shown.components.as_array().cloned().unwrap_or_default();
        let mut buttons = rows.iter().flat_map(|row| row["components"].as_array().cloned().unwrap_or_default());
        let button = buttons.find(|button| button["label"] == label).unwrap_or_else(|| panic!("no button {label}: {rows:?}"));
        let whole = {
            let state = self.state();
            let mut whole = state.shown(message, &state.messages[&message]);
            whole["components"] = json!([]);
            whole
        };
        let data = json!({"custom_id": button["custom_id"], "component_type": 2});
        self.interact(who, CHANNEL, 3, data, Some(whole)).await
    }

    /// A person clicks a button with this name, in another channel.
    pub async fn click_elsewhere(&self, who: &str, channel: u64, message: u64, name: &str) -> Value {
        let mut whole = {
            let state = self.state();
            state.shown(message, &state.messages[&message])
        };
        whole["channel_id"] = json!(channel.to_string());
        self.interact(who, channel, 3, json!({"custom_id": name, "component_type": 2}), Some(whole)).await
    }

    /// A person uses a slash command.
    pub async fn slash(&self, who: &str, name: &str, options: &[(&str, &str)]) -> Value {
        self.slash_in(CHANNEL, who, name, options).await
    }

    /// The same in a channel.
    pub async fn slash_in(&self, channel: u64, who: &str, name: &str, options: &[(&str, &str)]) -> Value {
        let options: Vec<Value> = options.iter().map(|(name, value)| json!({"name": name, "type": 3, "value": value})).collect();
        self.interact(who, channel, 2, json!({"id": "5", "name": name, "type": 1, "options": options}), None).await
    }

    /// A person types into a field of a slash command, after others; the values that are suggested.
    pub async fn types(&self, who: &str, name: &str, options: &[(&str, &str)], field: &str, begun: &str) -> Vec<String> {
        self.types_in(CHANNEL, (who, name), options, field, begun).await
    }

    /// The same in a channel.
    pub async fn types_in(
        &self,
        channel: u64,
        (who, name): (&str, &str),
        options: &[(&str, &str)],
        field: &str,
        begun: &str,
    ) -> Vec<String> {
        let mut all: Vec<Value> = options.iter().map(|(name, value)| json!({"name": name, "type": 3, "value": value})).collect();
        all.push(json!({"name": field, "type": 3, "value": begun, "focused": true}));
        let told = self.interact(who, channel, 4, json!({"id": "5", "name": name, "type": 1, "options": all}), None).await;
        let choices = told["data"]["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["value"].as_str().unwrap().to_owned()).collect()
    }

    async fn interact(&self, who: &str, channel: u64, kind: u64, data: Value, message: Option<Value>) -> Value {
        let user = self.user(who);
        let id = self.state().number();
        let mut event = json!({
            "id": id.to_string(), "application_id": "77", "type": kind, "token": "secret-of-it", "version": 1, "data": data,
            "channel_id": channel.to_string(), "guild_id": GUILD.to_string(), "locale": "en-US", "guild_locale": "en-US",
            "entitlements": [], "attachment_size_limit": 1, "app_permissions": "0", "authorizing_integration_owners": {},
            "member": {"user": self::user(user, false), "roles": [], "deaf": false, "mute": false, "flags": 0, "permissions": "0",
                       "joined_at": "2026-01-01T00:00:00Z"},
        });
        if let Some(message) = message {
            event["message"] = message;
        }
        self.state().emit("INTERACTION_CREATE", event);
        self.until("an answer to an interaction", |fake| fake.state().responses.get(&id).cloned()).await
    }

    /// What the bot may do.
    pub fn permit(&self, reads: bool, permissions: u64) {
        let mut state = self.state();
        (state.reads, state.permissions) = (reads, permissions);
    }

    pub fn give_role(&self, who: &str, role: u64) {
        let user = self.user(who);
        self.state().roles.entry(user).or_default().insert(role);
    }

    /// A person writes; the message's number.
    pub fn say(&self, who: &str, content: &str) -> u64 {
        let author = self.user(who);
        self.write(author, content, false)
    }

    /// A person wrote some time ago.
    pub fn said_before(&self, who: &str, content: &str, ago: Duration) {
        let now = self.say(who, content);
        let mut state = self.state();
        let said = state.messages.remove(&now).unwrap();
        state.messages.insert(now - (u64::try_from(ago.as_millis()).unwrap() << 22), said);
    }

    /// Another bot, or a webhook, writes.
    pub fn say_as_program(&self, who: &str, content: &str, webhook: bool) -> u64 {
        let author = self.user(who);
        self.state().bots.insert(author);
        self.write(author, content, webhook)
    }

    /// Another application answers to a slash command; what it says was typed by its user.
    pub fn answer_as_application(&self, who: &str, content: &str) {
        let author = self.user(who);
        self.state().bots.insert(author);
        self.write_as(author, content, true, true);
    }

    fn write(&self, author: u64, content: &str, webhook: bool) -> u64 {
        self.write_as(author, content, webhook, false)
    }

    fn write_as(&self, author: u64, content: &str, webhook: bool, answers: bool) -> u64 {
        let mut state = self.state();
        let id = state.number();
        let said = Said {
            channel: CHANNEL,
            author,
            content: content.to_owned(),
            embeds: Vec::new(),
            components: json!([]),
            files: Vec::new(),
            allowed_mentions: Value::Null,
            reference: None,
            edits: 0,
            changed_at: None,
            reactions: Vec::new(),
            webhook,
            answers,
        };
        let event = state.shown(id, &said);
        state.messages.insert(id, said);
        state.emit("MESSAGE_CREATE", event);
        drop(state);
        self.touch();
        id
    }

    /// A person changes what they wrote.
    pub fn rewrite(&self, message: u64, content: &str) {
        let mut state = self.state();
        let said = state.messages.get_mut(&message).unwrap();
        said.content = content.to_owned();
        said.changed_at = Some(Timestamp::now().to_string());
        let said = said.clone();
        let event = state.shown(message, &said);
        state.emit("MESSAGE_UPDATE", event);
    }

    pub fn put_reaction(&self, who: &str, message: u64, emoji: &str) {
        let user = self.user(who);
        self.state().react(user, message, emoji);
        self.touch();
    }

    pub fn take_reaction(&self, who: &str, message: u64, emoji: &str) {
        let user = self.user(who);
        let mut state = self.state();
        if let Some(said) = state.messages.get_mut(&message) {
            said.reactions.retain(|reaction| *reaction != (emoji.to_owned(), user));
        }
        let event = reaction_event(user, message, emoji);
        state.emit("MESSAGE_REACTION_REMOVE", event);
    }

    pub fn delete(&self, message: u64) {
        let mut state = self.state();
        state.messages.remove(&message);
        let event = json!({"id": message.to_string(), "channel_id": CHANNEL.to_string(), "guild_id": GUILD.to_string()});
        state.emit("MESSAGE_DELETE", event);
        drop(state);
        self.touch();
    }

    /// The newest message that a person wrote.
    pub fn newest_of(&self, who: &str) -> u64 {
        let user = self.user(who);
        *self.state().messages.iter().rev().find(|(_, said)| said.author == user).unwrap().0
    }

    /// The bot's messages in the channel, the oldest first.
    pub fn of_the_bot(&self) -> Vec<(u64, Said)> {
        self.by_the_bot_in(CHANNEL)
    }

    /// The same in the thread of a message.
    pub fn beside(&self, message: u64) -> Vec<Said> {
        self.by_the_bot_in(message).into_iter().map(|(_, said)| said).collect()
    }

    /// The name of the thread of a message.
    pub fn thread(&self, message: u64) -> Option<String> {
        self.state().threads.get(&message).cloned()
    }

    fn by_the_bot_in(&self, channel: u64) -> Vec<(u64, Said)> {
        let state = self.state();
        let ours = state.messages.iter().filter(|(_, said)| said.author == BOT && said.channel == channel);
        ours.map(|(id, said)| (*id, said.clone())).collect()
    }

    /// The same as text.
    pub fn texts(&self) -> Vec<String> {
        self.of_the_bot().into_iter().map(|(_, said)| said.text()).collect()
    }

    /// The newest of the bot's messages with these words.
    pub async fn sees(&self, words: &[&str]) -> (u64, String) {
        let has = |text: &str| words.iter().all(|word| text.contains(word));
        self.until(&format!("{words:?}"), |fake| {
            fake.of_the_bot().into_iter().rev().map(|(id, said)| (id, said.text())).find(|(_, text)| has(text))
        })
        .await
    }

    /// How often a path was asked for.
    pub fn asked(&self, request: &str) -> usize {
        self.state().requests.iter().filter(|asked| asked.starts_with(request)).count()
    }

    /// How often the bot came with a new session, and how often it took an old one up.
    pub fn connections(&self) -> (usize, usize) {
        let state = self.state();
        (state.identified, state.resumed)
    }

    /// The next request with this beginning is answered so.
    pub fn fail_next(&self, request: &str, status: u16, code: u64) {
        let body = json!({"code": code, "message": "as the test wants it"});
        self.state().faults.push((request.to_owned(), status, body));
    }

    /// From now on nothing answers, or it does again. Connections are cut.
    pub fn is_down(&self, down: bool) {
        self.state().is_down = down;
        if down {
            self.cut();
        }
    }

    /// From now on whatever is asked about the channel is refused so, or it is granted again.
    pub fn forbid(&self, refused: Option<(u16, u64)>) {
        self.state().forbids = refused;
    }

    /// Cuts all connections of the gateway. Their sessions can be taken up.
    pub fn cut(&self) {
        self.state().sessions.values_mut().for_each(|session| session.to = None);
    }

    /// The same with sessions that nobody can take up: what happens meanwhile is lost.
    pub fn forget_sessions(&self) {
        self.state().sessions.clear();
    }

    /// Whether the gateway takes no connections.
    pub fn shuts_its_gateway(&self, shut: bool) {
        self.state().is_shut = shut;
    }

    /// Whether each session is over, and forgotten, as soon as it began.
    pub fn ends_sessions(&self, ends: bool) {
        self.state().ends_sessions = ends;
    }

    /// Asks the bot to connect anew.
    pub fn ask_to_reconnect(&self) {
        self.send_all(&Frame::Text(json!({"op": 7, "d": null}).to_string()));
    }

    /// Closes all connections with a code.
    pub fn close(&self, code: u16) {
        self.send_all(&Frame::Close(Some(CloseFrame { code: code.into(), reason: "as the test wants it".into() })));
    }

    /// Answers each IDENTIFY that asks for one of these intents with a close code; 0 = any.
    pub fn refuse(&self, refused: Option<(u16, u64)>) {
        self.state().refuses = refused;
    }

    /// So many changes of messages at once, then one each `within / burst`.
    pub fn limit(&self, burst: usize, within: Duration) {
        self.state().limits = Some(Limits { burst, within, spent: Vec::new(), refused: 0, secret: false });
    }

    /// The same without a word of it beforehand.
    pub fn limit_at_once(&self, burst: usize, within: Duration) {
        self.limit(burst, within);
        self.state().limits.as_mut().unwrap().secret = true;
    }

    /// For so long nothing may be asked for at all; nobody who asks is told beforehand.
    pub fn has_enough(&self, for_so_long: Duration) {
        self.state().enough = Some((Instant::now() + for_so_long, 0));
    }

    /// How many requests came meanwhile.
    pub fn asked_too_soon(&self) -> usize {
        self.state().enough.map_or(0, |(_, asked)| asked)
    }

    /// How many requests came too early.
    pub fn refused(&self) -> usize {
        self.state().limits.as_ref().map_or(0, |limits| limits.refused)
    }

    /// As Discord does after some minutes.
    pub fn forget_nonces(&self) {
        self.state().nonces.clear();
    }

    /// Something happens that nobody has heard of yet.
    pub fn happens(&self, name: &str, data: Value) {
        self.state().emit(name, data);
    }

    /// Delivers the last events of all sessions again.
    pub fn repeat(&self, events: usize) {
        let state = self.state();
        for session in state.sessions.values() {
            session.log.iter().rev().take(events).rev().for_each(|event| session.tell(event));
        }
    }

    /// From now on nothing that happens is told.
    pub fn hold(&self) {
        self.state().held = Some(Vec::new());
    }

    /// Tells what was held back, in the order that `order` puts it in; from now on all is told at once again.
    pub fn release(&self, order: impl FnOnce(&mut Vec<(String, Value)>)) {
        let mut state = self.state();
        let mut held = state.held.take().unwrap();
        order(&mut held);
        for (session, event) in held {
            state.sessions[&session].tell(&event);
        }
    }

    /// New connections have to give a sign of life this often.
    pub fn beat_every(&self, every: Duration) {
        self.state().beat_every = Some(every);
    }

    /// How many signs of life there were.
    pub fn beats(&self) -> usize {
        self.state().beats
    }

    /// Whether signs of life go unanswered: the connection looks alive and is dead.
    pub fn is_numb(&self, numb: bool) {
        self.state().is_numb = numb;
    }

    fn send_all(&self, frame: &Frame) {
        let state = self.state();
        for to in state.sessions.values().filter_map(|session| session.to.as_ref()) {
            let _ = to.send(frame.clone());
        }
    }

    /// One connection of the gateway.
    async fn talk(self, stream: TcpStream) {
        if self.state().is_down || self.state().is_shut {
            return;
        }
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let (mut write, mut read) = socket.split();
        let (to, mut out) = mpsc::unbounded_channel();
        let every = self.state().beat_every.unwrap_or(Duration::from_millis(41_250)).as_millis();
        let hello = json!({"op": 10, "d": {"heartbeat_interval": u64::try_from(every).unwrap()}});
        if write.send(Frame::Text(hello.to_string())).await.is_err() {
            return;
        }
        // Only the session has one, so it is closed with it.
        let mut to = Some(to);
        loop {
            tokio::select! {
                frame = out.recv() => {
                    let Some(frame) = frame else { return };
                    let closes = matches!(frame, Frame::Close(_));
                    if write.send(frame).await.is_err() || closes {
                        return;
                    }
                }
                frame = read.next() => match frame {
                    Some(Ok(Frame::Text(text))) => {
                        let told: Value = serde_json::from_str(&text).unwrap();
                        let answer = match told["op"].as_u64() {
                            Some(1) => self.beat(),
                            Some(2) => match self.identify(&told["d"], &mut to) {
                                Ok(()) => None,
                                Err(code) => {
                                    let frame = CloseFrame { code: code.into(), reason: "".into() };
                                    let _ = write.send(Frame::Close(Some(frame))).await;
                                    return;
                                }
                            },
                            Some(6) => self.resume(&told["d"], &mut to),
                            _ => None,
                        };
                        if let Some(answer) = answer && write.send(Frame::Text(answer.to_string())).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(Frame::Close(_))) | Some(Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    fn beat(&self) -> Option<Value> {
        let mut state = self.state();
        state.beats += 1;
        let answer = (!state.is_numb).then(|| json!({"op": 11}));
        drop(state);
        self.touch();
        answer
    }

    fn identify(&self, told: &Value, to: &mut Option<mpsc::UnboundedSender<Frame>>) -> Result<(), u16> {
        let mut state = self.state();
        state.identified += 1;
        if told["token"] != TOKEN {
            return Err(4004);
        }
        if let Some((code, intents)) = state.refuses
            && (intents == 0 || told["intents"].as_u64().unwrap() & intents != 0)
        {
            return Err(code);
        }
        let name = format!("session-{}", state.identified);
        state.sessions.insert(name.clone(), Session { to: to.take(), ..Session::default() });
        let ready = json!({
            "v": 10, "user": user(BOT, true), "guilds": [{"id": GUILD.to_string(), "unavailable": true}], "session_id": name,
            "resume_gateway_url": format!("ws://{}", self.0.gateway), "application": {"id": "77", "flags": 0}
        });
        state.emit_to(&name, "READY", ready);
        if state.ends_sessions {
            state.sessions.clear();
        }
        drop(state);
        self.touch();
        Ok(())
    }

    fn resume(&self, told: &Value, to: &mut Option<mpsc::UnboundedSender<Frame>>) -> Option<Value> {
        let mut state = self.state();
        let name = told["session_id"].as_str().unwrap().to_owned();
        let from = told["seq"].as_u64().unwrap();
        let Some(session) = state.sessions.get_mut(&name) else { return Some(json!({"op": 9, "d": false})) };
        session.to = to.take();
        session.log.iter().filter(|event| event["s"].as_u64().unwrap() > from).for_each(|event| session.tell(event));
        state.resumed += 1;
        state.emit_to(&name, "RESUMED", json!({}));
        drop(state);
        self.touch();
        None
    }
}

/// A listener that speaks TLS.
struct Secure {
    rest: TcpListener,
    acceptor: tokio_native_tls::TlsAcceptor,
}

impl axum::serve::Listener for Secure {
    type Io = tokio_native_tls::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.rest.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.rest.local_addr()
    }
}

/// A certificate for `discord.com` that nobody signed but itself, and what a server needs of it.
fn identity() -> (Vec<u8>, native_tls::Identity) {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509, X509NameBuilder};

    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "discord.com").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("discord.com").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build().to_pem().unwrap();
    let identity = native_tls::Identity::from_pkcs8(&certificate, &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    (certificate, identity)
}

impl Said {
    /// What people read.
    pub fn text(&self) -> String {
        let embeds = self.embeds.iter().filter_map(|embed| embed["description"].as_str());
        std::iter::once(self.content.as_str()).chain(embeds).collect::<Vec<_>>().join("\n")
    }
}

impl State {
    /// A new number, of this moment.
    fn number(&mut self) -> u64 {
        self.count += 1;
        let now = u64::try_from(Timestamp::now().as_millisecond() - EPOCH).unwrap();
        (now << 22) | (self.count & 0x3f_ffff)
    }

    fn emit(&mut self, name: &str, data: Value) {
        for session in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.emit_to(&session, name, data.clone());
        }
    }

    fn emit_to(&mut self, of: &str, name: &str, data: Value) {
        let session = self.sessions.get_mut(of).unwrap();
        session.seq += 1;
        let event = json!({"op": 0, "t": name, "s": session.seq, "d": data});
        session.log.push(event.clone());
        match &mut self.held {
            Some(held) if !matches!(name, "READY" | "RESUMED") => held.push((of.to_owned(), event)),
            _ => session.tell(&event),
        }
    }

    fn react(&mut self, user: u64, message: u64, emoji: &str) {
        let Some(said) = self.messages.get_mut(&message) else { return };
        let reaction = (emoji.to_owned(), user);
        if said.reactions.contains(&reaction) {
            return;
        }
        said.reactions.push(reaction);
        let bot = user == BOT || self.bots.contains(&user);
        let mut event = reaction_event(user, message, emoji);
        event["member"] = json!({"user": self::user(user, bot), "roles": [], "deaf": false, "mute": false, "flags": 0});
        self.emit("MESSAGE_REACTION_ADD", event);
    }

    /// A message as Discord tells it.
    fn shown(&self, id: u64, said: &Said) -> Value {
        let mut counted: Vec<(&str, u64)> = Vec::new();
        for (emoji, _) in &said.reactions {
            match counted.iter_mut().find(|(known, _)| known == emoji) {
                Some((_, count)) => *count += 1,
                None => counted.push((emoji, 1)),
            }
        }
        let reactions: Vec<Value> = counted
            .into_iter()
            .map(|(emoji, count)| {
                json!({"count": count, "count_details": {"burst": 0, "normal": count}, "me": false, "me_burst": false,
                       "emoji": {"id": null, "name": emoji}, "burst_colors": []})
            })
            .collect();
        let at = i64::try_from(id >> 22).unwrap() + EPOCH;
        let bot = said.author == BOT || self.bots.contains(&said.author);
        let mut shown = json!({
            "id": id.to_string(), "channel_id": said.channel.to_string(), "author": user(said.author, bot), "content": said.content,
            "timestamp": Timestamp::from_millisecond(at).unwrap().to_string(), "edited_timestamp": said.changed_at, "tts": false,
            "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [], "embeds": said.embeds,
            "reactions": reactions, "pinned": false, "type": 0, "guild_id": GUILD.to_string(),
        });
        if said.webhook {
            shown["webhook_id"] = json!("55");
        }
        if said.answers {
            shown["application_id"] = json!("55");
            shown["type"] = json!(20);
        }
        shown
    }
}

fn user(id: u64, bot: bool) -> Value {
    json!({"id": id.to_string(), "username": format!("user-{id}"), "discriminator": "0000", "avatar": null, "bot": bot})
}

fn reaction_event(user: u64, message: u64, emoji: &str) -> Value {
    json!({
        "user_id": user.to_string(), "channel_id": CHANNEL.to_string(), "message_id": message.to_string(), "guild_id": GUILD.to_string(),
        "emoji": {"id": null, "name": emoji}, "burst": false, "type": 0
    })
}

fn error(status: u16, code: u64, message: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(json!({"code": code, "message": message}))).into_response()
}

/// What every request passes: the token, the faults and the limits.
async fn admit(Part(fake): Part<Fake>, request: Request, next: Next) -> Response {
    let path = request.uri().path().trim_start_matches("/api/v10").to_owned();
    let asked = format!("{} {path}", request.method());
    let changes = asked.contains("/messages") && ["POST", "PATCH"].contains(&request.method().as_str());
    let token = request.headers().get("authorization").cloned();
    let mut limited = None;
    {
        let mut state = fake.state();
        state.requests.push(asked.clone());
        if state.is_down {
            return error(502, 0, "down");
        }
        if let (Some((status, code)), true) = (state.forbids, asked.contains("/channels/")) {
            return error(status, code, "as the test wants it");
        }
        if let Some(at) = state.faults.iter().position(|(wanted, ..)| asked.starts_with(wanted)) {
            let (_, status, body) = state.faults.remove(at);
            return (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
        }
        let now = Instant::now();
        if let Some((until, asked)) = state.enough.as_mut().filter(|(until, _)| *until > now) {
            *asked += 1;
            let after = until.duration_since(now).as_secs_f64();
            let body = Json(json!({"message": "You are being rate limited.", "retry_after": after, "global": true}));
            let headers = [("retry-after", format!("{after:.3}")), ("x-ratelimit-global", "true".to_owned())];
            return (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response();
        }
        if let Some(limits) = state.limits.as_mut().filter(|_| changes) {
            limits.spent.retain(|at| now.duration_since(*at) < limits.within);
            let reset = limits.spent.first().map_or(limits.within, |first| limits.within - now.duration_since(*first));
            if limits.spent.len() >= limits.burst {
                limits.refused += 1;
                let after = format!("{:.3}", reset.as_secs_f64());
                let body =
                    Json(json!({"message": "You are being rate limited.", "retry_after": reset.as_secs_f64(), "global": false}));
                return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", after)], body).into_response();
            }
            limits.spent.push(now);
            let left = limits.burst - limits.spent.len();
            limited = Some((limits.burst, left, reset)).filter(|_| !limits.secret);
        }
    }
    if token.is_none_or(|token| token != TOKEN) {
        return error(401, 0, "401: Unauthorized");
    }
    let mut response = next.run(request).await;
    if let Some((limit, left, reset)) = limited {
        let headers: [(&str, String); 3] = [
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", left.to_string()),
            ("x-ratelimit-reset-after", format!("{:.3}", reset.as_secs_f64())),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        }
    }
    fake.touch();
    response
}

async fn where_is_the_gateway(Part(fake): Part<Fake>) -> Json<Value> {
    let limit = json!({"total": 1000, "remaining": 1000 - fake.state().identified, "reset_after": 3_600_000, "max_concurrency": 1});
    Json(json!({"url": format!("ws://{}", fake.0.gateway), "shards": 1, "session_start_limit": limit}))
}

async fn me() -> Json<Value> {
    Json(user(BOT, true))
}

async fn application(Part(fake): Part<Fake>) -> Json<Value> {
    let flags = if fake.state().reads { 1 << 19 } else { 0 };
    Json(json!({
        "id": "77", "name": "shipmate", "icon": null, "description": "", "bot_public": false, "bot_require_code_grant": false,
        "verify_key": "0", "flags": flags, "team": null
    }))
}

async fn guild(Part(fake): Part<Fake>, Path(guild): Path<u64>) -> Response {
    if guild != GUILD {
        return error(404, 10004, "Unknown Guild");
    }
    let everyone = json!({
        "id": GUILD.to_string(), "name": "@everyone", "color": 0, "colors": {"primary_color": 0}, "hoist": false, "managed": false,
        "mentionable": false, "permissions": fake.state().permissions.to_string(), "position": 0, "flags": 0
    });
    Json(json!({
        "id": GUILD.to_string(), "name": "Example", "owner_id": "100", "roles": [everyone], "emojis": [], "stickers": [], "features": [],
        "afk_timeout": 300, "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0,
        "premium_tier": 0, "premium_progress_bar_enabled": false, "preferred_locale": "en-US", "system_channel_flags": 0,
        "verification_level": 0
    }))
    .into_response()
}

async fn offer(Part(fake): Part<Fake>, Json(commands): Json<Value>) -> Response {
    for command in commands.as_array().unwrap() {
        let options = command["options"].as_array().unwrap();
        let required: Vec<bool> = options.iter().map(|option| option["required"].as_bool().unwrap_or(false)).collect();
        // What Discord demands.
        assert!(required.is_sorted_by(|a, b| a >= b), "{command}");
        let texts = [&command["description"]].into_iter().chain(options.iter().map(|option| &option["description"]));
        assert!(texts.into_iter().all(|text| (1..=100).contains(&text.as_str().unwrap().chars().count())), "{command}");
    }
    let shown: Vec<Value> = commands
        .as_array()
        .unwrap()
        .iter()
        .map(|command| {
            let mut command = command.clone();
            command["id"] = json!("5");
            command["application_id"] = json!("77");
            command["version"] = json!("1");
            command["type"] = json!(1);
            command
        })
        .collect();
    fake.state().commands = shown.clone();
    Json(shown).into_response()
}

async fn respond(
    Part(fake): Part<Fake>,
    Path((interaction, _)): Path<(u64, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> StatusCode {
    let (told, _) = body(&headers, &bytes);
    fake.state().responses.insert(interaction, told);
    StatusCode::NO_CONTENT
}

async fn channel(Path(channel): Path<u64>) -> Response {
    if channel != CHANNEL {
        return error(404, 10003, "Unknown Channel");
    }
    Json(json!({
        "id": channel.to_string(), "type": 0, "guild_id": GUILD.to_string(), "name": "deploys", "position": 0,
        "permission_overwrites": [], "nsfw": false, "parent_id": null
    }))
    .into_response()
}

/// The JSON of a message, and the files beside it.
fn body(headers: &HeaderMap, bytes: &Bytes) -> (Value, Vec<String>) {
    let kind = headers.get("content-type").unwrap().to_str().unwrap();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return (serde_json::from_slice(bytes).unwrap(), Vec::new()) };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (mut told, mut files) = (Value::Null, Vec::new());
    for part in text.split(&format!("--{boundary}")) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        if head.contains("name=\"payload_json\"") {
            told = serde_json::from_str(content).unwrap();
        } else {
            files.push(content.to_owned());
        }
    }
    (told, files)
}

async fn thread(Part(fake): Part<Fake>, Path((channel, message)): Path<(u64, u64)>, Json(told): Json<Value>) -> Response {
    let mut state = fake.state();
    if channel != CHANNEL || !state.messages.contains_key(&message) {
        return error(404, 10008, "Unknown Message");
    }
    let name = told["name"].as_str().unwrap().to_owned();
    if state.threads.insert(message, name.clone()).is_some() {
        return error(400, 160004, "A thread has already been created for this message");
    }
    let shown = json!({
        "id": message.to_string(), "type": 11, "guild_id": GUILD.to_string(), "parent_id": channel.to_string(), "name": name,
        "owner_id": BOT.to_string(), "message_count": 0, "member_count": 1,
        "thread_metadata": {"archived": false, "auto_archive_duration": 1440, "archive_timestamp": "2026-01-01T00:00:00Z", "locked": false}
    });
    (StatusCode::CREATED, Json(shown)).into_response()
}

async fn create(Part(fake): Part<Fake>, Path(channel): Path<u64>, headers: HeaderMap, bytes: Bytes) -> Response {
    if channel != CHANNEL && !fake.state().threads.contains_key(&channel) {
        return error(404, 10003, "Unknown Channel");
    }
    let (told, files) = body(&headers, &bytes);
    let mut state = fake.state();
    if told["content"].as_str().unwrap_or_default().encode_utf16().count() > 2000 {
        return error(400, 50035, "Invalid Form Body");
    }
    let nonce = told["nonce"].as_str().filter(|_| told["enforce_nonce"] == true).map(str::to_owned);
    if let Some(known) = nonce.as_ref().and_then(|nonce| state.nonces.get(nonce)).copied()
        && let Some(said) = state.messages.get(&known)
    {
        return Json(state.shown(known, said)).into_response();
    }
    let id = state.number();
    let said = Said {
        channel,
        author: BOT,
        content: told["content"].as_str().unwrap_or_default().to_owned(),
        embeds: told["embeds"].as_array().cloned().unwrap_or_default(),
        components: told["components"].clone(),
        files,
        allowed_mentions: told["allowed_mentions"].clone(),
        reference: told["message_reference"]["message_id"].as_str().map(str::to_owned),
        edits: 0,
        changed_at: None,
        reactions: Vec::new(),
        webhook: false,
        answers: false,
    };
    if let Some(nonce) = nonce {
        state.nonces.insert(nonce, id);
    }
    let shown = state.shown(id, &said);
    state.messages.insert(id, said);
    state.emit("MESSAGE_CREATE", shown.clone());
    Json(shown).into_response()
}

async fn list(Part(fake): Part<Fake>, Path(channel): Path<u64>, Query(query): Query<HashMap<String, String>>) -> Response {
    if channel != CHANNEL && !fake.state().threads.contains_key(&channel) {
        return error(404, 10003, "Unknown Channel");
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let limit = usize::try_from(number("limit").unwrap_or(50)).unwrap();
    let state = fake.state();
    // After one: the first of those. Otherwise the last ones before one, or at all. The newest is told first either way.
    let mut found: Vec<_> = match number("after") {
        Some(after) => state.messages.range(after + 1..).filter(|(_, said)| said.channel == channel).take(limit).collect(),
        None => state
            .messages
            .range(..number("before").unwrap_or(u64::MAX))
            .rev()
            .filter(|(_, said)| said.channel == channel)
            .take(limit)
            .collect(),
    };
    found.sort_by_key(|(id, _)| std::cmp::Reverse(**id));
    Json(found.into_iter().map(|(id, said)| state.shown(*id, said)).collect::<Vec<_>>()).into_response()
}

async fn one(Part(fake): Part<Fake>, Path((_, message)): Path<(u64, u64)>) -> Response {
    let state = fake.state();
    match state.messages.get(&message) {
        Some(said) => Json(state.shown(message, said)).into_response(),
        None => error(404, 10008, "Unknown Message"),
    }
}

async fn edit(Part(fake): Part<Fake>, Path((_, message)): Path<(u64, u64)>, headers: HeaderMap, bytes: Bytes) -> Response {
    let (told, files) = body(&headers, &bytes);
    let mut state = fake.state();
    let Some(said) = state.messages.get_mut(&message) else { return error(404, 10008, "Unknown Message") };
    if let Some(content) = told["content"].as_str() {
        said.content = content.to_owned();
    }
    if let Some(embeds) = told["embeds"].as_array() {
        said.embeds = embeds.clone();
    }
    said.allowed_mentions = told["allowed_mentions"].clone();
    if !told["components"].is_null() {
        said.components = told["components"].clone();
    }
    said.files.extend(files);
    said.edits += 1;
    said.changed_at = Some(Timestamp::now().to_string());
    let said = said.clone();
    let shown = state.shown(message, &said);
    state.emit("MESSAGE_UPDATE", shown.clone());
    Json(shown).into_response()
}

async fn react(Part(fake): Part<Fake>, Path((_, message, emoji)): Path<(u64, u64, String)>) -> Response {
    let mut state = fake.state();
    if !state.messages.contains_key(&message) {
        return error(404, 10008, "Unknown Message");
    }
    state.react(BOT, message, &emoji);
    StatusCode::NO_CONTENT.into_response()
}

async fn reacted(
    Part(fake): Part<Fake>,
    Path((_, message, emoji)): Path<(u64, u64, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let state = fake.state();
    let Some(said) = state.messages.get(&message) else { return error(404, 10008, "Unknown Message") };
    // Nobody has super reactions here.
    let mut users: Vec<u64> = said.reactions.iter().filter(|(given, _)| *given == emoji).map(|(_, user)| *user).collect();
    users.retain(|user| number("type") == 0 && *user > number("after"));
    users.sort_unstable();
    let limit = usize::try_from(number("limit").max(1)).unwrap();
    let bot = |user: u64| user == BOT || state.bots.contains(&user);
    Json(users.into_iter().take(limit).map(|id| user(id, bot(id))).collect::<Vec<_>>()).into_response()
}

async fn member(Part(fake): Part<Fake>, Path((guild, user)): Path<(u64, u64)>) -> Response {
    let state = fake.state();
    if guild != GUILD || (user != BOT && !state.users.values().any(|known| *known == user)) {
        return error(404, 10007, "Unknown Member");
    }
    let roles: Vec<String> = state.roles.get(&user).into_iter().flatten().map(u64::to_string).collect();
    Json(json!({"user": self::user(user, false), "roles": roles, "joined_at": "2026-01-01T00:00:00Z", "deaf": false, "mute": false, "flags": 0}))
        .into_response()
}
