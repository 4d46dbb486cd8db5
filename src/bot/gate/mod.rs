//! The gate: brings what waits to its start, in order, and ends what can't start.
//!
//! One task looks again whenever a fact was recorded or a time is over. Everything is asked again at the start: the permission, the
//! locks, the freezes, the votes by the groups of that moment, and the plan itself, which is made anew and compared. So nothing
//! that was approved can change before it runs.
//!
//! | file | what |
//! |---|---|
//! | `judge` | votes, permission, and what is in the way |
//! | `start` | from waiting to running |

mod judge;
mod start;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

pub use self::judge::Obstacle;
pub(super) use self::judge::through_lock;
use super::{Bot, Refusal, access, act};
use crate::domain::ballot::Tally;
use crate::domain::deployment::{DeploymentState, Event, Occasion, Phase};
use crate::domain::environment_lock::Unlocked;
use crate::domain::names::{AppName, DeploymentId, EnvironmentName};
use crate::domain::news::Verdict;
use crate::domain::notice::Notice;
use crate::domain::plan::Purpose;
use crate::domain::policy::ApprovalPolicy;
use crate::domain::spec::Millis;
use crate::runbook::Invocation;
use crate::store::{LedgerError, PhaseName};

/// How often the gate is looked at when nothing happens and no time is known.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long before its end people are reminded of a lock.
const REMIND: Millis = Millis::seconds(15 * 60);

/// An environment of an app.
pub(super) type Place = (AppName, EnvironmentName);

/// What is to be done next about what waits in an environment.
enum Due {
    /// A newer build takes its place.
    Supersede { id: DeploymentId, by: DeploymentId },
    /// Nobody voted in time.
    Expire { id: DeploymentId },
    /// People are to be asked.
    Ask { id: DeploymentId, state: Arc<DeploymentState>, policy: ApprovalPolicy },
    /// It may start, if nothing has changed.
    Start { id: DeploymentId, state: Arc<DeploymentState>, tally: Option<Tally> },
}

