//! Every shipped command that acts on hosts: each of its actions fails, the bot dies at each of them, and each is done twice.

use async_trait::async_trait;
use shipmate::domain::deployment::{Failure, FailureKind, Outcome};
use shipmate::domain::names::{Digest, Tag};
use shipmate::domain::observed::Observed;
use shipmate::domain::plan::{Action, Plan, Target};
use shipmate::domain::spec::EnvironmentSpec;
use shipmate::engine::rehearsal::{Fault, Rehearsal};
use shipmate::engine::{Engine, Output, ResolveError};
use shipmate::pipeline::{Driven, Steering};

use super::Scene;
use crate::sample::*;

/// build-42 runs and build-41 is kept; the plan is that of the command.
async fn about((command, aim, steps): &Shipped) -> Scene {
    let mut scene = Scene::new().await;
    scene.deploy().await.expect_phase("succeeded");
    scene.rehearsal.turn_page();
    let (purpose, tag) = purpose(command);
    let observed = scene.rehearsal.observed(&scene.spec);
    scene.plan = Ask { nonce: tag, ..Ask::new(&scene.spec, &observed).recorded(&release("build-42")) }
        .plan(purpose, *aim, &release(tag), steps)
        .unwrap();
    scene
}

/// What must be the same whatever happened on the way: the hosts, who serves, and how often a task ran.
#[derive(Debug, PartialEq)]
struct Outlook {
    hosts: (Observed, Vec<String>),
    migrations: u32,
}

fn outlook(scene: &Scene) -> Outlook {
    Outlook { hosts: still(&scene.spec, &scene.rehearsal), migrations: scene.migrations() }
}

/// How it looks when the command went well.
async fn done(shipped: &Shipped) -> Outlook {
    let scene = about(shipped).await;
    scene.deploy().await.expect_phase("succeeded");
    outlook(&scene)
}

/// The last action that, when it fails, has everything put back.
fn last(scene: &Scene) -> String {
    scene.actions().into_iter().rfind(|text| !text.starts_with("prune")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whatever_action_of_a_command_fails_everything_is_as_before() {
    for shipped in shipped() {
        for text in about(&shipped).await.actions() {
            for after in [false, true] {
                let context = format!("{}: {text} fails, after it acted: {after}", shipped.0);
                let scene = about(&shipped).await;
                let before = still(&scene.spec, &scene.rehearsal);
                let fault = Fault::apply(&text).fails(FailureKind::Refused);
                scene.rehearsal.fault(if after { fault.after() } else { fault });
                let ended = scene.deploy().await;
                scene.assert_sound(&context);
                if text.starts_with("prune") {
                    ended.expect_phase("succeeded");
                    continue;
                }
                let ended = ended.expect_phase("undone");
                assert_eq!(ended.cause().as_ref(), Some(&text), "{context}");
                assert_eq!(still(&scene.spec, &scene.rehearsal), before, "{context}");
                assert!(scene.rehearsal.task_containers().iter().all(|task| !task.contains("build-43")), "{context}");
                assert!(scene.ledger.open_deployments().unwrap().is_empty(), "{context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_the_bot_dies_in_a_command_the_next_start_brings_it_to_the_same_end() {
    for shipped in shipped() {
        let wanted = done(&shipped).await;
        for text in about(&shipped).await.actions() {
            for after in [false, true] {
                let context = format!("{}: dies at {text}, after it acted: {after}", shipped.0);
                let scene = about(&shipped).await;
                let fault = Fault::apply(&text).hangs();
                scene.rehearsal.fault(if after { fault.after() } else { fault });
                scene.dies_hanging(scene.request().await.unwrap()).await;
                scene.next_start().await.expect_phase("succeeded");
                assert_eq!(outlook(&scene), wanted, "{context}");
                scene.assert_sound(&context);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_the_bot_dies_while_a_command_is_put_back_the_next_start_puts_it_back() {
    for shipped in shipped() {
        for text in about(&shipped).await.undoable() {
            for after in [false, true] {
                let context = format!("{}: dies at the undo of {text}, after it acted: {after}", shipped.0);
                let scene = about(&shipped).await;
                let before = still(&scene.spec, &scene.rehearsal);
                scene.rehearsal.fault(Fault::apply(last(&scene)).after());
                let fault = Fault::undo(&text).hangs();
                scene.rehearsal.fault(if after { fault.after() } else { fault });
                scene.dies_hanging(scene.request().await.unwrap()).await;
                scene.next_start().await.expect_phase("undone");
                assert_eq!(still(&scene.spec, &scene.rehearsal), before, "{context}");
                assert!(scene.rehearsal.task_containers().iter().all(|task| !task.contains("build-43")), "{context}");
                scene.assert_sound(&context);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_of_which_everything_is_done_twice_ends_as_if_done_once() {
    for shipped in shipped() {
        let scene = about(&shipped).await;
        drive_twice(&scene, "succeeded").await;
        assert_eq!(outlook(&scene), done(&shipped).await, "{}", shipped.0);
        scene.assert_sound(&shipped.0);

        let scene = about(&shipped).await;
        let before = still(&scene.spec, &scene.rehearsal);
        scene.rehearsal.fault(Fault::apply(last(&scene)).after());
        drive_twice(&scene, "undone").await;
        assert_eq!(still(&scene.spec, &scene.rehearsal), before, "{} is put back", shipped.0);
        scene.assert_sound(&shipped.0);
    }
}

/// Carries the scene's plan out on an engine that does everything twice.
async fn drive_twice(scene: &Scene, ends: &str) {
    let lock = scene.request().await.unwrap();
    let pipeline = scene.pipeline_over(Twice(scene.rehearsal.clone()));
    match pipeline.drive(lock, &Steering::default()).await.unwrap() {
        Driven::Ended(state) => scene.ended(*state).expect_phase(ends),
        Driven::Paused => panic!("nobody paused it"),
    };
}

/// Applies and undoes everything twice.
pub struct Twice(pub Rehearsal);

#[async_trait]
impl Engine for Twice {
    async fn observe(&self, spec: &EnvironmentSpec) -> Observed {
        self.0.observe(spec).await
    }

    async fn resolve(&self, spec: &EnvironmentSpec, tag: &Tag) -> Result<Digest, ResolveError> {
        self.0.resolve(spec, tag).await
    }

    async fn apply(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<Outcome, Failure> {
        self.0.apply(plan, action, output).await?;
        self.0.apply(plan, action, output).await
    }

    async fn undo(&self, plan: &Plan, action: &Action, output: &dyn Output) -> Result<(), Failure> {
        self.0.undo(plan, action, output).await?;
        self.0.undo(plan, action, output).await
    }

    async fn logs(&self, spec: &EnvironmentSpec, target: &Target, lines: usize) -> Result<Vec<String>, Failure> {
        self.0.logs(spec, target, lines).await
    }

    async fn rest(&self) {
        self.0.rest().await;
    }
}
