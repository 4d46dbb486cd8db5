//! What a start takes: votes, permission, and nothing in the way. Asked at the request, when people ask why, and again at the start.

use jiff::Timestamp;

use crate::bot::{Bot, access, act, views};
use crate::chat::Reply;
use crate::domain::ballot::{self, Tally};
use crate::domain::deployment::{DeploymentState, Occasion, Phase};
use crate::domain::environment_lock::EnvironmentLock;
use crate::domain::freeze;
use crate::domain::names::{EnvironmentName, PersonName};
use crate::domain::news::Verdict;
use crate::domain::permission::Decision;
use crate::domain::plan::{Purpose, Release};
use crate::domain::policy::{ApprovalPolicy, Standing};
use crate::domain::spec::EnvironmentSpec;
use crate::runbook::Invocation;
use crate::store::{LedgerError, Summary};

/// Why something can't start, however long it waits.
#[derive(Debug, Clone)]
pub enum Obstacle {
    /// A person, or the policy, put a lock on the environment.
    Locked(EnvironmentLock),
    /// Nothing may change now.
    Frozen {
        /// Why.
        reason: String,
        /// Until when.
        until: Timestamp,
    },
    /// The release must have ended well elsewhere before.
    NotAfter {
        /// Where.
        environment: EnvironmentName,
    },
}

/// Whether the person who asked for what waits still may have it.
pub(super) enum Still {
    /// They may.
    May,
    /// They may not.
    MayNot(Reply),
    /// They may not by what is known, and a chat doesn't tell their roles at the moment.
    Unsure,
}

impl Bot {
    /// The votes that a waiting deployment takes by the policy of this moment, if it takes any.
    pub(in crate::bot) fn approval_of(&self, state: &DeploymentState) -> Option<&ApprovalPolicy> {
        let order = state.order.as_ref()?;
        match order.occasion {
            Occasion::Person | Occasion::Build { .. } => {}
            Occasion::Emergency { .. } | Occasion::Bake { .. } | Occasion::Rehearsal => return None,
        }
        let spec = self.fleet.environment(&state.plan.app, Some(&state.plan.environment)).ok()?;
        spec.policy.approval_of(&order.command)
    }

    /// The votes that were given, counted by the groups that people are in now.
    pub(in crate::bot) async fn tally(&self, state: &DeploymentState) -> Result<Tally, LedgerError> {
        let asked = match &state.phase {
            Phase::AwaitingApproval(call) => call.votes,
            _ => 0,
        };
        let Some(policy) = self.approval_of(state) else {
            return Ok(Tally { needed: asked, counted: state.votes.keys().cloned().collect(), uncounted: Vec::new() });
        };
        let mut groups = std::collections::BTreeMap::new();
        for person in state.votes.keys() {
            groups.insert(person.clone(), self.groups_of(person).await.known);
        }
        let of = |person: &PersonName| groups.get(person).cloned().unwrap_or_default();
        let tally = ballot::count(policy, &state.by, &state.votes, of);
        Ok(Tally { needed: tally.needed.max(asked), ..tally })
    }

    /// What keeps a deployment of this purpose out, whoever asks for it.
    pub(in crate::bot) fn obstacle(
        &self,
        spec: &EnvironmentSpec,
        purpose: &Purpose,
        occasion: &Occasion,
        release: Option<&Release>,
        now: Timestamp,
    ) -> Result<Option<Obstacle>, LedgerError> {
        if matches!(purpose, Purpose::Run { read: true, .. }) || matches!(occasion, Occasion::Bake { .. } | Occasion::Rehearsal) {
            return Ok(None);
        }
        if !through_lock(spec, purpose, occasion)
            && let Some(lock) = self.ledger.environment_lock(&spec.app, &spec.environment)?.filter(|lock| lock.holds(now))
        {
            return Ok(Some(Obstacle::Locked(lock)));
        }
        if matches!(occasion, Occasion::Emergency { .. }) {
            return Ok(None);
        }
        if let Some((freeze, until)) = freeze::in_force(&spec.policy.freezes, now) {
            return Ok(Some(Obstacle::Frozen { reason: freeze.reason.clone(), until }));
        }
        if let (Some(after), Some(release), Purpose::Deploy) = (&spec.policy.after, release, purpose) {
            let history = self.ledger.history(&spec.app, Some(after), act::HISTORY_FOR_REVERT, None)?;
            let ended_well = |summary: &Summary| summary.verdict() == Verdict::Good && summary.release.digest == release.digest;
            if !history.iter().any(ended_well) {
                return Ok(Some(Obstacle::NotAfter { environment: after.clone() }));
            }
        }
        Ok(None)
    }

    /// Whether the person who asked still may.
    pub(super) async fn still_may(&self, spec: &EnvironmentSpec, state: &DeploymentState) -> Still {
        let Some((standing, invocation)) = self.person_behind(state).await else { return Still::May };
        let against = match access::may_have(&self.fleet, &standing, &invocation) {
            Err(denied) => Some(views::denied(&denied)),
            Ok(_) if state.emergency().is_some() && !access::may_hurry(&spec.policy, &standing) => Some(views::no_emergency(spec)),
            Ok(_) => None,
        };
        match against {
            None => Still::May,
            Some(_) if standing.unsure => Still::Unsure,
            Some(why) => Still::MayNot(why),
        }
    }

    /// What lets the person who asked for a deployment have it, or what is against it, now; `None` if no person asked.
    pub(in crate::bot) async fn permission_of(&self, state: &DeploymentState) -> Option<Decision> {
        let (standing, invocation) = self.person_behind(state).await?;
        Some(match access::may_have(&self.fleet, &standing, &invocation) {
            Ok(decision) => decision,
            Err(access::Denied::Person { decision, .. } | access::Denied::Stranger { decision, .. }) => *decision,
        })
    }

    /// The person who asked for a deployment, as the rules see them now, and what they asked for; `None` if no person did.
    async fn person_behind(&self, state: &DeploymentState) -> Option<(Standing, Invocation)> {
        let order = state.order.as_ref()?;
        match order.occasion {
            Occasion::Person | Occasion::Emergency { .. } => {}
            Occasion::Build { .. } | Occasion::Bake { .. } | Occasion::Rehearsal => return None,
        }
        let invocation = self.invocation(order, (&state.plan.app, &state.plan.environment)).ok()?;
        Some((self.standing_of_person(&state.by).await, invocation))
    }
}

/// Whether a lock that a person put on the environment doesn't keep it out.
pub(in crate::bot) fn through_lock(spec: &EnvironmentSpec, purpose: &Purpose, occasion: &Occasion) -> bool {
    match (purpose, occasion) {
        (_, Occasion::Bake { .. } | Occasion::Rehearsal) | (Purpose::Run { read: true, .. }, _) => true,
        (Purpose::Revert, _) => spec.policy.revert_through_lock,
        (Purpose::Deploy | Purpose::Restart | Purpose::Run { .. }, _) => false,
    }
}
