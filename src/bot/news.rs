//! The news of builds and deployments, from what the ledger knows of the time before.
//!
//! Only what was known when the build came in, or when the deployment ended, counts: a message that is made again later, for a room that
//! was away, says the same.

use super::Bot;
use crate::domain::build::Build;
use crate::domain::deployment::DeploymentState;
use crate::domain::names::{DeploymentId, Tag};
use crate::domain::news::{self, News, Verdict};
use crate::store::{Ledger, LedgerError, Summary};

/// How many builds or deployments back is looked: whoever fails more often in a row knows.
const EARLIER: usize = 100;

/// The news of a build that the fact `seq` announced.
///
/// # Errors
/// When the ledger can't be read.
pub fn of_build(ledger: &Ledger, seq: u64, build: &Build) -> Result<News<Tag>, LedgerError> {
    Ok(news::of_build(build, &ledger.builds_before(&build.app, seq, EARLIER)?))
}

/// The news of a deployment that ended.
///
/// # Errors
/// When the ledger can't be read.
pub fn of_deployment(ledger: &Ledger, id: DeploymentId, state: &DeploymentState) -> Result<News<DeploymentId>, LedgerError> {
    let verdict = Summary::of(id, state).verdict();
    let plan = &state.plan;
    let mut builds = match verdict {
        Verdict::Neither => return Ok(News::usual()),
        Verdict::Good => Vec::new(),
        Verdict::Bad(_) => ledger.builds(&plan.app, EARLIER)?,
    };
    builds.retain(|build| build.at <= state.requested_at);
    let commits = plan.from().map(|from| news::commits(&builds, &from.tag, &plan.release.tag)).unwrap_or_default();
    let mut earlier = ledger.history(&plan.app, Some(&plan.environment), EARLIER, Some(id))?;
    earlier.retain(|summary| summary.ended_at.is_some() && summary.ended_at <= state.ended_at);
    Ok(news::of_deployment(verdict, earlier.iter().map(|summary| (summary.id, summary.verdict())), &commits))
}

impl Bot {
    /// What is new about a deployment that ended; the policy says whether the authors of its commits are called.
    pub(super) fn news_of(&self, id: DeploymentId, state: &DeploymentState) -> Result<News<DeploymentId>, LedgerError> {
        let news = of_deployment(&self.ledger, id, state)?;
        let spec = self.fleet.environment(&state.plan.app, Some(&state.plan.environment));
        Ok(if spec.is_ok_and(|spec| spec.policy.mention_authors) { news.calling(self.fleet.people.keys()) } else { news })
    }
}
