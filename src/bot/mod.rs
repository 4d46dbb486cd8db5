//! The bot: what people say comes in, is decided in order, and goes out as deployments and replies.
//!
//! A command is put into the ledger's inbox before anything is done about it, and leaves the inbox in the same write that
//! makes it a deployment. So a bot that dies in between does it after its next start, once.

pub mod access;
mod act;
mod actions;
mod health;
mod intake;
mod listen;
pub mod news;
mod rooms;
pub mod views;
mod vocabulary;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use health::Vitals;
pub use intake::BuildIntake;

use crate::chat::{Chat, ChatError, Reply, Tone};
use crate::domain::message::{MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, HostName};
use crate::domain::observed::Observed;
use crate::domain::spec::EnvironmentSpec;
use crate::engine::Engine;
use crate::fleet::Fleet;
use crate::http::Metrics;
use crate::pipeline::{DeployLock, Driven, Pipeline, Steering};
use crate::runbook::{Catalog, Invocation, Prefix};
use crate::secret::Redactor;
use crate::store::{Ledger, LedgerError, PhaseName, Summary};

/// When all hosts are looked at for the first time after the start.
const FIRST_LOOK_AT_HOSTS: Duration = Duration::from_secs(60);

/// How long a chat may take for one request.
const CHAT_DEADLINE: Duration = Duration::from_secs(30);

/// How often all hosts are looked at.
const LOOK_AT_HOSTS_EVERY: Duration = Duration::from_secs(300);

/// How often old output is looked for.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What a bot is made of.
pub struct Parts {
    /// The apps and people.
    pub fleet: Arc<Fleet>,
    /// The commands.
    pub catalog: Arc<Catalog>,
    /// The memory.
    pub ledger: Ledger,
    /// The hosts.
    pub engine: Arc<dyn Engine>,
    /// The chats.
    pub chats: Vec<Arc<dyn Chat>>,
    /// The numbers.
    pub metrics: Metrics,
    /// What a command begins with.
    pub prefix: Prefix,
    /// Where the output of actions is kept.
    pub outputs: PathBuf,
    /// For how long.
    pub output_keep: Duration,
    /// Knows the secrets that must not be shown.
    pub redactor: Redactor,
}

/// The bot. Cheap to clone.
#[derive(Clone)]
pub struct Bot(Arc<Inner>);

/// See [`Bot`].
pub struct Inner {
    fleet: Arc<Fleet>,
    catalog: Arc<Catalog>,
    ledger: Ledger,
    engine: Arc<dyn Engine>,
    chats: Vec<Arc<dyn Chat>>,
    metrics: Metrics,
    prefix: Prefix,
    pipeline: Pipeline,
    /// The commands that are being planned: a cancel takes them back.
    planning: Mutex<Vec<CancellationToken>>,
    /// The deployments that run in this process, and how to steer them.
    running: Mutex<BTreeMap<DeploymentId, Steering>>,
    output_keep: Duration,
    drives: TaskTracker,
    /// The hosts that didn't answer when they were last looked at, and the rooms that can't be reached, with why.
    troubles: Mutex<Troubles>,
    /// The bot stops: nothing new begins.
    stopping: CancellationToken,
    /// The ledger can't be written any more: nothing may go on.
    broken: CancellationToken,
}

impl std::ops::Deref for Bot {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What doesn't answer at the moment.
#[derive(Default)]
struct Troubles {
    hosts: BTreeMap<HostName, String>,
    rooms: BTreeMap<RoomId, String>,
}

/// Why a command was not done.
#[derive(Debug)]
pub enum Refusal {
    /// The person should know this.
    Told(Reply),
    /// The bot itself is broken; the log has the reason.
    Broken(LedgerError),
}

impl Refusal {
    /// Something is wrong with what was asked, or with the world.
    pub fn told(text: impl Into<String>) -> Refusal {
        Refusal::Told(split(Tone::Warning, text.into()))
    }

    /// There is nothing to do, and that is fine.
    pub fn fine(text: impl Into<String>) -> Refusal {
        Refusal::Told(split(Tone::Good, text.into()))
    }
}

/// A reply whose first line is the title.
fn split(tone: Tone, text: String) -> Reply {
    let mut lines = text.lines().map(str::to_owned);
    let title = lines.next().unwrap_or_default();
    Reply { tone, title, body: lines.map(crate::chat::Block::Line).collect() }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Refusal {
        Refusal::Broken(error)
    }
}

/// How a run of the bot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to, or everybody has gone.
    Stopped,
    /// The ledger can't be written any more.
    Broken,
}

