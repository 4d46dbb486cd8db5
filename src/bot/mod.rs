//! The bot: what people say comes in, is decided in order, and goes out as deployments and replies.
//!
//! A command is put into the ledger's inbox before anything is done about it, and leaves the inbox in the same write that
//! makes it a deployment. So a bot that dies in between does it after its next start, once.

pub mod access;
mod act;
mod actions;
mod bake;
mod details;
mod drift;
mod gate;
mod health;
mod heartbeat;
mod intake;
mod links;
mod listen;
mod marks;
mod menu;
pub mod news;
mod parts;
mod people;
mod reactions;
mod refusal;
mod rooms;
mod shown;
pub mod views;
mod vocabulary;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use health::Vitals;
pub use intake::BuildIntake;
pub use menu::Commands;
pub use parts::{Habits, Parts};
pub use refusal::Refusal;
pub use votes::Emojis;

use crate::chat::{Chat, ChatError};
use crate::clock::Clock;
use crate::domain::message::{Account, MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, HostName, PersonName};
use crate::domain::notice::Notice;
use crate::domain::observed::Observed;
use crate::domain::spec::EnvironmentSpec;
use crate::engine::Engine;
use crate::fleet::Fleet;
use crate::http::Metrics;
use crate::pipeline::{DeployLock, Driven, Pipeline, Steering};
use crate::runbook::{Catalog, Invocation, Prefix};
use crate::store::{Ledger, LedgerError, PhaseName, Summary};

/// How long a chat may take for one request.
const CHAT_DEADLINE: Duration = Duration::from_secs(30);

/// How long a room's trouble is told that nothing has disproved since.
const TROUBLE_STAYS: Duration = Duration::from_secs(300);

