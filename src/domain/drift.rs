//! Where the hosts differ from the record: what `!status` marks, and what the drift watch reports.
//!
//! A target has one finding at most, the one that people must know first: a second singleton before a wrong version, since what
//! mends the first mends the second too. A running container at a target that the fleet file no longer has is an orphan, even
//! if the record still knows the target: nothing that Shipmate does would ever stop it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hashed::hashed;
use super::names::{HostName, RoleName, Tag};
use super::observed::{ContainerSeen, Observed};
use super::plan::{Release, Target};
use super::spec::EnvironmentSpec;

/// One difference between the record and the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "snake_case")]
pub enum Drift {
    /// A target runs something else than was deployed.
    WrongVersion {
        /// Which.
        target: Target,
        /// What was deployed.
        wanted: Release,
        /// What runs.
        real: Real,
    },
    /// A target runs nothing, and something was deployed.
    Dead {
        /// Which.
        target: Target,
        /// What was deployed.
        wanted: Release,
    },
    /// More than one runs at a target: a second singleton, or an old one that was never stopped.
    Twice {
        /// Which.
        target: Target,
        /// How many run.
        how_many: usize,
        /// The build that one of them should be: the one that was deployed, else the newest that runs.
        keep: Tag,
    },
    /// What runs at a target isn't healthy.
    Unhealthy {
        /// Which.
        target: Target,
    },
    /// A container of Shipmate's runs where the fleet file has nothing.
    Orphan {
        /// Where.
        host: HostName,
        /// Its name.
        container: String,
        /// Its role.
        role: RoleName,
        /// The build that it is.
        tag: Tag,
    },
    /// A host doesn't answer: one that runs the app, or a balancer's. Nobody knows what it runs.
    Unreachable {
        /// Which.
        host: HostName,
        /// Why, and how to mend it.
        why: String,
    },
}

/// What is known of what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Real {
    /// The release that a container was made from.
    Release(Release),
    /// The tag in the TAG file of a service that commands manage.
    Tag {
        /// The tag.
        tag: Tag,
    },
    /// A service that commands manage runs, and there is no TAG file.
    Nothing,
}

impl Drift {
    /// The target that it is about, if it is about one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Drift::WrongVersion { target, .. }
            | Drift::Dead { target, .. }
            | Drift::Twice { target, .. }
            | Drift::Unhealthy { target } => Some(target),
            Drift::Orphan { .. } | Drift::Unreachable { .. } => None,
        }
    }

    /// The same without what changes from look to look.
    fn lasting(&self) -> Drift {
        match self {
            Drift::Unreachable { host, why: _ } => Drift::Unreachable { host: host.clone(), why: String::new() },
            Drift::WrongVersion { .. }
            | Drift::Dead { .. }
            | Drift::Twice { .. }
            | Drift::Unhealthy { .. }
            | Drift::Orphan { .. } => self.clone(),
        }
    }
}

/// Where the hosts differ from what was recorded of each target: first the targets, then orphans, then hosts that don't answer. What
/// was never deployed can't differ, but it can run twice or be unhealthy. A deployment that is under way looks like drift.
pub fn drift(spec: &EnvironmentSpec, recorded: &BTreeMap<Target, Release>, observed: &Observed) -> Vec<Drift> {
    let targets = spec
        .roles
        .iter()
        .flat_map(|(role, of_role)| of_role.hosts.iter().map(move |host| Target { role: role.clone(), host: host.clone() }));
    let mut drifts: Vec<Drift> = targets.filter_map(|target| of_target(&target, recorded.get(&target), observed)).collect();
    drifts.extend(orphans(spec, observed));
    let balancers = observed.lost_balancers.iter().filter(|(host, _)| !matches!(observed.hosts.get(*host), Some(Err(_))));
    let lost = observed.unreachable().chain(balancers);
    drifts.extend(lost.map(|(host, why)| Drift::Unreachable { host: host.clone(), why: why.to_string() }));
    drifts
}

impl Drift {
    /// The same for the same finding, however an error is worded this time: so each is reported once.
    pub fn fingerprint(&self) -> String {
        let mut whole = hashed(&self.lasting());
        // Many are kept together, and two findings of one environment don't meet in so many digits.
        whole.truncate(16);
        whole
    }
}

/// Those of all findings, in order.
pub fn fingerprint(drifts: &[Drift]) -> String {
    let each: BTreeSet<String> = drifts.iter().map(Drift::fingerprint).collect();
    each.into_iter().collect::<Vec<_>>().join(" ")
}

fn of_target(target: &Target, wanted: Option<&Release>, observed: &Observed) -> Option<Drift> {
    let seen = observed.host(&target.host)?;
    let running: Vec<&ContainerSeen> = observed.containers(target).filter(|container| container.running).collect();
    let service = seen.services.get(&target.role).copied();
    let how_many = running.len() + usize::from(service == Some(true));
    let target = || target.clone();
    if let (2.., Some(newest)) = (how_many, running.first()) {
        let keep = wanted.map_or_else(|| newest.release.tag.clone(), |wanted| wanted.tag.clone());
        return Some(Drift::Twice { target: target(), how_many, keep });
    }
    let real = match (service, running.first()) {
        (Some(true), _) => Some(seen.tag_files.tag.clone().map_or(Real::Nothing, |tag| Real::Tag { tag })),
        // Till the next deploy a service's role may still be a container.
        (Some(false) | None, running) => running.map(|container| Real::Release(container.release.clone())),
    };
    match (wanted, real) {
        (Some(wanted), None) => return Some(Drift::Dead { target: target(), wanted: wanted.clone() }),
        (Some(wanted), Some(real)) if !is(&real, wanted) => {
            return Some(Drift::WrongVersion { target: target(), wanted: wanted.clone(), real });
        }
        (Some(_), Some(_)) | (None, _) => {}
    }
    let unhealthy = running.iter().any(|container| container.health.as_deref() == Some("unhealthy"));
    unhealthy.then(|| Drift::Unhealthy { target: target() })
}

/// Whether what runs is the release, as far as can be known. A deploy lets the same image run on under the tag that it was started with.
fn is(real: &Real, wanted: &Release) -> bool {
    match real {
        Real::Release(release) => release.digest == wanted.digest,
        Real::Tag { tag } => *tag == wanted.tag,
        Real::Nothing => false,
    }
}

fn orphans(spec: &EnvironmentSpec, observed: &Observed) -> Vec<Drift> {
    let hosts = observed.hosts.iter().filter_map(|(host, seen)| Some((host, seen.as_ref().ok()?)));
    let running = hosts.flat_map(|(host, seen)| {
        seen.containers.iter().filter(|container| container.running).map(move |container| (host, container))
    });
    let stray = running.filter(|(host, container)| spec.roles.get(&container.role).is_none_or(|role| !role.hosts.contains(host)));
    let found = stray.map(|(host, container)| Drift::Orphan {
        host: host.clone(),
        container: container.name.clone(),
        role: container.role.clone(),
        tag: container.release.tag.clone(),
    });
    found.collect()
}
