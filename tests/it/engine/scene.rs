//! An app of a test's own, the plan of its deployment, and short words for the actions.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use shipmate::domain::deployment::{Failure, FailureKind, Outcome};
use shipmate::domain::names::{Digest, HostName};
use shipmate::domain::observed::{HostSeen, Observed};
use shipmate::domain::plan::{Action, Origin, Plan, Purpose, Release, Revisions, Stage, TagFiles, Target};
use shipmate::domain::spec::{
    Batch, ContainerSpec, EnvValue, EnvironmentSpec, HealthCheck, HostPort, HostSpec, Millis, Order, Publish, RoleSpec, RouterSpec,
    Service,
};
use shipmate::engine::{Engine, Output};

use super::world::{World, port};

/// An app with the roles `web` (hosts 1 and 2) and `worker` (host 3).
pub struct Scene {
    pub engine: Box<dyn Engine>,
    pub spec: EnvironmentSpec,
    pub port: u16,
    pub heard: Heard,
}

/// What an engine said.
#[derive(Default)]
pub struct Heard {
    lines: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

impl Output for Heard {
    fn line(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }

    fn progress(&self, note: &str) {
        self.notes.lock().unwrap().push(note.to_owned());
    }
}

impl Heard {
    /// All lines so far, and none left.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.lines.lock().unwrap()).join("\n")
    }

    /// Whether a line like this has come.
    pub fn has(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|heard| heard.contains(line))
    }

    /// All notes so far, and none left.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }
}

