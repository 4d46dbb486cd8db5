//! From waiting to running: the plan is made anew, people are asked, and what may start starts.

use super::judge::{Obstacle, Still, through_lock};
use crate::bot::act::{self, Planning};
use crate::bot::{Bot, Refusal, views};
use crate::chat::text;
use crate::domain::ballot::Tally;
use crate::domain::deployment::{Call, DeploymentState, Event, Occasion, Order, Phase};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName};
use crate::domain::plan::Plan;
use crate::domain::planner;
use crate::domain::policy::ApprovalPolicy;
use crate::pipeline::{Asked, DeployLock};
use crate::runbook::{Flag, Invocation};
use crate::store::{Ask, LedgerError, RequestError, Way};

impl Bot {
    async fn refuse_waiting(&self, id: DeploymentId, why: Refusal) -> Result<bool, LedgerError> {
        match why {
            Refusal::Told(reply) => self.note_waiting(id, Event::Refused { why: text::plain(&reply) }).await,
            Refusal::Broken(error) => Err(error),
        }
    }

    /// Makes the plan of a waiting deployment anew, and records what makes it another one. The state after that; `None` if it waits
    /// no longer.
    async fn plan_again(&self, id: DeploymentId, state: &DeploymentState) -> Result<Option<DeploymentState>, LedgerError> {
        let planned = match (&state.order, self.fleet.environment(&state.plan.app, Some(&state.plan.environment))) {
            (Some(order), Ok(_)) => self.plan_of(order, state).await,
            (_, Err(error)) => Err(Refusal::told(error.to_string())),
            (None, Ok(_)) => return Ok(None),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => {
                self.refuse_waiting(id, refusal).await?;
                return Ok(None);
            }
        };
        let changed = state.plan.changes(&plan);
        if changed.is_empty() {
            return Ok(Some(state.clone()));
        }
        self.note_waiting(id, Event::Replanned { plan: Box::new(plan), changed }).await?;
        self.ledger.state(id).map(|state| state.filter(|state| state.phase.waits()))
    }

    async fn plan_of(&self, order: &Order, state: &DeploymentState) -> Result<Plan, Refusal> {
        let invocation = self.invocation(order, (&state.plan.app, &state.plan.environment))?;
        let runbook = invocation.runbook.clone();
        let plan = act::plan(self, &invocation, &runbook, Planning::Again { nonce: &state.plan.nonce }).await?;
        Ok(act::watched(plan, &order.occasion))
    }

    /// What was asked for, with the command as it is now.
    pub(in crate::bot) fn invocation(
        &self,
        order: &Order,
        (app, environment): (&AppName, &EnvironmentName),
    ) -> Result<Invocation, Refusal> {
        let gone = || Refusal::told(format!("the command `{}` is gone", order.command));
        let runbook = self.catalog.get(&order.command).ok_or_else(gone)?.clone();
        Ok(Invocation {
            app: Some(app.clone()),
            environment: Some(environment.clone()),
            role: order.role.clone(),
            tag: order.tag.clone(),
            words: order.words.clone(),
            flags: order.read.then_some(Flag::Read).into_iter().collect(),
            ..Invocation::bare(runbook)
        })
    }

    /// Rehearses what the policy wants rehearsed, and asks people for their votes.
    pub(super) async fn ask_for_votes(
        &self,
        id: DeploymentId,
        state: &DeploymentState,
        policy: &ApprovalPolicy,
    ) -> Result<bool, LedgerError> {
        let Some(state) = self.plan_again(id, state).await? else { return Ok(true) };
        let spec = self.fleet.environment(&state.plan.app, Some(&state.plan.environment)).ok();
        let mut rehearsals = Vec::new();
        for command in spec.iter().flat_map(|spec| &spec.policy.rehearse) {
            rehearsals.extend(self.rehearse(id, &state, command).await?);
            // The next start asks people, with the rehearsal.
            if self.stopping.is_cancelled() {
                return Ok(false);
            }
        }
        let now = self.now();
        let (votes, until) = (policy.votes, policy.expires.after(now));
        let call = Call { votes, until, strength: policy.strength, hash: state.plan.hash(), rehearsals };
        self.note_waiting(id, Event::VotesAsked { call }).await
    }

