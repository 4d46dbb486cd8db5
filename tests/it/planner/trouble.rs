//! Hosts that aren't fit, and fleets that a stuck deployment left in pieces.

use shipmate::domain::plan::{Action, Origin, Plan};
use shipmate::domain::planner::PlanError;
use shipmate::domain::spec::{HostPort, Publish, Service};

use crate::sample::*;

/// Which containers are stopped, and whether an undo starts them again.
fn stops(plan: &Plan) -> Vec<(String, bool)> {
    let stop = |action: &Action| match action {
        Action::Stop { container: Some(name), undo, .. } => {
            Some((name.trim_start_matches("antisocial-production-").trim_end_matches("-0").to_owned(), *undo))
        }
        _ => None,
    };
    plan.actions().filter_map(|(_, action)| stop(action)).collect()
}

#[test]
fn hosts_that_dont_answer_are_named() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-41");
    unreachable(&mut observed, "appserver2");
    observed.hosts.remove(&name("appserver3"));
    let error = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap_err();
    assert_eq!(error.to_string(), "appserver2: no route to host\nappserver3: it was not asked");
}

#[test]
fn hosts_without_space_are_told_before_anything_is_touched() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "appserver3").free_mib = 499;
    let error = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap_err();
    assert_eq!(error, PlanError::DiskFull(vec![(name("appserver3"), 499, 500)]));
    assert_eq!(
        error.to_string(),
        "appserver3 has 499 MiB free and needs 500; remove what it doesn't need, or lower `min_free_mib`"
    );
}

