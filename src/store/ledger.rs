//! The ledger: the typed front of the store. What may be recorded is in `record`, what can be asked in `read`.
//!
//! A handle is cheap to clone. Writing is `async` and returns when the fact is durable; reading is immediate. Any failed write is
//! the end: nobody knows what reached the disk, so nothing more is written or read until the next start has looked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::chain::Head;
use super::committer::{Committer, Job, Published, Shared, Tip, Writer};
use super::error::MayBeStore;
use super::healed::Recovery;
use super::overlay::Overlay;
use super::projection::{self, OpenDeployments};
use super::recovery;
use super::summary::Counts;
use super::{LedgerError, MemoryStore, Store, StoreError, lookup};

/// How many callers may wait for the committer before further ones wait for a place.
const QUEUE: usize = 1024;

/// The free space, in MiB, below which no action starts. A deployment writes a few MiB; the rest is for what can't be held back:
/// sled, which writes whole segments and snapshots, builds and messages that come in, and whoever else is on the disk.
const MIN_FREE_MIB: u64 = 200;

/// How the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The newest durable fact.
    pub head: Head,
    /// How much there is of everything.
    pub counts: Counts,
    /// How many callers wait for the committer.
    pub waiting: usize,
    /// How long the write that goes on has taken by now; `None` = none goes on. Above ten seconds the disk hangs.
    pub busy_for: Option<Duration>,
    /// The free space where the store is, in MiB; `None` in memory.
    pub free_mib: Option<u64>,
    /// Why nothing can be recorded any more, if so.
    pub failure: Option<String>,
}

/// What a ledger begins with.
#[derive(Default)]
struct Start {
    tip: Tip,
    counts: Counts,
    open: OpenDeployments,
}

impl Start {
    fn of(store: &dyn Store) -> Result<Start, StoreError> {
        Ok(Start {
            tip: Tip::load(store)?,
            counts: projection::counts(&Overlay::new(store))?,
            open: lookup::open_deployments(store)?,
        })
    }
}

/// The front of the store; a cheap clone.
#[derive(Clone)]
pub struct Ledger {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub store: Arc<dyn Store>,
    pub shared: Arc<Shared>,
    folder: Option<PathBuf>,
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    /// Waits for the last write, so that the store is closed when the last handle is gone.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It catches its own panics.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

impl Ledger {
    /// The ledger of a folder, which is made if there is none. Heals what can be healed, and tells what that was.
    ///
    /// # Errors
    /// When the folder can't be used, or what is lost can't be taken from elsewhere; the error says the way out.
    pub fn open(folder: &Path) -> Result<(Ledger, Recovery), LedgerError> {
        let (store, recovery) = recovery::open(folder)?;
        let start = Start::of(&store)?;
        Ok((Ledger::begin(Arc::new(store), Some(folder.to_owned()), start), recovery))
    }

    /// A ledger that forgets everything when it is dropped.
    pub fn in_memory() -> Ledger {
        Ledger::begin(Arc::new(MemoryStore::default()), None, Start::default())
    }

    /// The ledger of a store.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn over(store: Arc<dyn Store>) -> Result<Ledger, LedgerError> {
        let start = Start::of(&*store)?;
        Ok(Ledger::begin(store, None, start))
    }

    fn begin(store: Arc<dyn Store>, folder: Option<PathBuf>, Start { tip, counts, open }: Start) -> Ledger {
        let published = Published { head: tip.head(), counts, open: open.clone() };
        let shared = Arc::new(Shared::new(published));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let committer = Committer { store: store.clone(), shared: shared.clone(), open, tip };
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || committer.run(queue));
        if let Err(error) = &thread {
            shared.fail(&format!("its thread can't start: {error}"));
        }
        Ledger { inner: Arc::new(Inner { store, shared, folder, jobs: Some(jobs), thread: thread.ok() }) }
    }

    /// Wakes whenever a fact became durable, with the newest one's number; and when the ledger failed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.shared.newest.subscribe()
    }

    /// How the ledger is.
    pub fn health(&self) -> Health {
        let published = self.inner.shared.published.read().unwrap_or_else(PoisonError::into_inner);
        Health {
            head: published.head,
            counts: published.counts,
            waiting: self.inner.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity()),
            busy_for: self.inner.shared.busy_for(),
            free_mib: self.free_mib(),
            failure: self.inner.shared.failure().map(|error| error.to_string()),
        }
    }

    /// The free space where the store is, in MiB; `None` in memory.
    pub fn free_mib(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(self.inner.folder.as_ref()?).ok()?;
        Some((space.f_bavail.saturating_mul(space.f_frsize)) >> 20)
    }

    /// Why no action may start at the moment, if so: the disk is nearly full. What is under way goes on, and may be put back.
    ///
    /// A write that fails ends the bot, in the middle of whatever it does. So it stops to begin things while there is still space
    /// to write down how everything that it began has ended.
    pub fn refuses_actions(&self) -> Option<String> {
        let (folder, free) = (self.inner.folder.as_ref()?, self.free_mib()?);
        (free < MIN_FREE_MIB).then(|| {
            format!(
                "only {free} MiB are free on the disk of {}, so no action starts: free some space, {MIN_FREE_MIB} MiB are needed",
                folder.display()
            )
        })
    }

    /// Has the committer's thread run `decide`, and waits until what it appended is durable.
    pub(super) async fn submit<T, E>(&self, decide: impl FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + MayBeStore + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let decided = decide(writer);
            if let Some(error) = decided.as_ref().err().and_then(E::store) {
                writer.give_up(error);
            }
            Box::new(move |durable| {
                // A caller that was cancelled doesn't want to know.
                let _ = answer.send(durable.map_err(E::from).and(decided));
            })
        });
        let failed = || self.inner.shared.failure().unwrap_or_else(|| LedgerError::Failed("the committer is gone".to_owned()));
        let jobs = self.inner.jobs.as_ref().ok_or_else(failed)?;
        jobs.send(job).await.map_err(|_| failed())?;
        answered.await.map_err(|_| failed())?
    }
}
