//! A bot on a stage: the real one, with a ledger, on a rehearsed fleet, in rooms that a test plays the people of. Time is the test's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::bot::{Bot, End, Habits, Parts};
use shipmate::chat::{Chat, ChatError, ChatEvent, Reply, text};
use shipmate::domain::build::{Build, BuildNumber, BuildOutcome};
use shipmate::domain::deployment::DeploymentState;
use shipmate::domain::message::{Account, Message, MessageRef, RoomId};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::spec::EnvironmentSpec;
use shipmate::engine::Engine;
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::Metrics;
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::life::Life;
use super::time::Time;
use crate::pipeline::runbooks::Twice;
use crate::sample::{name, release};
use crate::until;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A room of a chat service that the test plays.
pub struct Room {
    id: RoomId,
    platform: &'static str,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// Held while the service is slow to tell what emojis are at a message.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    shown: Vec<Shown>,
    listener: Option<mpsc::Sender<ChatEvent>>,
    /// From where the bot wanted to listen on.
    mark: Option<String>,
    roles: BTreeMap<Account, BTreeSet<String>>,
    /// It doesn't tell them.
    silent: bool,
    down: bool,
    said: u64,
    place: Details,
}

/// What the service does with the details of messages.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Details {
    /// It has no place for them.
    #[default]
    Nowhere,
    /// It has one, and takes none at the moment.
    NotNow,
    /// It keeps them.
    Beside,
}

struct Shown {
    id: String,
    key: String,
    /// Each state that it had, the newest last.
    texts: Vec<String>,
    emojis: BTreeSet<(Account, String)>,
    gone: bool,
    /// The files beside it.
    files: BTreeMap<String, String>,
}

fn rendered(reply: &Reply) -> String {
    text::lines(reply, "", None).into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}

impl Room {
    pub fn new(id: &str, platform: &'static str) -> Arc<Room> {
        let (state, changed, reading) = (Mutex::default(), watch::Sender::new(0), tokio::sync::Mutex::default());
        Arc::new(Room { id: RoomId(id.to_owned()), platform, state, changed, reading })
    }

    pub fn account(&self, who: &str) -> Account {
        Account(format!("{}:{who}", self.platform))
    }