impl Scene {
    pub async fn new(world: &dyn World) -> Scene {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let app = format!("app{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let port = port();
        let hosts = world.hosts();
        let names: Vec<_> = hosts.iter().map(|(name, _)| name.clone()).collect();
        let text = |name: &str, value: &str| (name.to_owned(), EnvValue::Text(value.to_owned()));
        let env = BTreeMap::from([
            text("START_SECS", "0.1"),
            text("MIGRATE_SECS", "0.1"),
            text("STATIC_SECS", "0"),
            ("SECRET_KEY".to_owned(), EnvValue::Secret("APP_SECRET".to_owned())),
        ]);
        let container = |command: &str, publish: Option<Publish>| {
            let mut env = env.clone();
            env.extend(publish.is_some().then(|| text("BIND", "{address}:{port}")));
            ContainerSpec {
                command: vec![command.to_owned()],
                env,
                publish,
                networks: vec!["host".to_owned()],
                ..ContainerSpec::default()
            }
        };
        let role = |hosts: &[_], container: ContainerSpec, health: HealthCheck| RoleSpec {
            hosts: hosts.to_vec(),
            service: Service::Docker(container),
            health,
            order: Order::StartFirst,
            batch: Batch::Hosts(1),
            wait: Millis(0),
            router: None,
            drain: Millis(0),
            grace: Millis::seconds(5),
        };
        let http = HealthCheck::Http {
            path: "/health".into(),
            host: Some("www.example.org".into()),
            headers: BTreeMap::new(),
            codes: vec![(200, 299)],
            deadline: Millis::seconds(20),
            interval: Millis(200),
            timeout: Millis::seconds(2),
        };
        let publish = Publish { container: 8000, host: HostPort::Fixed(vec![port]), address: None };
        let roles = BTreeMap::from([
            ("web".parse().unwrap(), role(&names[..2], container("run", Some(publish)), http)),
            ("worker".parse().unwrap(), role(&names[2..], container("worker", None), HealthCheck::Running { after: Millis(500) })),
        ]);
        let spec = EnvironmentSpec {
            app: app.parse().unwrap(),
            environment: "test".parse().unwrap(),
            image: world.image(),
            roll: vec![roles.keys().cloned().collect()],
            roles,
            tasks: Vec::new(),
            hosts: hosts.into_iter().collect(),
            tag_folder: Some(format!("/var/www/{app}")),
            pulls_at_once: 8,
            min_free_mib: 1,
            policy: Default::default(),
        };
        Scene { engine: world.engine().await, spec, port, heard: Heard::default() }
    }

    /// Changes a role.
    pub fn with(mut self, name: &str, change: impl FnOnce(&mut RoleSpec)) -> Scene {
        change(self.spec.roles.get_mut(&name.parse().unwrap()).unwrap());
        self
    }

    /// Sets a variable of a role's containers.
    pub fn env(self, role: &str, name: &str, value: &str) -> Scene {
        self.with(role, |role| {
            if let Service::Docker(container) = &mut role.service {
                container.env.insert(name.to_owned(), EnvValue::Text(value.to_owned()));
            }
        })
    }

    /// Changes where the first host of `web` is.
    pub fn on(self, host: (HostName, HostSpec)) -> Scene {
        let mut scene = self.with("web", |role| role.hosts[0] = host.0.clone());
        scene.spec.hosts.insert(host.0, host.1);
        scene
    }

    /// Puts a balancer before `web`.
    pub fn with_router(self, world: &dyn World) -> Scene {
        let words = |verb: &str| vec![format!("/usr/local/sbin/lb-{verb}"), "{app}-{host}".to_owned(), "{address}".to_owned()];
        let router = RouterSpec {
            name: "lb".into(),
            host: world.balancer(),
            join: words("join"),
            leave: words("leave"),
            deadline: Millis::seconds(20),
        };
        self.with("web", |role| role.router = Some(router))
    }

    /// Where `web` serves on its host number `n`.
    pub fn address(&self, n: usize) -> String {
        format!("{}:{}", self.spec.hosts.values().nth(n - 1).unwrap().address, self.port)
    }

    pub fn target(&self, role: &str, n: usize) -> Target {
        let role = role.parse().unwrap();
        let host = self.spec.roles[&role].hosts[n - 1].clone();
        Target { role, host }
    }

    pub fn web(&self) -> Target {
        self.target("web", 1)
    }

    /// The plan that brings a build, with these actions.
    pub async fn plan(&self, tag: &str, actions: Vec<Action>) -> Plan {
        let digest = self.engine.resolve(&self.spec, &tag.parse().unwrap()).await.unwrap();
        self.plan_of(tag, digest, actions)
    }

    pub fn plan_of(&self, tag: &str, digest: Digest, actions: Vec<Action>) -> Plan {
        Plan {
            app: self.spec.app.clone(),
            environment: self.spec.environment.clone(),
            purpose: Purpose::Deploy,
            image: self.spec.image.clone(),
            release: Release { tag: tag.parse().unwrap(), digest },
            before: Vec::new(),
            warnings: Vec::new(),
            stages: vec![Stage { name: "all".into(), lanes: vec![actions], at_once: 1 }],
            roles: self.spec.roles.clone(),
            hosts: self.spec.hosts.clone(),
            on_failure: Default::default(),
            bake: Default::default(),
            lock_after: Default::default(),
            nonce: String::new(),
            revision: Revisions::default(),
        }
    }

    pub async fn apply(&self, plan: &Plan, action: &Action) -> Result<Outcome, Failure> {
        self.engine.apply(plan, action, &self.heard).await
    }

    /// Applies an action twice, which is as good as once.
    #[track_caller]
    pub fn twice<'a>(&'a self, plan: &'a Plan, action: &'a Action) -> impl Future<Output = Outcome> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let once = self.apply(plan, action).await.unwrap_or_else(|failure| panic!("{place}: {action}: {failure:?}"));
            self.apply(plan, action).await.unwrap_or_else(|failure| panic!("{place}: {action} again: {failure:?}"));
            once
        }
    }

    pub async fn undo(&self, plan: &Plan, action: &Action) -> Result<(), Failure> {
        self.engine.undo(plan, action, &self.heard).await
    }

    /// Undoes an action twice, which is as good as once.
    #[track_caller]
    pub fn undo_twice<'a>(&'a self, plan: &'a Plan, action: &'a Action) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.undo(plan, action).await.unwrap_or_else(|failure| panic!("{place}: undo of {action}: {failure:?}"));
            self.undo(plan, action).await.unwrap_or_else(|failure| panic!("{place}: undo of {action} again: {failure:?}"));
        }
    }

    pub async fn observe(&self) -> Observed {
        self.engine.observe(&self.spec).await
    }

    pub async fn seen(&self, target: &Target) -> HostSeen {
        self.observe().await.hosts.remove(&target.host).unwrap().unwrap()
    }

    pub fn container(&self, target: &Target, tag: &str) -> String {
        format!("{}-test-{}-{tag}-n1", self.spec.app, target.role)
    }

    pub fn pull(&self, target: &Target) -> Action {
        Action::Pull { host: target.host.clone() }
    }

    pub fn start(&self, target: &Target, tag: &str) -> Action {
        let port = (target.role.as_str() == "web").then_some(self.port);
        Action::Start { target: target.clone(), container: Some(self.container(target, tag)), origin: Origin::New { port } }
    }

    pub fn start_kept(&self, target: &Target, tag: &str) -> Action {
        Action::Start { target: target.clone(), container: Some(self.container(target, tag)), origin: Origin::Kept }
    }

    pub fn stop(&self, target: &Target, tag: &str) -> Action {
        Action::Stop { target: target.clone(), container: Some(self.container(target, tag)), undo: true }
    }

    pub fn healthy(&self, target: &Target, tag: &str) -> Action {
        Action::Healthy { target: target.clone(), container: Some(self.container(target, tag)) }
    }

    pub fn join(&self, target: &Target, tag: &str) -> Action {
        Action::Join { target: target.clone(), container: Some(self.container(target, tag)), undo: true }
    }

    pub fn leave(&self, target: &Target, tag: &str) -> Action {
        Action::Leave { target: target.clone(), container: Some(self.container(target, tag)), undo: true }
    }

    pub fn task(&self, target: &Target, words: &[&str], deadline: Millis) -> Action {
        Action::Task {
            target: target.clone(),
            task: words[0].parse().unwrap(),
            container: format!("{}-test-{}-n1", self.spec.app, words[0]),
            command: words.iter().map(ToString::to_string).collect(),
            deadline,
            irreversible: false,
        }
    }

    pub fn record(&self, target: &Target, after: TagFiles, before: TagFiles) -> Action {
        Action::Record { host: target.host.clone(), folder: self.spec.tag_folder.clone().unwrap(), after, before }
    }

    pub fn prune(&self, target: &Target, containers: Vec<String>, images: Vec<String>) -> Action {
        Action::Prune { host: target.host.clone(), containers, images }
    }
}

pub fn tag_files(tag: Option<&str>, revert: Option<&str>) -> TagFiles {
    TagFiles { tag: tag.map(|tag| tag.parse().unwrap()), revert: revert.map(|tag| tag.parse().unwrap()) }
}

/// The failure, which must be of this kind.
#[track_caller]
pub fn fails<T: std::fmt::Debug>(result: Result<T, Failure>, kind: FailureKind) -> Failure {
    let failure = result.expect_err("it fails");
    assert_eq!(failure.kind, kind, "{failure:?}");
    failure
}