impl Bot {
    /// A bot that does nothing yet; its rooms get what is posted from now on.
    ///
    /// # Errors
    /// When the ledger can't be written.
    pub async fn start(parts: Parts) -> Result<Bot, LedgerError> {
        for room in parts.chats.iter().flat_map(|chat| chat.rooms()) {
            parts.ledger.open_room(room, Timestamp::now()).await?;
        }
        let pipeline = Pipeline::new(parts.ledger.clone(), parts.engine.clone(), parts.outputs, parts.redactor);
        Ok(Bot(Arc::new(Inner {
            fleet: parts.fleet,
            catalog: parts.catalog,
            ledger: parts.ledger,
            engine: parts.engine,
            chats: parts.chats,
            metrics: parts.metrics,
            prefix: parts.prefix,
            pipeline,
            planning: Mutex::default(),
            running: Mutex::default(),
            output_keep: parts.output_keep,
            drives: TaskTracker::new(),
            troubles: Mutex::default(),
            stopping: CancellationToken::new(),
            broken: CancellationToken::new(),
        })))
    }

    /// Goes on with what the last run left, then listens, until `shutdown` or until all chats close.
    ///
    /// On shutdown the running actions come to their end, the rest is left for the next start.
    pub async fn run(&self, shutdown: CancellationToken) -> End {
        if let Err(error) = self.resume() {
            tracing::error!(%error, "the ledger can't be used");
            return End::Broken;
        }
        let views = rooms::spawn(self);
        let housekeeping = [tokio::spawn(self.clone().expire_outputs()), tokio::spawn(self.clone().watch_hosts())];
        let mut work = std::pin::pin!(async {
            if self.listen().await == listen::Heard::Nothing {
                tracing::info!("nobody is at the terminal; builds come in until SIGTERM");
                shutdown.cancelled().await;
            }
            self.drives.close();
            self.drives.wait().await;
        });
        tokio::select! {
            () = &mut work => {}
            () = shutdown.cancelled() => self.stop().await,
            () = self.broken.cancelled() => {}
        }
        housekeeping.iter().for_each(tokio::task::JoinHandle::abort);
        views.finish().await;
        if self.broken.is_cancelled() { End::Broken } else { End::Stopped }
    }

    /// Lets the running actions come to their end; the rest is left for the next start.
    async fn stop(&self) {
        self.stopping.cancel();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tracing::info!(deployments = running.len(), "stopping: running actions come to their end");
        running.values().for_each(|steering| steering.pause.cancel());
        self.drives.close();
        tokio::select! {
            () = self.drives.wait() => {}
            () = self.broken.cancelled() => {}
        }
    }

    /// Takes up the deployments that the last run left unfinished, and tells the rooms.
    fn resume(&self) -> Result<(), LedgerError> {
        let locks = DeployLock::left_behind(&self.ledger)?;
        if locks.is_empty() {
            return Ok(());
        }
        let ids: Vec<DeploymentId> = locks.iter().map(DeployLock::deployment).collect();
        tracing::info!(deployments = ?ids, "going on with what the last run left");
        let (bot, reply) = (self.clone(), views::resumed(&ids));
        tokio::spawn(self.guarded("the news of the start", async move {
            let key = format!("resumed-{}", Timestamp::now().as_millisecond());
            for room in bot.chats.iter().flat_map(|chat| chat.rooms()) {
                bot.answer(&MessageRef { room, id: key.clone() }, "start", &reply).await;
            }
        }));
        locks.into_iter().for_each(|lock| self.drive(lock));
        Ok(())
    }

