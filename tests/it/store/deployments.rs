//! Deployments: the lock, the record, the history, and what a stuck one leaves behind.

use shipmate::domain::deployment::{Event, Phase};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::{ActionIndex, Purpose};
use shipmate::store::{Ledger, LedgerError, PhaseName, Post, RequestError};

use super::fixture::*;

#[tokio::test]
async fn a_request_is_number_lock_history_post_and_answer_in_one_write() {
    let ledger = Ledger::in_memory();
    ledger.open_room(room(), at(0)).await.unwrap();
    ledger.heard(said("m1", "!deploy blog"), at(0)).await.unwrap();
    let cause = Some(message("m1"));
    let id = ledger.request(deploy(2, Some(1)), "anna".parse().unwrap(), cause.clone(), at(5)).await.unwrap();
    assert_eq!((id, ledger.head().seq), (DeploymentId(1), 3));
    assert_eq!(ledger.inbox().unwrap(), []);
    assert_eq!(ledger.open_deployments().unwrap(), [id]);
    assert_eq!(ledger.posts_after(&room()).unwrap()[0].1, Post::Live { id });
    let holder = ledger.lock(&app(), &production()).unwrap().unwrap();
    assert_eq!((holder.id, holder.phase, holder.requested_at), (id, PhaseName::Running, at(5)));
    assert_eq!((holder.from, holder.release), (Some(release(1)), release(2)));
    assert_eq!(ledger.history(&app(), None, 9, None).unwrap()[0].id, id);
    let events = ledger.events(id).unwrap();
    assert!(matches!(&events[..], [(when, Event::Requested { cause: kept, .. })] if *when == at(5) && *kept == cause));
}

#[tokio::test]
async fn of_two_who_ask_at_once_one_gets_the_lock_and_the_other_hears_who_has_it() {
    let ledger = Ledger::in_memory();
    let ask =
        |ledger: Ledger| tokio::spawn(async move { ledger.request(deploy(1, None), "bob".parse().unwrap(), None, at(0)).await });
    let (one, other) = (ask(ledger.clone()), ask(ledger.clone()));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let (id, refusal) = if let Ok(id) = one { (id, other.unwrap_err()) } else { (other.unwrap(), one.unwrap_err()) };
    assert!(matches!(refusal, RequestError::Locked { by } if by.id == id && by.by.as_str() == "bob"));
    assert_eq!(ledger.health().counts.deployments, 1);
    let elsewhere = shipmate::domain::plan::Plan { environment: "staging".parse().unwrap(), ..deploy(1, None) };
    assert_eq!(request(&ledger, elsewhere).await, DeploymentId(2));
}

#[tokio::test]
async fn a_command_that_only_reads_needs_no_lock_and_leaves_none() {
    let ledger = Ledger::in_memory();
    let id = request(&ledger, deploy(1, None)).await;
    let reads = |read| plan(Purpose::Run { command: vec!["ls".into()], read }, 1, None);
    let reading = request(&ledger, reads(true)).await;
    assert!(ledger.request(reads(false), "anna".parse().unwrap(), None, at(0)).await.is_err());
    stick(&ledger, reading).await;
    assert_eq!(ledger.stuck().unwrap(), []);
    assert_eq!(ledger.lock(&app(), &production()).unwrap().unwrap().id, id);
    succeed(&ledger, id).await;
    assert_eq!(ledger.lock(&app(), &production()).unwrap(), None);
}

