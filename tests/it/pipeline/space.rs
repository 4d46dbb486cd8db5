//! While the disk of the journal is nearly full no action starts, and what waits goes on by itself.

use std::time::Duration;

use shipmate::domain::deployment::Event;
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Fault};
use shipmate::pipeline::{DeployLock, Driven, Steering};
use shipmate::store::Ledger;
use tokio::time::timeout;

use super::{LAST, Scene, settled};
use crate::disk::Disk;
use crate::sample::*;

/// How long nothing may happen.
const WHILE: Duration = Duration::from_secs(300);

async fn on(disk: &Disk) -> Scene {
    let (ledger, _) = Ledger::open(&disk.data()).unwrap();
    Scene::with(antisocial(), Behaviour::good(), ledger).await
}

fn events(scene: &Scene) -> usize {
    scene.ledger.events(DeploymentId(2)).unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_waits_for_space_and_goes_on() {
    let disk = Disk::new(400);
    let scene = on(&disk).await;
    let lock = scene.request().await.unwrap();
    disk.resize(100);
    let (pipeline, steering) = (scene.pipeline(), Steering::default());
    let mut drive = Box::pin(pipeline.drive(lock, &steering));
    assert!(timeout(WHILE, &mut drive).await.is_err());
    settled(&scene.ledger).await;
    assert_eq!(events(&scene), 1, "it was asked for, and nothing else");
    disk.resize(400);
    let Driven::Ended(state) = drive.await.unwrap() else { panic!("nobody paused it") };
    scene.ended(*state).expect_phase("succeeded");
    scene.assert_runs("build-42", "after the wait");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_run_began_waits_too_and_is_left_for_the_next_start() {
    let disk = Disk::new(400);
    let scene = on(&disk).await;
    scene.rehearsal.fault(Fault::apply("stop web@appserver1").hangs());
    scene.dies_hanging(scene.request().await.unwrap()).await;
    let begun = events(&scene);
    disk.resize(100);
    let lock = DeployLock::left_behind(&scene.ledger).unwrap().remove(0);
    let (pipeline, steering) = (scene.pipeline(), Steering::default());
    let mut drive = Box::pin(pipeline.drive(lock, &steering));
    assert!(timeout(WHILE, &mut drive).await.is_err());
    steering.pause.cancel();
    assert!(matches!(drive.await, Ok(Driven::Paused)));
    settled(&scene.ledger).await;
    assert_eq!(events(&scene), begun);
    disk.resize(400);
    scene.next_start().await.expect_phase("succeeded");
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_cancelled_and_putting_back_needs_no_space() {
    let disk = Disk::new(400);
    let scene = on(&disk).await;
    let before = still(&scene.spec, &scene.rehearsal);
    scene.rehearsal.fault(Fault::apply("healthy web@appserver2").hangs());
    scene.dies_hanging(scene.request().await.unwrap()).await;
    disk.resize(100);
    let lock = DeployLock::left_behind(&scene.ledger).unwrap().remove(0);
    let (pipeline, steering) = (scene.pipeline(), Steering::default());
    let mut drive = Box::pin(pipeline.drive(lock, &steering));
    assert!(timeout(WHILE, &mut drive).await.is_err());
    scene.ledger.deployment(DeploymentId(2), Event::CancelAsked { by: name("bob") }, jiff::Timestamp::now()).await.unwrap();
    steering.cancel.cancel();
    let Driven::Ended(state) = drive.await.unwrap() else { panic!("nobody paused it") };
    scene.ended(*state).expect_phase("cancelled");
    assert!(scene.is_untouched(&before));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_put_back_while_space_is_short() {
    let disk = Disk::new(400);
    let scene = on(&disk).await;
    scene.rehearsal.fault(Fault::apply(LAST).hangs());
    scene.dies_hanging(scene.request().await.unwrap()).await;
    scene.ledger.deployment(DeploymentId(2), Event::CancelAsked { by: name("bob") }, jiff::Timestamp::now()).await.unwrap();
    disk.resize(100);
    scene.next_start().await.expect_phase("cancelled");
    scene.assert_runs("build-41", "put back");
}
