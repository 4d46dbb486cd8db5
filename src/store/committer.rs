//! The one thread that writes, and what it makes of many callers: one write.
//!
//! Callers hand over a job, which looks at the rows as they will be after the jobs before it, and appends facts. All jobs that
//! wait are written together, so that 64 callers cost two syncs and not 128. Nobody is answered before the write is durable, and
//! readers see no deployment's state, post or message before that either.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::chain::{Entry, Hash, Head};
use super::overlay::{Overlay, RowSum};
use super::projection::{self, OpenDeployments};
use super::summary::Counts;
use super::{Change, Fact, LedgerError, SCHEMA, Store, StoreError, facts, rows};
use crate::domain::deployment::{DeploymentState, Phase};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName};

/// How many callers are written together at most: keeps a write short, and nearly all the gain is there.
const BATCH: usize = 256;

/// What a caller wants done by the committer's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Writer<'_>) -> Answer + Send>;

/// What is done once it is known whether the write is durable.
pub(super) type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// The row that says where the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tip {
    pub schema: u32,
    pub seq: u64,
    hash: Hash,
    #[serde(flatten)]
    pub sum: RowSum,
}

impl Default for Tip {
    /// That of an empty store.
    fn default() -> Tip {
        Tip { schema: SCHEMA, seq: 0, hash: Head::GENESIS.hash, sum: RowSum::default() }
    }
}

impl Tip {
    /// Where a store is. The schema is for the caller to judge; of a newer one nothing else is known.
    pub(super) fn load(store: &dyn Store) -> Result<Tip, StoreError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Some(row) = store.get(rows::HEAD)? else {
            return Ok(Tip::default());
        };
        match rows::read_json(&row)? {
            Version { schema: 0 } => Err(StoreError::Damaged("it has no valid schema".to_owned())),
            Version { schema: 1..=SCHEMA } => rows::read_json(&row),
            Version { schema } => Ok(Tip { schema, ..Tip::default() }),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// Rows, states and journal lines as they will be after the facts that were appended so far.
pub(super) struct Writer<'a> {
    pub rows: Overlay<'a>,
    open: &'a mut OpenDeployments,
    /// The deployments that ended in this write. They are no longer open, and their rows can't be read back yet.
    ended: OpenDeployments,
    touched: BTreeSet<DeploymentId>,
    tip: Tip,
    lines: Vec<u8>,
    trouble: Option<StoreError>,
}

/// What a [`Writer`] came to.
pub(super) struct Written {
    pub changes: Vec<Change>,
    pub lines: Vec<u8>,
    pub tip: Tip,
    touched: BTreeSet<DeploymentId>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a dyn Store, open: &'a mut OpenDeployments, tip: Tip) -> Writer<'a> {
        let (rows, ended, touched) = (Overlay::new(store), BTreeMap::new(), BTreeSet::new());
        Writer { rows, open, ended, touched, tip, lines: Vec::new(), trouble: None }
    }

    /// Appends a fact; its number, and the deployment's state if it is about one.
    ///
    /// # Errors
    /// When it can't have happened; then nothing was appended.
    pub(super) fn append(&mut self, at: Timestamp, fact: &Fact) -> Result<(u64, Option<Arc<DeploymentState>>), LedgerError> {
        let text = serde_json::to_string(fact).map_err(|error| LedgerError::Unfit(error.to_string()))?;
        let entry = Entry::after(self.tip.head(), at.to_string(), text);
        let state = self.take(&entry, at, fact)?;
        entry.write(&mut self.lines);
        Ok((entry.seq, state))
    }

    /// Appends a fact that stands in the journal already.
    pub(super) fn replay(&mut self, entry: &Entry, at: Timestamp, fact: &Fact) -> Result<(), LedgerError> {
        self.take(entry, at, fact).map(|_| ())
    }

    /// The state of a deployment that isn't over, or that ended in this write.
    pub(super) fn state(&self, id: DeploymentId) -> Option<&Arc<DeploymentState>> {
        self.open.get(&id).or_else(|| self.ended.get(&id))
    }

