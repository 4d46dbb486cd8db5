//! The one function that moves a deployment: what may happen when, and what can't whatever happens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use shipmate::domain::ballot::Uncounted;
use shipmate::domain::deployment::{
    Call, Cause, Choice, DeploymentState, Event, Failure, FailureKind, Found, IllegalTransition, Occasion, Order, Outcome, Phase,
    Step, next,
};
use shipmate::domain::message::{Account, Doubt, MessageRef, RoomId};
use shipmate::domain::names::{DeploymentId, PersonName};
use shipmate::domain::plan::{Action, ActionIndex, Plan, Stage};
use shipmate::domain::policy::{OnFailure, Strength};
use shipmate::domain::spec::Millis;

use crate::sample::*;

fn anna() -> PersonName {
    name("anna")
}

fn failure() -> Failure {
    Failure::new(FailureKind::Exit { status: 1 }, "it ended with exit status 1")
}

fn requested(plan: Plan) -> Event {
    Event::Requested { plan: Box::new(plan), by: anna(), cause: None, order: None, waits: false }
}

fn started(action: u32) -> Event {
    Event::ActionStarted { action: ActionIndex(action) }
}

fn done(action: u32) -> Event {
    Event::ActionDone { action: ActionIndex(action), outcome: Outcome::default() }
}

fn failed(action: u32) -> Event {
    Event::ActionFailed { action: ActionIndex(action), failure: failure() }
}

fn cancel() -> Event {
    Event::CancelAsked { by: anna() }
}

fn undo_started(action: u32) -> Event {
    Event::UndoStarted { action: ActionIndex(action) }
}

fn undone(action: u32) -> Event {
    Event::UndoDone { action: ActionIndex(action) }
}

fn undo_failed(action: u32) -> Event {
    Event::UndoFailed { action: ActionIndex(action), failure: failure() }
}

fn mended() -> Event {
    Event::Mended { by: DeploymentId(2) }
}

/// Four actions: 0 preflight (nothing to undo), 1 stop and 2 start side by side, 3 prune (may fail).
fn small() -> Plan {
    let spec = environment([("worker", worker(&["a", "b"]))], &[&["worker"]]);
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    let find = |text: &str| plan.actions().map(|(_, action)| action).find(|action| action.to_string() == text).unwrap().clone();
    let prune = Action::Prune { host: name("a"), containers: Vec::new(), images: Vec::new() };
    let stage = |name: &str, lanes: Vec<Vec<Action>>| Stage { name: name.into(), at_once: lanes.len(), lanes };
    let stages = vec![
        stage("preflight", vec![vec![find("preflight a")]]),
        stage("worker", vec![vec![find("stop worker@a")], vec![find("start worker@b")]]),
        stage("prune", vec![vec![prune]]),
    ];
    Plan { stages, ..plan }
}

fn after(events: &[Event]) -> Result<DeploymentState, IllegalTransition> {
    let mut all = vec![requested(small())];
    all.extend(events.iter().cloned());
    DeploymentState::replay(all.iter().enumerate().map(|(n, event)| (Timestamp::from_second(n as i64).unwrap(), event)))
}