    /// A task whose panic ends the bot instead of leaving half of it dead: the journal makes a restart safe.
    fn guarded<F: Future<Output = ()> + Send>(&self, what: &'static str, task: F) -> impl Future<Output = ()> + Send + use<F> {
        let broken = self.broken.clone();
        async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = what, "panicked, which is a bug; stopping, the next start goes on from what is durable");
                broken.cancel();
            }
        }
    }

    /// Removes old output, at the start and once a day.
    async fn expire_outputs(self) {
        loop {
            match self.pipeline.outputs().expire(self.output_keep) {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed the output of old deployments"),
                Err(error) => tracing::warn!(%error, "old output can't be removed"),
            }
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
        }
    }

    /// Looks at all hosts every now and then, so that `/healthz` knows of one that went away.
    async fn watch_hosts(self) {
        let mut wait = FIRST_LOOK_AT_HOSTS;
        loop {
            tokio::time::sleep(wait).await;
            wait = LOOK_AT_HOSTS_EVERY;
            for spec in self.fleet.environments() {
                self.observe(spec).await;
            }
            self.engine.rest().await;
        }
    }

    /// Carries a deployment out beside everything else.
    fn drive(&self, lock: DeployLock) {
        let (id, steering, bot) = (lock.deployment(), Steering::default(), self.clone());
        if self.stopping.is_cancelled() {
            steering.pause.cancel();
        }
        self.steer(|running| running.insert(id, steering.clone()));
        self.drives.spawn(self.guarded("a deployment", async move {
            match bot.pipeline.drive(lock, &steering).await {
                Ok(Driven::Ended(state)) => bot.metrics.deployment_ended(&state, Timestamp::now()),
                Ok(Driven::Paused) => tracing::info!(deployment = id.0, "left for the next start"),
                Err(error) => bot.fail(&error),
            }
            bot.steer(|running| running.remove(&id));
        }));
    }
}

impl Inner {
    /// Changes the list of what runs, and counts it.
    fn steer<T>(&self, change: impl FnOnce(&mut BTreeMap<DeploymentId, Steering>) -> T) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        // A second deployment of an environment is refused, so none waits.
        self.metrics.deployments_open(running.len(), 0);
    }

    /// What a command is about; the fleet's only environment if none was named.
    fn environment(&self, asked: &Invocation) -> Result<&EnvironmentSpec, Refusal> {
        let Some(app) = &asked.app else {
            return Err(Refusal::told("name an app"));
        };
        self.fleet.environment(app, asked.environment.as_ref()).map_err(|error| Refusal::told(error.to_string()))
    }

    /// Looks at the environment's hosts, and remembers which of them don't answer.
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed {
        let observed = self.engine.observe(spec).await;
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let routers = spec.roles.values().filter_map(|role| role.router.as_ref());
        routers.for_each(|router| drop(troubles.hosts.remove(&router.host)));
        troubles.hosts.extend(observed.lost_balancers.iter().map(|(host, why)| (host.clone(), why.to_string())));
        for (host, seen) in &observed.hosts {
            match seen {
                Ok(_) => troubles.hosts.remove(host),
                Err(why) => troubles.hosts.insert(host.clone(), why.to_string()),
            };
        }
        observed
    }

    /// A request to a chat, with a deadline.
    async fn within_deadline<T>(&self, request: impl Future<Output = Result<T, ChatError>>) -> Result<T, ChatError> {
        let late = |_| Err(ChatError::Unavailable(format!("no answer within {} s", CHAT_DEADLINE.as_secs())));
        tokio::time::timeout(CHAT_DEADLINE, request).await.unwrap_or_else(late)
    }

    /// Remembers whether a room can be reached.
    fn room_is(&self, room: &RoomId, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            None => troubles.rooms.remove(room),
            Some(why) => troubles.rooms.insert(room.clone(), why),
        };
    }

    fn troubled_hosts(&self) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.hosts.iter().map(|(host, why)| format!("{host}: {why}")).collect()
    }

    fn troubled_rooms(&self) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.rooms.iter().map(|(room, why)| format!("{room}: {why}")).collect()
    }

    /// Refuses while another deployment has the environment. What `mends` may pass one that is stuck.
    fn refuse_when_locked(&self, spec: &EnvironmentSpec, mends: bool) -> Result<(), Refusal> {
        match self.ledger.lock(&spec.app, &spec.environment)? {
            Some(holder) if holder.phase != PhaseName::Stuck || !mends => Err(self.held(&spec.app, &spec.environment, &holder)),
            Some(_) | None => Ok(()),
        }
    }

    fn held(&self, app: &AppName, environment: &EnvironmentName, holder: &Summary) -> Refusal {
        Refusal::Told(views::held(app, environment, holder, &self.prefix, Timestamp::now()))
    }

    /// Stops everything: after a failed write nobody knows what is durable.
    fn fail(&self, error: &LedgerError) {
        tracing::error!(%error, "the ledger can't be written; stopping, the next start goes on from what is durable");
        self.broken.cancel();
    }
}
