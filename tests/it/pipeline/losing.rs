//! A host is lost in the middle.

use shipmate::domain::deployment::{FailureKind, Step};
use shipmate::domain::names::{DeploymentId, HostName};
use shipmate::domain::plan::{Action, Target};
use shipmate::engine::rehearsal::Fault;

use super::{LAST, Scene};
use crate::sample::*;

#[tokio::test(start_paused = true)]
async fn whenever_a_host_is_lost_the_others_are_put_back_and_a_new_deploy_mends_it() {
    let actions: Vec<Action> = Scene::new().await.plan.actions().map(|(_, action)| action.clone()).collect();
    for after in [false, true] {
        for action in &actions {
            let scene = Scene::new().await;
            let (text, lost) = (format!("{action} (after: {after})"), action.host().unwrap().clone());
            let fault = Fault::apply(action.to_string()).loses_host();
            scene.rehearsal.fault(if after { fault.after() } else { fault });
            let ended = scene.deploy().await;
            if action.may_fail() {
                ended.expect_phase("succeeded");
                continue;
            }

            // Only what was begun on the lost host couldn't be put back.
            let touched = ended.state.steps.iter().any(|(index, step)| {
                let action = ended.state.plan.action(*index).unwrap();
                action.host() == Some(&lost) && action.has_undo() && !matches!(step, Step::Undone { .. })
            });
            let ended = ended.expect_phase(if touched { "stuck" } else { "undone" });
            if touched {
                let named = ended.failures().into_iter().any(|(undo, kind, message)| {
                    undo.starts_with("undo") && kind == FailureKind::Unreachable && message.contains(lost.as_str())
                });
                assert!(named, "{text}: {:?}", ended.failures());
            }
            for host in scene.spec.hosts.keys().filter(|host| **host != lost) {
                assert_runs(&scene, host, 41, &text);
            }

            scene.rehearsal.bring_back(&lost);
            let mending = Scene { plan: scene.plan_to("build-43", touched), ..scene };
            mending.deploy().await.expect_phase("succeeded");
            mending.assert_runs("build-43", &text);
            assert!(mending.ledger.stuck().unwrap().is_empty(), "{text}");
            let mended_by = mending.ledger.summary(DeploymentId(2)).unwrap().unwrap().mended_by;
            assert_eq!(mended_by, touched.then_some(DeploymentId(3)), "{text}");
        }
    }
}

/// Every role of a host runs this build and nothing else, and TAG says so.
#[track_caller]
fn assert_runs(scene: &Scene, host: &HostName, number: u32, context: &str) {
    for (role, _) in scene.spec.roles.iter().filter(|(_, role)| role.hosts.contains(host)) {
        let target = Target { role: role.clone(), host: host.clone() };
        assert_eq!(scene.rehearsal.running(&target), [build(number)], "{target}: {context}");
    }
    let observed = scene.rehearsal.observed(&scene.spec);
    assert_eq!(observed.host(host).unwrap().tag_files.tag, Some(build(number)), "{host}: {context}");
}

#[tokio::test(start_paused = true)]
async fn going_on_with_the_same_build_mends_it_too() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply("stop web@appserver2").loses_host());
    scene.deploy().await.expect_phase("stuck");
    scene.rehearsal.bring_back(&name("appserver2"));
    // The old one and the new one run there now.
    assert_eq!(scene.rehearsal.running(&target("web@appserver2")), [build(41), build(42)]);
    let again = Scene { plan: scene.plan_to("build-42", true), ..scene };
    assert!(!again.actions().iter().any(|action| action.starts_with("migrate")), "it has run");
    again.deploy().await.expect_phase("succeeded");
    again.assert_runs("build-42", "after it went on");
}

#[tokio::test(start_paused = true)]
async fn going_back_mends_it_too() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply("stop web@appserver2").loses_host());
    scene.deploy().await.expect_phase("stuck");
    scene.rehearsal.bring_back(&name("appserver2"));
    let observed = scene.rehearsal.observed(&scene.spec);
    let ask = Ask { mends: true, ..Ask::new(&scene.spec, &observed).recorded(&release("build-41")) };
    let back = Scene { plan: ask.revert(&release("build-41")).unwrap(), ..scene };
    back.deploy().await.expect_phase("succeeded");
    back.assert_runs("build-41", "after it went back");
    assert!(back.ledger.stuck().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_is_tried_once_and_then_left_alone() {
    let scene = Scene::new().await;
    // It is lost when all is done there already.
    scene.rehearsal.fault(Fault::apply(LAST).loses_host());
    let ended = scene.deploy().await.expect_phase("stuck");
    let undone =
        |host: &str| scene.rehearsal.transcript().iter().filter(|line| line.starts_with("undo") && line.ends_with(host)).count();
    assert_eq!(undone("appserver3"), 1, "the record; the worker and beat were not tried");
    assert!(undone("appserver1") > 3 && undone("appserver2") > 3);
    let skipped = ended.undo_failures().iter().filter(|(_, kind)| *kind == FailureKind::Skipped).count();
    assert_eq!(skipped, 4);
}

#[tokio::test(start_paused = true)]
async fn a_lost_balancer_doesnt_keep_hosts_from_being_put_back() {
    let scene = Scene::new().await;
    scene.rehearsal.fault(Fault::apply(LAST).after());
    scene.rehearsal.fault(Fault::undo("leave web@appserver1").fails(FailureKind::Unreachable));
    let ended = scene.deploy().await.expect_phase("stuck");
    assert_eq!(
        ended.undo_failures(),
        [
            ("leave web@appserver1".to_owned(), FailureKind::Unreachable),
            ("join web@appserver1".to_owned(), FailureKind::Skipped),
            ("start web@appserver1".to_owned(), FailureKind::Skipped),
        ]
    );
    // The host itself is well: its tasks are cleared away, its TAG is back, and the old one runs.
    assert!(!scene.rehearsal.task_containers().iter().any(|container| container.contains("build-42")));
    assert_eq!(scene.rehearsal.observed(&scene.spec).host(&name("appserver1")).unwrap().tag_files.tag, Some(build(41)));
    assert!(scene.rehearsal.running(&target("web@appserver1")).contains(&build(41)));
    scene.assert_sound("after the balancer was lost");
}
