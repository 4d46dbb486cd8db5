//! Roles that the host's own init manages, by commands and the TAG file.

use shipmate::domain::plan::{Action, Release};
use shipmate::domain::planner::PlanError;
use shipmate::domain::spec::EnvironmentSpec;

use crate::sample::*;

fn spec() -> EnvironmentSpec {
    environment([("web", service(&["a", "b"]))], &[&["web"]])
}

#[test]
fn a_service_is_stopped_then_tag_is_written_then_it_is_started() {
    let spec = spec();
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight a | preflight b
         pull: pull a | pull b
         web 1/2: leave web@a, stop web@a, record a, start web@a, healthy web@a, join web@a
         web 2/2: leave web@b, stop web@b, record b, start web@b, healthy web@b, join web@b",
    );
    let records: Vec<_> =
        plan.actions()
            .filter_map(|(_, action)| {
                if let Action::Record { before, after, .. } = action { Some((before.clone(), after.clone())) } else { None }
            })
            .collect();
    assert_eq!(records[0], (files(Some("build-41"), None), files(Some("build-42"), Some("build-41"))));
}

#[test]
fn a_service_that_doesnt_run_is_only_started() {
    let spec = spec();
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "b").services.insert(name("web"), false);
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[3], "web 2/2: record b, start web@b, healthy web@b, join web@b");
    let first = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
    assert_eq!(lines(&first)[2], "web 1/2: record a, start web@a, healthy web@a, join web@a");
}

#[test]
fn a_service_is_right_by_its_tag_while_it_runs() {
    let spec = spec();
    let mut observed = running(&spec, "build-42");
    let ask = |observed: &_| Ask::new(&spec, observed).deploy(&release("build-42"));
    assert!(matches!(ask(&observed), Err(PlanError::NothingToDo { targets: 2, .. })));
    at(&mut observed, "b").tag_files = files(Some("build-41"), None);
    let plan = ask(&observed).unwrap();
    assert_eq!(
        lines(&plan)[2..],
        ["check web: healthy web@a, join web@a", "web: leave web@b, stop web@b, record b, start web@b, healthy web@b, join web@b"]
    );
}

#[test]
fn a_tag_that_was_pushed_again_is_another_release_and_its_undo_is_warned_of() {
    let spec = spec();
    let observed = running(&spec, "build-42");
    let recorded = Release { digest: release("other").digest, tag: name("build-42") };
    let plan = Ask::new(&spec, &observed).recorded(&recorded).deploy(&release("build-42")).unwrap();
    // TAG says the same before and after.
    assert_eq!(lines(&plan)[2], "web 1/2: leave web@a, stop web@a, start web@a, healthy web@a, join web@a");
    assert_eq!(plan.warnings.len(), 2);
    assert_eq!(
        plan.warnings[0],
        format!(
            "web@a runs an earlier `build-42` ({}), which an undo can't bring back: the tag is all that its TAG file says",
            recorded.digest.short()
        )
    );
}

#[test]
fn a_role_that_docker_managed_till_now_gives_way_to_the_service() {
    let spec = spec();
    let mut observed = bare(&spec);
    at(&mut observed, "a").containers = vec![seen(&spec, "web", "build-41", Some(8000))];
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[2], "web 1/2: leave web@a, stop web@a, record a, start web@a, healthy web@a, join web@a");
    let stop = plan.actions().find_map(|(_, action)| {
        if let Action::Stop { container, undo, .. } = action { Some((container.clone(), *undo)) } else { None }
    });
    assert_eq!(stop, Some((Some("antisocial-production-web-build-41-0".into()), true)));
    assert_eq!(plan.before[0].release, Some(release("build-41")));
}

#[test]
fn two_services_of_one_host_both_write_what_both_go_back_to() {
    let spec = environment([("web", service(&["a"])), ("worker", service(&["a"]))], &[&["web"], &["worker"]]);
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    let records: Vec<_> =
        plan.actions().filter(|(_, action)| matches!(action, Action::Record { .. })).map(|(_, action)| action).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0], records[1]);
}

#[test]
fn a_restart_of_a_service_needs_no_tag() {
    let spec = spec();
    let plan = Ask::new(&spec, &running(&spec, "build-42")).restart(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[1], "web 1/2: leave web@a, stop web@a, start web@a, healthy web@a, join web@a");
}

#[test]
fn images_of_a_host_with_a_service_are_never_pruned() {
    let spec = spec();
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").images = ["build-39", "build-40", "build-41"].map(|tag| release(tag).digest).to_vec();
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert!(!lines(&plan).iter().any(|line| line.starts_with("prune")));
}
