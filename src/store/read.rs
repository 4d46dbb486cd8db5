//! What can be asked of the ledger. All of it is a few rows, whatever the size of the store.
//!
//! Deployments that aren't over are told from the committer's own states, which are published when they are durable; everything
//! else from the rows.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLockReadGuard};

use jiff::Timestamp;

use super::chain::Head;
use super::committer::Published;
use super::ledger::Ledger;
use super::overlay::Overlay;
use super::projection::Lock;
use super::{Direction, Fact, LedgerError, Post, PostId, StoreError, Summary, TargetRecord, facts, lookup, posts, rows};
use crate::domain::build::Build;
use crate::domain::deployment::{DeploymentState, Event, Phase};
use crate::domain::message::{Message, MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, Tag};
use crate::domain::plan::Target;

/// How many good builds may have come in after a newer one.
const LATE: usize = 32;

impl Ledger {
    /// The newest durable fact.
    pub fn head(&self) -> Head {
        self.published().head
    }

    /// What is wrong with the ledger, if something is.
    pub fn trouble(&self) -> Option<String> {
        let blobs = || self.inner.store.trouble();
        self.inner.shared.failure().map(|error| error.to_string()).or_else(blobs)
    }

    /// A deployment's state; `None` if there is no such deployment.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn state(&self, id: DeploymentId) -> Result<Option<DeploymentState>, LedgerError> {
        let open = self.published().open.get(&id).cloned();
        match open {
            Some(state) => self.read(|_| Ok(Some(Arc::unwrap_or_clone(state)))),
            None => self.read(|rows| lookup::replay(rows, id)),
        }
    }

    /// A deployment's events, the oldest first; none if there is no such deployment.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn events(&self, id: DeploymentId) -> Result<Vec<(Timestamp, Event)>, LedgerError> {
        self.read(|rows| lookup::events(rows, id))
    }

    /// A deployment as the history shows it.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn summary(&self, id: DeploymentId) -> Result<Option<Summary>, LedgerError> {
        self.read(|rows| self.summarise(rows, id))
    }

    /// An app's deployments, the newest first; only those of one environment if one is given, and only those before `before`.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn history(
        &self,
        app: &AppName,
        environment: Option<&EnvironmentName>,
        limit: usize,
        before: Option<DeploymentId>,
    ) -> Result<Vec<Summary>, LedgerError> {
        let before = before.unwrap_or(DeploymentId(u64::MAX));
        self.read(|rows| {
            let environments = environment.map_or_else(|| self.environments(app), |environment| Ok(vec![environment.clone()]))?;
            let mut ids = Vec::new();
            for environment in &environments {
                let range = rows::history(app, environment, DeploymentId(0))..rows::history(app, environment, before);
                let found = self.inner.store.scan(range, Direction::Backward, limit)?;
                ids.extend(found.iter().map(|(key, _)| rows::last_number(key).map(DeploymentId)).collect::<Result<Vec<_>, _>>()?);
            }
            ids.sort_unstable_by(|one, other| other.cmp(one));
            ids.into_iter().take(limit).map(|id| must(self.summarise(rows, id)?)).collect()
        })
    }

    /// The deployments that go on, or would if the bot hadn't stopped; those that wait, and stuck ones, don't.
    ///
    /// # Errors
    /// When the ledger failed.
    pub fn open_deployments(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        self.read(|_| Ok(self.published().open.iter().filter(|(_, state)| state.phase.is_under_way()).map(|(id, _)| *id).collect()))
    }

    /// The deployments that are stuck and not mended.
    ///
    /// # Errors
    /// When the ledger failed.
    pub fn stuck(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        let stuck = |state: &DeploymentState| matches!(state.phase, Phase::Stuck(_));
        self.read(|_| Ok(self.published().open.iter().filter(|(_, state)| stuck(state)).map(|(id, _)| *id).collect()))
    }

    /// The deployment that holds the lock of an app's environment; it may be stuck.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn lock(&self, app: &AppName, environment: &EnvironmentName) -> Result<Option<Summary>, LedgerError> {
        self.read(|rows| {
            let lock: Option<Lock> = rows.get_json(&rows::lock(app, environment))?;
            lock.map_or(Ok(None), |lock| self.summarise(rows, lock.id))
        })
    }

    /// What each target of an app's environment runs by the record. Targets that the fleet file no longer has are still here.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn records(&self, app: &AppName, environment: &EnvironmentName) -> Result<Vec<(Target, TargetRecord)>, LedgerError> {
        self.read(|_| {
            let found = self.inner.store.scan(rows::records(app, environment), Direction::Forward, usize::MAX)?;
            found.iter().map(|(key, value)| Ok((rows::record_target(key)?, rows::read_json(value)?))).collect()
        })
    }

    /// An app's builds, the newest first.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn builds(&self, app: &AppName, limit: usize) -> Result<Vec<Build>, LedgerError> {
        self.read(|rows| {
            let found = self.inner.store.scan(rows::builds(app), Direction::Backward, limit)?;
            found.iter().map(|(key, _)| must(lookup::build(rows, app, rows::last_number(key)?)?)).collect()
        })
    }

    /// An app's builds that were announced before the fact `seq`, the newest first, each as it was known then. The same whenever it
    /// is asked.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn builds_before(&self, app: &AppName, seq: u64, limit: usize) -> Result<Vec<Build>, LedgerError> {
        self.read(|rows| {
            let range = rows::build(app, 0)..rows::build(app, seq);
            let found = self.inner.store.scan(range, Direction::Backward, limit)?;
            found.iter().map(|(key, _)| must(lookup::build_before(rows, app, rows::last_number(key)?, seq)?)).collect()
        })
    }

    /// The newest build of a tag.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn build(&self, app: &AppName, tag: &Tag) -> Result<Option<Build>, LedgerError> {
        self.read(|rows| match rows.get(&rows::tag(app, tag))? {
            Some(seq) => lookup::build(rows, app, rows::number(&seq)?),
            None => Ok(None),
        })
    }

    /// Whether a tag's newest build is newer than another tag's. One that nobody announced is neither newer nor older.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn is_newer_build(&self, app: &AppName, tag: &Tag, than: &Tag) -> Result<bool, LedgerError> {
        self.read(|rows| {
            let announced = |tag| {
                let Some(seq) = rows.get(&rows::tag(app, tag))?.map(|seq| rows::number(&seq)).transpose()? else { return Ok(None) };
                Ok(lookup::build(rows, app, seq)?.map(|build| (seq, build)))
            };
            let newer = |((this, build), (that, other)): ((u64, Build), (u64, Build))| build.is_newer_than(&other, this > that);
            Ok::<_, StoreError>(announced(tag)?.zip(announced(than)?).is_some_and(newer))
        })
    }

    /// The newest good build whose tag wasn't built badly since: of those that came in last, the one that was started last.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn newest_good_build(&self, app: &AppName) -> Result<Option<Build>, LedgerError> {
        self.read(|rows| {
            let mut newest: Option<Build> = None;
            for (key, _) in self.inner.store.scan(rows::good_builds(app), Direction::Backward, LATE)? {
                let Some(build) = lookup::build(rows, app, rows::last_number(&key)?)? else { continue };
                if newest.as_ref().is_none_or(|newest| build.is_newer_than(newest, false)) {
                    newest = Some(build);
                }
            }
            Ok(newest)
        })
    }

    /// The build that a fact announced, as it announced it: what was told of it later isn't in it. The same whenever it is asked.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn build_at(&self, seq: u64) -> Result<Option<Build>, LedgerError> {
        self.read(|rows| match facts::get(rows, seq)?.map(facts::StoredFact::open).transpose()? {
            Some((_, Fact::Built { build, completes: None, .. })) => Ok(Some(build)),
            // One that completes another announced nothing.
            Some(_) | None => Ok(None),
        })
    }

    /// The points up to which all that people said in these rooms is dealt with or recorded, where they are known.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn marks(&self, rooms: &[RoomId]) -> Result<BTreeMap<RoomId, String>, LedgerError> {
        self.read(|stored| {
            let mut marks = BTreeMap::new();
            for room in rooms {
                if let Some(mark) = stored.get_json(&rows::heard_up_to(room))? {
                    marks.insert(room.clone(), mark);
                }
            }
            Ok(marks)
        })
    }

    /// The commands that wait for an answer, the oldest first.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn inbox(&self) -> Result<Vec<Message>, LedgerError> {
        let durable = self.head().seq;
        self.read(|rows| {
            let mut messages = Vec::new();
            for (key, _) in self.inner.store.scan(rows::all_inbox(), Direction::Forward, usize::MAX)? {
                let seq = rows::last_number(&key)?;
                if let (true, (_, Fact::Heard { message })) = (seq <= durable, facts::must_get(rows, seq)?.open()?) {
                    messages.push(message);
                }
            }
            Ok(messages)
        })
    }

    /// The posts that a room doesn't show yet, the oldest first; none for a room that was never opened.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn posts_after(&self, room: &RoomId) -> Result<Vec<(PostId, Post)>, LedgerError> {
        let newest = self.published().counts.posts;
        self.read(|rows| {
            let Some(cursor) = rows.get(&rows::cursor(room))? else {
                return Ok(Vec::new());
            };
            let ids = (rows::number(&cursor)? + 1..=newest).map(PostId);
            ids.map(|id| Ok((id, must(posts::get(rows, id)?)?))).collect()
        })
    }

    /// The live posts that a room shows and that aren't settled, the oldest first, with the messages that show them.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn live(&self, room: &RoomId) -> Result<Vec<(PostId, Post, MessageRef)>, LedgerError> {
        self.read(|rows| {
            let found = self.inner.store.scan(rows::views(room), Direction::Forward, usize::MAX)?;
            let shown = found.iter().map(|(key, value)| {
                let id = PostId(rows::last_number(key)?);
                Ok((id, must(posts::get(rows, id)?)?, rows::read_json(value)?))
            });
            shown.collect()
        })
    }

    /// The message that closed a deployment in a room.
    ///
    /// # Errors
    /// When the ledger failed, or the store is damaged.
    pub fn closing(&self, room: &RoomId, id: DeploymentId) -> Result<Option<MessageRef>, LedgerError> {
        self.read(|rows| {
            let page: Option<BTreeMap<DeploymentId, String>> = rows.get_json(&rows::closings(room, id))?;
            let shown = page.and_then(|mut page| page.remove(&id)).filter(|message| !message.is_empty());
            Ok(shown.map(|id| MessageRef { room: room.clone(), id }))
        })
    }

    fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.inner.shared.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads rows, unless the ledger failed; rows that can't be right make it fail.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Overlay<'_>) -> Result<T, StoreError>) -> Result<T, LedgerError> {
        if let Some(error) = self.inner.shared.failure() {
            return Err(error);
        }
        read(&Overlay::new(&*self.inner.store)).map_err(|error| {
            self.inner.store.distrust(&error.to_string());
            self.inner.shared.fail(&error);
            error.into()
        })
    }

    fn summarise(&self, rows: &Overlay<'_>, id: DeploymentId) -> Result<Option<Summary>, StoreError> {
        let open = self.published().open.get(&id).cloned();
        match open {
            Some(state) => Ok(Some(Summary::of(id, &state))),
            None => rows.get_json(&rows::summary(id)),
        }
    }

    /// The environments that an app has a history in; leaps from one to the next.
    fn environments(&self, app: &AppName) -> Result<Vec<EnvironmentName>, StoreError> {
        let (mut range, mut environments) = (rows::app_histories(app), Vec::new());
        while let Some((key, _)) = self.inner.store.scan(range.clone(), Direction::Forward, 1)?.pop() {
            let environment = rows::history_environment(&key)?;
            range.start = rows::histories(app, &environment).end;
            environments.push(environment);
        }
        Ok(environments)
    }
}

/// A row that another row points to.
fn must<T>(row: Option<T>) -> Result<T, StoreError> {
    row.ok_or_else(|| StoreError::Damaged("a row is missing".to_owned()))
}
