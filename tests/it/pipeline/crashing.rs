//! The bot dies more than once, or while something else is wrong, and the next start goes on.

use shipmate::domain::deployment::{DeploymentState, FailureKind, Step};
use shipmate::engine::rehearsal::Fault;
use shipmate::pipeline::{DeployLock, Steering};

use super::{LAST, Scene};
use crate::sample::*;

#[tokio::test(start_paused = true)]
async fn it_may_die_again_and_again() {
    let scene = Scene::new().await;
    let actions = scene.actions();
    actions.iter().for_each(|text| scene.rehearsal.fault(Fault::apply(text).hangs()));
    scene.dies_hanging(scene.request().await.unwrap()).await;
    loop {
        scene.rehearsal.go_on();
        let lock = DeployLock::left_behind(&scene.ledger).unwrap().remove(0);
        let (id, pipeline, steering) = (lock.deployment(), scene.pipeline(), Steering::default());
        tokio::select! {
            driven = pipeline.drive(lock, &steering) => drop(driven.unwrap()),
            () = scene.rehearsal.hanging() => {}
        }
        super::settled(&scene.ledger).await;
        if super::is_final(&scene.ledger, id) {
            break;
        }
    }
    scene.assert_runs("build-42", "after many deaths");
    assert_eq!(scene.migrations(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_failed_before_it_died_still_keeps_its_lane_from_being_touched() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply(LAST).after());
    // Beat's new container can't be stopped; then it dies at the web.
    scene.rehearsal.fault(Fault::undo("start beat@appserver3").fails(FailureKind::Refused));
    scene.rehearsal.fault(Fault::undo("stop worker@appserver3").hangs());
    let failed = |state: &DeploymentState| state.steps.values().any(|step| matches!(step, Step::UndoFailed { .. }));
    scene.dies_when(scene.request().await.unwrap(), failed).await;
    let ended = scene.next_start().await.expect_phase("stuck");
    assert_eq!(
        ended.undo_failures(),
        [("start beat@appserver3".to_owned(), FailureKind::Refused), ("stop beat@appserver3".to_owned(), FailureKind::Skipped)]
    );
    assert_eq!(scene.rehearsal.running(&target("beat@appserver3")), [build(42)], "never two");
    scene.assert_sound("after the death");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_recorded_before_it_died_is_not_tried_again() {
    let scene = Scene::new().await;
    // One lane fails while the other hangs: the failure is in the journal, the other has no result.
    scene.rehearsal.fault(Fault::apply("start beat@appserver3").fails(FailureKind::Refused));
    scene.rehearsal.fault(Fault::apply("stop worker@appserver3").after().hangs());
    scene.dies_when(scene.request().await.unwrap(), |state| state.phase.word() == "undoing").await;
    scene.next_start().await.expect_phase("undone");
    scene.assert_runs("build-41", "after the death");
    assert_eq!(scene.rehearsal.transcript().iter().filter(|line| *line == "apply start beat@appserver3").count(), 1);
}
