//! What is written down and what is thrown away: the TAG and REVERT files, and containers and images that nobody goes back to.

use std::collections::BTreeSet;

use super::Planner;
use super::turn::{Goal, Turn};
use crate::domain::names::{Digest, HostName};
use crate::domain::observed::ContainerSeen;
use crate::domain::plan::{Action, Lane, TagFiles};

impl<'a> Planner<'a> {
    /// The TAG and REVERT files of each host, where they don't say it yet and no switch writes them.
    pub(super) fn records(&self) -> Vec<Lane> {
        let written_by_switch = |host: &HostName| self.turns_on(host).any(|turn| matches!(turn.goal, Goal::Service));
        let hosts = self.hosts().into_iter().filter(|host| !written_by_switch(host));
        hosts.filter_map(|host| self.record(&host)).map(|action| vec![action]).collect()
    }

    pub(super) fn record(&self, host: &HostName) -> Option<Action> {
        let folder = self.request.spec.tag_folder.clone()?;
        let before = self.request.observed.host(host)?.tag_files.clone();
        let tag = &self.request.release.tag;
        let ran = self.turns_on(host).filter_map(|turn| turn.tag.as_ref()).find(|ran| *ran != tag);
        let revert = ran.or(before.revert.as_ref()).filter(|revert| *revert != tag).cloned();
        let after = TagFiles { tag: Some(tag.clone()), revert };
        (after != before).then(|| Action::Record { host: host.clone(), folder, after, before })
    }

    /// What nobody goes back to: all but what will run, what ran before it, and their images.
    pub(super) fn prunes(&self) -> Vec<Lane> {
        self.hosts().into_iter().filter_map(|host| self.prune(&host)).map(|action| vec![action]).collect()
    }

    fn prune(&self, host: &HostName) -> Option<Action> {
        let seen = self.request.observed.host(host)?;
        let kept: BTreeSet<&str> = self.turns_on(host).flat_map(|turn| self.kept(turn)).collect();
        let (go, stay): (Vec<_>, Vec<_>) = seen.containers.iter().partition(|container| {
            self.turns_on(host).any(|turn| turn.target.role == container.role) && !kept.contains(container.name.as_str())
        });
        let tasks = self.tasks().filter(|(target, _)| &target.host == host).filter_map(|(_, action)| match action {
            Action::Task { container, .. } => Some(container),
            _ => None,
        });
        let containers: Vec<String> = go.iter().map(|container| container.name.clone()).chain(tasks).collect();
        let needed: BTreeSet<&Digest> =
            stay.iter().map(|container| &container.release.digest).chain([&self.request.release.digest]).collect();
        // A service that commands manage has no container of ours that would show which image REVERT still needs.
        let all_ours = self.turns_on(host).all(|turn| !turn.is_service());
        let unneeded = seen.images.iter().filter(|digest| all_ours && !needed.contains(digest));
        let images: Vec<String> = unneeded.map(|digest| format!("{}@{digest}", self.request.spec.image)).collect();
        (!containers.is_empty() || !images.is_empty()).then(|| Action::Prune { host: host.clone(), containers, images })
    }

    /// The containers of a target that stay: the one that runs afterwards, the one that counted till now, since the undo starts
    /// it, and one of another image, since a revert would start that.
    fn kept<'t>(&'t self, turn: &'t Turn<'a>) -> impl Iterator<Item = &'t str> {
        let main = turn.main.map(|main| main.name.as_str());
        let other = |container: &&ContainerSeen| container.release.digest != self.request.release.digest;
        let goes_back_to = match turn.main.filter(other) {
            Some(main) => Some(main),
            None => self.request.observed.containers(&turn.target).find(other),
        };
        turn.container().into_iter().chain(main).chain(goes_back_to.map(|container| container.name.as_str()))
    }
}
