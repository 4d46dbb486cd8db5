//! A small fleet and what is asked of it, in few words: what the tests of planner, pipeline and rehearsal begin with.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::join_all;
use shipmate::domain::deployment::{Failure, Outcome};
use shipmate::domain::names::{HostName, Tag};
use shipmate::domain::observed::{ContainerSeen, HostSeen, Observed, Unreachable};
use shipmate::domain::plan::{Action, Lane, Plan, Purpose, Release, TagFiles, Target};
use shipmate::domain::planner::{self, PlanError, Request};
use shipmate::domain::spec::{
    Batch, ContainerSpec, EnvironmentSpec, HealthCheck, HostPort, HostSpec, Millis, Order, Publish, RoleSpec, RouterSpec, Service,
    ServiceCommands, TaskSpec,
};
use shipmate::domain::step::{Aim, Step};
use shipmate::engine::rehearsal::Rehearsal;
use shipmate::engine::{Engine, Output};
use shipmate::runbook::{Catalog, Runbook, Work};

/// A name, or whatever is made from a text.
pub fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

/// `web@appserver1`.
pub fn target(text: &str) -> Target {
    let (role, host) = text.split_once('@').unwrap();
    Target { role: name(role), host: name(host) }
}

/// A release whose digest follows from its tag.
pub fn release(tag: &str) -> Release {
    let number = tag.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Release { tag: name(tag), digest: name(&format!("sha256:{}", format!("{number:016x}").repeat(4))) }
}

/// Three hosts: web on two of them, start-first behind a balancer; worker and beat on the third, stop-first, side by side.
pub fn antisocial() -> EnvironmentSpec {
    let two = ["appserver1", "appserver2"];
    let roles = [("web", web(&two)), ("worker", worker(&["appserver3"])), ("beat", worker(&["appserver3"]))];
    let mut spec = environment(roles, &[&["web"], &["worker", "beat"]]);
    spec.tasks = vec![task("migrate", "web", true), task("collectstatic", "web", false)];
    spec
}

/// An environment of these roles without tasks.
pub fn environment<'a>(roles: impl IntoIterator<Item = (&'a str, RoleSpec)>, roll: &[&[&str]]) -> EnvironmentSpec {
    let roles: BTreeMap<_, _> = roles.into_iter().map(|(role, spec)| (name(role), spec)).collect();
    let host =
        |host: &HostName| (host.clone(), HostSpec { address: format!("{host}.lan"), docker_socket: "/run/docker.sock".into() });
    EnvironmentSpec {
        app: name("antisocial"),
        environment: name("production"),
        image: name("registry.lan:5000/thraxil/antisocial"),
        hosts: roles.values().flat_map(|role: &RoleSpec| &role.hosts).map(host).collect(),
        roles,
        roll: roll.iter().map(|group| group.iter().map(|role| name(role)).collect()).collect(),
        tasks: Vec::new(),
        tag_folder: Some("/var/www/antisocial".into()),
        pulls_at_once: 8,
        min_free_mib: 500,
        policy: Default::default(),
    }
}

/// Start-first on a pair of ports, behind the balancer `lb`, one host at a time.
pub fn web(hosts: &[&str]) -> RoleSpec {
    let publish = Publish { container: 8000, host: HostPort::Fixed(vec![8000, 8001]), address: None };
    let container = ContainerSpec { command: vec!["web".into()], publish: Some(publish), ..ContainerSpec::default() };
    let health = HealthCheck::Http {
        path: "/health".into(),
        host: None,
        headers: BTreeMap::new(),
        codes: vec![(200, 399)],
        deadline: Millis::seconds(30),
        interval: Millis(500),
        timeout: Millis::seconds(2),
    };
    let words = |verb: &str| [verb, "{role}", "{address}"].map(str::to_owned).to_vec();
    let router = RouterSpec {
        name: "lb".into(),
        host: name("lb1"),
        join: words("join"),
        leave: words("leave"),
        deadline: Millis::seconds(10),
    };
    RoleSpec {
        hosts: hosts.iter().map(|host| name(host)).collect(),
        service: Service::Docker(container),
        health,
        order: Order::StartFirst,
        batch: Batch::Hosts(1),
        wait: Millis(0),
        router: Some(router),
        drain: Millis(0),
        grace: Millis::seconds(10),
    }
}

/// Stop-first, without a port, healthy when it runs for two seconds.
pub fn worker(hosts: &[&str]) -> RoleSpec {
    RoleSpec {
        service: Service::Docker(ContainerSpec { command: vec!["worker".into()], ..ContainerSpec::default() }),
        health: HealthCheck::Running { after: Millis::seconds(2) },
        order: Order::StopFirst,
        router: None,
        ..web(hosts)
    }
}

