//! What posts are made from: the facts that a view needs beside the deployment itself, and how long a message may be answered to.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::deployment::{DeploymentState, Event, Phase, Step};
use crate::domain::message::RoomId;
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, PersonName};
use crate::domain::news::commits;
use crate::domain::notice::Notice;
use crate::domain::plan::Purpose;
use crate::domain::spec::Millis;
use crate::store::{LedgerError, PhaseName, Told};

/// How many builds are looked at for what came since the release that runs.
const BUILDS: usize = 100;

/// How many deployments are looked at for how long they take.
const DEPLOYMENTS: usize = 10;

/// How far back the newest deployment is looked for that started.
const STARTED: usize = 100;

/// How long it is shown whose votes count before that is asked again.
const VOTERS_KEPT: Duration = Duration::from_secs(60);

/// How long people may answer to a list of commands that were not run.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_hours(1);

impl Bot {
    /// The message that people vote at.
    pub(super) async fn call_shown(&self, room: &RoomId, seq: u64) -> Result<Option<Reply>, LedgerError> {
        let Some((id, call)) = self.ledger.call(seq)? else { return Ok(None) };
        let Some(state) = self.ledger.state(id)? else { return Ok(None) };
        let events: Vec<Event> = self.ledger.events(id)?.into_iter().map(|(_, event)| event).collect();
        let facts = views::Facts {
            void: views::Void::of(&call, &events),
            builds: self.builds_since(&state)?,
            took: self.took(&state)?,
            rehearsals: call.rehearsals.iter().filter_map(|id| self.rehearsed(*id).transpose()).collect::<Result<_, _>>()?,
            approvers: self.voters(seq, &state).await,
        };
        let shown = views::votes(id, &state, &call, &facts, &self.emojis, &self.prefix);
        self.linked(shown, room, id, &state).map(Some)
    }

    /// Whose votes count at a call, for those who read it. A chat isn't asked for everybody's roles each time that it is shown.
    async fn voters(&self, seq: u64, state: &DeploymentState) -> Vec<PersonName> {
        let known = self.voters.lock().unwrap_or_else(PoisonError::into_inner).get(&seq).cloned();
        if let Some((_, voters)) = known.filter(|(asked, _)| asked.elapsed() < VOTERS_KEPT) {
            return voters;
        }
        let Ok(spec) = self.fleet.environment(&state.plan.app, Some(&state.plan.environment)) else { return Vec::new() };
        let voters = self.approvers(spec, &state.by).await;
        let mut kept = self.voters.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (asked, _)| asked.elapsed() < VOTERS_KEPT);
        kept.insert(seq, (Instant::now(), voters.clone()));
        voters
    }

    fn builds_since(&self, state: &DeploymentState) -> Result<Vec<crate::domain::build::Build>, LedgerError> {
        let plan = &state.plan;
        let Some(from) = plan.from().filter(|from| from.tag != plan.release.tag) else { return Ok(Vec::new()) };
        let builds = self.ledger.builds(&plan.app, BUILDS)?;
        Ok(commits(&builds, &from.tag, &plan.release.tag).into_iter().cloned().collect())
    }

    fn took(&self, state: &DeploymentState) -> Result<Vec<Millis>, LedgerError> {
        let plan = &state.plan;
        let history = self.ledger.history(&plan.app, Some(&plan.environment), DEPLOYMENTS, None)?;
        let well = history.iter().filter(|summary| summary.phase == PhaseName::Succeeded && summary.purpose == Purpose::Deploy);
        let took = well.filter_map(|summary| {
            let start = summary.started_at.unwrap_or(summary.requested_at);
            Some(views::between(start, summary.ended_at?))
        });
        Ok(took.collect())
    }

    /// What a rehearsal ran, and the end of what it wrote or why it failed.
    fn rehearsed(&self, id: DeploymentId) -> Result<Option<views::Rehearsed>, LedgerError> {
        let Some(state) = self.ledger.state(id)? else { return Ok(None) };
        let Purpose::Run { command, .. } = &state.plan.purpose else { return Ok(None) };
        let wrote = state.steps.values().find_map(|step| match step {
            Step::Done { outcome, .. } if !outcome.output.is_empty() => Some(outcome.output.join("\n")),
            _ => None,
        });
        let said = match state.phase.cause() {
            None => Ok(wrote.unwrap_or_else(|| "(nothing)".to_owned())),
            Some(crate::domain::deployment::Cause::Failed { failure, .. }) => {
                Err(std::iter::once(failure.message.clone()).chain(failure.output.iter().cloned()).collect::<Vec<_>>().join("\n"))
            }
            Some(crate::domain::deployment::Cause::Cancelled { by }) => Err(format!("cancelled by {by}")),
        };
        Ok(Some(views::Rehearsed { command: command.join(" "), said }))
    }

    /// Whether people may still answer to a deployment's closing message: it is watched, or wants to be looked at.
    pub(super) fn may_be_answered(&self, id: DeploymentId, state: &DeploymentState) -> bool {
        let unreviewed = state.emergency().is_some() && state.started_at.is_some() && state.reviewed_by.is_none();
        let stuck = matches!(state.phase, Phase::Stuck(_)) && state.mended_by.is_none();
        unreviewed || stuck || self.is_baking(id, state)
    }

    /// The newest deployment of an environment that started and kept others out: neither a look nor what only waits.
    pub(super) fn newest_started(&self, app: &AppName, environment: &EnvironmentName) -> Result<Option<DeploymentId>, LedgerError> {
        let history = self.ledger.history(app, Some(environment), STARTED, None)?;
        let started = |summary: &&crate::store::Summary| {
            // Older history has no time of the start: there everything started.
            let waited = matches!(
                summary.phase,
                PhaseName::Queued | PhaseName::AwaitingApproval | PhaseName::Rejected | PhaseName::Expired | PhaseName::Superseded
            );
            !waited
                && !matches!(summary.purpose, Purpose::Run { read: true, .. })
                && (summary.started_at.is_some() || summary.phase != PhaseName::Cancelled)
        };
        Ok(history.iter().find(started).map(|summary| summary.id))
    }

    /// Whether a deployment that ended well is still watched.
    pub(super) fn is_baking(&self, id: DeploymentId, state: &DeploymentState) -> bool {
        self.was_baking(id, state, self.now())
    }

    /// Whether it was at a time, and nothing came after it since.
    pub(super) fn was_baking(&self, id: DeploymentId, state: &DeploymentState, at: Timestamp) -> bool {
        let (Phase::Succeeded, Some(ended), false) = (&state.phase, state.ended_at, state.plan.bake.is_zero()) else {
            return false;
        };
        let is_newest = self.newest_started(&state.plan.app, &state.plan.environment).is_ok_and(|newest| newest == Some(id));
        is_newest && at < state.plan.bake.after(ended)
    }

    /// Whether something that rooms were told asks for an answer.
    pub(super) fn asks(&self, seq: u64) -> Result<bool, LedgerError> {
        let told = self.ledger.told(seq)?;
        Ok(
            matches!(told, Some((at, Told::Notice { notice: Notice::Stale { .. }, .. })) if self.now().duration_since(at) < ANSWER_WITHIN),
        )
    }
}

/// A refusal as one line, for where it is quoted.
pub(super) fn quoted(refusal: Refusal) -> Result<String, LedgerError> {
    match refusal {
        Refusal::Told(reply) => Ok(crate::chat::text::plain(&reply)),
        Refusal::Broken(error) => Err(error),
    }
}
