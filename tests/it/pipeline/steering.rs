//! People cancel, and the bot is told to stop.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use shipmate::domain::deployment::{Event, FailureKind};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::Action;
use shipmate::domain::spec::EnvironmentSpec;
use shipmate::engine::rehearsal::{Behaviour, Fault};
use shipmate::pipeline::{Driven, Steering};
use shipmate::store::{Ledger, LedgerError};

use super::{LAST, Scene};
use crate::sample::*;

/// Cancels as the bot does: first the journal, then the running drive.
async fn cancel(scene: &Scene, id: DeploymentId, steering: &Steering) -> Result<(), LedgerError> {
    scene.ledger.deployment(id, Event::CancelAsked { by: name("bert") }, Timestamp::now()).await?;
    steering.cancel.cancel();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whenever_a_person_cancels_everything_is_put_back() {
    let actions: Vec<Action> = Scene::new().await.plan.actions().map(|(_, action)| action.clone()).collect();
    for after in [false, true] {
        for action in &actions {
            let scene = Scene::new().await;
            let before = still(&scene.spec, &scene.rehearsal);
            let text = action.to_string();
            let fault = Fault::apply(&text).hangs();
            scene.rehearsal.fault(if after { fault.after() } else { fault });
            let (lock, steering, pipeline) = (scene.request().await.unwrap(), Steering::default(), scene.pipeline());
            let id = lock.deployment();
            let driven = pipeline.drive(lock, &steering);
            let cancelled = async {
                scene.rehearsal.hanging().await;
                cancel(&scene, id, &steering).await.unwrap();
                // What can't be broken off must be able to come to its end.
                if !action.is_interruptible() {
                    scene.rehearsal.go_on();
                }
            };
            let (driven, ()) = tokio::join!(driven, cancelled);
            let Driven::Ended(state) = driven.unwrap() else { panic!("paused") };
            assert_eq!(state.phase.word(), "cancelled", "{text}");
            scene.assert_runs("build-41", &text);
            // A prune takes away what nobody goes back to, and stays.
            assert!(text.starts_with("prune") || scene.is_untouched(&before), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_only_the_journal_heard_of_counts_after_a_restart() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply("healthy web@appserver2").hangs());
    let lock = scene.request().await.unwrap();
    let id = lock.deployment();
    scene.dies_hanging(lock).await;
    cancel(&scene, id, &Steering::default()).await.unwrap();
    let ended = scene.next_start().await.expect_phase("cancelled");
    assert_eq!(ended.cause().as_deref(), Some("cancelled by bert"));
    scene.assert_runs("build-41", "after the restart");
    assert!(matches!(cancel(&scene, id, &Steering::default()).await, Err(LedgerError::Illegal(_))));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_being_undone_cant_be_cancelled() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply(LAST));
    scene.rehearsal.fault(Fault::undo("stop web@appserver1").hangs());
    let (lock, steering, pipeline) = (scene.request().await.unwrap(), Steering::default(), scene.pipeline());
    let id = lock.deployment();
    let late = async {
        scene.rehearsal.hanging().await;
        assert!(matches!(cancel(&scene, id, &steering).await, Err(LedgerError::Illegal(_))));
        scene.rehearsal.go_on();
    };
    let (driven, ()) = tokio::join!(pipeline.drive(lock, &steering), late);
    let Driven::Ended(state) = driven.unwrap() else { panic!("paused") };
    assert_eq!(state.phase.word(), "undone");
}

/// Holds at one line of the transcript, tells the bot to stop, and lets it go on at the next start.
async fn pause_and_resume(scene: &Scene, fault: Fault) -> super::Ended {
    scene.rehearsal.fault(fault.hangs());
    let (lock, steering, pipeline) = (scene.request().await.unwrap(), Steering::default(), scene.pipeline());
    let pause = async {
        scene.rehearsal.hanging().await;
        steering.pause.cancel();
        scene.rehearsal.go_on();
    };
    let (driven, ()) = tokio::join!(pipeline.drive(lock, &steering), pause);
    match driven.unwrap() {
        Driven::Paused => scene.next_start().await,
        Driven::Ended(state) => scene.ended(*state),
    }
}

/// How often each line stands in the transcript.
fn counts(scene: &Scene) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    scene.rehearsal.transcript().into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

#[tokio::test(start_paused = true)]
async fn whenever_the_bot_stops_what_runs_comes_to_its_end_and_the_rest_is_done_at_the_next_start() {
    let actions = Scene::new().await.actions();
    for text in actions {
        let scene = Scene::new().await;
        pause_and_resume(&scene, Fault::apply(&text)).await.expect_phase("succeeded");
        scene.assert_runs("build-42", &text);
        let counts = counts(&scene);
        assert_eq!(counts.len(), scene.actions().len(), "{text}");
        assert!(counts.values().all(|count| *count == 1), "nothing was broken off or done twice: {text}: {counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_doesnt_begin_any_more_leaves_those_alone_that_run() {
    let spec = EnvironmentSpec { pulls_at_once: 2, ..antisocial() };
    let scene = Scene::with(spec, Behaviour::good(), Ledger::in_memory()).await;
    scene.rehearsal.fault(Fault::apply("pull appserver1").hangs());
    let (lock, steering, pipeline) = (scene.request().await.unwrap(), Steering::default(), scene.pipeline());
    let pause = async {
        scene.rehearsal.hanging().await;
        steering.pause.cancel();
        // The second pull ends, and the third one finds that the bot stops.
        while !scene.rehearsal.transcript().contains(&"apply pull appserver2".to_owned()) {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        scene.rehearsal.go_on();
    };
    let (driven, ()) = tokio::join!(pipeline.drive(lock, &steering), pause);
    assert!(matches!(driven.unwrap(), Driven::Paused));
    assert!(!scene.rehearsal.transcript().contains(&"apply pull appserver3".to_owned()));
    scene.next_start().await.expect_phase("succeeded");
    assert!(counts(&scene).values().all(|count| *count == 1), "{:?}", scene.rehearsal.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_stop_on_the_way_back_leaves_the_rest_of_the_undos_for_the_next_start() {
    let undoable = Scene::new().await.undoable();
    for text in undoable {
        let scene = Scene::new().await;
        let before = still(&scene.spec, &scene.rehearsal);
        scene.rehearsal.fault(Fault::apply(LAST).fails(FailureKind::Refused));
        pause_and_resume(&scene, Fault::undo(&text)).await.expect_phase("undone");
        scene.assert_runs("build-41", &text);
        assert!(scene.is_untouched(&before), "{text}");
        assert!(counts(&scene).values().all(|count| *count == 1), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_stops_begins_nothing() {
    let scene = Scene::new().await;
    let (lock, steering) = (scene.request().await.unwrap(), Steering::default());
    steering.pause.cancel();
    assert!(matches!(scene.pipeline().drive(lock, &steering).await.unwrap(), Driven::Paused));
    assert!(scene.rehearsal.transcript().is_empty());
    scene.next_start().await.expect_phase("succeeded");
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_broken_off_comes_to_its_end_before_anything_is_undone() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply("stop web@appserver1").hangs());
    let (lock, steering, pipeline) = (scene.request().await.unwrap(), Steering::default(), scene.pipeline());
    let id = lock.deployment();
    let cancelled = async {
        scene.rehearsal.hanging().await;
        cancel(&scene, id, &steering).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(scene.rehearsal.transcript().last().unwrap(), "apply stop web@appserver1");
        scene.rehearsal.go_on();
    };
    let (driven, ()) = tokio::join!(pipeline.drive(lock, &steering), cancelled);
    assert!(matches!(driven.unwrap(), Driven::Ended(state) if state.phase.word() == "cancelled"));
    let transcript = scene.rehearsal.transcript();
    let place = transcript.iter().position(|line| line == "apply stop web@appserver1").unwrap();
    assert_eq!(transcript[place + 1], "undo stop web@appserver1");
    scene.assert_runs("build-41", "after the cancel");
}
