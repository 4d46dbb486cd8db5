//! TAG and REVERT, and what is removed.

use std::collections::BTreeSet;

use shipmate::domain::plan::{Action, Plan, TagFiles};
use shipmate::domain::spec::EnvironmentSpec;

use crate::sample::*;

fn record(plan: &Plan, host: &str) -> Option<TagFiles> {
    plan.actions().find_map(|(_, action)| match action {
        Action::Record { host: of, after, .. } if of.as_str() == host => Some(after.clone()),
        _ => None,
    })
}

/// What is pruned on a host: containers by role and tag, images by tag.
fn pruned(plan: &Plan, host: &str, known: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let prune = plan.actions().find_map(|(_, action)| match action {
        Action::Prune { host: of, containers, images } if of.as_str() == host => Some((containers, images)),
        _ => None,
    });
    let Some((containers, images)) = prune else {
        return Default::default();
    };
    let short = |name: &String| name.trim_start_matches("antisocial-production-").trim_end_matches("-0").to_owned();
    let tag = |image: &String| (*known.iter().find(|tag| image.ends_with(release(tag).digest.as_str())).unwrap()).to_owned();
    (containers.iter().map(short).collect(), images.iter().map(tag).collect())
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn revert_is_what_really_ran_and_not_what_tag_said() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").tag_files = files(Some("build-40"), Some("build-39"));
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(record(&plan, "a"), Some(files(Some("build-42"), Some("build-41"))));
}

#[test]
fn a_second_deploy_of_the_same_tag_keeps_revert() {
    let spec = environment([("web", web(&["a"])), ("worker", worker(&["a"]))], &[&["web"], &["worker"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").tag_files = files(Some("build-42"), Some("build-41"));
    // The worker is gone, so there is something to do.
    at(&mut observed, "a").containers.retain(|container| container.role.as_str() == "web");
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(record(&plan, "a"), None, "{:?}", lines(&plan));
}

#[test]
fn files_that_say_something_else_are_put_right_even_if_all_else_is() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").tag_files = files(Some("build-41"), Some("build-40"));
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_lines(&plan, "preflight: preflight a\ncheck web: healthy web@a, join web@a\nrecord: record a");
    assert_eq!(record(&plan, "a"), Some(files(Some("build-42"), Some("build-40"))));
}

#[test]
fn without_a_folder_nothing_is_recorded() {
    let spec = EnvironmentSpec { tag_folder: None, ..antisocial() };
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert!(!lines(&plan).iter().any(|line| line.starts_with("record")));
}

#[test]
fn pruning_keeps_the_current_and_the_previous_and_their_images() {
    let spec = environment([("web", web(&["a"])), ("worker", worker(&["a"]))], &[&["web", "worker"]]);
    let mut observed = running(&spec, "build-41");
    let host = at(&mut observed, "a");
    host.containers.extend([
        kept(&spec, "web", "build-40", Some(8001)),
        kept(&spec, "worker", "build-40", None),
        kept(&spec, "web", "build-39", Some(8000)),
    ]);
    host.images = ["build-38", "build-39", "build-40", "build-41"].map(|tag| release(tag).digest).to_vec();
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    let known = ["build-38", "build-39", "build-40", "build-41"];
    assert_eq!(
        pruned(&plan, "a", &known),
        (set(&["web-build-40", "worker-build-40", "web-build-39"]), set(&["build-38", "build-39", "build-40"]))
    );
    let prune = plan.actions().map(|(_, action)| action).find(|action| matches!(action, Action::Prune { .. })).unwrap();
    assert!(prune.may_fail() && !prune.has_undo());
}

#[test]
fn pruning_keeps_the_previous_one_when_a_host_is_right_already() {
    let spec = environment([("web", web(&["a", "b"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a")
        .containers
        .extend([kept(&spec, "web", "build-41", Some(8001)), kept(&spec, "web", "build-40", Some(8001))]);
    at(&mut observed, "b").containers.clear();
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(pruned(&plan, "a", &[]).0, set(&["web-build-40"]));
}

#[test]
fn pruning_never_touches_roles_that_arent_in_question() {
    let spec = environment([("web", web(&["a"])), ("worker", worker(&["b"]))], &[&["web", "worker"]]);
    let mut observed = running(&spec, "build-41");
    // A role that the fleet file has elsewhere only, and one that it doesn't have.
    at(&mut observed, "a").containers.extend([kept(&spec, "worker", "build-30", None), kept(&spec, "cron", "build-29", None)]);
    at(&mut observed, "a").images.extend(["build-30", "build-29", "build-28"].map(|tag| release(tag).digest));
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(pruned(&plan, "a", &["build-28"]), (set(&[]), set(&["build-28"])));
}

#[test]
fn pruning_takes_away_the_tasks_containers() {
    let spec = antisocial();
    let plan = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
    assert_eq!(pruned(&plan, "appserver1", &[]).0, set(&["migrate-build-1-1-task", "collectstatic-build-1-1-task"]));
}

#[test]
fn pruning_keeps_what_the_undo_would_start_even_of_the_same_image() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-42");
    // The configuration changed since.
    at(&mut observed, "a").containers[0].revision = "old".into();
    at(&mut observed, "a")
        .containers
        .extend([kept(&spec, "web", "build-41", Some(8001)), kept(&spec, "web", "build-40", Some(8001))]);
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_eq!(pruned(&plan, "a", &[]).0, set(&["web-build-40"]));
}
