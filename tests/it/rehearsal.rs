//! The rehearsal itself: that it behaves as hosts do, and sees what must never be.

use std::time::Duration;

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::plan::{Action, Plan};
use shipmate::domain::spec::{EnvironmentSpec, Millis};
use shipmate::engine::rehearsal::{Behaviour, Fault, Rehearsal, TaskEnd};
use shipmate::engine::{Engine, ResolveError};
use tokio::time::{Instant, timeout};

use crate::sample::*;

/// A fleet that runs build-41, deployed by a plan, and knows build-42.
async fn running_41(spec: &EnvironmentSpec, behaviour: Behaviour) -> Rehearsal {
    let rehearsal = Rehearsal::new(spec);
    rehearsal.push(&release("build-41"), Behaviour::good());
    rehearsal.push(&release("build-42"), behaviour);
    let plan = Ask { nonce: "0", ..Ask::new(spec, &rehearsal.observed(spec)) }.deploy(&release("build-41")).unwrap();
    apply(&rehearsal, &plan, 1).await.unwrap();
    rehearsal.turn_page();
    rehearsal
}

fn to_42(spec: &EnvironmentSpec, rehearsal: &Rehearsal) -> Plan {
    Ask::new(spec, &rehearsal.observed(spec)).deploy(&release("build-42")).unwrap()
}