#[test]
fn a_full_disk_doesnt_forbid_what_needs_no_space() {
    let spec = environment([("worker", worker(&["a", "b"]))], &[&["worker"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").containers.push(kept(&spec, "worker", "build-41", None));
    at(&mut observed, "a").free_mib = 0;
    let plan = Ask::new(&spec, &observed).revert(&release("build-41")).unwrap();
    let needed = |host: &str| {
        plan.actions().find_map(|(_, action)| match action {
            Action::Preflight { host: of, min_free_mib } if of.as_str() == host => Some(*min_free_mib),
            _ => None,
        })
    };
    assert_eq!((needed("a"), needed("b")), (Some(0), Some(500)));
    assert!(Ask::new(&spec, &observed).restart(&release("build-42")).is_ok());
}

#[test]
fn a_role_that_isnt_there_or_doesnt_run_is_told() {
    let spec = antisocial();
    let observed = bare(&spec);
    let ask = |role| Ask { role, ..Ask::new(&spec, &observed) };
    assert_eq!(ask(Some("wbe")).restart(&release("build-1")), Err(PlanError::NoSuchRole(name("wbe"))));
    assert_eq!(
        ask(None).restart(&release("build-1")).unwrap_err().to_string(),
        "nothing of it runs, so there is nothing to restart"
    );
    assert_eq!(
        ask(None).run(&release("build-1"), &["ls"]).unwrap_err().to_string(),
        "nothing of it runs, so there is nothing to run it in"
    );
}

#[test]
fn containers_that_the_fleet_file_doesnt_have_are_warned_of_and_left_alone() {
    let spec = environment([("web", web(&["a"])), ("worker", worker(&["b"]))], &[&["web", "worker"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").containers.extend([
        seen(&spec, "cron", "build-30", None),
        seen(&spec, "worker", "build-30", None),
        kept(&spec, "old", "build-2", None),
    ]);
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "a still runs `antisocial-production-cron-build-30-0` of the role `cron`, which the fleet file doesn't have there",
            "a still runs `antisocial-production-worker-build-30-0` of the role `worker`, which the fleet file doesn't have there",
        ]
    );
    assert!(!stops(&plan).iter().any(|(container, _)| container.contains("build-30")));
}

#[test]
fn of_two_running_singletons_both_are_gone_before_the_new_one_starts_and_only_one_comes_back() {
    let spec = environment([("beat", worker(&["a"]))], &[&["beat"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").containers.push(seen(&spec, "beat", "build-40", None));
    let plan = Ask::new(&spec, &observed).recorded(&release("build-40")).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[2], "beat: stop beat@a, stop beat@a, start beat@a, healthy beat@a");
    // The recorded one counts, the newer is what a stuck deployment left.
    assert_eq!(stops(&plan), [("beat-build-41".to_owned(), false), ("beat-build-40".to_owned(), true)]);
    assert_eq!(plan.before[0].release, Some(release("build-40")));
}

#[test]
fn a_second_singleton_beside_the_right_one_goes_before_the_right_one_is_checked() {
    let spec = environment([("beat", worker(&["a"]))], &[&["beat"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").containers.push(seen(&spec, "beat", "build-41", None));
    let plan = Ask::new(&spec, &observed).recorded(&release("build-41")).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[1], "beat: stop beat@a, healthy beat@a");
    assert_eq!(stops(&plan), [("beat-build-41".to_owned(), false)]);
}

#[test]
fn what_a_stuck_deployment_left_beside_the_old_one_goes_when_the_new_one_serves() {
    let mut spec = environment([("web", web(&["a", "b"]))], &[&["web"]]);
    let Service::Docker(container) = &mut spec.roles.get_mut(&name("web")).unwrap().service else { panic!("not by Docker") };
    container.publish = Some(Publish { container: 8000, host: HostPort::Ephemeral, address: None });
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "b").containers.insert(0, seen(&spec, "web", "build-42", Some(32768)));
    let ask = Ask::new(&spec, &observed).recorded(&release("build-41"));
    let plan = ask.deploy(&release("build-43")).unwrap();
    assert_eq!(
        lines(&plan)[3],
        "web 2/2: start web@b, healthy web@b, join web@b, leave web@b, stop web@b, leave web@b, stop web@b"
    );
    assert_eq!(stops(&plan)[1..], [("web-build-42".to_owned(), false), ("web-build-41".to_owned(), true)]);
    // Going on with the one that got stuck: it stays where it runs, and its tasks have run.
    let again = ask.deploy(&release("build-42")).unwrap();
    assert_eq!(
        lines(&again)[2..4],
        [
            "web 1/2: start web@a, healthy web@a, join web@a, leave web@a, stop web@a",
            "web 2/2: healthy web@b, join web@b, leave web@b, stop web@b"
        ]
    );
    // Going back: the old one stays, the new one goes.
    let back = ask.revert(&release("build-41")).unwrap();
    assert_eq!(
        lines(&back)[1..],
        ["check web: healthy web@a, join web@a", "web: healthy web@b, join web@b, leave web@b, stop web@b"]
    );
    assert_eq!(stops(&back), [("web-build-42".to_owned(), false)]);
}

#[test]
fn when_a_stuck_deployment_left_no_port_free_the_one_that_doesnt_count_gives_its_own_up() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").containers.insert(0, seen(&spec, "web", "build-42", Some(8001)));
    let plan = Ask::new(&spec, &observed).recorded(&release("build-41")).deploy(&release("build-43")).unwrap();
    assert_eq!(
        lines(&plan)[2],
        "web: join web@a, leave web@a, stop web@a, start web@a, healthy web@a, join web@a, leave web@a, stop web@a"
    );
    let port = plan.actions().find_map(|(_, action)| if let Action::Start { origin, .. } = action { Some(*origin) } else { None });
    assert_eq!(port, Some(Origin::New { port: Some(8001) }));
}

#[test]
fn after_a_stuck_deployment_the_good_release_is_what_is_kept_and_recorded() {
    let spec = environment([("worker", worker(&["a"]))], &[&["worker"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").containers.insert(0, seen(&spec, "worker", "build-42", None));
    let plan = Ask::new(&spec, &observed).recorded(&release("build-41")).deploy(&release("build-43")).unwrap();
    let pruned = plan
        .actions()
        .find_map(|(_, action)| if let Action::Prune { containers, .. } = action { Some(containers.clone()) } else { None });
    assert_eq!(pruned, Some(vec!["antisocial-production-worker-build-42-0".to_owned()]));
    let after =
        plan.actions().find_map(|(_, action)| if let Action::Record { after, .. } = action { Some(after.clone()) } else { None });
    assert_eq!(after, Some(files(Some("build-43"), Some("build-41"))));
}
