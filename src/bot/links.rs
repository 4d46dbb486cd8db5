//! Where there is more about a deployment: the page of its build, the commits between what runs and what it brings, and the message
//! of what a revert reverts. A restart and a command bring nothing, so they have none.

use super::{Bot, views};
use crate::chat::{Block, Reply};
use crate::domain::deployment::DeploymentState;
use crate::domain::message::RoomId;
use crate::domain::names::{DeploymentId, Tag};
use crate::domain::plan::Purpose;
use crate::store::{LedgerError, PhaseName, Summary};

/// How many deployments back the one is looked for that a revert reverts.
const EARLIER: usize = 100;

impl Bot {
    /// A reply about a deployment, with the links.
    pub(super) fn linked(
        &self,
        mut reply: Reply,
        room: &RoomId,
        id: DeploymentId,
        state: &DeploymentState,
    ) -> Result<Reply, LedgerError> {
        reply.body.extend(self.links(room, id, state)?);
        Ok(reply)
    }

    fn links(&self, room: &RoomId, id: DeploymentId, state: &DeploymentState) -> Result<Option<Block>, LedgerError> {
        let plan = &state.plan;
        let (from, to) = (plan.from().map(|from| &from.tag), &plan.release.tag);
        let mut links = Vec::new();
        match (&plan.purpose, from) {
            (Purpose::Deploy, from) => {
                let build = self.ledger.build(&plan.app, to)?;
                links.extend(build.and_then(|build| build.url).map(|address| views::build_link(to, address)));
                if let Some(from) = from {
                    links.extend(self.commits(state, from, to)?.map(|address| views::brings_link(from, address)));
                }
            }
            (Purpose::Revert, Some(from)) => {
                links.extend(self.commits(state, to, from)?.map(|address| views::takes_back_link(to, address)));
                if let Some(reverted) = self.reverted(id, state, from)?
                    && let Some(message) = self.ledger.closing(room, reverted)?
                {
                    links.push(views::reverts_link(reverted, message));
                }
            }
            (Purpose::Revert, None) | (Purpose::Restart | Purpose::Run { .. }, _) => {}
        }
        Ok(views::links(links))
    }

    /// The page with the commits that `to` has and `from` hasn't.
    fn commits(&self, state: &DeploymentState, from: &Tag, to: &Tag) -> Result<Option<String>, LedgerError> {
        let app = &state.plan.app;
        let Some(compare) = self.fleet.apps.get(app).and_then(|app| app.compare.as_ref()) else { return Ok(None) };
        let commit = |tag| Ok::<_, LedgerError>(self.ledger.build(app, tag)?.and_then(|build| build.commit));
        let (from, to) = (commit(from)?, commit(to)?);
        Ok(from.zip(to).filter(|(from, to)| from != to).map(|(from, to)| compare.page(&from, &to)))
    }

    /// The deployment that brought what a revert takes away.
    fn reverted(&self, id: DeploymentId, state: &DeploymentState, from: &Tag) -> Result<Option<DeploymentId>, LedgerError> {
        let plan = &state.plan;
        let brought = |summary: &&Summary| {
            summary.release.tag == *from
                && matches!(summary.purpose, Purpose::Deploy | Purpose::Revert)
                && matches!(summary.phase, PhaseName::Succeeded | PhaseName::Kept | PhaseName::Stuck)
        };
        let earlier = self.ledger.history(&plan.app, Some(&plan.environment), EARLIER, Some(id))?;
        Ok(earlier.iter().find(brought).map(|summary| summary.id))
    }
}