    fn touch(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// The service tells the bot something, if that listens.
    pub async fn event(&self, event: ChatEvent) {
        let listener = self.state.lock().unwrap().listener.clone();
        if let Some(listener) = listener {
            // A bot that has stopped hears nothing.
            listener.send(event).await.ok();
        }
    }

    /// Somebody writes; the service tells the bot, if that listens.
    pub async fn say(&self, who: &str, text: &str, received: Timestamp) -> Message {
        let id = {
            let mut state = self.state.lock().unwrap();
            state.said += 1;
            format!("said-{}", state.said)
        };
        let at = MessageRef { room: self.id.clone(), id };
        let message = Message { at, author: self.account(who), text: text.to_owned(), received, doubt: None };
        self.event(ChatEvent::Message(message.clone())).await;
        message
    }

    fn with<T>(&self, message: &MessageRef, change: impl FnOnce(&mut Shown) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        change(state.shown.iter_mut().find(|shown| shown.id == message.id).unwrap())
    }

    pub async fn react(&self, who: &str, emoji: &str, to: &MessageRef) {
        let (author, emoji) = (self.account(who), emoji.to_owned());
        self.with(to, |shown| shown.emojis.insert((author.clone(), emoji.clone())));
        self.event(ChatEvent::Reacted { to: to.clone(), author, emoji }).await;
    }

    pub async fn unreact(&self, who: &str, emoji: &str, to: &MessageRef) {
        let (author, emoji) = (self.account(who), emoji.to_owned());
        self.with(to, |shown| shown.emojis.remove(&(author.clone(), emoji.clone())));
        self.event(ChatEvent::Unreacted { to: to.clone(), author, emoji }).await;
    }

    pub async fn delete(&self, message: &MessageRef) {
        self.with(message, |shown| shown.gone = true);
        self.event(ChatEvent::Deleted { message: message.clone() }).await;
    }

    /// Somebody takes an emoji back while the bot doesn't hear it.
    pub fn take_back_unheard(&self, who: &str, emoji: &str, message: &MessageRef) {
        let given = (self.account(who), emoji.to_owned());
        self.with(message, |shown| shown.emojis.remove(&given));
    }

    /// Everybody took their emojis back while the bot didn't hear it.
    pub fn forget_emojis(&self, message: &MessageRef) {
        self.with(message, |shown| shown.emojis.clear());
    }

    /// The service is back after a gap.
    pub async fn reconnect(&self) {
        self.event(ChatEvent::Connected { room: self.id.clone() }).await;
    }

    /// The service has told all up to a point.
    pub async fn is_told_up_to(&self, mark: &str) {
        self.event(ChatEvent::UpTo { room: self.id.clone(), mark: mark.to_owned() }).await;
    }

    /// The service doesn't tell what was written before this.
    pub async fn tells_nothing_before(&self, before: Timestamp) {
        self.event(ChatEvent::NotRead { room: self.id.clone(), before }).await;
    }

    /// From where the bot wanted to listen on when it began.
    pub fn mark(&self) -> Option<String> {
        self.state.lock().unwrap().mark.clone()
    }

    /// As long as this is held, the service has looked what emojis are at a message, and not yet told it.
    pub async fn is_slow(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading.lock().await
    }

    /// Whether the service answers.
    pub fn is_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    pub fn give_role(&self, who: &str, role: &str) {
        self.state.lock().unwrap().roles.entry(self.account(who)).or_default().insert(role.to_owned());
    }

    /// Whether the service tells no roles at the moment.
    pub fn is_silent(&self, silent: bool) {
        self.state.lock().unwrap().silent = silent;
    }

    /// Whether nothing of it may be changed or answered any more.
    pub fn is_settled(&self, ledger: &Ledger) -> bool {
        ledger.live(&self.id).unwrap().is_empty()
    }

    /// Where the details of messages belong.
    pub fn details_belong(&self, place: Details) {
        self.state.lock().unwrap().place = place;
    }

    /// Waits until there are files beside a message.
    pub async fn files(&self, message: &MessageRef) -> BTreeMap<String, String> {
        self.until(&["files"], |room| room.with(message, |shown| (!shown.files.is_empty()).then(|| shown.files.clone()))).await
    }

    pub fn has_no_files(&self, message: &MessageRef) -> bool {
        self.with(message, |shown| shown.files.is_empty())
    }

    pub fn take_roles(&self, who: &str) {
        self.state.lock().unwrap().roles.remove(&self.account(who));
    }

    /// The emojis at a message.
    pub fn emojis(&self, message: &MessageRef) -> Vec<(Account, String)> {
        self.with(message, |shown| shown.emojis.iter().cloned().collect())
    }

    /// The keys of the posts that begin so, in order.
    pub fn keys_shown(&self, beginning: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.state.lock().unwrap().shown.iter().map(|shown| shown.key.clone()).collect();
        keys.retain(|key| key.starts_with(beginning));
        keys.sort();
        keys
    }

    /// What every message shows now.
    pub fn texts(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.shown.iter().map(|shown| shown.texts.last().unwrap().clone()).collect()
    }

    /// How many messages show all of these words now.
    pub fn count(&self, words: &[&str]) -> usize {
        self.texts().iter().filter(|text| words.iter().all(|word| text.contains(word))).count()
    }

    fn find(&self, words: &[&str]) -> Option<(MessageRef, String)> {
        let state = self.state.lock().unwrap();
        let newest = state.shown.iter().rev().find(|shown| {
            let text = shown.texts.last().unwrap();
            !shown.gone && words.iter().all(|word| text.contains(word))
        });
        newest.map(|shown| (MessageRef { room: self.id.clone(), id: shown.id.clone() }, shown.texts.last().unwrap().clone()))
    }

    /// Waits until a message shows all of these words; the newest that does.
    #[track_caller]
    pub fn sees<'a>(&'a self, words: &'a [&'a str]) -> impl Future<Output = (MessageRef, String)> + 'a {
        self.until(words, move |room| room.find(words))
    }

    /// Waits until so many messages show all of these words.
    #[track_caller]
    pub fn sees_times<'a>(&'a self, times: usize, words: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        self.until(words, move |room| (room.count(words) == times).then_some(()))
    }

    #[track_caller]
    fn until<'a, T: 'a>(&'a self, words: &'a [&'a str], found: impl Fn(&Room) -> Option<T> + 'a) -> impl Future<Output = T> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let found = until::found(PATIENCE, &self.changed, || found(self)).await;
            found.unwrap_or_else(|| panic!("{caller}: no message shows {words:?}; there are:\n{}", self.texts().join("\n---\n")))
        }
    }
}

/// A room as the bot sees it.
struct Service(Arc<Room>);