/// Managed by the host's init, behind the balancer.
pub fn service(hosts: &[&str]) -> RoleSpec {
    let words = |verb: &str| ["sudo", "systemctl", verb, "antisocial"].map(str::to_owned).to_vec();
    let commands = ServiceCommands {
        start: words("start"),
        stop: words("stop"),
        status: words("is-active"),
        port: Some(8000),
        container: ContainerSpec::default(),
    };
    RoleSpec { service: Service::Commands(commands), order: Order::StopFirst, ..web(hosts) }
}

/// A task of a role.
pub fn task(task: &str, role: &str, irreversible: bool) -> TaskSpec {
    let command = vec!["manage".into(), task.into()];
    TaskSpec { name: name(task), role: name(role), command, deadline: Millis::seconds(60), irreversible, on_revert: false }
}

/// A container that runs, called after its role and tag.
pub fn seen(spec: &EnvironmentSpec, role: &str, tag: &str, port: Option<u16>) -> ContainerSeen {
    ContainerSeen {
        name: format!("antisocial-production-{role}-{tag}-0"),
        role: name(role),
        release: release(tag),
        revision: spec.roles.get(&name(role)).map_or_else(|| "gone".into(), RoleSpec::revision),
        running: true,
        health: None,
        restarts: 0,
        started_at: None,
        port,
    }
}

/// The same, stopped and kept.
pub fn kept(spec: &EnvironmentSpec, role: &str, tag: &str, port: Option<u16>) -> ContainerSeen {
    ContainerSeen { running: false, ..seen(spec, role, tag, port) }
}

/// Hosts that run nothing.
pub fn bare(spec: &EnvironmentSpec) -> Observed {
    let host = |host: &HostName| (host.clone(), Ok(HostSeen { free_mib: 10_000, ..HostSeen::default() }));
    let mut observed = Observed { hosts: spec.hosts.keys().map(host).collect(), ..Observed::default() };
    for (role, of_role) in spec.roles.iter().filter(|(_, role)| matches!(role.service, Service::Commands(_))) {
        for host in &of_role.hosts {
            at(&mut observed, host.as_str()).services.insert(role.clone(), false);
        }
    }
    observed
}

/// Hosts that all run a build as the fleet wants it, and keep nothing older.
pub fn running(spec: &EnvironmentSpec, tag: &str) -> Observed {
    let mut observed = bare(spec);
    for (role, of_role) in &spec.roles {
        for host in &of_role.hosts {
            let host = at(&mut observed, host.as_str());
            match &of_role.service {
                Service::Docker(container) => {
                    let port = container.publish.as_ref().map(|_| 8000);
                    host.containers.push(seen(spec, role.as_str(), tag, port));
                }
                Service::Commands(_) => {
                    host.services.insert(role.clone(), true);
                }
            }
            host.images = vec![release(tag).digest];
            host.tag_files = files(Some(tag), None);
        }
    }
    observed
}

/// The host that was seen.
pub fn at<'a>(observed: &'a mut Observed, host: &str) -> &'a mut HostSeen {
    observed.hosts.get_mut(&name::<HostName>(host)).unwrap().as_mut().unwrap()
}

/// The host doesn't answer.
pub fn unreachable(observed: &mut Observed, host: &str) {
    observed.hosts.insert(name(host), Err(Unreachable("no route to host".into())));
}

/// TAG and REVERT.
pub fn files(tag: Option<&str>, revert: Option<&str>) -> TagFiles {
    TagFiles { tag: tag.map(name), revert: revert.map(name) }
}

/// The steps of `commands/deploy.toml`.
pub fn deploy_steps() -> Vec<Step> {
    vec![Step::Preflight {}, Step::Pull {}, Step::Tasks {}, Step::Switch {}, Step::Record {}, Step::Prune {}]
}

/// The name of a shipped command that acts on hosts, and what it is made of.
pub type Shipped = (String, Aim, Vec<Step>);

/// All of them.
pub fn shipped() -> Vec<Shipped> {
    let catalog = Catalog::builtin().unwrap();
    let of_steps = |runbook: &Arc<Runbook>| match &runbook.work {
        Work::Steps { aim, steps } => Some((runbook.name.to_string(), *aim, steps.clone())),
        Work::Builtin(_) => None,
    };
    let shipped: Vec<Shipped> = catalog.runbooks().filter_map(of_steps).collect();
    assert!(shipped.len() >= 4);
    shipped
}

/// What a shipped command is for where build-42 runs and build-41 ran before, and the build that it brings.
pub fn purpose(command: &str) -> (Purpose, &'static str) {
    match command {
        "deploy" => (Purpose::Deploy, "build-43"),
        "revert" => (Purpose::Revert, "build-41"),
        "restart" => (Purpose::Restart, "build-42"),
        "run" => (Purpose::Run { command: vec!["migrate".into()], read: false }, "build-42"),
        other => panic!("what does {other} do here?"),
    }
}