/// How often old output is looked for.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(24 * 3600);

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
    emojis: Emojis,
    habits: Habits,
    heartbeat: Option<PathBuf>,
    /// When the last run was alive for the last time, if that is known.
    last_beat: Option<Timestamp>,
    /// How far what people said is dealt with.
    marks: marks::Marks,
    clock: Clock,
    /// Held while a room gets a post that isn't recorded yet: whoever answers to it at once must find it.
    posting: BTreeMap<RoomId, tokio::sync::Mutex<()>>,
    /// Who said that the commands of a message be run after all.
    run_again: Mutex<BTreeSet<(MessageRef, Account)>>,
    /// The rooms at whose open calls there may be votes that nobody told the bot of.
    unseen: Mutex<BTreeMap<RoomId, Vec<oneshot::Sender<bool>>>>,
    /// Whose votes count at each open call, and when that was asked: to show it, a minute's age is no harm.
    voters: Mutex<BTreeMap<u64, (tokio::time::Instant, Vec<PersonName>)>>,
    /// Since when the calls of what may start can't be looked at.
    blind: Mutex<BTreeMap<DeploymentId, Timestamp>>,
    /// Wakes whoever decides about reactions, to look at them.
    look: Notify,
    /// What is put back since it didn't stay well: two may say so at once.
    unbaking: Mutex<BTreeSet<DeploymentId>>,
    drives: TaskTracker,
    /// Wakes the gate when something may have changed that isn't a fact.
    gate: Notify,
    /// The environments that the gate works on at the moment; whether once more after that.
    tended: Mutex<BTreeMap<gate::Place, bool>>,
    /// The codes by which accounts are linked.
    codes: Mutex<actions::Codes>,
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
    rooms: BTreeMap<RoomId, (String, Instant)>,
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
            parts.ledger.open_room(room, parts.clock.now()).await?;
        }
        let posting = parts.chats.iter().flat_map(|chat| chat.rooms()).map(|room| (room, tokio::sync::Mutex::default())).collect();
        let pipeline =
            Pipeline::new(parts.ledger.clone(), parts.engine.clone(), parts.outputs, parts.redactor, parts.clock.clone());
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
            emojis: parts.habits.emojis.clone(),
            habits: parts.habits,
            last_beat: heartbeat::last_beat(parts.heartbeat.as_deref()),
            heartbeat: parts.heartbeat,
            marks: marks::Marks::default(),
            clock: parts.clock,
            run_again: Mutex::default(),
            unseen: Mutex::default(),
            voters: Mutex::default(),
            blind: Mutex::default(),
            look: Notify::new(),
            posting,
            unbaking: Mutex::default(),
            drives: TaskTracker::new(),
            gate: Notify::new(),
            tended: Mutex::default(),
            codes: Mutex::default(),
            troubles: Mutex::default(),
            stopping: CancellationToken::new(),
            broken: CancellationToken::new(),
        })))
    }

    /// Goes on with what the last run left, then listens, until `shutdown` or until the people at the terminal have gone.
    ///
    /// On shutdown the running actions come to their end, the rest is left for the next start.
    pub async fn run(&self, shutdown: CancellationToken) -> End {
        if let Err(error) = self.resume().await {
            tracing::error!(%error, "the ledger can't be used");
            return End::Broken;
        }
        let views = rooms::spawn(self);
        let housekeeping = [
            tokio::spawn(self.clone().expire_outputs()),
            tokio::spawn(self.clone().watch_hosts()),
            tokio::spawn(self.clone().beat()),
            tokio::spawn(self.guarded("the gate", self.clone().keep_gate())),
        ];
        let mut work = std::pin::pin!(async {
            if self.listen().await == listen::Heard::Nobody {
                // Builds still come in.
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
        if !self.broken.is_cancelled() {
            self.keep_marks().await;
        }
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
    async fn resume(&self) -> Result<(), LedgerError> {
        let locks = DeployLock::left_behind(&self.ledger)?;
        let going_on: Vec<DeploymentId> = locks.iter().map(DeployLock::deployment).collect();
        let waiting: Vec<DeploymentId> = self.ledger.waiting()?.into_iter().map(|(id, _)| id).collect();
        let stuck = self.ledger.stuck()?;
        if !(going_on.is_empty() && waiting.is_empty() && stuck.is_empty()) {
            tracing::info!(?going_on, ?waiting, ?stuck, "going on with what the last run left");
            let notice = Notice::Back { since: self.last_beat, going_on, waiting, stuck };
            self.ledger.tell(notice, None, self.now()).await?;
        }
        locks.into_iter().for_each(|lock| self.drive(lock));
        self.bake_on()
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

    /// Carries a deployment out beside everything else.
    fn drive(&self, lock: DeployLock) {
        let (id, steering, bot) = (lock.deployment(), Steering::default(), self.clone());
        if self.stopping.is_cancelled() {
            steering.pause.cancel();
        }
        self.steer(|running| running.insert(id, steering.clone()));
        self.drives.spawn(self.guarded("a deployment", async move {
            match bot.pipeline.drive(lock, &steering).await {
                Ok(Driven::Ended(state)) => {
                    bot.metrics.deployment_ended(&state, bot.now());
                    bot.bake(id, *state);
                }
                Ok(Driven::Paused) => tracing::info!(deployment = id.0, "left for the next start"),
                Err(error) => bot.fail(&error),
            }
            bot.steer(|running| running.remove(&id));
        }));
    }
}

impl Inner {
    /// The time.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Changes the list of what runs, and counts it.
    fn steer<T>(&self, change: impl FnOnce(&mut BTreeMap<DeploymentId, Steering>) -> T) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        self.metrics.deployments_running(running.len());
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
            Some(why) => troubles.rooms.insert(room.clone(), (why, Instant::now())),
        };
    }

    /// Nothing has to be shown in a room: what was wrong with it is over some time after it was last seen.
    fn room_may_be_well(&self, room: &RoomId) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.rooms.get(room).is_some_and(|(_, at)| at.elapsed() > TROUBLE_STAYS) {
            troubles.rooms.remove(room);
        }
    }

    fn troubled_hosts(&self) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.hosts.iter().map(|(host, why)| format!("{host}: {why}")).collect()
    }

    fn troubled_chats(&self) -> Vec<String> {
        let deaf = self.chats.iter().filter_map(|chat| chat.trouble());
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        deaf.chain(troubles.rooms.iter().map(|(room, (why, _))| format!("{room}: {why}"))).collect()
    }

    /// So many deployments wait.
    fn count_waiting(&self, waiting: usize) {
        self.metrics.deployments_waiting(waiting);
    }

    /// Refuses what doesn't mend while a deployment is stuck.
    fn refuse_when_stuck(&self, spec: &EnvironmentSpec) -> Result<(), Refusal> {
        match self.ledger.lock(&spec.app, &spec.environment)? {
            Some(holder) if holder.phase == PhaseName::Stuck => Err(self.held(&spec.app, &spec.environment, &holder)),
            Some(_) | None => Ok(()),
        }
    }

    fn held(&self, app: &AppName, environment: &EnvironmentName, holder: &Summary) -> Refusal {
        Refusal::Told(views::held(app, environment, holder, &self.prefix, self.now()))
    }

    /// Stops everything: after a failed write nobody knows what is durable.
    fn fail(&self, error: &LedgerError) {
        tracing::error!(%error, "the ledger can't be written; stopping, the next start goes on from what is durable");
        self.broken.cancel();
    }
}
