//! Actions that fail, and undos that fail.

use shipmate::domain::deployment::{FailureKind, Step};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::ActionIndex;
use shipmate::domain::spec::Millis;
use shipmate::engine::rehearsal::{Behaviour, Fault, Rehearsal, TaskEnd};
use shipmate::store::{Ledger, RequestError};
use tokio::time::Instant;

use super::{LAST, Scene, lane_of};
use crate::sample::*;

#[tokio::test(start_paused = true)]
async fn a_deploy_goes_well() {
    let scene = Scene::new().await;
    scene.deploy().await.expect_phase("succeeded");
    scene.assert_runs("build-42", "after the deploy");
    let applied: Vec<String> = scene.rehearsal.transcript();
    let mut planned: Vec<String> = scene.actions().iter().map(|action| format!("apply {action}")).collect();
    assert_eq!(applied.len(), planned.len());
    assert_eq!(applied[..applied.len() - 1].last(), Some(&"apply record appserver3".to_owned()));
    planned.retain(|action| !applied.contains(action));
    assert!(planned.is_empty(), "{planned:?}");
    assert_eq!(scene.migrations(), 2);
}

#[tokio::test(start_paused = true)]
async fn whatever_undo_fails_the_others_are_put_back() {
    let undoable = Scene::new().await.undoable();
    for text in undoable {
        let scene = Scene::new().await;
        scene.rehearsal.fault(Fault::apply(LAST).after());
        scene.rehearsal.fault(Fault::undo(&text).fails(FailureKind::Refused));
        let ended = scene.deploy().await.expect_phase("stuck");
        let failed = ended.undo_failures();
        assert!(failed.contains(&(text.clone(), FailureKind::Refused)));
        // The rest of its lane is left as it is; nothing else is.
        let lane = lane_of(&scene.plan, &text);
        for (other, kind) in failed.iter().filter(|(other, _)| *other != text) {
            assert_eq!(*kind, FailureKind::Skipped);
            let place = |text: &String| lane.iter().position(|action| action == text);
            assert!(place(other).is_some_and(|other| Some(other) < place(&text)), "{other} was skipped after {text}");
        }
        for target in ["web@appserver1", "web@appserver2", "worker@appserver3", "beat@appserver3"] {
            if !lane.iter().any(|action| action.ends_with(target)) {
                assert_eq!(scene.rehearsal.running(&super::target(target)), [build(41)], "{target} after {text}");
            }
        }
        scene.assert_sound(&text);

        // The next deploy takes the lock over and mends it.
        let id = DeploymentId(2);
        assert_eq!(scene.ledger.stuck().unwrap(), [id]);
        let mending = Scene { plan: scene.plan_to("build-43", true), ..scene };
        mending.deploy().await.expect_phase("succeeded");
        mending.assert_runs("build-43", &text);
        assert_eq!(mending.ledger.summary(id).unwrap().unwrap().mended_by, Some(DeploymentId(3)));
        assert!(mending.ledger.stuck().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_migration_leaves_every_host_as_it_was() {
    for (end, kind) in [
        (TaskEnd::Exit(1), FailureKind::Exit { status: 1 }),
        (TaskEnd::Signal(9), FailureKind::Signal { signal: Some(9) }),
        (TaskEnd::Hangs, FailureKind::Timeout),
    ] {
        let behaviour = Behaviour::good().task(&name("migrate"), end);
        let scene = Scene::with(antisocial(), behaviour, Ledger::in_memory()).await;
        let before = still(&scene.spec, &scene.rehearsal);
        let ended = scene.deploy().await.expect_phase("undone");
        assert_eq!(
            ended.failures().iter().map(|(text, kind, _)| (text.as_str(), *kind)).collect::<Vec<_>>(),
            [("migrate web@appserver1", kind)]
        );
        let applied = scene.rehearsal.transcript();
        assert_eq!(applied[6..], ["apply migrate web@appserver1", "undo migrate web@appserver1"]);
        assert!(scene.is_untouched(&before));
        scene.assert_runs("build-41", "after the migration failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_never_gets_healthy_is_put_back_on_the_first_host_within_the_deadline() {
    for (behaviour, longest) in [(Behaviour::good().never_healthy(), 31), (Behaviour::good().exits_at_once(3), 1)] {
        let scene = Scene::with(antisocial(), behaviour.tasks_take(Millis(1)), Ledger::in_memory()).await;
        let begun = Instant::now();
        let ended = scene.deploy().await.expect_phase("undone");
        assert!(begun.elapsed().as_secs() <= longest, "{:?}", begun.elapsed());
        assert_eq!(ended.cause().as_deref(), Some("healthy web@appserver1"));
        assert_eq!(
            scene.rehearsal.transcript()[8..],
            [
                "apply start web@appserver1",
                "apply healthy web@appserver1",
                "undo start web@appserver1",
                "undo collectstatic web@appserver1",
                "undo migrate web@appserver1"
            ]
        );
        scene.assert_runs("build-41", "after it was unhealthy");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_second_host_is_unhealthy_the_first_one_goes_back_too() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply("healthy web@appserver2").fails(FailureKind::Unhealthy));
    scene.deploy().await.expect_phase("undone");
    assert_eq!(
        scene.rehearsal.transcript()[13..],
        [
            "apply start web@appserver2",
            "apply healthy web@appserver2",
            "undo start web@appserver2",
            "undo stop web@appserver1",
            "undo leave web@appserver1",
            "undo join web@appserver1",
            "undo start web@appserver1",
            "undo collectstatic web@appserver1",
            "undo migrate web@appserver1",
        ]
    );
    scene.assert_runs("build-41", "after the second host was unhealthy");
}

#[tokio::test(start_paused = true)]
async fn when_one_lane_fails_the_others_are_broken_off_or_come_to_their_end() {
    let scene = Scene::new().await;
    // The worker waits for its health for ever, and then beat fails.
    scene.rehearsal.fault(Fault::apply("healthy worker@appserver3").hangs());
    scene.rehearsal.fault(Fault::apply("stop beat@appserver3").hangs());
    scene.rehearsal.fault(Fault::apply("healthy beat@appserver3").fails(FailureKind::Unhealthy));
    let beat_fails = async {
        scene.rehearsal.hanging_at("apply healthy worker@appserver3").await;
        scene.rehearsal.hanging_at("apply stop beat@appserver3").await;
        scene.rehearsal.let_go("apply stop beat@appserver3");
    };
    let (ended, ()) = tokio::join!(scene.deploy(), beat_fails);
    let ended = ended.expect_phase("undone");
    let failures: Vec<_> = ended.failures().into_iter().map(|(text, kind, _)| (text, kind)).collect();
    assert_eq!(
        failures,
        [
            ("healthy beat@appserver3".to_owned(), FailureKind::Unhealthy),
            ("healthy worker@appserver3".to_owned(), FailureKind::Cancelled)
        ]
    );
    assert_eq!(ended.cause().as_deref(), Some("healthy beat@appserver3"));
    scene.assert_runs("build-41", "after beat failed");
}

#[tokio::test(start_paused = true)]
async fn a_dead_registry_switches_nothing() {
    let scene = Scene::new().await;
    scene.rehearsal.registry_is_up(false);
    let ended = scene.deploy().await.expect_phase("undone");
    assert!(
        ended
            .failures()
            .iter()
            .all(|(text, kind, _)| text.starts_with("pull") && matches!(kind, FailureKind::Refused | FailureKind::Cancelled))
    );
    assert!(!scene.rehearsal.transcript().iter().any(|line| line.starts_with("undo") || line.contains("start")));
    scene.assert_runs("build-41", "after the registry was dead");
}

#[tokio::test(start_paused = true)]
async fn the_first_deploy_ever_leaves_nothing_when_it_fails() {
    let scene = Scene::new().await;
    let bare = Rehearsal::new(&scene.spec);
    bare.push(&release("build-42"), Behaviour::good());
    let plan = Ask::new(&scene.spec, &bare.observed(&scene.spec)).deploy(&release("build-42")).unwrap();
    bare.fault(Fault::apply(LAST));
    let scene = Scene { rehearsal: bare, plan, ..scene };
    scene.deploy().await.expect_phase("undone");
    let (observed, served) = still(&scene.spec, &scene.rehearsal);
    assert!(observed.hosts.values().flatten().all(|host| host.containers.is_empty() && host.tag_files == files(None, None)));
    assert!(served.is_empty() && scene.rehearsal.task_containers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_requests_one_is_told_who_holds_the_lock() {
    let scene = Scene::new().await;
    let (one, other) = tokio::join!(scene.request(), scene.request());
    let (lock, refused) = match (one, other) {
        (Ok(lock), Err(refused)) | (Err(refused), Ok(lock)) => (lock, refused),
        both => panic!("{both:?}"),
    };
    let RequestError::Locked { by } = refused else { panic!("{refused}") };
    assert_eq!((by.id, by.by), (lock.deployment(), name("anna")));
    scene.drive(lock).await.expect_phase("succeeded");
    assert_eq!(scene.ledger.lock(&scene.spec.app, &scene.spec.environment).unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_says_is_kept_without_secrets() {
    let scene = Scene::new().await;
    scene.redactor.learn("build-42 says");
    let ended = scene.deploy().await.expect_phase("succeeded");
    let (index, _) = scene.plan.actions().find(|(_, action)| action.to_string() == "migrate web@appserver1").unwrap();
    let kept = std::fs::read_to_string(scene.pipeline().outputs().file(DeploymentId(2), index)).unwrap();
    assert_eq!(kept, "migrate of *** hello\n");
    let Step::Done { outcome, .. } = &ended.state.steps[&index] else { panic!("not done") };
    assert_eq!(outcome.output_hash.as_deref(), Some(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&kept)).as_str()));
    assert!(!scene.pipeline().outputs().file(DeploymentId(2), ActionIndex(0)).exists(), "a preflight says nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_undo_says_doesnt_take_the_place_of_what_the_action_said() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply(LAST));
    scene.rehearsal.fault(Fault::undo("migrate web@appserver1").after());
    let ended = scene.deploy().await.expect_phase("stuck");
    let (index, _) = scene.plan.actions().find(|(_, action)| action.to_string() == "migrate web@appserver1").unwrap();
    let file = scene.pipeline().outputs().file(DeploymentId(2), index);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "migrate of build-42 says hello\n");
    assert!(std::fs::read_to_string(file.with_extension("undo.log")).unwrap().ends_with("is taken away\n"));
    let Step::UndoFailed { failure, .. } = &ended.state.steps[&index] else { panic!("undone") };
    assert_eq!(failure.output.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_no_release_and_somebody_always_serves() {
    let mut scene = Scene::new().await;
    let observed = scene.rehearsal.observed(&scene.spec);
    scene.plan = Ask::new(&scene.spec, &observed).restart(&release("build-41")).unwrap();
    scene.deploy().await.expect_phase("succeeded");
    scene.assert_runs("build-41", "after the restart");
    assert_eq!(scene.rehearsal.least_served(&name("web")), Some(1));
    assert_eq!(scene.migrations(), 1, "those of the first deployment");
}

#[tokio::test(start_paused = true)]
async fn a_command_ends_as_its_exit_status_says_and_leaves_nothing_when_it_failed() {
    let behaviour = Behaviour::good().task(&name("run"), TaskEnd::Exit(3));
    let mut scene = Scene::new().await;
    scene.rehearsal.push(&release("build-41"), behaviour);
    let observed = scene.rehearsal.observed(&scene.spec);
    scene.plan = Ask::new(&scene.spec, &observed).run(&release("build-41"), &["manage", "check"]).unwrap();
    let ended = scene.deploy().await.expect_phase("undone");
    assert_eq!(ended.failures()[0].1, FailureKind::Exit { status: 3 });
    assert!(!scene.rehearsal.task_containers().iter().any(|container| container.contains("-run-")));
    scene.assert_runs("build-41", "after the command");
}