    /// Runs a command that changes nothing from the new image, to its end; its deployment.
    async fn rehearse(
        &self,
        of: DeploymentId,
        state: &DeploymentState,
        command: &[String],
    ) -> Result<Option<DeploymentId>, LedgerError> {
        let Ok(nonce) = act::nonce() else { return Ok(None) };
        let Ok(Some(plan)) = planner::rehearsal(&state.plan, command, &nonce) else { return Ok(None) };
        let Some(order) = &state.order else { return Ok(None) };
        let order = Order { words: command.to_vec(), read: true, occasion: Occasion::Rehearsal, ..order.clone() };
        let ask = Ask {
            plan,
            by: state.by.clone(),
            cause: None,
            order: Some(order),
            waits: false,
            through_lock: true,
            calls: Vec::new(),
        };
        let lock = match DeployLock::ask(&self.ledger, ask, self.now()).await {
            Ok(Asked::Started(lock)) => lock,
            Ok(Asked::Waits(_)) | Err(RequestError::Locked { .. } | RequestError::EnvironmentLocked { .. }) => {
                return Ok(None);
            }
            Err(RequestError::Ledger(error)) => return Err(error),
        };
        let id = lock.deployment();
        let mut facts = self.ledger.subscribe();
        self.drive(lock);
        loop {
            facts.borrow_and_update();
            let over = self.ledger.state(id)?.is_none_or(|state| state.phase.is_final());
            // Nobody wants to know any more once what it is for was stopped.
            if over || self.ledger.state(of)?.is_none_or(|state| !state.phase.waits()) {
                return Ok(Some(id));
            }
            tokio::select! {
                changed = facts.changed() => if changed.is_err() { return Ok(None) },
                () = self.stopping.cancelled() => return Ok(None),
            }
        }
    }

    /// Starts what may start, unless something has changed; whether anything came of it.
    pub(super) async fn start_waiting(
        &self,
        id: DeploymentId,
        state: &DeploymentState,
        tally: Option<Tally>,
    ) -> Result<bool, LedgerError> {
        let rounds = (state.rounds, matches!(state.phase, Phase::AwaitingApproval(_)));
        let Some(state) = self.plan_again(id, state).await? else { return Ok(true) };
        if rounds != (state.rounds, matches!(state.phase, Phase::AwaitingApproval(_))) {
            // The votes were for another plan: people are asked again.
            return Ok(true);
        }
        let (Some(order), Ok(spec)) = (&state.order, self.fleet.environment(&state.plan.app, Some(&state.plan.environment))) else {
            return Ok(false);
        };
        // It waits until there is space again.
        if self.ledger.refuses_actions().is_some() {
            return Ok(false);
        }
        let now = self.now();
        if let Some(obstacle) = self.obstacle(spec, &state.plan.purpose, &order.occasion, Some(&state.plan.release), now)? {
            let reply = views::obstacle(&spec.app, &spec.environment, &obstacle, &self.prefix, now);
            return self.refuse_waiting(id, Refusal::Told(reply)).await;
        }
        match self.still_may(spec, &state).await {
            Still::May => {}
            Still::MayNot(why) => return self.refuse_waiting(id, Refusal::Told(why)).await,
            Still::Unsure => return Ok(false),
        }
        // A vote that was taken back meanwhile is no longer recorded, and then this doesn't start.
        if tally.is_some() && !self.calls_are_seen(id).await? {
            return Ok(false);
        }
        let way = Way {
            needed: tally.as_ref().map_or(0, |tally| tally.needed),
            counted: tally.map(|tally| tally.counted).unwrap_or_default(),
            through_lock: through_lock(spec, &state.plan.purpose, &order.occasion),
        };
        match DeployLock::start(&self.ledger, id, way, now).await {
            Ok(lock) => {
                self.drive(lock);
                Ok(true)
            }
            Err(RequestError::Locked { .. }) => Ok(false),
            Err(RequestError::EnvironmentLocked { lock }) => {
                let obstacle = Obstacle::Locked(*lock);
                let reply = views::obstacle(&spec.app, &spec.environment, &obstacle, &self.prefix, now);
                self.refuse_waiting(id, Refusal::Told(reply)).await
            }
            // A vote was taken back, or a person cancelled, in this moment.
            Err(RequestError::Ledger(LedgerError::Illegal(_) | LedgerError::NoSuchDeployment(_))) => Ok(false),
            Err(RequestError::Ledger(error)) => Err(error),
        }
    }
}
