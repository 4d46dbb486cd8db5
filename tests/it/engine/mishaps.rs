//! A random sample, on real hosts, of what `pipeline::runbooks` tries in full on rehearsed ones: an action of a shipped command fails,
//! the bot dies at it, or everything is done twice. The seed is printed; `MISHAPS_SEED` tries the same again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::clock::Clock;
use shipmate::domain::deployment::{Failure, FailureKind, Outcome};
use shipmate::domain::names::{Digest, HostName, RoleName, Tag};
use shipmate::domain::observed::Observed;
use shipmate::domain::plan::{Action, Plan, Purpose, Release, TagFiles, Target};
use shipmate::domain::spec::{EnvironmentSpec, HostPort, Service};
use shipmate::domain::step::{Aim, Step};
use shipmate::engine::{Engine, Output, ResolveError};
use shipmate::pipeline::{DeployLock, Driven, Pipeline, Steering};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tokio::sync::Notify;

use super::scene::Scene;
use super::ssh::{RigWorld, open};
use super::world::{Company, World, port};
use crate::sample::{Ask, Shipped, deploy_steps, purpose, shipped, task};

/// How many are tried.
const SAMPLE: usize = 4;

/// What happens at an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
    /// Not at one action: everything is done twice.
    Twice,
}

const MISHAPS: [Mishap; 5] = [Mishap::FailsBefore, Mishap::FailsAfter, Mishap::DiesBefore, Mishap::DiesAfter, Mishap::Twice];

/// A real engine with a mishap in it.
struct Clumsy {
    engine: Box<dyn Engine>,
    at: String,
    mishap: Mishap,
    died: Arc<Notify>,
}

#[async_trait]
impl Engine for Clumsy {
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed {
        self.engine.observe(spec).await
    }

    async fn resolve(&self, spec: &EnvironmentSpec, tag: &Tag) -> Result<Digest, ResolveError> {
        self.engine.resolve(spec, tag).await
    }

    async fn apply(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<Outcome, Failure> {
        if self.mishap == Mishap::Twice {
            self.engine.apply(plan, action, output).await?;
        } else if action.to_string() == self.at {
            if matches!(self.mishap, Mishap::FailsAfter | Mishap::DiesAfter) {
                self.engine.apply(plan, action, output).await?;
            }
            if matches!(self.mishap, Mishap::FailsBefore | Mishap::FailsAfter) {
                return Err(Failure::new(FailureKind::Refused, "a mishap"));
            }
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        self.engine.apply(plan, action, output).await
    }

    async fn undo(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<(), Failure> {
        if self.mishap == Mishap::Twice {
            self.engine.undo(plan, action, output).await?;
        }
        self.engine.undo(plan, action, output).await
    }

    async fn logs(&self, spec: &EnvironmentSpec, target: &Target, lines: usize) -> Result<Vec<String>, Failure> {
        self.engine.logs(spec, target, lines).await
    }

    async fn rest(&self) {
        self.engine.rest().await;
    }
}

/// What a host has that counts: its TAG and REVERT, and for each role the builds, with whether they run.
type Outlook = BTreeMap<HostName, (TagFiles, Vec<(RoleName, Tag, bool)>)>;

/// An app on real hosts that runs build-42 and has build-41 kept.
struct Stage<'a> {
    world: &'a RigWorld,
    scene: Scene,
    ledger: Ledger,
    folder: tempfile::TempDir,
}

impl Stage<'_> {
    async fn new(world: &RigWorld) -> Stage<'_> {
        let mut scene = Scene::new(world).await.with("web", |role| {
            if let Service::Docker(container) = &mut role.service {
                let publish = container.publish.as_mut().unwrap();
                publish.host = HostPort::Fixed(vec![port(), port()]);
            }
        });
        let mut migrate = task("migrate", "web", true);
        migrate.command = vec!["migrate".into()];
        scene.spec.tasks = vec![migrate];
        let stage = Stage { world, scene, ledger: Ledger::in_memory(), folder: tempfile::tempdir().unwrap() };
        for tag in ["build-41", "build-42"] {
            let plan = stage.plan(Purpose::Deploy, Aim::Build, tag, &deploy_steps()).await;
            assert_eq!(stage.drive(plan, world.engine().await).await, "succeeded");
        }
        stage
    }

    async fn plan(&self, purpose: Purpose, aim: Aim, tag: &str, steps: &[Step]) -> Plan {
        let spec = &self.scene.spec;
        let tag: Tag = tag.parse().unwrap();
        let digest = self.scene.engine.resolve(spec, &tag).await.unwrap();
        let recorded = self.ledger.records(&spec.app, &spec.environment).unwrap();
        let recorded = recorded.into_iter().map(|(target, record)| (target, record.current)).collect();
        let nonce = self.ledger.history(&spec.app, None, 100, None).unwrap().len().to_string();
        let observed = self.scene.observe().await;
        Ask { recorded, nonce: &nonce, ..Ask::new(spec, &observed) }.plan(purpose, aim, &Release { tag, digest }, steps).unwrap()
    }

