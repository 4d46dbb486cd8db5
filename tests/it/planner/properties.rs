//! What holds for any fleet in any state: plans are made for random ones and carried out in a rehearsal.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shipmate::domain::names::RoleName;
use shipmate::domain::plan::Plan;
use shipmate::domain::planner::PlanError;
use shipmate::domain::spec::Order;
use shipmate::domain::step::Step;

use crate::random::{Case, case};
use crate::sample::*;

proptest! {
    /// Whatever the hosts ran: afterwards each target runs the release, once, and the balancer sends it requests.
    #[test]
    fn a_plan_that_is_carried_out_gives_every_target_the_release_once(case in case(false)) {
        paused(async {
            let rehearsal = case.rehearsal();
            let before: BTreeMap<RoleName, usize> = case.spec.roles.keys().map(|role| {
                (role.clone(), rehearsal.served(&case.spec).iter().filter(|(target, _)| target.role == *role).count())
            }).collect();
            let plan = match case.plan(&rehearsal.observed(&case.spec), &deploy_steps(), false) {
                Ok(plan) => Some(plan),
                Err(PlanError::NothingToDo { .. }) => None,
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            if let Some(plan) = &plan {
                let applied = apply(&rehearsal, plan, 1).await;
                prop_assert!(applied.is_ok(), "{:?}\n{}", applied, lines(plan).join("\n"));
                let served = rehearsal.served(&case.spec);
                for target in case.targets.keys().filter(|target| case.spec.roles[&target.role].router.is_some()) {
                    let tags: Vec<_> = served.iter().filter(|(of, _)| of == target).map(|(_, tag)| tag.as_str()).collect();
                    prop_assert_eq!(tags, [case.tag], "{}", target);
                }
            }
            for target in case.targets.keys() {
                prop_assert_eq!(rehearsal.running(target), [name(case.tag)], "{}", target);
            }
            for (role, of_role) in case.spec.roles.iter().filter(|(_, role)| role.order == Order::StartFirst) {
                let least = rehearsal.least_served(role);
                prop_assert!(plan.is_none() || before[role] == 0 || of_role.router.is_none() || least >= Some(1), "{} was without service", role);
            }
            prop_assert_eq!(rehearsal.violations(), Vec::<String>::new());
            Ok(())
        })?;
    }

    /// All undone, the last first, everything is as it was.
    #[test]
    fn a_plan_that_is_undone_leaves_no_trace(case in case(true)) {
        paused(async {
            let rehearsal = case.rehearsal();
            let before = still(&case.spec, &rehearsal);
            let steps: Vec<Step> = deploy_steps().into_iter().filter(|step| !matches!(step, Step::Prune {})).collect();
            let Ok(plan) = case.plan(&rehearsal.observed(&case.spec), &steps, false) else { return Ok(()) };
            apply(&rehearsal, &plan, 1).await.unwrap();
            prop_assert_ne!(&still(&case.spec, &rehearsal), &before);
            let undone = undo(&rehearsal, &plan, 1).await;
            prop_assert!(undone.is_ok(), "{:?}\n{}", undone, lines(&plan).join("\n"));
            prop_assert_eq!(still(&case.spec, &rehearsal), before);
            prop_assert_eq!(rehearsal.task_containers(), Vec::<String>::new());
            prop_assert_eq!(rehearsal.violations(), Vec::<String>::new());
            Ok(())
        })?;
    }

    /// Each action twice, and each undo twice, is the same as once.
    #[test]
    fn doing_everything_twice_changes_nothing(case in case(true)) {
        paused(async {
            let (once, twice) = (case.rehearsal(), case.rehearsal());
            let Ok(plan) = case.plan(&once.observed(&case.spec), &deploy_steps(), false) else { return Ok(()) };
            apply(&once, &plan, 1).await.unwrap();
            apply(&twice, &plan, 2).await.unwrap();
            prop_assert_eq!(still(&case.spec, &twice), still(&case.spec, &once));
            for task in &case.spec.tasks {
                prop_assert_eq!(twice.task_runs(&task.name), once.task_runs(&task.name));
            }
            undo(&once, &plan, 1).await.unwrap();
            undo(&twice, &plan, 2).await.unwrap();
            prop_assert_eq!(still(&case.spec, &twice), still(&case.spec, &once));
            Ok(())
        })?;
    }

    /// The same request gives the same plan, and the plan reads back from the journal with the same hash.
    #[test]
    fn plans_are_deterministic_and_survive_the_journal(case in case(false)) {
        let observed = paused(async { case.rehearsal().observed(&case.spec) });
        let (one, other) = (case.plan(&observed, &deploy_steps(), false), case.plan(&observed, &deploy_steps(), false));
        prop_assert_eq!(&one, &other);
        if let Ok(plan) = one {
            let read: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
            prop_assert_eq!(read.hash(), plan.hash());
            prop_assert_eq!(&read, &plan);
        }
    }

    /// Going on after it ended well, there is nothing left to do.
    #[test]
    fn a_second_deploy_of_the_same_finds_nothing_to_do(case in case(true)) {
        paused(async {
            let rehearsal = case.rehearsal();
            let Ok(plan) = case.plan(&rehearsal.observed(&case.spec), &deploy_steps(), false) else { return Ok(()) };
            apply(&rehearsal, &plan, 1).await.unwrap();
            let recorded = plan.before.iter().map(|before| (before.target.clone(), release(case.tag))).collect();
            let again = Case { recorded, ..case.clone() }.plan(&rehearsal.observed(&case.spec), &deploy_steps(), false);
            prop_assert!(matches!(again, Err(PlanError::NothingToDo { .. })), "{:?}", again.map(|plan| lines(&plan)));
            Ok(())
        })?;
    }
}