fn find<'a>(plan: &'a Plan, text: &str) -> &'a Action {
    plan.actions().map(|(_, action)| action).find(|action| action.to_string() == text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deploy_serves_at_every_moment() {
    let spec = antisocial();
    let rehearsal = running_41(&spec, Behaviour::good()).await;
    let served =
        |rehearsal: &Rehearsal| rehearsal.served(&spec).iter().map(|(target, tag)| format!("{target} {tag}")).collect::<Vec<_>>();
    assert_eq!(served(&rehearsal), ["web@appserver1 build-41", "web@appserver2 build-41"]);
    apply(&rehearsal, &to_42(&spec, &rehearsal), 1).await.unwrap();
    assert_eq!(served(&rehearsal), ["web@appserver1 build-42", "web@appserver2 build-42"]);
    assert_eq!(rehearsal.least_served(&name("web")), Some(2));
    assert_eq!(rehearsal.task_runs(&name("migrate")), 2, "once a deployment");
    assert_eq!(rehearsal.violations(), Vec::<String>::new());
    let transcript = rehearsal.transcript();
    assert_eq!(transcript[..3], ["apply preflight appserver1", "apply preflight appserver2", "apply preflight appserver3"]);
    assert_eq!(transcript.last().unwrap(), "apply prune appserver1");
}

#[tokio::test(start_paused = true)]
async fn builds_behave_as_they_were_told_to() {
    let spec = antisocial();
    let ends = async |behaviour: Behaviour| {
        let rehearsal = running_41(&spec, behaviour).await;
        let plan = to_42(&spec, &rehearsal);
        apply(&rehearsal, &plan, 1).await.map_err(|failure| failure.kind)
    };
    let migrate = |end| Behaviour::good().task(&name("migrate"), end);
    assert_eq!(ends(Behaviour::good().ignores_term()).await, Ok(()));
    assert_eq!(ends(Behaviour::good().never_healthy()).await, Err(FailureKind::Unhealthy));
    assert_eq!(ends(Behaviour::good().exits_at_once(3)).await, Err(FailureKind::Unhealthy));
    assert_eq!(ends(Behaviour::good().warms_up_in(Millis::seconds(29))).await, Ok(()));
    assert_eq!(ends(Behaviour::good().warms_up_in(Millis::seconds(31))).await, Err(FailureKind::Unhealthy));
    assert_eq!(ends(migrate(TaskEnd::Exit(1))).await, Err(FailureKind::Exit { status: 1 }));
    assert_eq!(ends(migrate(TaskEnd::Signal(9))).await, Err(FailureKind::Signal { signal: Some(9) }));
    assert_eq!(ends(migrate(TaskEnd::Hangs)).await, Err(FailureKind::Timeout));
    assert_eq!(ends(Behaviour::good().tasks_take(Millis::seconds(59))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_cut_off_is_taken_up_again_and_not_run_twice() {
    let spec = antisocial();
    let rehearsal = running_41(&spec, Behaviour::good().tasks_take(Millis::seconds(20))).await;
    let plan = to_42(&spec, &rehearsal);
    let (pull, migrate) = (find(&plan, "pull appserver1"), find(&plan, "migrate web@appserver1"));
    rehearsal.apply(&plan, pull, &Unheard).await.unwrap();
    let begun = Instant::now();
    assert!(timeout(Duration::from_secs(5), rehearsal.apply(&plan, migrate, &Unheard)).await.is_err());
    rehearsal.apply(&plan, migrate, &Unheard).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(21));
    assert_eq!(rehearsal.task_runs(&name("migrate")), 2, "once for each of the two deployments");
    rehearsal.undo(&plan, migrate, &Unheard).await.unwrap();
    assert!(!rehearsal.task_containers().iter().any(|container| container.contains("build-42")));
}

#[tokio::test(start_paused = true)]
async fn faults_come_once_before_or_after_the_action_acts() {
    let spec = antisocial();
    let rehearsal = running_41(&spec, Behaviour::good()).await;
    let plan = to_42(&spec, &rehearsal);
    let stop = find(&plan, "stop worker@appserver3");
    let worker = target("worker@appserver3");
    rehearsal.fault(Fault::apply("stop worker@appserver3").fails(FailureKind::Timeout));
    rehearsal.fault(Fault::apply("stop worker@appserver3").nth(2).after());
    rehearsal.fault(Fault::undo("stop worker@appserver3").loses_host());
    assert_eq!(rehearsal.apply(&plan, stop, &Unheard).await.unwrap_err().kind, FailureKind::Timeout);
    assert_eq!(rehearsal.running(&worker).len(), 1);
    assert_eq!(rehearsal.apply(&plan, stop, &Unheard).await.unwrap_err().kind, FailureKind::Refused);
    assert_eq!(rehearsal.running(&worker).len(), 0);
    assert!(rehearsal.apply(&plan, stop, &Unheard).await.is_ok());
    assert_eq!(rehearsal.undo(&plan, stop, &Unheard).await.unwrap_err().kind, FailureKind::Lost);
    assert_eq!(rehearsal.undo(&plan, stop, &Unheard).await.unwrap_err().kind, FailureKind::Unreachable);
    assert_eq!(rehearsal.observed(&spec).unreachable().count(), 1);
    rehearsal.bring_back(&worker.host);
    rehearsal.undo(&plan, stop, &Unheard).await.unwrap();
    assert_eq!(rehearsal.running(&worker).len(), 1);
    rehearsal.fault(Fault::apply("pull appserver1").hangs());
    let pull = rehearsal.apply(&plan, find(&plan, "pull appserver1"), &Unheard);
    tokio::select! {
        _ = pull => panic!("it came back"),
        () = rehearsal.hanging() => {}
    }
}

#[tokio::test(start_paused = true)]
async fn the_registry_is_asked_for_tags_and_images() {
    let spec = antisocial();
    let rehearsal = running_41(&spec, Behaviour::good()).await;
    assert_eq!(rehearsal.resolve(&spec, &build(42)).await, Ok(release("build-42").digest));
    let unknown = rehearsal.resolve(&spec, &build(43)).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the registry registry.lan:5000 has no tag `build-43` of registry.lan:5000/thraxil/antisocial");
    let plan = to_42(&spec, &rehearsal);
    rehearsal.registry_is_up(false);
    assert!(matches!(rehearsal.resolve(&spec, &build(42)).await, Err(ResolveError::Unavailable(_))));
    let failure = apply(&rehearsal, &plan, 1).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Refused, "the registry doesn't answer"));
    let start = rehearsal.apply(&plan, find(&plan, "start web@appserver1"), &Unheard).await.unwrap_err();
    assert_eq!(start.kind, FailureKind::Missing, "nothing starts that wasn't pulled");
}

#[tokio::test(start_paused = true)]
async fn what_must_never_be_is_seen() {
    let spec = antisocial();
    let rehearsal = running_41(&spec, Behaviour::good()).await;
    let plan = to_42(&spec, &rehearsal);
    for action in [
        "pull appserver1",
        "pull appserver3",
        "start beat@appserver3",
        "stop web@appserver1",
        "start web@appserver1",
        "join web@appserver1",
    ] {
        rehearsal.apply(&plan, find(&plan, action), &Unheard).await.unwrap();
    }
    assert_eq!(
        rehearsal.violations(),
        [
            "2 of beat@appserver3 ran at the same time",
            "web@appserver1 was stopped while the balancer sent it requests",
            "web@appserver1 joined the balancer and doesn't answer",
        ]
    );
    assert_eq!(rehearsal.least_served(&name("web")), Some(1));
}
