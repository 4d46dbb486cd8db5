//! What may start: whatever is asked for, voted on and carried out in whatever order, an environment is never two deployments' at once,
//! and people's locks hold.

use jiff::Timestamp;
use proptest::prelude::*;
use shipmate::domain::deployment::{Call, Choice, Event, Found, Order, Phase};
use shipmate::domain::environment_lock::{EnvironmentLock, Locker, Unlocked};
use shipmate::domain::message::Account;
use shipmate::domain::names::{DeploymentId, PersonName};
use shipmate::domain::plan::Purpose;
use shipmate::domain::policy::Strength;
use shipmate::store::{Ask, Ledger, RequestError, Way};

use super::fixture::*;

/// Something that may be tried at any time.
#[derive(Debug, Clone)]
enum Try {
    Ask { number: u64, waits: bool, can_wait: bool, reads: bool, through: bool },
    Call { id: u64 },
    Approve { id: u64, by: &'static str },
    Start { id: u64, needed: u32, counted: Vec<&'static str> },
    Lock,
    Unlock,
    Act { id: u64, action: u32, fails: bool },
    Undo { id: u64, action: u32, fails: bool },
    Cancel { id: u64 },
    Choose { id: u64, choice: Choice },
}

fn tries() -> impl Strategy<Value = Try> {
    let id = 1u64..6;
    let person = prop_oneof![Just("berta"), Just("carl")];
    prop_oneof![
        4 => (41u64..44, any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(number, waits, can_wait, reads, through)| Try::Ask { number, waits, can_wait, reads, through }),
        2 => id.clone().prop_map(|id| Try::Call { id }),
        2 => (id.clone(), person.clone()).prop_map(|(id, by)| Try::Approve { id, by }),
        4 => (id.clone(), 0u32..3, prop::collection::vec(person, 0..3)).prop_map(|(id, needed, counted)| Try::Start { id, needed, counted }),
        1 => Just(Try::Lock),
        1 => Just(Try::Unlock),
        6 => (id.clone(), 0u32..3, prop::bool::weighted(0.2)).prop_map(|(id, action, fails)| Try::Act { id, action, fails }),
        2 => (id.clone(), 0u32..3, prop::bool::weighted(0.3)).prop_map(|(id, action, fails)| Try::Undo { id, action, fails }),
        1 => id.clone().prop_map(|id| Try::Cancel { id }),
        3 => (id, prop_oneof![Just(Choice::Retry), Just(Choice::Skip), Just(Choice::Undo), Just(Choice::Keep)])
            .prop_map(|(id, choice)| Try::Choose { id, choice }),
    ]
}

fn person(name: &str) -> PersonName {
    name.parse().unwrap()
}

fn lock(by: &str) -> EnvironmentLock {
    EnvironmentLock { by: Locker::Person(person(by)), reason: "schema work".into(), since: at(0), until: None, reminded: false }
}

async fn attempt(ledger: &Ledger, attempt: &Try) {
    let event = |id: u64, event| ledger.deployment(DeploymentId(id), event, at(1));
    let action = |n: &u32| shipmate::domain::plan::ActionIndex(*n);
    match attempt {
        Try::Ask { number, waits, can_wait, reads, through } => {
            let read = Purpose::Run { command: vec!["date".into()], read: true };
            let order = Order {
                command: "deploy".parse().unwrap(),
                tag: None,
                role: None,
                words: Vec::new(),
                read: *reads,
                occasion: Default::default(),
            };
            let ask = Ask {
                plan: plan(if *reads { read } else { Purpose::Deploy }, *number, None),
                by: person("anna"),
                cause: None,
                order: can_wait.then_some(order),
                waits: *waits,
                through_lock: *through,
                calls: Vec::new(),
            };
            drop(ledger.ask(ask, at(1)).await);
        }
        Try::Call { id } => {
            let Some(state) = ledger.state(DeploymentId(*id)).unwrap() else { return };
            let (until, strength, hash) = (Timestamp::MAX, Strength::Reaction, state.plan.hash());
            let call = Call { votes: 1, until, strength, hash, rehearsals: Vec::new() };
            drop(event(*id, Event::VotesAsked { call }).await);
        }
        Try::Approve { id, by } => {
            let account = Account(format!("terminal:{by}"));
            drop(event(*id, Event::Approved { by: person(by), account, found: Found::Typed, message: None, plan: None }).await);
        }
        Try::Start { id, needed, counted } => {
            let counted = counted.iter().map(|by| person(by)).collect();
            drop(ledger.start(DeploymentId(*id), Way { needed: *needed, counted, through_lock: false }, at(1)).await);
        }
        Try::Lock => drop(ledger.put_lock(app(), production(), lock("anna"), None).await.unwrap()),
        Try::Unlock => {
            drop(ledger.take_lock_off(app(), production(), Unlocked::By(person("anna")), None, at(1)).await.unwrap());
        }
        Try::Act { id, action: n, fails } => {
            drop(event(*id, started(action(n))).await);
            drop(event(*id, if *fails { failed(action(n)) } else { done(action(n)) }).await);
        }
        Try::Undo { id, action: n, fails } => {
            drop(event(*id, Event::UndoStarted { action: action(n) }).await);
            let ended = if *fails {
                Event::UndoFailed {
                    action: action(n),
                    failure: shipmate::domain::deployment::Failure::new(shipmate::domain::deployment::FailureKind::Refused, "no"),
                }
            } else {
                Event::UndoDone { action: action(n) }
            };
            drop(event(*id, ended).await);
        }
        Try::Choose { id, choice } => drop(event(*id, Event::Chosen { choice: *choice, by: Some(person("anna")) }).await),
        Try::Cancel { id } => drop(event(*id, Event::CancelAsked { by: person("anna") }).await),
    }
}

/// The deployments that have the environment to themselves.
fn holders(ledger: &Ledger) -> Vec<DeploymentId> {
    let mut ids = ledger.open_deployments().unwrap();
    ids.retain(|id| {
        let state = ledger.state(*id).unwrap().unwrap();
        !matches!(state.plan.purpose, Purpose::Run { read: true, .. })
    });
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_environment_is_never_two_deployments_at_once(tries in prop::collection::vec(tries(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ledger = Ledger::in_memory();
            for one in &tries {
                let before = holders(&ledger);
                let locked = ledger.environment_lock(&app(), &production()).unwrap().is_some();
                attempt(&ledger, one).await;
                let after = holders(&ledger);
                prop_assert!(after.len() <= 1, "{after:?} after {one:?}");
                if let (Try::Start { .. }, true) = (one, locked) {
                    prop_assert_eq!(&after, &before, "nothing starts in an environment that is locked");
                }
                for id in after {
                    let state = ledger.state(id).unwrap().unwrap();
                    let lock = ledger.lock(&app(), &production()).unwrap();
                    prop_assert_eq!(lock.map(|holder| holder.id), Some(id), "who runs holds the environment");
                    prop_assert!(state.counted.iter().all(|person| state.votes.contains_key(person)));
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn who_is_locked_out_is_told_by_which_lock() {
    let ledger = Ledger::in_memory();
    ledger.put_lock(app(), production(), lock("anna"), None).await.unwrap();
    let ask = |through_lock| Ask {
        plan: deploy(41, None),
        by: person("berta"),
        cause: None,
        order: None,
        waits: false,
        through_lock,
        calls: Vec::new(),
    };
    match ledger.ask(ask(false), at(1)).await {
        Err(RequestError::EnvironmentLocked { lock: told }) => assert_eq!(*told, lock("anna")),
        other => panic!("{other:?}"),
    }
    assert!(ledger.ask(ask(true), at(1)).await.is_ok());
    assert!(matches!(ledger.state(DeploymentId(1)).unwrap().unwrap().phase, Phase::Running));
}
