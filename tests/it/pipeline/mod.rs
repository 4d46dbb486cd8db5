//! The pipeline on a rehearsed fleet: for a whole deploy each action fails, each undo fails, the bot dies everywhere, people
//! cancel, hosts are lost; and each time the fleet ends up as it should.

mod chaos;
mod crashing;
mod durable;
mod failing;
mod losing;
pub mod runbooks;
mod space;
mod steering;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shipmate::clock::Clock;
use shipmate::domain::deployment::{Cause, DeploymentState, Event, Failure, FailureKind, Phase};
use shipmate::domain::message::{MessageRef, RoomId};
use shipmate::domain::names::{DeploymentId, TaskName};
use shipmate::domain::observed::Observed;
use shipmate::domain::plan::{Action, ActionIndex, Plan};
use shipmate::domain::spec::EnvironmentSpec;
use shipmate::engine::Engine;
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::pipeline::{DeployLock, Driven, Pipeline, Steering};
use shipmate::secret::Redactor;
use shipmate::store::{Ledger, RequestError};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::sample::*;

/// The action after which everything but the tidying up is done: when it fails, all has to be put back.
const LAST: &str = "record appserver3";

/// A fleet that runs build-41 since deployment #1, and the plan to build-42.
struct Scene {
    spec: EnvironmentSpec,
    rehearsal: Rehearsal,
    ledger: Ledger,
    redactor: Redactor,
    folder: TempDir,
    plan: Plan,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(antisocial(), Behaviour::good(), Ledger::in_memory()).await
    }

    async fn with(spec: EnvironmentSpec, behaviour: Behaviour, ledger: Ledger) -> Scene {
        let rehearsal = Rehearsal::new(&spec);
        rehearsal.push(&release("build-41"), Behaviour::good());
        rehearsal.push(&release("build-42"), behaviour);
        rehearsal.push(&release("build-43"), Behaviour::good());
        let first = Ask { nonce: "0", ..Ask::new(&spec, &rehearsal.observed(&spec)) }.deploy(&release("build-41")).unwrap();
        let (redactor, folder) = (Redactor::default(), tempfile::tempdir().unwrap());
        let mut scene = Scene { spec, rehearsal, ledger, redactor, folder, plan: first };
        scene.deploy().await.expect_phase("succeeded");
        scene.rehearsal.turn_page();
        scene.plan = scene.plan_to("build-42", false);
        scene
    }

    fn plan_to(&self, tag: &str, mends: bool) -> Plan {
        let observed = self.rehearsal.observed(&self.spec);
        let records = self.ledger.records(&self.spec.app, &self.spec.environment).unwrap();
        let recorded = records.into_iter().map(|(target, record)| (target, record.current)).collect();
        Ask { recorded, mends, nonce: tag, ..Ask::new(&self.spec, &observed) }.deploy(&release(tag)).unwrap()
    }

    /// A new one, as a start of the bot makes it.
    fn pipeline(&self) -> Pipeline {
        self.pipeline_over(self.rehearsal.clone())
    }

    fn pipeline_over(&self, engine: impl Engine + 'static) -> Pipeline {
        let outputs = self.folder.path().join("output");
        Pipeline::new(self.ledger.clone(), Arc::new(engine), outputs, self.redactor.clone(), Clock::system())
    }

    async fn request(&self) -> Result<DeployLock, RequestError> {
        DeployLock::request(&self.ledger, self.plan.clone(), name("anna"), None, Timestamp::now()).await
    }

    /// Requests the plan and carries it to its end.
    async fn deploy(&self) -> Ended {
        let lock = self.request().await.unwrap();
        self.drive(lock).await
    }

    async fn drive(&self, lock: DeployLock) -> Ended {
        match self.pipeline().drive(lock, &Steering::default()).await.unwrap() {
            Driven::Ended(state) => self.ended(*state),
            Driven::Paused => panic!("nobody paused it"),
        }
    }

    /// The newest deployment, which came to this state.
    fn ended(&self, state: DeploymentState) -> Ended {
        let newest = self.ledger.history(&self.spec.app, None, 1, None).unwrap().remove(0).id;
        Ended { state, events: self.ledger.events(newest).unwrap().into_iter().map(|(_, event)| event).collect() }
    }

    /// The next start of the bot goes on with what is left.
    async fn next_start(&self) -> Ended {
        let mut left = DeployLock::left_behind(&self.ledger).unwrap();
        assert_eq!(left.len(), 1);
        self.drive(left.remove(0)).await
    }

    /// Drives until something hangs, and dies there.
    async fn dies_hanging(&self, lock: DeployLock) {
        self.dies_when(lock, |_| true).await;
    }

    /// Drives until something hangs and the journal has come to `state`, and dies there.
    async fn dies_when(&self, lock: DeployLock, state: impl Fn(&DeploymentState) -> bool) {
        let (id, pipeline, steering) = (lock.deployment(), self.pipeline(), Steering::default());
        let moment = async {
            self.rehearsal.hanging().await;
            while !state(&self.ledger.state(id).unwrap().unwrap()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            driven = pipeline.drive(lock, &steering) => panic!("it ended: {driven:?}"),
            () = moment => {}
        }
        settled(&self.ledger).await;
    }

    /// Everything runs this build, once; the balancer has it; TAG says so; no singleton ever ran twice, and there was always someone
    /// who served.
    #[track_caller]
    fn assert_runs(&self, tag: &str, context: &str) {
        for (role, of_role) in &self.spec.roles {
            for host in &of_role.hosts {
                let target = target(&format!("{role}@{host}"));
                assert_eq!(self.rehearsal.running(&target), [name(tag)], "{target}: {context}");
            }
        }
        let served: Vec<String> = self.rehearsal.served(&self.spec).iter().map(|(target, tag)| format!("{target} {tag}")).collect();
        assert_eq!(served, [format!("web@appserver1 {tag}"), format!("web@appserver2 {tag}")], "{context}");
        for (host, seen) in &self.rehearsal.observed(&self.spec).hosts {
            assert_eq!(seen.as_ref().unwrap().tag_files.tag, Some(name(tag)), "{host}: {context}");
        }
        self.assert_sound(context);
    }

    /// No singleton ever ran twice, and there was always someone who served.
    #[track_caller]
    fn assert_sound(&self, context: &str) {
        assert_eq!(self.rehearsal.violations(), Vec::<String>::new(), "{context}");
        assert!(self.rehearsal.least_served(&name("web")).is_none_or(|least| least >= 1), "nobody served: {context}");
    }

    /// The texts of the plan's actions.
    fn actions(&self) -> Vec<String> {
        self.plan.actions().map(|(_, action)| action.to_string()).collect()
    }

    /// The texts of those that have an undo, and were done when [`LAST`] comes.
    fn undoable(&self) -> Vec<String> {
        self.plan.actions().filter(|(_, action)| action.has_undo()).map(|(_, action)| action.to_string()).collect()
    }

    /// Whether nothing is left of build-42 but its image.
    fn is_untouched(&self, before: &(Observed, Vec<String>)) -> bool {
        *before == still(&self.spec, &self.rehearsal)
            && !self.rehearsal.task_containers().iter().any(|container| container.contains("build-42"))
    }

    fn migrations(&self) -> u32 {
        self.rehearsal.task_runs(&name::<TaskName>("migrate"))
    }
}

