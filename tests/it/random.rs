//! Random fleets in random states, for what must hold for all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use shipmate::domain::names::{HostName, RoleName};
use shipmate::domain::observed::{ContainerSeen, Observed};
use shipmate::domain::plan::{Plan, Purpose, Release, Target};
use shipmate::domain::planner::{self, PlanError, Request};
use shipmate::domain::spec::{Batch, EnvironmentSpec, HostPort, Millis, Publish, RoleSpec, Service};
use shipmate::domain::step::{Aim, Step};
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};

use crate::sample::*;

const HOSTS: [&str; 3] = ["a", "b", "c"];
const TAGS: [&str; 4] = ["build-1", "build-2", "build-3", "build-4"];

/// A fleet, what its hosts run, and what is asked.
#[derive(Debug, Clone)]
pub struct Case {
    pub spec: EnvironmentSpec,
    pub targets: BTreeMap<Target, Vec<Placed>>,
    /// What services run, by target; a host's services share its TAG file, so they run the same.
    pub services: BTreeMap<HostName, Option<&'static str>>,
    pub recorded: BTreeMap<Target, Release>,
    pub aim: Aim,
    pub tag: &'static str,
    pub nonce: &'static str,
}

/// A container that is there.
#[derive(Debug, Clone)]
pub struct Placed {
    pub seen: ContainerSeen,
    /// Whether the balancer has it.
    pub joined: bool,
}

fn role(kind: usize, hosts: &[&str], batch: usize, wait: bool) -> (&'static str, RoleSpec) {
    let (name, mut role) = match kind {
        0 => ("web", web(hosts)),
        1 => {
            let mut api = RoleSpec { router: None, ..web(hosts) };
            let Service::Docker(container) = &mut api.service else { panic!("not by Docker") };
            container.publish = Some(Publish { container: 8000, host: HostPort::Ephemeral, address: None });
            ("api", api)
        }
        2 => ("worker", worker(hosts)),
        3 => ("beat", RoleSpec { router: web(&[]).router, ..worker(hosts) }),
        _ => ("init", service(hosts)),
    };
    role.batch = if batch == 0 { Batch::All } else { Batch::Hosts(batch) };
    role.wait = Millis(if wait { 5000 } else { 0 });
    role.drain = Millis(if wait { 2000 } else { 0 });
    (name, role)
}

fn fleet() -> impl Strategy<Value = EnvironmentSpec> {
    let role = |kind: usize| {
        (subsequence(HOSTS.to_vec(), 1..=3), 0usize..3, any::<bool>())
            .prop_map(move |(hosts, batch, wait)| role(kind, &hosts, batch, wait))
    };
    let roles = subsequence(vec![0, 1, 2, 3, 4], 1..=4).prop_flat_map(move |kinds| kinds.into_iter().map(role).collect::<Vec<_>>());
    (roles, any::<bool>(), 0usize..3).prop_map(|(roles, side_by_side, tasks)| {
        let names: Vec<&str> = roles.iter().map(|(name, _)| *name).collect();
        let groups: Vec<&[&str]> = if side_by_side { vec![&names] } else { names.chunks(1).collect() };
        let mut spec = environment(roles.clone(), &groups);
        spec.tasks = ["migrate", "collectstatic"].iter().take(tasks).map(|name| task(name, names[0], true)).collect();
        spec
    })
}