impl Bot {
    /// Looks at the gate until the bot stops.
    pub(super) async fn keep_gate(self) {
        let mut facts = self.ledger.subscribe();
        loop {
            facts.borrow_and_update();
            let wait = match self.look_at_gate().await {
                Ok(wait) => wait,
                Err(error) => return self.fail(&error),
            };
            tokio::select! {
                changed = facts.changed() => if changed.is_err() { return },
                () = self.gate.notified() => {}
                () = sleep(wait) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// One look; how long until the next time that is known.
    async fn look_at_gate(&self) -> Result<Duration, LedgerError> {
        let now = self.now();
        let mut times: Vec<Timestamp> = self.look_at_locks(now).await?;
        times.extend(self.tell_head(now).await?);
        let waiting = self.ledger.waiting()?;
        let mut places: BTreeSet<Place> = BTreeSet::new();
        for (_, state) in &waiting {
            places.insert((state.plan.app.clone(), state.plan.environment.clone()));
            if let Phase::AwaitingApproval(call) = &state.phase {
                times.push(call.until);
            }
        }
        places.extend(self.ledger.automatic()?.into_iter().map(|(app, environment, _)| (app, environment)));
        for place in places {
            self.tend(place);
        }
        self.count_waiting(waiting.len());
        let next = times.into_iter().map(|time| time.duration_since(now)).min();
        let next = next.map(|left| Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10));
        Ok(next.map_or(LOOK_EVERY, |next| next.min(LOOK_EVERY)))
    }

    /// Tells rooms the journal's head when that is due; when it is due next.
    async fn tell_head(&self, now: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        let Some(daily) = &self.habits.post_head else { return Ok(None) };
        let due = daily.due(self.ledger.head_told()?, now);
        if due > now {
            return Ok(Some(due));
        }
        let head = self.ledger.head();
        self.ledger.tell(Notice::Head { seq: head.seq, hash: head.hash.to_string() }, None, now).await?;
        Ok(None)
    }

    /// Ends the locks whose time is over and reminds people of those that end soon; the times at which to look again.
    async fn look_at_locks(&self, now: Timestamp) -> Result<Vec<Timestamp>, LedgerError> {
        let mut times = Vec::new();
        for (app, environment, lock) in self.ledger.environment_locks()? {
            let Some(until) = lock.until else { continue };
            // Of a short one there is a word when half of it is over.
            let early = REMIND.min(Millis(super::views::between(lock.since, until).0 / 2));
            let remind = until.checked_sub(early.duration()).unwrap_or(until);
            if now >= until {
                self.ledger.take_lock_off(app, environment, Unlocked::Ended, None, now).await?;
            } else if now >= remind && !lock.reminded {
                self.ledger.tell(Notice::LockEnds { app, environment, lock }, None, now).await?;
                times.push(until);
            } else {
                times.push(if lock.reminded { until } else { remind });
            }
        }
        Ok(times)
    }

    /// Works on an environment beside all others; if that is under way already, once more after it.
    fn tend(&self, place: Place) {
        let mut tended = self.tended.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopping.is_cancelled() {
            return;
        }
        if let Some(again) = tended.get_mut(&place) {
            *again = true;
            return;
        }
        tended.insert(place.clone(), false);
        drop(tended);
        let bot = self.clone();
        self.drives.spawn(self.guarded("the gate of an environment", async move {
            let moved = bot.tend_to(&place).await;
            let again = bot.tended.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
            match moved {
                // What came in while it was busy is looked at.
                Ok(moved) if moved || again == Some(true) => bot.gate.notify_one(),
                Ok(_) => {}
                Err(error) => bot.fail(&error),
            }
        }));
    }

    /// Does what is due, one thing after the other; whether anything was.
    async fn tend_to(&self, place: &Place) -> Result<bool, LedgerError> {
        let mut moved = self.deploy_automatically(place).await?;
        while !self.stopping.is_cancelled() {
            let Some(due) = self.due(place).await? else { break };
            let goes_on = match due {
                Due::Supersede { id, by } => self.note_waiting(id, Event::Superseded { by }).await?,
                Due::Expire { id } => self.note_waiting(id, Event::Expired {}).await?,
                Due::Ask { id, state, policy } => self.ask_for_votes(id, &state, &policy).await?,
                Due::Start { id, state, tally } => self.start_waiting(id, &state, tally).await?,
            };
            moved |= goes_on;
            if !goes_on {
                break;
            }
        }
        Ok(moved)
    }

    /// What is to be done next, if anything is.
    async fn due(&self, place: &Place) -> Result<Option<Due>, LedgerError> {
        let now = self.now();
        let mut waiting = self.ledger.waiting()?;
        waiting.retain(|(_, state)| state.plan.app == place.0 && state.plan.environment == place.1);
        if let Some((id, by)) = self.displaced(&waiting)? {
            return Ok(Some(Due::Supersede { id, by }));
        }
        let late = |state: &DeploymentState| matches!(&state.phase, Phase::AwaitingApproval(call) if call.until <= now);
        if let Some((id, _)) = waiting.iter().find(|(_, state)| late(state)) {
            return Ok(Some(Due::Expire { id: *id }));
        }
        if self.ledger.lock(&place.0, &place.1)?.is_some_and(|holder| holder.phase != PhaseName::Stuck) {
            return Ok(None);
        }
        let asked = waiting.iter().any(|(_, state)| matches!(state.phase, Phase::AwaitingApproval(_)));
        waiting.sort_by_key(|(_, state)| !state.order.as_ref().is_some_and(|order| order.occasion.is_urgent()));
        for (id, state) in waiting {
            match &state.phase {
                Phase::Queued => match self.approval_of(&state) {
                    None => return Ok(Some(Due::Start { id, state, tally: None })),
                    // One after the other: what the first one changes would void the votes for the second.
                    Some(_) if asked => {}
                    Some(policy) => return Ok(Some(Due::Ask { id, state: state.clone(), policy: policy.clone() })),
                },
                Phase::AwaitingApproval(call) if state.votes.len() >= call.votes as usize => {
                    let tally = self.tally(&state).await?;
                    if tally.suffices() {
                        return Ok(Some(Due::Start { id, state: state.clone(), tally: Some(tally) }));
                    }
                }
                Phase::AwaitingApproval(_) => {}
                Phase::Running
                | Phase::Holding { .. }
                | Phase::Undoing(_)
                | Phase::Succeeded
                | Phase::Undone(_)
                | Phase::Cancelled(_)
                | Phase::Stuck(_)
                | Phase::Kept { .. }
                | Phase::Rejected(_)
                | Phase::Expired
                | Phase::Superseded { .. } => {}
            }
        }
        Ok(None)
    }

    /// A deploy that waits, and a later one of a newer build.
    fn displaced(
        &self,
        waiting: &[(DeploymentId, Arc<DeploymentState>)],
    ) -> Result<Option<(DeploymentId, DeploymentId)>, LedgerError> {
        for (id, state) in waiting.iter().filter(|(_, state)| state.plan.purpose == Purpose::Deploy) {
            // An emergency stays, and so does a tag that no CI announced: nobody knows what is newer than that.
            if state.emergency().is_some() {
                continue;
            }
            let later = waiting.iter().filter(|(other, later)| other > id && later.plan.purpose == Purpose::Deploy);
            for (by, later) in later {
                if self.ledger.is_newer_build(&state.plan.app, &later.plan.release.tag, &state.plan.release.tag)? {
                    return Ok(Some((*id, *by)));
                }
            }
        }
        Ok(None)
    }

    /// Records something about a deployment that waits; whether it still did.
    pub(super) async fn note_waiting(&self, id: DeploymentId, event: Event) -> Result<bool, LedgerError> {
        match self.ledger.deployment(id, event, self.now()).await {
            Ok(_) => Ok(true),
            // A person was quicker.
            Err(LedgerError::Illegal(_) | LedgerError::NoSuchDeployment(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for the deployments that good builds of a branch give rise to.
    async fn deploy_automatically(&self, place: &Place) -> Result<bool, LedgerError> {
        let Some((app, environment, seq)) =
            self.ledger.automatic()?.into_iter().find(|(app, env, _)| (app, env) == (&place.0, &place.1))
        else {
            return Ok(false);
        };
        // It waits until there is space again.
        if self.ledger.refuses_actions().is_some() {
            return Ok(false);
        }
        let Some(build) = self.ledger.build_at(seq)? else { return Ok(false) };
        if self.comes_later(place, &build.tag)? {
            return Ok(false);
        }
        let tag = build.tag.clone();
        let asked = match self.automatic_invocation(place, &tag) {
            Ok(asked) => act::act(self, &access::by_policy(asked), None, Occasion::Build { seq }).await,
            Err(refusal) => Err(refusal),
        };
        match asked {
            Ok(_) => {}
            Err(Refusal::Told(reply)) => {
                let why = crate::chat::text::plain(&reply);
                self.ledger.tell(Notice::NotAutomatic { app, environment, tag, why, seq: Some(seq) }, None, self.now()).await?;
            }
            Err(Refusal::Broken(error)) => return Err(error),
        }
        Ok(true)
    }

    /// Whether a build must still end well in another environment first: then it is looked at again when something ended there.
    fn comes_later(&self, (app, environment): &Place, tag: &crate::domain::names::Tag) -> Result<bool, LedgerError> {
        let spec = self.fleet.environment(app, Some(environment)).ok();
        let Some(after) = spec.and_then(|spec| spec.policy.after.as_ref()) else { return Ok(false) };
        let history = self.ledger.history(app, Some(after), act::HISTORY_FOR_REVERT, None)?;
        let ended_well = |summary: &crate::store::Summary| summary.verdict() == Verdict::Good && summary.release.tag == *tag;
        Ok(!history.iter().any(ended_well))
    }

    fn automatic_invocation(&self, (app, environment): &Place, tag: &crate::domain::names::Tag) -> Result<Invocation, Refusal> {
        let runbook = super::actions::deploys(self)?.clone();
        Ok(Invocation {
            app: Some(app.clone()),
            environment: Some(environment.clone()),
            tag: Some(tag.clone()),
            ..Invocation::bare(runbook)
        })
    }
}