#[async_trait]
impl Chat for Service {
    fn rooms(&self) -> Vec<RoomId> {
        vec![self.0.id.clone()]
    }

    async fn listen(&self, to: mpsc::Sender<ChatEvent>, _: Option<Timestamp>) -> Result<(), ChatError> {
        to.send(ChatEvent::Connected { room: self.0.id.clone() }).await.ok();
        self.0.state.lock().unwrap().listener = Some(to.clone());
        self.0.touch();
        to.closed().await;
        Ok(())
    }

    async fn listen_from(
        &self,
        to: mpsc::Sender<ChatEvent>,
        marks: BTreeMap<RoomId, String>,
        since: Option<Timestamp>,
    ) -> Result<(), ChatError> {
        self.0.state.lock().unwrap().mark = marks.get(&self.0.id).cloned();
        self.listen(to, since).await
    }

    async fn post(&self, _: &RoomId, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        let mut state = self.0.state.lock().unwrap();
        if state.down {
            return Err(ChatError::Unavailable("the service is down".into()));
        }
        let known = state.shown.iter().find(|shown| shown.key == key).map(|shown| shown.id.clone());
        let id = known.unwrap_or_else(|| {
            let id = format!("shown-{}", state.shown.len() + 1);
            let (key, texts) = (key.to_owned(), vec![rendered(reply)]);
            state.shown.push(Shown { id: id.clone(), key, texts, emojis: BTreeSet::new(), gone: false, files: BTreeMap::new() });
            id
        });
        drop(state);
        self.0.touch();
        Ok(MessageRef { room: self.0.id.clone(), id })
    }

    async fn edit(&self, message: &MessageRef, reply: &Reply, _: bool) -> Result<(), ChatError> {
        let mut state = self.0.state.lock().unwrap();
        if state.down {
            return Err(ChatError::Unavailable("the service is down".into()));
        }
        match state.shown.iter_mut().find(|shown| shown.id == message.id && !shown.gone) {
            Some(shown) => shown.texts.push(rendered(reply)),
            None => return Err(ChatError::Gone(message.clone())),
        }
        drop(state);
        self.0.touch();
        Ok(())
    }

    fn keeps_details(&self) -> bool {
        self.0.state.lock().unwrap().place != Details::Nowhere
    }

    async fn keep_beside(&self, message: &MessageRef, title: &str, file: &str, text: String) -> Result<(), ChatError> {
        let mut state = self.0.state.lock().unwrap();
        if state.place == Details::NotNow {
            return Err(ChatError::Unavailable("no details now".into()));
        }
        let shown = state.shown.iter_mut().find(|shown| shown.id == message.id).unwrap();
        shown.files.insert(format!("{title}: {file}"), text);
        drop(state);
        self.0.touch();
        Ok(())
    }

    async fn react(&self, _: &MessageRef, _: &str) -> Result<(), ChatError> {
        Ok(())
    }

    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        let found = {
            let state = self.0.state.lock().unwrap();
            if state.down {
                return Err(ChatError::Unavailable("the service is down".into()));
            }
            let shown = state.shown.iter().find(|shown| shown.id == message.id && !shown.gone);
            shown.map(|shown| shown.emojis.iter().cloned().collect()).ok_or_else(|| ChatError::Gone(message.clone()))
        };
        drop(self.0.reading.lock().await);
        found
    }

    async fn roles(&self, account: &Account) -> Result<BTreeSet<String>, ChatError> {
        let state = self.0.state.lock().unwrap();
        if state.silent {
            return Err(ChatError::Unavailable("the service tells no roles".into()));
        }
        Ok(state.roles.get(account).cloned().unwrap_or_default())
    }
}

/// A run of the bot.
struct Run {
    task: JoinHandle<End>,
    ended: watch::Receiver<Option<End>>,
    shutdown: CancellationToken,
}

pub struct Stage {
    pub fleet: Arc<Fleet>,
    pub rehearsal: Rehearsal,
    /// Everything is applied and undone twice.
    pub twice: bool,
    pub ledger: Ledger,
    pub room: Arc<Room>,
    pub rooms: Vec<Arc<Room>>,
    life: Life,
    time: Time,
    folder: tempfile::TempDir,
    habits: Habits,
    run: Option<Run>,
}

impl Stage {
    /// A bot that runs, with this fleet file, in one room; build-41 runs in production, by #1.
    pub async fn new(fleet: &str) -> Stage {
        let mut stage = Stage::bare(fleet, vec![Room::new("room", "terminal")]);
        stage.start().await;
        stage.announce("build-41", "main").await;
        stage
    }