#[tokio::test]
async fn success_frees_the_lock_and_records_what_each_target_runs() {
    let ledger = Ledger::in_memory();
    ledger.open_room(room(), at(0)).await.unwrap();
    let id = request(&ledger, deploy(2, Some(1))).await;
    let state = succeed(&ledger, id).await;
    assert_eq!((&state.phase, state.ended_at), (&Phase::Succeeded, Some(at(1))));
    assert_eq!(ledger.state(id).unwrap(), Some(state));
    assert_eq!(ledger.open_deployments().unwrap(), []);
    assert_eq!(ledger.lock(&app(), &production()).unwrap(), None);
    let summary = ledger.summary(id).unwrap().unwrap();
    assert_eq!((summary.phase, summary.ended_at, summary.cause), (PhaseName::Succeeded, Some(at(1)), None));
    assert_eq!(summary.irreversible.iter().map(ToString::to_string).collect::<Vec<_>>(), ["migrate"]);
    let records = ledger.records(&app(), &production()).unwrap();
    assert_eq!(records.iter().map(|(target, _)| target.clone()).collect::<Vec<_>>(), [target("h1"), target("h2")]);
    assert!(records.iter().all(|(_, record)| record.current == release(2) && record.revert == Some(release(1)) && record.by == id));
    let posts: Vec<Post> = ledger.posts_after(&room()).unwrap().into_iter().map(|(_, post)| post).collect();
    assert_eq!(posts, [Post::Live { id }, Post::Closing { id }]);
}

#[tokio::test]
async fn two_deploys_of_one_release_dont_destroy_revert() {
    let ledger = Ledger::in_memory();
    for before in [Some(1), Some(2), None] {
        let id = request(&ledger, deploy(2, before)).await;
        succeed(&ledger, id).await;
        let records = ledger.records(&app(), &production()).unwrap();
        assert!(
            records.iter().all(|(_, record)| record.current == release(2) && record.revert == Some(release(1)) && record.by == id)
        );
    }
}

#[tokio::test]
async fn what_was_put_back_is_in_the_history_and_not_in_the_record() {
    let ledger = Ledger::in_memory();
    let id = request(&ledger, deploy(2, Some(1))).await;
    undo(&ledger, id).await;
    assert_eq!(ledger.records(&app(), &production()).unwrap(), []);
    assert_eq!(ledger.lock(&app(), &production()).unwrap(), None);
    let summary = ledger.summary(id).unwrap().unwrap();
    assert_eq!((summary.phase, summary.cause.as_deref()), (PhaseName::Undone, Some("start web@h1: exit status 1")));
    for purpose in [Purpose::Restart, Purpose::Run { command: vec!["x".repeat(50_000)], read: false }] {
        let id = request(&ledger, plan(purpose, 2, Some(1))).await;
        succeed(&ledger, id).await;
    }
    assert_eq!(ledger.records(&app(), &production()).unwrap(), []);
}

#[tokio::test]
async fn an_event_that_cant_happen_changes_nothing() {
    let ledger = Ledger::in_memory();
    let id = request(&ledger, deploy(1, None)).await;
    let head = ledger.head();
    for event in [done(TASK), Event::UndoStarted { action: TASK }, started(ActionIndex(99)), Event::Mended { by: id }] {
        assert!(matches!(ledger.deployment(id, event, at(1)).await, Err(LedgerError::Illegal(_))));
    }
    let again =
        Event::Requested { plan: Box::new(deploy(1, None)), by: "anna".parse().unwrap(), cause: None, order: None, waits: false };
    assert!(matches!(ledger.deployment(id, again.clone(), at(1)).await, Err(LedgerError::Illegal(_))));
    let nobody = DeploymentId(7);
    for event in [again, started(TASK)] {
        assert_eq!(ledger.deployment(nobody, event, at(1)).await, Err(LedgerError::NoSuchDeployment(nobody)));
    }
    assert_eq!((ledger.head(), ledger.state(nobody), ledger.summary(nobody)), (head, Ok(None), Ok(None)));
    succeed(&ledger, id).await;
    let late = Event::CancelAsked { by: "anna".parse().unwrap() };
    assert!(matches!(ledger.deployment(id, late, at(1)).await, Err(LedgerError::Illegal(_))));
}

#[tokio::test]
async fn a_cancel_that_comes_with_the_last_event_is_refused() {
    let ledger = Ledger::in_memory();
    let id = request(&ledger, deploy(1, None)).await;
    let mut events = success();
    let last = events.pop().unwrap();
    for event in events {
        ledger.deployment(id, event, at(1)).await.unwrap();
    }
    let cancel = Event::CancelAsked { by: "anna".parse().unwrap() };
    let (ended, cancelled) = tokio::join!(ledger.deployment(id, last, at(1)), ledger.deployment(id, cancel, at(1)));
    assert_eq!(ended.unwrap().phase, Phase::Succeeded);
    assert!(matches!(cancelled, Err(LedgerError::Illegal(_))));
}