/// Containers at one target: any number of kept ones, and at most `running` that run, on ports of their own.
fn containers(spec: &EnvironmentSpec, target: &Target, running: usize, tidy: bool) -> BoxedStrategy<Vec<Placed>> {
    let of_role = &spec.roles[&target.role];
    let fixed = matches!(of_role.container().publish.as_ref().map(|publish| &publish.host), Some(HostPort::Fixed(_)));
    let routed = of_role.router.is_some();
    let most = if matches!(of_role.service, Service::Commands(_)) { 0 } else { running };
    let (spec, role) = (spec.clone(), target.role.clone());
    let one = (select(&TAGS[..]), any::<bool>(), any::<bool>(), any::<bool>());
    (0..=most, proptest::collection::vec(one, 0..4))
        .prop_map(move |(running, drawn)| {
            let placed = drawn.into_iter().enumerate().map(|(n, (tag, todays, second_port, joined))| {
                let runs = n < running;
                let port = if runs { 8000 + n as u16 } else { 8000 + u16::from(second_port) };
                let seen = seen(&spec, role.as_str(), tag, fixed.then_some(port));
                let revision = if todays { seen.revision } else { "old".into() };
                let seen = ContainerSeen { name: format!("{role}-{tag}-{n}"), running: runs, revision, ..seen };
                Placed { seen, joined: runs && routed && (tidy || joined) }
            });
            placed.collect()
        })
        .boxed()
}

fn targets(spec: &EnvironmentSpec) -> Vec<Target> {
    let of_role = |(role, of_role): (&RoleName, &RoleSpec)| {
        of_role.hosts.iter().map(|host| Target { role: role.clone(), host: host.clone() }).collect::<Vec<_>>()
    };
    spec.roles.iter().flat_map(of_role).collect()
}

/// `tidy`: at most one container of a target runs, and the balancer has it.
pub fn case(tidy: bool) -> impl Strategy<Value = Case> {
    fleet().prop_flat_map(move |spec| {
        let targets = targets(&spec);
        let containers: Vec<_> = targets.iter().map(|target| containers(&spec, target, if tidy { 1 } else { 2 }, tidy)).collect();
        let recorded = proptest::collection::vec(proptest::option::of(select(&TAGS[..])), targets.len());
        let services = proptest::collection::vec(proptest::option::of(select(&TAGS[..])), HOSTS.len());
        let aim = select(vec![Aim::Build, Aim::Previous]);
        (containers, recorded, services, aim, select(&TAGS[..])).prop_map(move |(containers, recorded, services, aim, tag)| Case {
            spec: spec.clone(),
            targets: targets.iter().cloned().zip(containers).collect(),
            services: HOSTS.map(name).into_iter().zip(services).collect(),
            recorded: targets.iter().cloned().zip(recorded).filter_map(|(target, tag)| Some((target, release(tag?)))).collect(),
            aim,
            tag,
            nonce: "1",
        })
    })
}

impl Case {
    /// The fleet as it was drawn.
    pub fn rehearsal(&self) -> Rehearsal {
        let rehearsal = Rehearsal::new(&self.spec);
        TAGS.iter().for_each(|tag| rehearsal.push(&release(tag), Behaviour::good()));
        for (target, placed) in &self.targets {
            // The newest is told first, and made last.
            for Placed { seen, joined } in placed.iter().rev() {
                rehearsal.place(&target.host, seen);
                if *joined {
                    rehearsal.place_server(target, Some(&seen.name), seen.port);
                }
            }
        }
        for target in self.targets.keys().filter(|target| self.is_service(target)) {
            let Some(tag) = self.services[&target.host] else { continue };
            rehearsal.place_service(target, &release(tag));
            rehearsal.place_files(&target.host, files(Some(tag), None));
            rehearsal.place_server(target, None, Some(8000));
        }
        rehearsal
    }

    fn is_service(&self, target: &Target) -> bool {
        matches!(self.spec.roles[&target.role].service, Service::Commands(_))
    }

    /// The plan for what is asked; `mends` if a deployment is stuck.
    pub fn plan(&self, observed: &Observed, steps: &[Step], mends: bool) -> Result<Plan, PlanError> {
        let purpose = if self.aim == Aim::Previous { Purpose::Revert } else { Purpose::Deploy };
        planner::plan(Request {
            spec: &self.spec,
            observed,
            recorded: &self.recorded,
            purpose,
            steps,
            aim: self.aim,
            release: release(self.tag),
            role: None,
            mends,
            warnings: Vec::new(),
            nonce: self.nonce,
        })
    }
}