    /// The same without anything on the hosts, and not yet started.
    pub fn bare(fleet: &str, rooms: Vec<Arc<Room>>) -> Stage {
        let fleet = Fleet::parse("fleet.toml", fleet).unwrap_or_else(|problems| panic!("{problems}"));
        let specs: Vec<&EnvironmentSpec> = fleet.environments().collect();
        let rehearsal = Rehearsal::new(specs[0]);
        for number in 41..50 {
            rehearsal.push(&release(&format!("build-{number}")), Behaviour::good());
        }
        let (life, ledger) = Life::first();
        Stage {
            rehearsal,
            twice: false,
            fleet: Arc::new(fleet),
            // A Wednesday.
            time: Time::begin("2026-11-25T10:00:00Z".parse().unwrap(), ledger.clone()),
            ledger,
            room: rooms[0].clone(),
            rooms,
            life,
            folder: tempfile::tempdir().unwrap(),
            habits: Habits { drift_every: Duration::ZERO, ..Habits::default() },
            run: None,
        }
    }

    /// Starts the bot, and waits until it listens.
    pub async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    /// The same of a bot that may die while it starts.
    pub async fn try_start(&mut self) -> Result<(), ()> {
        self.time.follow(&self.ledger);
        for room in &self.rooms {
            room.state.lock().unwrap().listener = None;
        }
        let bot = Bot::start(Parts {
            fleet: self.fleet.clone(),
            catalog: Arc::new(Catalog::builtin().unwrap()),
            ledger: self.ledger.clone(),
            engine: match self.twice {
                true => Arc::new(Twice(self.rehearsal.clone())) as Arc<dyn Engine>,
                false => Arc::new(self.rehearsal.clone()),
            },
            chats: self.rooms.iter().map(|room| Arc::new(Service(room.clone())) as Arc<dyn Chat>).collect(),
            metrics: Metrics::new(),
            prefix: Prefix::default(),
            outputs: self.folder.path().join("outputs"),
            output_keep: Duration::from_secs(3600),
            redactor: Redactor::default(),
            heartbeat: Some(self.folder.path().join("alive")),
            habits: self.habits.clone(),
            clock: self.time.clock(),
        });
        let bot = bot.await.map_err(drop)?;
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let (told, ended) = watch::channel(None);
        let life = async move {
            let end = bot.run(stop).await;
            told.send_replace(Some(end));
            end
        };
        let mut run = Run { task: tokio::spawn(life), ended, shutdown };
        for room in &self.rooms {
            let mut changed = room.changed.subscribe();
            while room.state.lock().unwrap().listener.is_none() {
                tokio::select! {
                    changed = changed.changed() => changed.unwrap(),
                    end = &mut run.task => {
                        assert_eq!(end.unwrap(), End::Broken);
                        return Err(());
                    }
                }
            }
        }
        self.run = Some(run);
        Ok(())
    }

