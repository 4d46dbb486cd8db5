use serde_json::{Value, json};

use super::super::proof::tests::{headers, hmac, secrets, webhook};
use super::*;

const RUN: &str = include_str!("../../../tests/data/builds/gitea-workflow_run-completed.json");
const FORK: &str = include_str!("../../../tests/data/builds/gitea-workflow_run-fork.json");
const PACKAGE: &str = include_str!("../../../tests/data/builds/gitea-package-created.json");
const FORGEJO: &str = include_str!("../../../tests/data/builds/forgejo-action_run_failure.json");

/// A request as the two servers send it, GitHub's headers included.
fn read(server: &'static str, event: &str, body: &str) -> Result<Reading, Rejection> {
    let signature = hex::encode(hmac(b"s3cret", body.as_bytes()));
    let github = format!("sha256={signature}");
    let mut pairs = vec![("x-gitea-delivery", "d-1"), ("x-gitea-event", event), ("x-gitea-signature", &signature)];
    pairs.extend([("x-github-event", event), ("x-hub-signature-256", &github)]);
    if server == "forgejo" {
        pairs.extend([("x-forgejo-delivery", "d-1"), ("x-forgejo-event", event), ("x-forgejo-signature", &signature)]);
    }
    Gitea::new(server, secrets()).read(&webhook(&headers(&pairs), body.as_bytes()))
}

fn one(reading: Result<Reading, Rejection>) -> Notice {
    match reading {
        Ok(Reading::Builds(mut notices)) if notices.len() == 1 => notices.remove(0),
        other => panic!("{other:?}"),
    }
}

fn changed(body: &str, pointer: &str, value: Value) -> String {
    let mut json: Value = serde_json::from_str(body).unwrap();
    *json.pointer_mut(pointer).unwrap() = value;
    json.to_string()
}

fn is_no_build(reading: Result<Reading, Rejection>) -> bool {
    matches!(reading, Ok(Reading::NoBuild(_)))
}

#[test]
fn giteas_completed_run_is_announced() {
    let expected = Notice {
        delivery: Some("d-1".to_owned()),
        workflow: Some("Image".to_owned()),
        trigger: Some("push".to_owned()),
        number: Some(42),
        commit: Some("8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718".parse().unwrap()),
        branch: Some("main".to_owned()),
        url: Some("https://gitea.example.org/thraxil/antisocial/actions/runs/42".to_owned()),
        author: Some("Anna Example".to_owned()),
        message: Some("Make the feed faster".to_owned()),
        seconds: Some(143),
        ..Notice::new("thraxil/antisocial".to_owned(), BuildOutcome::Succeeded)
    };
    assert_eq!(one(read("gitea", "workflow_run", RUN)), expected);
    for (pointer, value) in [("/action", "in_progress"), ("/workflow_run/conclusion", "skipped"), ("/workflow_run/conclusion", "")]
    {
        assert!(is_no_build(read("gitea", "workflow_run", &changed(RUN, pointer, json!(value)))), "{value}");
    }
}

#[test]
fn forgejos_failed_run_is_announced_and_may_be_cancelled() {
    let notice = one(read("forgejo", "action_run_failure", FORGEJO));
    assert_eq!((notice.project.as_str(), notice.outcome, notice.number), ("thraxil/antisocial", BuildOutcome::Failed, Some(42)));
    assert_eq!((notice.workflow.as_deref(), notice.seconds), (Some("image.yaml"), Some(143)));
    let cancelled = changed(FORGEJO, "/run/status", json!("cancelled"));
    assert_eq!(one(read("forgejo", "action_run_failure", &cancelled)).outcome, BuildOutcome::Cancelled);
    let success = changed(FORGEJO, "/run/status", json!("success"));
    assert_eq!(one(read("forgejo", "action_run_success", &success)).outcome, BuildOutcome::Succeeded);
    assert!(is_no_build(read("forgejo", "action_run_recover", &success)));
}