#[test]
fn what_may_happen_when() {
    let situations = [
        ("requested", vec![]),
        ("started", vec![started(0)]),
        ("done", vec![started(0), done(0), started(1), done(1)]),
        ("undoing, in flight", vec![started(1), started(2), failed(2)]),
        ("undoing, quiet", vec![started(0), done(0), started(1), done(1), started(2), failed(2)]),
        ("undo begun", vec![started(1), done(1), started(2), failed(2), undo_started(2)]),
        ("cancelling", vec![started(1), cancel()]),
        ("succeeded", vec![started(0), done(0), started(1), done(1), started(2), done(2), started(3), done(3)]),
        ("undone", vec![started(0), failed(0)]),
        ("cancelled", vec![cancel()]),
        ("stuck", vec![started(1), failed(1), undo_started(1), undo_failed(1)]),
        ("mended", vec![started(1), failed(1), undo_started(1), undo_failed(1), mended()]),
    ];
    let events = [
        ("start 0", started(0)),
        ("start 3", started(3)),
        ("start 9", started(9)),
        ("done 1", done(1)),
        ("fail 1", failed(1)),
        ("cancel", cancel()),
        ("undo 0", undo_started(0)),
        ("undo 1", undo_started(1)),
        ("undo 2", undo_started(2)),
        ("undone 2", undone(2)),
        ("unfail 2", undo_failed(2)),
        ("mend", mended()),
        ("request", requested(small())),
    ];
    let table: Vec<String> = situations
        .iter()
        .map(|(situation, before)| {
            let state = after(before).unwrap_or_else(|error| panic!("{situation}: {error}"));
            let legal = events.iter().filter(|(_, event)| next(Some(state.clone()), Timestamp::UNIX_EPOCH, event).is_ok());
            format!("{situation} ({}): {}", state.phase.word(), legal.map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert_eq!(
        table,
        [
            "requested (running): start 0, start 3, cancel",
            "started (running): start 3, cancel",
            "done (running): start 3, cancel",
            "undoing, in flight (undoing): done 1, fail 1",
            "undoing, quiet (undoing): undo 1, undo 2",
            "undo begun (undoing): undo 1, undone 2, unfail 2",
            "cancelling (undoing): done 1, fail 1",
            "succeeded (succeeded): ",
            "undone (undone): ",
            "cancelled (cancelled): ",
            "stuck (stuck): mend",
            "mended (stuck): ",
        ]
    );
}

#[test]
fn nothing_but_a_request_comes_first() {
    for event in [started(0), done(0), failed(0), cancel(), undo_started(0), undone(0), undo_failed(0), mended()] {
        assert!(next(None, Timestamp::UNIX_EPOCH, &event).is_err());
    }
    assert!(DeploymentState::replay([]).is_err());
    let error = next(None, Timestamp::UNIX_EPOCH, &started(3)).unwrap_err();
    assert_eq!(error.to_string(), "the start of action 3 can't happen while the deployment is not requested");
}

#[test]
fn a_plan_without_actions_has_succeeded_at_once() {
    let plan = Plan { stages: Vec::new(), ..small() };
    assert_eq!(next(None, Timestamp::UNIX_EPOCH, &requested(plan)).unwrap().phase, Phase::Succeeded);
}

#[test]
fn what_may_fail_doesnt_spoil_the_deployment() {
    let state = after(&[started(0), done(0), started(1), done(1), started(2), done(2), started(3), failed(3)]).unwrap();
    assert_eq!(state.phase, Phase::Succeeded);
    assert!(matches!(state.steps[&ActionIndex(3)], Step::Failed { .. }));
}

#[test]
fn the_first_failure_is_the_cause() {
    let state = after(&[started(1), started(2), failed(2), failed(1)]).unwrap();
    let Phase::Undoing(Cause::Failed { action, .. }) = state.phase else { panic!("{:?}", state.phase) };
    assert_eq!(action, ActionIndex(2));
}

#[test]
fn a_cancel_waits_for_what_is_in_flight_and_then_puts_it_back() {
    let state = after(&[started(0), done(0), started(1), cancel()]).unwrap();
    assert_eq!((state.phase.word(), state.to_undo()), ("undoing", vec![]));
    let state = after(&[started(0), done(0), started(1), cancel(), done(1)]).unwrap();
    assert_eq!(state.to_undo(), [ActionIndex(1)]);
    let state = after(&[started(0), done(0), started(1), cancel(), done(1), undo_started(1), undone(1)]).unwrap();
    assert_eq!(state.phase, Phase::Cancelled(Cause::Cancelled { by: anna() }));
}

#[test]
fn the_last_started_is_undone_first_and_only_what_has_an_undo() {
    let state = after(&[started(0), done(0), started(2), started(1), done(2), failed(1)]).unwrap();
    assert_eq!(state.to_undo(), [ActionIndex(1), ActionIndex(2)]);
    let state = after(&[started(0), done(0), started(2), started(1), done(2), failed(1), undo_started(1)]).unwrap();
    assert_eq!(
        (state.to_undo(), state.undo_in_flight().collect::<Vec<_>>()),
        (vec![ActionIndex(1), ActionIndex(2)], vec![ActionIndex(1)])
    );
}

#[test]
fn one_failed_undo_makes_it_stuck_but_only_when_the_others_are_over() {
    let begun = [started(2), started(1), done(2), failed(1), undo_started(1), undo_failed(1)];
    assert_eq!(after(&begun).unwrap().phase.word(), "undoing");
    let state = after(&[&begun[..], &[undo_started(2), undone(2)]].concat()).unwrap();
    assert_eq!((state.phase.word(), state.ended_at.is_some()), ("stuck", true));
    let state = after(&[&begun[..], &[undo_started(2), undone(2), mended()]].concat()).unwrap();
    assert_eq!(state.mended_by, Some(DeploymentId(2)));
}

fn approved(by: &str) -> Event {
    let account = Account(format!("terminal:{by}"));
    Event::Approved { by: name(by), account, found: Found::Typed, message: None, plan: None }
}

fn called(plan: &Plan, votes: u32) -> Event {
    let (until, strength, hash) = (Timestamp::MAX, Strength::Reaction, plan.hash());
    Event::VotesAsked { call: Call { votes, until, strength, hash, rehearsals: Vec::new() } }
}

fn let_go(needed: u32, counted: &[&str]) -> Event {
    Event::Started { needed, counted: counted.iter().map(|person| name(person)).collect() }
}

fn chosen(choice: Choice) -> Event {
    Event::Chosen { choice, by: Some(anna()) }
}

fn other_plan() -> Event {
    let plan = Plan { release: release("build-43"), ..small() };
    Event::Replanned { plan: Box::new(plan), changed: Vec::new() }
}

/// An order that needs no votes, and a review afterwards.
fn emergency() -> Order {
    let occasion = Occasion::Emergency { reason: "it burns".into() };
    Order { command: name("deploy"), tag: None, role: None, words: Vec::new(), read: false, occasion }
}

/// After a request that waits.
fn waiting(events: &[Event]) -> Result<DeploymentState, IllegalTransition> {
    let first = Event::Requested { plan: Box::new(small()), by: anna(), cause: None, order: None, waits: true };
    let all: Vec<Event> = [first].into_iter().chain(events.iter().cloned()).collect();
    DeploymentState::replay(all.iter().map(|event| (Timestamp::UNIX_EPOCH, event)))
}

#[test]
fn it_starts_only_with_the_votes_that_it_takes_for_the_plan_that_it_is() {
    let plan = small();
    let word = |events: &[Event]| waiting(events).map(|state| state.phase.word()).ok();
    assert_eq!(word(&[]), Some("queued"));
    assert_eq!(word(&[let_go(0, &[])]), Some("running"));
    assert_eq!(word(&[let_go(1, &[])]), None, "votes are needed, and nobody was asked");
    assert_eq!(word(&[started(0)]), None, "it hasn't started");
    assert_eq!(word(&[approved("berta")]), None, "nobody was asked");
    let asked = called(&plan, 2);
    assert_eq!(word(std::slice::from_ref(&asked)), Some("waiting for votes"));
    assert_eq!(word(&[asked.clone(), let_go(0, &[])]), None, "people were asked");
    assert_eq!(word(&[asked.clone(), approved("berta"), approved("berta")]), None, "a vote counts once");
    assert_eq!(word(&[asked.clone(), approved("berta"), let_go(1, &["berta"])]), None, "two were asked for");
    assert_eq!(word(&[asked.clone(), approved("berta"), let_go(2, &["berta", "berta"])]), None);
    assert_eq!(word(&[asked.clone(), approved("berta"), let_go(2, &["berta", "carl"])]), None, "carl didn't vote");
    assert_eq!(word(&[asked.clone(), approved("berta"), approved("carl"), let_go(2, &["berta", "carl"])]), Some("running"));
    assert_eq!(word(&[asked.clone(), approved("berta"), approved("carl"), let_go(3, &["berta", "carl"])]), None);
    assert_eq!(word(&[called(&Plan { release: release("build-43"), ..plan }, 1)]), None, "the call is for another plan");
    let changed = [asked, approved("berta"), approved("carl"), other_plan()];
    assert_eq!(waiting(&changed).map(|state| (state.phase.word(), state.votes.len())).ok(), Some(("queued", 0)));
}

#[test]
fn what_people_say_after_a_failure() {
    let hold = OnFailure::Hold { span: Millis::seconds(600), quorum: 1 };
    let plan = Plan { on_failure: hold, ..small() };
    let held = |events: &[Event]| {
        let all: Vec<Event> =
            [requested(plan.clone()), started(1), started(2), failed(2)].into_iter().chain(events.iter().cloned()).collect();
        DeploymentState::replay(all.iter().map(|event| (Timestamp::UNIX_EPOCH, event))).map(|state| state.phase.word())
    };
    assert_eq!(held(&[]), Ok("holding"));
    assert_eq!(held(&[done(1)]), Ok("holding"), "what runs comes to its end");
    assert!(held(&[done(1), started(0)]).is_err(), "nothing new begins");
    assert_eq!(held(&[done(1), chosen(Choice::Retry), started(2), done(2)]), Ok("running"));
    assert_eq!(held(&[done(1), chosen(Choice::Undo)]), Ok("undoing"));
    assert_eq!(held(&[done(1), Event::Chosen { choice: Choice::Undo, by: None }]), Ok("undoing"));
    assert!(held(&[done(1), Event::Chosen { choice: Choice::Retry, by: None }]).is_err(), "silence only undoes");
    assert_eq!(held(&[done(1), chosen(Choice::Keep)]), Ok("kept"));
    assert!(held(&[chosen(Choice::Keep)]).is_err(), "something is on its way");
    assert_eq!(held(&[done(1), cancel()]), Ok("undoing"));
    // Without b: its start is undone, the rest goes on, and nothing of b begins any more.
    let without_b = [done(1), chosen(Choice::Skip)];
    assert!(held(&[&without_b[..], &[started(2)]].concat()).is_err());
    assert!(held(&[&without_b[..], &[undo_started(1)]].concat()).is_err(), "a stays");
    let put_back = [&without_b[..], &[undo_started(2), undone(2)]].concat();
    assert_eq!(held(&[&put_back[..], &[started(0), done(0), started(3), done(3)]].concat()), Ok("succeeded"));
    assert_eq!(held(&[&without_b[..], &[undo_started(2), undo_failed(2)]].concat()), Ok("undoing"));
}

#[test]
fn what_is_stuck_goes_on_by_a_persons_word() {
    let stuck = [started(1), failed(1), undo_started(1), undo_failed(1)];
    let word = |more: &[Event]| after(&[&stuck[..], more].concat()).map(|state| state.phase.word()).ok();
    assert_eq!(word(&[chosen(Choice::Undo)]), Some("undoing"));
    assert_eq!(word(&[chosen(Choice::Undo), undone(1)]), Some("undone"));
    assert_eq!(word(&[chosen(Choice::Retry), started(1), done(1)]), Some("running"));
    assert_eq!(word(&[chosen(Choice::Keep)]), Some("kept"));
    assert_eq!(word(&[chosen(Choice::Skip)]), None);
    assert_eq!(word(&[mended(), chosen(Choice::Undo)]), None);
}

/// A plan that holds after a failure, beside the small one.
fn holding_plan() -> Plan {
    Plan { on_failure: OnFailure::Hold { span: Millis::seconds(60), quorum: 0 }, ..small() }
}

fn somewhere() -> MessageRef {
    MessageRef { room: RoomId("room".into()), id: "1".into() }
}

fn any_event() -> impl Strategy<Value = Event> {
    const WHY: [Uncounted; 6] = [
        Uncounted::Stranger,
        Uncounted::Requester,
        Uncounted::NotAnApprover,
        Uncounted::Again,
        Uncounted::TooWeak,
        Uncounted::Unproven(Doubt::NotEncrypted),
    ];
    (0u32..5, 0..28).prop_map(|(action, kind)| match kind {
        10 => called(&small(), action),
        11 => approved(["berta", "carl", "dora"][action as usize % 3]),
        12 => let_go(action, &["berta", "carl"][..action as usize % 3]),
        13 => let_go(0, &[]),
        14 => other_plan(),
        15 => Event::ApprovalWithdrawn { by: name("berta") },
        16 => Event::VotedDown { by: name("carl"), account: Account("terminal:carl".into()), found: Found::Live, plan: None },
        17 => chosen([Choice::Retry, Choice::Skip, Choice::Undo, Choice::Keep][action as usize % 4]),
        18 => Event::Expired {},
        19 => Event::VotesLost { message: somewhere() },
        20 => Event::Superseded { by: DeploymentId(2) },
        21 => Event::Refused { why: "it is frozen".into() },
        22 => Event::NotCounted { account: Account("terminal:dora".into()), why: WHY[action as usize], message: somewhere() },
        23 => Event::Reviewed { by: name("berta") },
        24 => called(&holding_plan(), action),
        25 => called(&Plan { release: release("build-43"), ..small() }, action),
        // The same person again is nobody more.
        26 => let_go(action, &["berta", "berta", "carl", "berta"][..action as usize]),
        0..=2 => started(action),
        3 => done(action),
        4 => failed(action),
        5 => cancel(),
        6 => undo_started(action),
        7 => undone(action),
        8 => undo_failed(action),
        _ => mended(),
    })
}

proptest! {
    /// Random events never panic; what is refused leaves no trace, and what is final stays so but for the mending and the review.
    #[test]
    fn whatever_happens_the_state_makes_sense(
        waits: bool,
        holds: bool,
        hurries: bool,
        events in proptest::collection::vec(any_event(), 0..80),
    ) {
        let plan = Box::new(if holds { holding_plan() } else { small() });
        let order = hurries.then(|| Box::new(emergency()));
        let first = Event::Requested { plan, by: anna(), cause: None, order, waits };
        let mut state = next(None, Timestamp::UNIX_EPOCH, &first).unwrap();
        for event in events {
            let Ok(moved) = next(Some(state.clone()), Timestamp::UNIX_EPOCH, &event) else { continue };
            if state.phase.is_final() {
                let asks = matches!((&state.phase, &event), (Phase::Stuck(_), Event::Mended { .. } | Event::Chosen { .. }));
                let reviews = matches!(event, Event::Reviewed { .. });
                prop_assert!(asks || reviews, "{} took {event:?}", state.phase.word());
            }
            match &event {
                Event::VotesAsked { call } => {
                    prop_assert!(state.phase == Phase::Queued && call.hash == state.plan.hash(), "people see what would run");
                    prop_assert!(moved.votes.is_empty() && moved.rounds == state.rounds + 1);
                }
                Event::Approved { .. } => prop_assert_eq!(moved.votes.len(), state.votes.len() + 1),
                Event::NotCounted { .. } => prop_assert_eq!((&moved.phase, &moved.votes), (&state.phase, &state.votes)),
                Event::VotesLost { .. } => {
                    prop_assert!(matches!(state.phase, Phase::AwaitingApproval(_)));
                    prop_assert!(moved.phase == Phase::Queued && moved.votes.is_empty() && moved.uncounted.is_empty());
                }
                Event::Superseded { .. } | Event::Refused { .. } => {
                    prop_assert!(state.phase.waits() && moved.phase.is_final() && moved.started_at.is_none());
                }
                Event::Started { needed, counted } => {
                    let people: BTreeSet<&PersonName> = counted.iter().collect();
                    prop_assert_eq!(people.len(), counted.len(), "a person counts once");
                    prop_assert!(people.len() >= *needed as usize && moved.counted == *counted);
                }
                Event::Reviewed { by } => {
                    prop_assert!(hurries && state.phase.is_final() && state.reviewed_by.is_none());
                    prop_assert_eq!(moved, DeploymentState { reviewed_by: Some(by.clone()), ..state.clone() });
                    state.reviewed_by = Some(by.clone());
                    continue;
                }
                _ => {}
            }
            prop_assert_eq!(moved.phase.is_final(), moved.ended_at.is_some());
            let places = |index: &ActionIndex| moved.order_of_start.iter().position(|of| of == index);
            let to_undo: Vec<_> = moved.to_undo().iter().map(places).collect();
            prop_assert!(to_undo.is_sorted_by(|a, b| a > b));
            if moved.phase.is_final() {
                prop_assert_eq!(moved.in_flight().count() + moved.undo_in_flight().count(), 0);
            }
            if let Some(started) = moved.started_at.filter(|_| state.started_at.is_none()) {
                // It runs only what people approved, and by as many people as it took.
                let Phase::AwaitingApproval(call) = &state.phase else {
                    prop_assert!(state.phase == Phase::Queued && moved.counted.is_empty());
                    state = moved;
                    continue;
                };
                prop_assert_eq!(&call.hash, &moved.plan.hash());
                prop_assert!(moved.counted.len() >= call.votes as usize && started == Timestamp::UNIX_EPOCH);
                prop_assert!(moved.counted.iter().all(|person| state.votes.contains_key(person)));
            }
            let undo_failed = moved.steps.values().any(|step| matches!(step, Step::UndoFailed { .. }));
            let undone = moved.to_undo().is_empty();
            match &moved.phase {
                Phase::Succeeded => prop_assert!(!moved.skipped.is_empty() || moved.steps.len() == moved.plan.actions().count()),
                Phase::Undone(_) | Phase::Cancelled(_) => prop_assert!(undone && !undo_failed),
                Phase::Stuck(_) => prop_assert!(undone && undo_failed),
                // Everything else waits, asks, or never started.
                phase => {
                    let kept = matches!(phase, Phase::Kept { .. });
                    prop_assert!(!phase.is_final() || moved.started_at.is_none() || kept);
                }
            }
            state = moved;
        }
    }

    /// An event reads back from the journal as it was written.
    #[test]
    fn events_survive_the_journal(event in any_event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
