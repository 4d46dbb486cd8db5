//! Random fleets, random troubles: whatever happens, a deployment comes to a final state, and what that says is true.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use shipmate::clock::Clock;
use shipmate::domain::deployment::{DeploymentState, FailureKind, Phase};
use shipmate::domain::names::RoleName;
use shipmate::domain::spec::Order;
use shipmate::domain::step::Aim;
use shipmate::engine::rehearsal::{Fault, Rehearsal};
use shipmate::pipeline::{DeployLock, Driven, Pipeline, Steering};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;

use crate::random::{Case, case};
use crate::sample::*;

/// Something that goes wrong somewhere in a plan.
#[derive(Debug, Clone)]
struct Trouble {
    undo: bool,
    place: Index,
    after: bool,
    kind: u8,
}

fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let trouble = (any::<bool>(), any::<Index>(), any::<bool>(), 0u8..4);
    proptest::collection::vec(trouble.prop_map(|(undo, place, after, kind)| Trouble { undo, place, after, kind }), 1..5)
}

impl Trouble {
    /// Kind 3 kills the bot, 2 loses the host.
    fn fault(&self, actions: &[String]) -> Fault {
        let text = self.place.get(actions);
        let fault = if self.undo { Fault::undo(text) } else { Fault::apply(text) };
        let fault = if self.after { fault.after() } else { fault };
        match self.kind {
            0 => fault.fails(FailureKind::Refused),
            1 => fault.fails(FailureKind::Timeout),
            2 => fault.loses_host(),
            _ => fault.hangs(),
        }
    }
}

/// Carries a deployment to its end; whenever something hangs, the bot dies and starts again.
async fn drive(ledger: &Ledger, rehearsal: &Rehearsal, folder: &tempfile::TempDir, mut lock: DeployLock) -> DeploymentState {
    let id = lock.deployment();
    loop {
        let pipeline = Pipeline::new(
            ledger.clone(),
            Arc::new(rehearsal.clone()),
            folder.path().to_owned(),
            Redactor::default(),
            Clock::system(),
        );
        let steering = Steering::default();
        tokio::select! {
            driven = pipeline.drive(lock, &steering) => match driven.unwrap() {
                Driven::Ended(state) => return *state,
                Driven::Paused => panic!("nobody paused it"),
            },
            () = rehearsal.hanging() => rehearsal.go_on(),
        }
        super::settled(ledger).await;
        // It may have died when all was written already.
        match DeployLock::left_behind(ledger).unwrap().pop() {
            Some(left) => lock = left,
            None => return ledger.state(id).unwrap().unwrap(),
        }
    }
}

/// How many servers of each start-first role answer.
fn serving(case: &Case, rehearsal: &Rehearsal) -> BTreeMap<RoleName, usize> {
    let start_first = case.spec.roles.iter().filter(|(_, role)| role.order == Order::StartFirst);
    start_first
        .map(|(role, _)| (role.clone(), rehearsal.served(&case.spec).iter().filter(|(target, _)| target.role == *role).count()))
        .collect()
}

/// Deploys among troubles, then again when all is well.
async fn deploy(case: &Case, troubles: &[Trouble], tidy: bool) -> Result<(), TestCaseError> {
    let (ledger, rehearsal, folder) = (Ledger::in_memory(), case.rehearsal(), tempfile::tempdir().unwrap());
    let (before, served) = (still(&case.spec, &rehearsal), serving(case, &rehearsal));
    let Ok(plan) = case.plan(&rehearsal.observed(&case.spec), &deploy_steps(), false) else { return Ok(()) };
    let actions: Vec<String> = plan.actions().map(|(_, action)| action.to_string()).collect();
    troubles.iter().for_each(|trouble| rehearsal.fault(trouble.fault(&actions)));
    let lock = DeployLock::request(&ledger, plan.clone(), name("anna"), None, Timestamp::now()).await.unwrap();
    let state = drive(&ledger, &rehearsal, &folder, lock).await;
    let story = rehearsal.transcript().join("\n");

    prop_assert_eq!(rehearsal.violations(), Vec::<String>::new(), "{}", story);
    for (role, served) in served {
        let least = rehearsal.least_served(&role);
        prop_assert!(
            served == 0 || case.spec.roles[&role].router.is_none() || least.is_none_or(|least| least > 0),
            "nobody served {role}\n{story}"
        );
    }
    case.spec.hosts.keys().for_each(|host| rehearsal.bring_back(host));
    let stuck = matches!(state.phase, Phase::Stuck(_));
    match &state.phase {
        Phase::Succeeded => {
            for target in case.targets.keys() {
                prop_assert_eq!(rehearsal.running(target), [name(case.tag)], "{}\n{}", target, story);
            }
        }
        // A prune isn't taken back.
        Phase::Undone(_) if tidy && !story.contains("apply prune") => {
            prop_assert_eq!(&still(&case.spec, &rehearsal), &before, "{}", story)
        }
        Phase::Undone(_) | Phase::Stuck(_) => {}
        other => prop_assert!(false, "{}", other.word()),
    }
    for task in &case.spec.tasks {
        prop_assert!(rehearsal.task_runs(&task.name) <= 1, "{}\n{}", task.name, story);
    }

    // When all is well again, a new deploy mends what is left.
    let mending = Case { aim: Aim::Build, nonce: "2", ..case.clone() };
    let Ok(plan) = mending.plan(&rehearsal.observed(&case.spec), &deploy_steps(), stuck) else { return Ok(()) };
    rehearsal.forget_faults();
    let lock = DeployLock::request(&ledger, plan.clone(), name("anna"), None, Timestamp::now()).await.unwrap();
    let state = drive(&ledger, &rehearsal, &folder, lock).await;
    let story = format!("{story}\n--- then\n{}\n--- which is\n{}", lines(&plan).join("\n"), rehearsal.transcript().join("\n"));
    prop_assert_eq!(state.phase.word(), "succeeded", "{:?}\n{}", state.phase.cause(), story);
    for target in case.targets.keys() {
        prop_assert_eq!(rehearsal.running(target), [name(case.tag)], "{}\n{}", target, story);
        if case.spec.roles[&target.role].router.is_some() {
            let tags: Vec<_> =
                rehearsal.served(&case.spec).into_iter().filter(|(of, _)| of == target).map(|(_, tag)| tag).collect();
            prop_assert_eq!(tags, [name(case.tag)], "{}\n{}", target, story);
        }
    }
    prop_assert!(ledger.stuck().unwrap().is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_the_final_state_is_true(case in case(true), troubles in troubles()) {
        paused(deploy(&case, &troubles, true))?;
    }

    /// The same where an earlier trouble left two containers running, or some out of the balancer.
    #[test]
    fn whatever_happens_to_a_fleet_in_pieces_it_can_be_mended(case in case(false), troubles in troubles()) {
        paused(deploy(&case, &troubles, false))?;
    }
}