    fn pipeline(&self, engine: impl Into<Arc<dyn Engine>>) -> Pipeline {
        let outputs = self.folder.path().to_owned();
        Pipeline::new(self.ledger.clone(), engine.into(), outputs, Redactor::default(), Clock::system())
    }

    /// Carries a plan to its end; the phase that it comes to.
    async fn drive(&self, plan: Plan, engine: impl Into<Arc<dyn Engine>>) -> String {
        let lock = DeployLock::request(&self.ledger, plan, "anna".parse().unwrap(), None, Timestamp::now()).await.unwrap();
        self.go_on(lock, engine).await
    }

    async fn go_on(&self, lock: DeployLock, engine: impl Into<Arc<dyn Engine>>) -> String {
        match self.pipeline(engine).drive(lock, &Steering::default()).await.unwrap() {
            Driven::Ended(state) => state.phase.word().to_owned(),
            Driven::Paused => panic!("nobody paused it"),
        }
    }

    async fn outlook(&self) -> Outlook {
        let hosts = self.scene.observe().await.hosts.into_iter().map(|(host, seen)| {
            let seen = seen.unwrap();
            let app = self.scene.spec.app.as_str();
            let ours = seen.containers.iter().filter(|container| container.name.starts_with(&format!("{app}-")));
            let mut containers: Vec<_> =
                ours.map(|container| (container.role.clone(), container.release.tag.clone(), container.running)).collect();
            containers.sort();
            (host, (seen.tag_files, containers))
        });
        hosts.collect()
    }
}

/// How the hosts look when nothing goes wrong.
async fn done(world: &RigWorld, (command, aim, steps): &Shipped) -> Outlook {
    let stage = Stage::new(world).await;
    let (purpose, tag) = purpose(command);
    let plan = stage.plan(purpose, *aim, tag, steps).await;
    assert_eq!(stage.drive(plan, world.engine().await).await, "succeeded");
    stage.outlook().await
}

async fn try_out(world: &RigWorld, shipped: &Shipped, mishap: Mishap, pick: usize) {
    let (command, aim, steps) = shipped;
    let stage = Stage::new(world).await;
    let before = stage.outlook().await;
    let (purpose, tag) = purpose(command);
    let plan = stage.plan(purpose, *aim, tag, steps).await;
    let actions: Vec<String> =
        plan.actions().map(|(_, action)| action.to_string()).filter(|text| !text.starts_with("prune")).collect();
    let at = actions[pick % actions.len()].clone();
    let context = format!("{command}: {mishap:?} at {at}");
    println!("{context}");
    let died = Arc::new(Notify::new());
    let engine: Arc<dyn Engine> = Arc::new(Clumsy { engine: world.engine().await, at, mishap, died: died.clone() });
    match mishap {
        Mishap::FailsBefore | Mishap::FailsAfter => {
            assert_eq!(stage.drive(plan, engine).await, "undone", "{context}");
            assert_eq!(stage.outlook().await, before, "{context}");
        }
        Mishap::DiesBefore | Mishap::DiesAfter => {
            tokio::select! {
                phase = stage.drive(plan, engine) => panic!("{context}: it ended: {phase}"),
                () = died.notified() => {}
            }
            let lock = DeployLock::left_behind(&stage.ledger).unwrap().remove(0);
            assert_eq!(stage.go_on(lock, stage.world.engine().await).await, "succeeded", "{context}");
            assert_eq!(stage.outlook().await, done(world, shipped).await, "{context}");
        }
        Mishap::Twice => {
            assert_eq!(stage.drive(plan, engine).await, "succeeded", "{context}");
            assert_eq!(stage.outlook().await, done(world, shipped).await, "{context}");
        }
    }
}

/// A number that follows from the seed and what it is for.
fn draw(seed: u64, number: usize, what: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, number, what).hash(&mut hasher);
    hasher.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_the_hosts_are_as_they_should() {
    let world = open(Company::Shared).await;
    let seed =
        std::env::var("MISHAPS_SEED").ok().map_or_else(|| RandomState::new().hash_one("mishaps"), |seed| seed.parse().unwrap());
    println!("MISHAPS_SEED={seed}");
    let shipped = shipped();
    for number in 0..SAMPLE {
        let dice = |what| usize::try_from(draw(seed, number, what) >> 32).unwrap();
        let command = &shipped[dice("command") % shipped.len()];
        let mishap = MISHAPS[dice("mishap") % MISHAPS.len()];
        try_out(&world, command, mishap, dice("action")).await;
    }
}