    /// Waits until the bot ends by itself.
    pub async fn dies(&self) -> End {
        let run = self.run.as_ref().unwrap();
        let mut ended = run.ended.clone();
        ended.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// The bot dies, with all that it does beside. What it had handed to the ledger is written, as its thread would have done. Not
    /// for a stage whose ledger the test has put in place itself.
    pub async fn kill(&mut self) {
        let run = self.run.take().unwrap();
        run.task.abort();
        run.task.await.unwrap_err();
        (self.life, self.ledger) = self.life.end(&self.ledger).await;
        self.time.follow(&self.ledger);
    }

    /// Stops the bot in order.
    pub async fn stop(&mut self) {
        let run = self.run.take().unwrap();
        run.shutdown.cancel();
        assert_eq!(run.task.await.unwrap(), End::Stopped);
    }

    /// What the settings leave to taste, before the start.
    pub fn habits(&mut self) -> &mut Habits {
        &mut self.habits
    }

    /// Time goes by.
    pub async fn later(&self, seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub async fn say(&self, who: &str, text: &str) -> Message {
        self.room.say(who, text, self.now()).await
    }

    /// CI announces a good build.
    pub async fn announce(&self, tag: &str, branch: &str) {
        self.announced(tag, branch, BuildOutcome::Succeeded).await;
    }

    pub async fn announced(&self, tag: &str, branch: &str, outcome: BuildOutcome) {
        let build = Build {
            app: name("antisocial"),
            tag: name(tag),
            number: tag
                .rsplit('-')
                .next()
                .and_then(|number| number.parse().ok())
                .map(|number| BuildNumber { pipeline: "generic antisocial".to_owned(), number }),
            digest: None,
            commit: None,
            branch: Some(branch.to_owned()),
            outcome,
            url: None,
            author: Some("Dora".to_owned()),
            message: Some(format!("Change of {tag}")),
            seconds: None,
            source: "generic".to_owned(),
            at: self.now(),
        };
        let automatic = self.fleet.automatic(&build);
        let keys = vec![format!("{tag}:{outcome:?}")];
        self.ledger.built_for(build, keys, automatic, self.now()).await.unwrap();
    }

    /// Waits until a message in the first room shows all of these words.
    #[track_caller]
    pub fn sees<'a>(&'a self, words: &'a [&'a str]) -> impl Future<Output = (MessageRef, String)> + 'a {
        self.room.sees(words)
    }

    /// Deploys a build that needs no votes, to its end.
    pub async fn deploy(&self, number: u64, tag: &str) {
        self.say("anna", &format!("!deploy antisocial {tag}")).await;
        self.sees(&[&format!("#{number} antisocial production runs {tag}")]).await;
    }

    /// The same of one that takes a vote.
    pub async fn deploy_approved(&self, number: u64, tag: &str) {
        self.say("anna", &format!("!deploy antisocial {tag}")).await;
        let (call, _) = self.sees(&[&format!("#{number} deploy"), "needs 1 vote"]).await;
        self.room.react("berta", "✅", &call).await;
        self.sees(&[&format!("#{number} antisocial production runs {tag}")]).await;
    }

    /// Waits until a deployment is in this phase.
    #[track_caller]
    pub fn reaches<'a>(&'a self, number: u64, word: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let mut facts = self.ledger.subscribe();
            let wait = async {
                while self.state(number).phase.word() != word {
                    facts.changed().await.unwrap();
                }
            };
            let is = || self.state(number).phase.word();
            timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{caller}: #{number} is {}, not {word}", is()));
        }
    }

    /// Waits until the ledger shows it.
    pub async fn recorded(&self, is: impl Fn() -> bool) {
        let mut facts = self.ledger.subscribe();
        let wait = async {
            while !is() {
                facts.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("it wasn't recorded"));
    }

    /// The same where another phase may come in between.
    pub async fn reaches_at_last(&self, number: u64, word: &str) {
        let mut facts = self.ledger.subscribe();
        // A ledger that died tells nothing any more; then somebody else notices.
        let is = || match self.ledger.state(DeploymentId(number)) {
            Ok(state) => state.map_or("not there", |state| state.phase.word()),
            Err(_) => "lost with the ledger",
        };
        let wait = async {
            while is() != word {
                if facts.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let room = || self.room.texts().join("\n---\n");
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("#{number} is {}, not {word}; the room shows:\n{}", is(), room()));
    }

    /// The number of the newest deployment.
    pub fn newest(&self) -> u64 {
        self.ledger.history(&name("antisocial"), None, 1, None).unwrap().first().map_or(0, |newest| newest.id.0)
    }

    /// Votes for a deployment when it asks, and waits until it is in this phase.
    pub async fn votes_and_waits(&self, number: u64, word: &str) {
        let vote = async {
            // It may ask nobody, and it may ask again.
            let mut changed = self.room.changed.subscribe();
            loop {
                changed.borrow_and_update();
                self.votes_if_asked(number).await;
                changed.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = vote => {}
            () = self.reaches_at_last(number, word) => {}
        }
    }

    /// Votes for a deployment if the room asks for it and nobody did yet.
    pub async fn votes_if_asked(&self, number: u64) {
        let call = self.room.find(&[&format!("#{number} "), "needs 1 vote (0 so far)"]).map(|(call, _)| call);
        if let Some(call) = call.filter(|call| self.room.emojis(call).is_empty()) {
            self.room.react("berta", "✅", &call).await;
        }
    }

    /// Waits until the room shows all that there is to show, in its last state.
    pub async fn shows_all(&self) {
        self.shows_all_in(&self.room).await;
    }

    /// The same of any room.
    pub async fn shows_all_in(&self, room: &Room) {
        let mut facts = self.ledger.subscribe();
        let wait = async {
            while self.ledger.posts_after(&room.id).map_or(true, |posts| !posts.is_empty()) {
                if facts.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("the room shows:\n{}", room.texts().join("\n---\n")));
    }

    pub fn state(&self, number: u64) -> DeploymentState {
        self.ledger.state(DeploymentId(number)).unwrap().unwrap()
    }
}
