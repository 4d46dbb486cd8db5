//! The same on the real store: what a start finds on the disk is enough.

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Fault};
use shipmate::store::{Ledger, RequestError};

use super::{LAST, Scene, phase};
use crate::sample::*;

async fn on_disk() -> (Scene, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    (Scene::with(antisocial(), Behaviour::good(), ledger).await, folder)
}

/// The bot is started again: the store is closed and opened.
fn restarted(scene: Scene, folder: &tempfile::TempDir) -> Scene {
    let Scene { spec, rehearsal, ledger, redactor, folder: outputs, plan } = scene;
    drop(ledger);
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    Scene { spec, rehearsal, ledger, redactor, folder: outputs, plan }
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_from_the_disk() {
    for text in ["pull appserver2", "migrate web@appserver1", "stop web@appserver1", "join web@appserver2", "start beat@appserver3"]
    {
        let (scene, folder) = on_disk().await;
        scene.rehearsal.fault(Fault::apply(text).after().hangs());
        scene.dies_hanging(scene.request().await.unwrap()).await;
        let scene = restarted(scene, &folder);
        scene.next_start().await.expect_phase("succeeded");
        scene.assert_runs("build-42", text);
        assert_eq!(scene.migrations(), 2);
        let scene = restarted(scene, &folder);
        assert_eq!(phase(&scene.ledger, DeploymentId(2)).word(), "succeeded");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_putting_back_from_the_disk() {
    for text in ["stop web@appserver1", "start beat@appserver3", "record appserver2"] {
        let (scene, folder) = on_disk().await;
        scene.rehearsal.fault(Fault::apply(LAST).after().fails(FailureKind::Lost));
        scene.rehearsal.fault(Fault::undo(text).hangs());
        scene.dies_hanging(scene.request().await.unwrap()).await;
        let scene = restarted(scene, &folder);
        scene.next_start().await.expect_phase("undone");
        scene.assert_runs("build-41", text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_outlives_the_bot_and_a_stuck_one_is_mended_after_a_restart() {
    let (scene, folder) = on_disk().await;
    scene.rehearsal.fault(Fault::apply("stop web@appserver2").loses_host());
    scene.rehearsal.fault(Fault::apply("healthy web@appserver1").hangs());
    scene.dies_hanging(scene.request().await.unwrap()).await;
    let scene = restarted(scene, &folder);
    assert!(matches!(scene.request().await, Err(RequestError::Locked { .. })));
    scene.next_start().await.expect_phase("stuck");
    scene.rehearsal.bring_back(&name("appserver2"));
    let scene = restarted(scene, &folder);
    assert_eq!(scene.ledger.stuck().unwrap(), [DeploymentId(2)]);
    let mending = Scene { plan: scene.plan_to("build-43", true), ..scene };
    mending.deploy().await.expect_phase("succeeded");
    mending.assert_runs("build-43", "after the restart");
    assert_eq!(mending.ledger.summary(DeploymentId(2)).unwrap().unwrap().mended_by, Some(DeploymentId(3)));
}