    /// The deployments of an app's environment that wait for their turn.
    pub(super) fn queued<'b>(
        &'b self,
        app: &'b AppName,
        environment: &'b EnvironmentName,
    ) -> impl Iterator<Item = DeploymentId> + 'b {
        let here = move |state: &DeploymentState| state.plan.app == *app && state.plan.environment == *environment;
        self.open.iter().filter(move |(_, state)| state.phase == Phase::Queued && here(state)).map(|(id, _)| *id)
    }

    /// The store failed a caller, so nothing of this write may be kept.
    pub(super) fn give_up(&mut self, error: &StoreError) {
        self.trouble.get_or_insert_with(|| error.clone());
    }

    /// What is to be written.
    ///
    /// # Errors
    /// When the store failed one of the callers.
    pub(super) fn finish(self) -> Result<Written, StoreError> {
        if let Some(error) = self.trouble {
            return Err(error);
        }
        let (mut changes, sum) = self.rows.into_changes(self.tip.sum);
        let tip = Tip { sum, ..self.tip };
        if !changes.is_empty() {
            changes.push((rows::HEAD.to_vec(), Some(rows::json(&tip)?)));
        }
        Ok(Written { changes, lines: self.lines, tip, touched: self.touched })
    }

    fn take(&mut self, entry: &Entry, at: Timestamp, fact: &Fact) -> Result<Option<Arc<DeploymentState>>, LedgerError> {
        facts::check(entry)?;
        let state = projection::project(&mut self.rows, self.open, (entry.seq, at), fact)?;
        if let (Some(state), Fact::Deployment { id, .. }) = (&state, fact) {
            self.touched.insert(*id);
            if !self.open.contains_key(id) {
                self.ended.insert(*id, state.clone());
            }
        }
        facts::add(&mut self.rows, entry)?;
        self.tip = Tip { seq: entry.seq, hash: entry.hash, ..self.tip };
        Ok(state)
    }
}

/// What is durable, for readers.
#[derive(Debug)]
pub(super) struct Published {
    pub head: Head,
    pub counts: Counts,
    pub open: OpenDeployments,
}

/// What the committer and the ledger's handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub published: RwLock<Published>,
    pub newest: watch::Sender<u64>,
    failure: OnceLock<String>,
    busy_since: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(published: Published) -> Shared {
        let newest = watch::Sender::new(published.head.seq);
        Shared { published: RwLock::new(published), newest, failure: OnceLock::new(), busy_since: Mutex::default() }
    }

    /// From now on nothing is written or read any more; wakes those who wait for facts, so that they learn of it.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) {
        if self.failure.set(error.to_string()).is_ok() {
            tracing::error!(%error, "the store can't be used any more");
        }
        self.newest.send_modify(|_| {});
    }

    pub(super) fn failure(&self) -> Option<LedgerError> {
        self.failure.get().map(|why| LedgerError::Failed(why.clone()))
    }

    /// How long the write that goes on has taken by now.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        self.busy_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    fn busy(&self, since: Option<Instant>) {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// The thread's own.
pub(super) struct Committer {
    pub store: Arc<dyn Store>,
    pub shared: Arc<Shared>,
    pub open: OpenDeployments,
    pub tip: Tip,
}

impl Committer {
    /// Writes until all senders are gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            self.shared.busy(Some(Instant::now()));
            // A panic here is a mistake of ours, and leaves the states half changed: as fatal as a failed write.
            if catch_unwind(AssertUnwindSafe(|| self.commit(batch))).is_err() {
                self.shared.fail(&"the committer panicked");
            }
            self.shared.busy(None);
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let mut writer = Writer::new(&*self.store, &mut self.open, self.tip);
        let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
        if self.shared.failure().is_none() {
            answers.extend(jobs.into_iter().map(|job| job(&mut writer)));
        }
        // Dropped jobs answer their callers by being gone.
        let result = writer.finish().and_then(|written| self.write(written));
        if let Err(error) = &result {
            if let StoreError::Damaged(why) = error {
                self.store.distrust(why);
            }
            self.shared.fail(error);
        }
        let result = result.map_err(|error| LedgerError::Failed(error.to_string()));
        answers.into_iter().for_each(|answer| answer(result.clone()));
    }

    fn write(&mut self, written: Written) -> Result<(), StoreError> {
        let Written { changes, lines, tip, touched } = written;
        if changes.is_empty() {
            return Ok(());
        }
        self.store.write(changes, &lines)?;
        self.tip = tip;
        self.publish(&touched)
    }

    fn publish(&self, touched: &BTreeSet<DeploymentId>) -> Result<(), StoreError> {
        let counts = projection::counts(&Overlay::new(&*self.store))?;
        let mut published = self.shared.published.write().unwrap_or_else(PoisonError::into_inner);
        published.head = self.tip.head();
        published.counts = counts;
        for id in touched {
            match self.open.get(id) {
                Some(state) => published.open.insert(*id, state.clone()),
                None => published.open.remove(id),
            };
        }
        drop(published);
        self.shared.newest.send_replace(self.tip.seq);
        Ok(())
    }
}