#[test]
fn the_run_of_a_fork_is_no_build() {
    assert!(is_no_build(read("gitea", "workflow_run", FORK)));
    assert!(is_no_build(read("gitea", "workflow_run", &changed(FORK, "/workflow_run/pull_requests", json!([])))));
    assert!(is_no_build(read("gitea", "workflow_run", &changed(FORK, "/workflow_run/pull_requests", Value::Null))));
    let same = changed(FORK, "/workflow_run/pull_requests/0/head/repo/id", json!(5));
    assert_eq!(one(read("gitea", "workflow_run", &same)).branch.as_deref(), Some("button"));
    // No branch is merged into itself, so this one is of a fork that was deleted.
    let deleted = changed(&same, "/workflow_run/pull_requests/0/head/ref", json!("main"));
    assert!(is_no_build(read("gitea", "workflow_run", &deleted)));
    for fork in [json!(true), Value::Null] {
        assert!(is_no_build(read("forgejo", "action_run_failure", &changed(FORGEJO, "/run/is_fork_pull_request", fork))));
    }
}

#[test]
fn a_push_to_a_branch_with_a_pull_request_is_announced() {
    let pulls: Value = serde_json::from_str::<Value>(FORK).unwrap()["workflow_run"]["pull_requests"].clone();
    let notice = one(read("gitea", "workflow_run", &changed(RUN, "/workflow_run/pull_requests", pulls)));
    assert_eq!((notice.branch.as_deref(), notice.outcome), (Some("main"), BuildOutcome::Succeeded));
}

#[test]
fn a_pull_request_is_no_branch_for_forgejo() {
    let pull = changed(FORGEJO, "/run/prettyref", json!("#7"));
    let notice = one(read("forgejo", "action_run_failure", &pull));
    assert_eq!((notice.branch, notice.number), (None, Some(42)));
    let first = changed(FORGEJO, "/last_run", Value::Null);
    assert_eq!(one(read("forgejo", "action_run_failure", &first)).number, Some(42));
}

#[test]
fn a_new_image_is_announced_and_other_packages_are_not() {
    let notice = one(read("gitea", "package", PACKAGE));
    assert_eq!((notice.project.as_str(), notice.tag.as_deref()), ("thraxil/antisocial", Some("build-42")));
    for (pointer, value) in [("/action", "deleted"), ("/package/type", "npm"), ("/package/version", "sha256:9f2c7d41")] {
        assert!(is_no_build(read("gitea", "package", &changed(PACKAGE, pointer, json!(value)))), "{value}");
    }
    assert!(is_no_build(read("gitea", "push", "{}")));
}

#[test]
fn the_events_type_stands_in_for_an_empty_event() {
    let signature = hex::encode(hmac(b"s3cret", PACKAGE.as_bytes()));
    let pairs = [("x-gitea-event", ""), ("x-gitea-event-type", "package"), ("x-gitea-signature", &signature)];
    one(Gitea::new("gitea", secrets()).read(&webhook(&headers(&pairs), PACKAGE.as_bytes())));
}

#[test]
fn only_the_bare_hexadecimal_signature_is_a_proof() {
    let good = hex::encode(hmac(b"s3cret", RUN.as_bytes()));
    let unkeyed = hex::encode(hmac(b"", RUN.as_bytes()));
    for refused in ["", "00", unkeyed.as_str(), &format!("sha256={good}"), &good[1..]] {
        let pairs = [("x-gitea-event", "workflow_run"), ("x-gitea-signature", refused), ("x-hub-signature-256", "sha256=")];
        let answer = Gitea::new("gitea", secrets()).read(&webhook(&headers(&pairs), RUN.as_bytes()));
        assert!(matches!(answer, Err(Rejection::Unauthorized(_))), "{refused}");
    }
    let answer = Gitea::new("gitea", secrets()).read(&webhook(&headers(&[]), RUN.as_bytes()));
    assert!(matches!(answer, Err(Rejection::Unauthorized(_))));
}

#[test]
fn odd_bodies_are_malformed_or_read_as_far_as_they_go() {
    for body in ["", "{", "[]", "{}", "null"] {
        for event in ["workflow_run", "action_run_success", "package"] {
            assert!(matches!(read("forgejo", event, body), Err(Rejection::Malformed(_))), "{event} {body}");
        }
    }
    let odd = changed(RUN, "/workflow_run/pull_requests", Value::Null);
    assert_eq!(one(read("gitea", "workflow_run", &odd)).number, Some(42));
    let odd = changed(RUN, "/workflow_run/run_number", json!(1e300));
    assert_eq!(one(read("gitea", "workflow_run", &odd)).number, None);
    let odd = changed(RUN, "/workflow_run/display_title", json!("a\u{202e}b\u{200b}\nc"));
    assert_eq!(one(read("gitea", "workflow_run", &odd)).message.as_deref(), Some("ab"));
}