/// Waits for what a dead drive had handed to the ledger: a process that is killed takes the ledger's thread with it.
async fn settled(ledger: &Ledger) {
    let nobody = MessageRef { room: RoomId("nowhere".into()), id: "0".into() };
    ledger.answered(nobody, Timestamp::now()).await.unwrap();
}

/// A deployment that ended, and how.
struct Ended {
    state: DeploymentState,
    events: Vec<Event>,
}

impl Ended {
    #[track_caller]
    fn expect_phase(self, word: &str) -> Ended {
        assert_eq!(self.state.phase.word(), word, "{:?}", self.failures());
        self
    }

    /// What failed, in this order: actions, and undos as `undo stop web@appserver1`; how, and in which words.
    fn failures(&self) -> Vec<(String, FailureKind, String)> {
        let text = |index: &ActionIndex, way: &str, failure: &Failure| {
            (format!("{way}{}", self.state.plan.action(*index).unwrap()), failure.kind, failure.message.clone())
        };
        let failed = self.events.iter().filter_map(|event| match event {
            Event::ActionFailed { action, failure } => Some(text(action, "", failure)),
            Event::UndoFailed { action, failure } => Some(text(action, "undo ", failure)),
            _ => None,
        });
        failed.collect()
    }

    /// The undos that failed, with how.
    fn undo_failures(&self) -> Vec<(String, FailureKind)> {
        let undos = self.failures().into_iter().filter_map(|(text, kind, _)| Some((text.strip_prefix("undo ")?.to_owned(), kind)));
        undos.collect()
    }

    fn cause(&self) -> Option<String> {
        match self.state.phase.cause()? {
            Cause::Failed { action, .. } => Some(self.state.plan.action(*action)?.to_string()),
            Cause::Cancelled { by } => Some(format!("cancelled by {by}")),
        }
    }
}

/// The lane of an action, as texts.
fn lane_of(plan: &Plan, text: &str) -> Vec<String> {
    let mut lanes =
        plan.stages.iter().flat_map(|stage| &stage.lanes).map(|lane| lane.iter().map(Action::to_string).collect::<Vec<_>>());
    lanes.find(|lane| lane.iter().any(|action| action == text)).unwrap()
}

fn is_final(ledger: &Ledger, id: DeploymentId) -> bool {
    ledger.state(id).unwrap().is_some_and(|state| state.phase.is_final())
}

/// The phase of a deployment.
fn phase(ledger: &Ledger, id: DeploymentId) -> Phase {
    ledger.state(id).unwrap().unwrap().phase
}
