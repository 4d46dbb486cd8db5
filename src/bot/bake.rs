//! After a deployment ended well: its health is watched for as long as the policy says, and it is reverted when it isn't well, or when
//! a person says so by an emoji at the closing message.
//!
//! A host that can't be reached is no reason: the revert couldn't reach it either.

use std::sync::PoisonError;
use std::time::Duration;

use super::shown::quoted;
use super::{Bot, access, act, actions, views};
use crate::domain::deployment::{DeploymentState, Occasion};
use crate::domain::message::{Account, MessageRef};
use crate::domain::names::{DeploymentId, PersonName};
use crate::domain::notice::Notice;
use crate::runbook::Invocation;
use crate::store::LedgerError;

/// The wait between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Bot {
    /// Watches the deployments that ended well shortly before the bot went away.
    pub(super) fn bake_on(&self) -> Result<(), LedgerError> {
        for spec in self.fleet.environments() {
            let Some(newest) = self.newest_started(&spec.app, &spec.environment)? else { continue };
            if let Some(state) = self.ledger.state(newest)? {
                self.bake(newest, state);
            }
        }
        Ok(())
    }

    /// Watches a deployment beside everything else, if the policy wants that.
    pub(super) fn bake(&self, id: DeploymentId, state: DeploymentState) {
        if !self.is_baking(id, &state) {
            return;
        }
        let bot = self.clone();
        tokio::spawn(self.guarded("the watch after a deployment", async move {
            if let Err(error) = bot.watch_baking(id, &state).await {
                bot.fail(&error);
            }
        }));
    }

    async fn watch_baking(&self, id: DeploymentId, state: &DeploymentState) -> Result<(), LedgerError> {
        let until = state.plan.bake.after(state.ended_at.unwrap_or_else(|| self.now()));
        loop {
            // A look takes its time. One that began in time counts.
            let began = self.now();
            if let Some((target, failure)) = self.pipeline.unhealthy(state).await {
                if self.was_baking(id, state, began) {
                    let why = self.pipeline.outputs().redact(&format!("{target}: {}", failure.message));
                    self.unbake(id, state, None, why).await?;
                }
                return Ok(());
            }
            let left = until.duration_since(self.now());
            if left.is_negative() || left.is_zero() {
                return self.ledger.tell(Notice::Baked { id }, None, self.now()).await;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY.min(Duration::try_from(left).unwrap_or_default())) => {}
                () = self.stopping.cancelled() => return Ok(()),
            }
            // Another deployment has begun, or a person was quicker.
            if !self.is_baking(id, state) && self.now() < until {
                return Ok(());
            }
        }
    }

    /// ❌ at the closing message of a deployment that is watched, by someone who may revert.
    pub(super) async fn not_well(&self, id: DeploymentId, to: &MessageRef, author: &Account) -> Result<(), LedgerError> {
        let Some(state) = self.ledger.state(id)?.filter(|state| self.is_baking(id, state)) else { return Ok(()) };
        let Ok(invocation) = self.revert_of(&state) else { return Ok(()) };
        let standing = self.standing(author).await?;
        match access::authorize(&self.fleet, &standing, invocation) {
            Ok(asked) => self.unbake(id, &state, Some(asked.by().clone()), String::new()).await,
            Err(denied) => {
                self.answer(to, &format!("not-well:{author}"), &views::denied(&denied)).await;
                Ok(())
            }
        }
    }

    /// Reverts it, and tells the rooms why: in this order, since a bot that dies in between must not have said it in vain.
    async fn unbake(
        &self,
        id: DeploymentId,
        state: &DeploymentState,
        by: Option<PersonName>,
        why: String,
    ) -> Result<(), LedgerError> {
        if !self.unbaking.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return Ok(());
        }
        let reverted = match self.revert_of(state) {
            Ok(invocation) => act::act(self, &access::by_policy(invocation), None, Occasion::Bake { of: id }).await,
            Err(refusal) => Err(refusal),
        };
        self.ledger.tell(Notice::BakeFailed { id, by, why }, None, self.now()).await?;
        if let Err(refusal) = reverted {
            // It may be said again.
            self.unbaking.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            let why = quoted(refusal)?;
            self.ledger.tell(Notice::NotReverted { id, why }, None, self.now()).await?;
        }
        Ok(())
    }

    fn revert_of(&self, state: &DeploymentState) -> Result<Invocation, super::Refusal> {
        let runbook = actions::reverts(self)?.clone();
        Ok(Invocation {
            app: Some(state.plan.app.clone()),
            environment: Some(state.plan.environment.clone()),
            // Where it came from, whatever else is asked for meanwhile.
            tag: state.plan.from().map(|from| from.tag.clone()),
            ..Invocation::bare(runbook)
        })
    }
}
