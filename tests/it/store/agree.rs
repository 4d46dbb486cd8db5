//! Any sequence of what may be recorded gives the same rows in memory, on disk after a start, made anew from the journal, and after
//! an export and an import.

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::Event;
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::{ActionIndex, Plan, Purpose};
use shipmate::store::{Direction, Key, Ledger, MemoryStore, PostId, SledStore, Store, audit, export_to, import_from};
use tempfile::tempdir;

use super::fixture::*;

/// Something that a caller may try; many of these will be refused or known.
#[derive(Debug, Clone)]
enum Try {
    Build { number: u64, digest: Option<u64>, good: bool, key: u8 },
    Hear { id: u8, long: bool },
    Answer { id: u8 },
    Request { purpose: u8, number: u64, before: Option<u64>, staging: bool },
    Event { id: u64, kind: u8, action: u32 },
    Succeed { id: u64 },
    OpenRoom,
    Posted { post: u64 },
    Settled { post: u64 },
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let one =
        prop_oneof![
            (1..6u64, proptest::option::of(1..3u64), any::<bool>(), any::<u8>())
                .prop_map(|(number, digest, good, key)| Try::Build { number, digest, good, key: key % 16 }),
            (0..8u8, any::<bool>()).prop_map(|(id, long)| Try::Hear { id, long }),
            (0..8u8).prop_map(|id| Try::Answer { id }),
            (0..5u8, 1..6u64, proptest::option::of(1..6u64), any::<bool>())
                .prop_map(|(purpose, number, before, staging)| Try::Request { purpose, number, before, staging }),
            (1..6u64, 0..7u8, 0..4u32).prop_map(|(id, kind, action)| Try::Event { id, kind, action }),
            (1..6u64, 0..7u8, Just(2)).prop_map(|(id, kind, action)| Try::Event { id, kind, action }),
            (1..6u64).prop_map(|id| Try::Succeed { id }),
            Just(Try::OpenRoom),
            (1..9u64).prop_map(|post| Try::Posted { post }),
            (1..9u64).prop_map(|post| Try::Settled { post }),
        ];
    proptest::collection::vec(one, 1..80)
}

async fn attempt(ledger: &Ledger, what: Try) {
    match what {
        Try::Build { number, digest, good, key } => {
            let outcome = if good { BuildOutcome::Succeeded } else { BuildOutcome::Failed };
            let build = Build { digest: digest.map(|number| release(number).digest), outcome, ..build(number) };
            ledger.built(build, vec![key.to_string()], at(0)).await.map(drop).unwrap();
        }
        Try::Hear { id, long } => {
            ledger.heard(said(&id.to_string(), &"x".repeat(if long { 9000 } else { 9 })), at(0)).await.map(drop).unwrap();
        }
        Try::Answer { id } => ledger.answered(message(&id.to_string()), at(0)).await.unwrap(),
        Try::Request { purpose, number, before, staging } => {
            let purpose = match purpose {
                0 | 1 => Purpose::Deploy,
                2 => Purpose::Revert,
                3 => Purpose::Restart,
                _ => Purpose::Run { command: vec!["ls".into()], read: number % 2 == 0 },
            };
            let environment = if staging { "staging" } else { "production" }.parse().unwrap();
            let plan = Plan { environment, ..plan(purpose, number, before) };
            let _ = ledger.request(plan, "anna".parse().unwrap(), Some(message("1")), at(0)).await;
        }
        Try::Event { id, kind, action } => {
            let action = ActionIndex(action);
            let Event::ActionFailed { failure, .. } = failed(action) else { unreachable!() };
            let event = match kind {
                0 => started(action),
                1 => done(action),
                2 => failed(action),
                3 => Event::CancelAsked { by: "bob".parse().unwrap() },
                4 => Event::UndoStarted { action },
                5 => Event::UndoDone { action },
                _ => Event::UndoFailed { action, failure },
            };
            let _ = ledger.deployment(DeploymentId(id), event, at(1)).await;
        }
        Try::Succeed { id } => {
            for event in success() {
                let _ = ledger.deployment(DeploymentId(id), event, at(1)).await;
            }
        }
        Try::OpenRoom => ledger.open_room(room(), at(0)).await.unwrap(),
        Try::Posted { post } => ledger.posted(room(), PostId(post), message("shown"), at(0)).await.unwrap(),
        Try::Settled { post } => ledger.settled(room(), PostId(post), at(0)).await.unwrap(),
    }
}

fn rows(store: &dyn Store) -> Vec<(Key, Vec<u8>)> {
    store.scan(Vec::new()..vec![255], Direction::Forward, usize::MAX).unwrap()
}

/// No app's environment has two deployments that go on and keep others out, and the lock's holder is one that isn't over.
fn check_locks(ledger: &Ledger) {
    for environment in ["production", "staging"] {
        let environment = environment.parse().unwrap();
        let keeps_out = |id: &DeploymentId| {
            let plan = ledger.state(*id).unwrap().unwrap().plan;
            plan.environment == environment && !matches!(plan.purpose, Purpose::Run { read: true, .. })
        };
        let going_on: Vec<DeploymentId> = ledger.open_deployments().unwrap().into_iter().filter(keeps_out).collect();
        let stuck: Vec<DeploymentId> = ledger.stuck().unwrap().into_iter().filter(keeps_out).collect();
        let holder = ledger.lock(&app(), &environment).unwrap().map(|holder| holder.id);
        assert!(going_on.len() <= 1);
        match (going_on.first(), stuck.is_empty()) {
            (Some(id), _) => assert_eq!(holder, Some(*id)),
            (None, true) => assert_eq!(holder, None),
            (None, false) => assert!(stuck.contains(&holder.unwrap())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn memory_disk_and_journal_agree(tries in tries()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = Arc::new(MemoryStore::default());
            let folder = tempdir().unwrap();
            let ledgers = [Ledger::over(memory.clone()).unwrap(), Ledger::open(folder.path()).unwrap().0];
            for what in tries {
                for ledger in &ledgers {
                    attempt(ledger, what.clone()).await;
                }
                check_locks(&ledgers[0]);
            }
            drop(ledgers);
            let expected = rows(&*memory);
            let (store, recovery) = SledStore::open(folder.path()).unwrap();
            assert_eq!(recovery.story(), None);
            assert!(rows(&store) == expected);
            drop(store);
            let (mut out, mut again, there) = (Vec::new(), Vec::new(), tempdir().unwrap());
            export_to(folder.path(), &mut out).unwrap();
            import_from(there.path(), &out[..]).unwrap();
            export_to(there.path(), &mut again).unwrap();
            assert!(again == out);
            assert!(rows(&SledStore::open(there.path()).unwrap().0) == expected);
            audit(there.path(), &[]).unwrap();
            fs::remove_dir_all(folder.path().join("store")).unwrap();
            let (store, _) = SledStore::open(folder.path()).unwrap();
            assert!(rows(&store) == expected);
        });
    }
}