#[tokio::test]
async fn a_stuck_one_keeps_the_lock_until_a_deploy_mends_it() {
    let ledger = Ledger::in_memory();
    let stuck = request(&ledger, deploy(2, Some(1))).await;
    assert!(matches!(stick(&ledger, stuck).await.phase, Phase::Stuck(_)));
    assert_eq!((ledger.open_deployments().unwrap(), ledger.stuck().unwrap()), (vec![], vec![stuck]));
    let holder = || ledger.lock(&app(), &production()).unwrap().map(|holder| holder.id);
    assert_eq!(holder(), Some(stuck));

    let fails = request(&ledger, deploy(3, Some(1))).await;
    assert_eq!(holder(), Some(fails));
    undo(&ledger, fails).await;
    assert_eq!(holder(), Some(stuck), "the lock goes back");

    let restart = request(&ledger, plan(Purpose::Restart, 3, Some(1))).await;
    succeed(&ledger, restart).await;
    assert_eq!(holder(), Some(stuck), "a restart brings no release to all targets");

    let stuck_too = request(&ledger, deploy(4, Some(1))).await;
    stick(&ledger, stuck_too).await;
    assert_eq!((holder(), ledger.stuck().unwrap()), (Some(stuck_too), vec![stuck, stuck_too]));

    let mends = request(&ledger, plan(Purpose::Revert, 1, Some(2))).await;
    let before = ledger.head().seq;
    succeed(&ledger, mends).await;
    assert_eq!(ledger.head().seq, before + 6 + 2, "the mending is in the same write as the success");
    assert_eq!((holder(), ledger.stuck().unwrap()), (None, vec![]));
    for id in [stuck, stuck_too] {
        assert_eq!(ledger.state(id).unwrap().unwrap().mended_by, Some(mends));
        let summary = ledger.summary(id).unwrap().unwrap();
        assert_eq!((summary.phase, summary.mended_by), (PhaseName::Stuck, Some(mends)));
    }
}

#[tokio::test]
async fn history_is_by_environment_or_of_the_whole_app_the_newest_first() {
    let ledger = Ledger::in_memory();
    for number in 1..=300 {
        let environment = if number % 2 == 0 { "staging" } else { "production" };
        let plan = shipmate::domain::plan::Plan { environment: environment.parse().unwrap(), ..deploy(number, None) };
        let id = request(&ledger, plan).await;
        undo(&ledger, id).await;
    }
    let ids = |environment: Option<&str>, limit, before: Option<u64>| {
        let environment = environment.map(|name| name.parse().unwrap());
        let found = ledger.history(&app(), environment.as_ref(), limit, before.map(DeploymentId)).unwrap();
        found.into_iter().map(|summary| summary.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 3, None), [300, 299, 298]);
    assert_eq!(ids(Some("production"), 3, None), [299, 297, 295]);
    assert_eq!(ids(Some("production"), 2, Some(297)), [295, 293]);
    assert_eq!(ids(None, 9, Some(2)), [1]);
    assert_eq!(ids(Some("nowhere"), 9, None), [0; 0]);
    assert_eq!(ids(None, 1000, None).len(), 300);
}

#[tokio::test]
async fn a_plan_of_any_size_is_kept_whole() {
    let ledger = Ledger::in_memory();
    let mut plan = deploy(1, None);
    plan.warnings = (0..20_000).map(|n| format!("warning {n}")).collect();
    let id = request(&ledger, plan.clone()).await;
    succeed(&ledger, id).await;
    assert_eq!(ledger.state(id).unwrap().unwrap().plan.hash(), plan.hash());
    plan.warnings = vec!["x".repeat(9 << 20)];
    let refused = ledger.request(plan, "anna".parse().unwrap(), None, at(0)).await;
    assert!(matches!(refused, Err(RequestError::Ledger(LedgerError::Unfit(_)))));
    assert_eq!(request(&ledger, deploy(2, None)).await, DeploymentId(2));
}
