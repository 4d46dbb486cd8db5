//! What changed between a plan that people approved and the one that the same request would be now.
//!
//! An approval is for a hash; this says in people's terms why a hash no longer fits. It finds something just when the hashes differ.
//! The steps follow from everything else, so they are named only when nothing else is: other hosts mean other steps.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::{Digest, HostName, Repository, RoleName, Tag};
use super::plan::{Plan, Release, Target};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Changed {
    /// It is a plan for another request: of another app or environment, for another purpose, or made anew.
    Request,
    /// The images are in another repository.
    Image {
        /// Where they were.
        from: Repository,
        /// Where they are.
        to: Repository,
    },
    /// It brings another tag.
    Tag {
        /// The one that it was to bring.
        from: Tag,
        /// The one that it would bring.
        to: Tag,
    },
    /// The tag is another image now.
    Digest {
        /// The tag.
        tag: Tag,
        /// What it was.
        from: Digest,
        /// What it is.
        to: Digest,
    },
    /// The hosts aren't the same.
    Hosts {
        /// Those that it no longer touches.
        gone: Vec<HostName>,
        /// Those that it would touch as well.
        new: Vec<HostName>,
    },
    /// Hosts are reached in another way: their address, or their engine's socket.
    Reached {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// The configuration of roles is another one, or there are other roles.
    Config {
        /// Which.
        roles: Vec<RoleName>,
    },
    /// A target runs something else by now.
    RunsNow {
        /// Which.
        target: Target,
        /// What it ran; `None` = nothing that Shipmate knows.
        then: Option<Release>,
        /// What it runs.
        now: Option<Release>,
    },
    /// The command's runbook is another one.
    Runbook,
    /// The environment's part of the fleet file is another one.
    FleetRevision,
    /// What happens after a failure, or after the end, is something else: hold, bake, lock.
    After,
    /// What would be done is something else, though none of the others is: a kept container was removed, a TAG file was written.
    Steps,
}

impl Plan {
    /// What changed from this plan to `now`, which was made for the same request later. Warnings don't count.
    pub fn changes(&self, now: &Plan) -> Vec<Changed> {
        let mut changes = Vec::new();
        if (&self.app, &self.environment, &self.purpose, &self.nonce) != (&now.app, &now.environment, &now.purpose, &now.nonce) {
            changes.push(Changed::Request);
        }
        changes.extend(self.image_changes(now));
        changes.extend(self.fleet_changes(now));
        if self.revision.runbook != now.revision.runbook {
            changes.push(Changed::Runbook);
        }
        if self.revision.fleet != now.revision.fleet {
            changes.push(Changed::FleetRevision);
        }
        if (self.on_failure, self.bake, &self.lock_after) != (now.on_failure, now.bake, &now.lock_after) {
            changes.push(Changed::After);
        }
        changes.extend(self.runs_now(now));
        // The hash covers more than what has a name of its own here.
        if changes.is_empty() && self.hash() != now.hash() {
            changes.push(Changed::Steps);
        }
        changes
    }

    fn image_changes(&self, now: &Plan) -> Vec<Changed> {
        let mut changes = Vec::new();
        if self.image != now.image {
            changes.push(Changed::Image { from: self.image.clone(), to: now.image.clone() });
        }
        let (from, to) = (&self.release, &now.release);
        if from.tag != to.tag {
            changes.push(Changed::Tag { from: from.tag.clone(), to: to.tag.clone() });
        } else if from.digest != to.digest {
            changes.push(Changed::Digest { tag: to.tag.clone(), from: from.digest.clone(), to: to.digest.clone() });
        }
        changes
    }

    fn fleet_changes(&self, now: &Plan) -> Vec<Changed> {
        let mut changes = Vec::new();
        let (gone, new) = (missing(&self.hosts, &now.hosts), missing(&now.hosts, &self.hosts));
        let reached = others(&self.hosts, &now.hosts);
        // That a role has other hosts is said by the hosts, unless these are still there for other roles.
        let of_hosts: BTreeSet<&HostName> = gone.iter().chain(&new).collect();
        let roles: BTreeSet<&RoleName> = self.roles.keys().chain(now.roles.keys()).collect();
        let roles = roles.into_iter().filter(|role| {
            let but_for_hosts = |plan: &Plan| {
                let mut spec = plan.roles.get(*role).cloned();
                spec.iter_mut().for_each(|spec| spec.hosts.retain(|host| !of_hosts.contains(host)));
                spec
            };
            but_for_hosts(self) != but_for_hosts(now)
        });
        let roles: Vec<RoleName> = roles.cloned().collect();
        if !gone.is_empty() || !new.is_empty() {
            changes.push(Changed::Hosts { gone, new });
        }
        if !reached.is_empty() {
            changes.push(Changed::Reached { hosts: reached });
        }
        if !roles.is_empty() {
            changes.push(Changed::Config { roles });
        }
        changes
    }

    /// The targets of both plans that run something else. Those of one plan only came or went with their host or role.
    fn runs_now(&self, now: &Plan) -> Vec<Changed> {
        let ran: BTreeMap<&Target, Option<&Release>> =
            self.before.iter().map(|before| (&before.target, before.release.as_ref())).collect();
        let changed = now.before.iter().filter_map(|before| {
            let then = *ran.get(&before.target)?;
            let differs = then != before.release.as_ref();
            differs.then(|| Changed::RunsNow { target: before.target.clone(), then: then.cloned(), now: before.release.clone() })
        });
        changed.collect()
    }
}

/// The keys of `there` that aren't in `here`.
fn missing<K: Ord + Clone, V>(there: &BTreeMap<K, V>, here: &BTreeMap<K, V>) -> Vec<K> {
    there.keys().filter(|key| !here.contains_key(key)).cloned().collect()
}

/// The keys of both whose values differ.
fn others<K: Ord + Clone, V: PartialEq>(then: &BTreeMap<K, V>, now: &BTreeMap<K, V>) -> Vec<K> {
    let differs = |(key, value): &(&K, &V)| now.get(*key).is_some_and(|other| other != *value);
    then.iter().filter(differs).map(|(key, _)| key.clone()).collect()
}