/// Something asked of the planner.
pub struct Ask<'a> {
    pub spec: &'a EnvironmentSpec,
    pub observed: &'a Observed,
    pub recorded: BTreeMap<Target, Release>,
    pub role: Option<&'a str>,
    pub mends: bool,
    pub nonce: &'a str,
}

impl<'a> Ask<'a> {
    pub fn new(spec: &'a EnvironmentSpec, observed: &'a Observed) -> Self {
        Ask { spec, observed, recorded: BTreeMap::new(), role: None, mends: false, nonce: "1" }
    }

    /// All targets are recorded with this release.
    pub fn recorded(mut self, release: &Release) -> Self {
        for (role, of_role) in &self.spec.roles {
            let targets = of_role.hosts.iter().map(|host| Target { role: role.clone(), host: host.clone() });
            self.recorded.extend(targets.map(|target| (target, release.clone())));
        }
        self
    }

    pub fn deploy(&self, release: &Release) -> Result<Plan, PlanError> {
        self.plan(Purpose::Deploy, Aim::Build, release, &deploy_steps())
    }

    pub fn revert(&self, release: &Release) -> Result<Plan, PlanError> {
        let steps = [Step::Preflight {}, Step::Pull {}, Step::Tasks {}, Step::Switch {}, Step::Record {}];
        self.plan(Purpose::Revert, Aim::Previous, release, &steps)
    }

    pub fn restart(&self, release: &Release) -> Result<Plan, PlanError> {
        self.plan(Purpose::Restart, Aim::Current, release, &[Step::Preflight {}, Step::Restart {}])
    }

    pub fn run(&self, release: &Release, command: &[&str]) -> Result<Plan, PlanError> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        self.plan(Purpose::Run { command, read: false }, Aim::Current, release, &[Step::Preflight {}, Step::Run {}])
    }

    pub fn plan(&self, purpose: Purpose, aim: Aim, release: &Release, steps: &[Step]) -> Result<Plan, PlanError> {
        let role = self.role.map(name);
        planner::plan(Request {
            spec: self.spec,
            observed: self.observed,
            recorded: &self.recorded,
            purpose,
            steps,
            aim,
            release: release.clone(),
            role: role.as_ref(),
            mends: self.mends,
            warnings: Vec::new(),
            nonce: self.nonce,
        })
    }
}

/// A plan for people: a line for each stage, its lanes parted by `|`.
pub fn lines(plan: &Plan) -> Vec<String> {
    let lane = |lane: &Lane| lane.iter().map(Action::to_string).collect::<Vec<_>>().join(", ");
    plan.stages
        .iter()
        .map(|stage| format!("{}: {}", stage.name, stage.lanes.iter().map(lane).collect::<Vec<_>>().join(" | ")))
        .collect()
}

/// Holds a plan to a text, a line for each stage; the lines' indentation doesn't count.
#[track_caller]
pub fn assert_lines(plan: &Plan, text: &str) {
    let wanted: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines = lines(plan);
    assert_eq!(lines, wanted, "\n{}", lines.join("\n"));
}

/// What an action says, unheard.
pub struct Unheard;

impl Output for Unheard {
    fn line(&self, _: &str) {}
    fn progress(&self, _: &str) {}
}

/// Applies a plan without a pipeline: stage after stage, the lanes side by side; each action `times` times.
pub async fn apply(engine: &dyn Engine, plan: &Plan, times: usize) -> Result<(), Failure> {
    for stage in &plan.stages {
        let lanes = stage.lanes.iter().map(async |lane| {
            for action in lane {
                for _ in 0..times {
                    engine.apply(plan, action, &Unheard).await?;
                }
            }
            Ok(Outcome::default())
        });
        join_all(lanes).await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    }
    Ok(())
}

/// Undoes all that has an undo, the last first.
pub async fn undo(engine: &dyn Engine, plan: &Plan, times: usize) -> Result<(), Failure> {
    let mut actions: Vec<&Action> = plan.actions().map(|(_, action)| action).filter(|action| action.has_undo()).collect();
    actions.reverse();
    for action in actions {
        for _ in 0..times {
            engine.undo(plan, action, &Unheard).await?;
        }
    }
    Ok(())
}

/// What can be compared before and after: not when a container was started, nor which port an engine chose.
pub fn still(spec: &EnvironmentSpec, rehearsal: &Rehearsal) -> (Observed, Vec<String>) {
    let mut observed = rehearsal.observed(spec);
    for host in observed.hosts.values_mut().flatten() {
        host.images.clear();
        for container in &mut host.containers {
            (container.started_at, container.port) = (None, container.port.filter(|port| *port < 32768));
        }
        host.containers.sort_by(|a, b| a.name.cmp(&b.name));
    }
    (observed, rehearsal.served(spec).iter().map(|(target, tag)| format!("{target} {tag}")).collect())
}

/// Runs a test with a clock that moves only when everybody waits.
pub fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// The tag of a build by its number.
pub fn build(number: u32) -> Tag {
    name(&format!("build-{number}"))
}
