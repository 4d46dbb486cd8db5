use serde_json::{Value, json};

use super::super::proof::tests::{headers, hmac, secrets, webhook};
use super::*;

const COMPLETED: &str = include_str!("../../../tests/data/builds/github-workflow_run-completed.json");
const NULL_CONCLUSION: &str = include_str!("../../../tests/data/builds/github-workflow_run-null-conclusion.json");
const REQUESTED: &str = include_str!("../../../tests/data/builds/github-workflow_run-requested.json");
const REGISTRY_PACKAGE: &str = include_str!("../../../tests/data/builds/github-registry_package-published.json");
const UNTAGGED_PACKAGE: &str = include_str!("../../../tests/data/builds/github-package-untagged.json");
const PING: &str = include_str!("../../../tests/data/builds/github-ping.json");
const CHECK_SUITE: &str = include_str!("../../../tests/data/builds/github-check_suite.json");

fn read(event: &str, body: &str) -> Result<Reading, Rejection> {
    let signature = format!("sha256={}", hex::encode(hmac(b"s3cret", body.as_bytes())));
    let pairs = [("X-GitHub-Event", event), ("X-GitHub-Delivery", "72d3162e"), ("X-Hub-Signature-256", &signature)];
    GitHub::new(secrets()).read(&webhook(&headers(&pairs), body.as_bytes()))
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

fn no_build(reading: Result<Reading, Rejection>) -> String {
    match reading {
        Ok(Reading::NoBuild(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_completed_run_is_announced() {
    let expected = Notice {
        delivery: Some("72d3162e".to_owned()),
        workflow: Some("test.yml".to_owned()),
        trigger: Some("repository_dispatch".to_owned()),
        number: Some(163),
        commit: Some("3484a3fb816e0859fd6e1cea078d76385ff50625".parse().unwrap()),
        branch: Some("master".to_owned()),
        url: Some("https://github.com/octo-org/octo-repo/actions/runs/289782451".to_owned()),
        author: Some("Matthias Fax".to_owned()),
        message: Some("build(test): check workflow run event payload".to_owned()),
        seconds: Some(0),
        ..Notice::new("octo-org/octo-repo".to_owned(), BuildOutcome::Succeeded)
    };
    assert_eq!(one(read("workflow_run", COMPLETED)), expected);
}

#[test]
fn a_conclusion_is_an_end_or_none() {
    for (conclusion, outcome) in [
        ("failure", BuildOutcome::Failed),
        ("timed_out", BuildOutcome::Failed),
        ("startup_failure", BuildOutcome::Failed),
        ("cancelled", BuildOutcome::Cancelled),
    ] {
        let body = changed(COMPLETED, "/workflow_run/conclusion", json!(conclusion));
        assert_eq!(one(read("workflow_run", &body)).outcome, outcome);
    }
    for conclusion in ["skipped", "neutral", "stale", "action_required"] {
        let body = changed(COMPLETED, "/workflow_run/conclusion", json!(conclusion));
        assert!(no_build(read("workflow_run", &body)).contains(conclusion));
    }
    assert_eq!(no_build(read("workflow_run", NULL_CONCLUSION)), "the conclusion null is no end of a build");
    assert_eq!(no_build(read("workflow_run", REQUESTED)), "the run is requested");
}

#[test]
fn the_run_of_a_fork_is_no_build() {
    for head in [json!("mallory/octo-repo"), Value::Null] {
        let body = changed(COMPLETED, "/workflow_run/head_repository/full_name", head);
        assert_eq!(no_build(read("workflow_run", &body)), "the run is of a fork");
    }
    // A deleted fork is null.
    let body = changed(COMPLETED, "/workflow_run/head_repository", Value::Null);
    assert_eq!(no_build(read("workflow_run", &body)), "the run is of a fork");
}

#[test]
fn a_published_image_is_announced_with_its_digest() {
    let notice = one(read("registry_package", REGISTRY_PACKAGE));
    let digest = "sha256:9f2c7d41e0b85a63c4f17e92d8a0b6354c7e1f82d95a306b4c8e7f1029d3ab56";
    assert_eq!((notice.project.as_str(), notice.tag.as_deref()), ("Codertocat/antisocial", Some("build-42")));
    assert_eq!(notice.digest.unwrap().as_str(), digest);
    assert_eq!(notice.trigger.as_deref(), Some("registry_package"));
    assert_eq!(notice.commit.unwrap().as_str(), "8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718");
    let renamed = REGISTRY_PACKAGE.replacen("\"registry_package\"", "\"package\"", 1);
    assert_eq!(one(read("package", &renamed)).trigger.as_deref(), Some("package"));
}

#[test]
fn the_commit_is_the_images_label() {
    let labels = "/registry_package/package_version/container_metadata/labels";
    let commit = |value: Value| one(read("registry_package", &changed(REGISTRY_PACKAGE, labels, value))).commit;
    // An image of several platforms has only GitHub's own label.
    let platforms = json!({"revision": "", "all_labels": {"github.internal.platforms": "[{\"architecture\":\"amd64\"}]"}});
    assert_eq!(commit(platforms), None);
    assert_eq!(commit(json!({})), None);
    let filled = "3484a3fb816e0859fd6e1cea078d76385ff50625";
    assert_eq!(commit(json!({"revision": filled})), Some(filled.parse().unwrap()));
}

#[test]
fn an_image_may_have_a_path() {
    let body = changed(REGISTRY_PACKAGE, "/registry_package/name", json!("antisocial/web"));
    assert_eq!(one(read("registry_package", &body)).project, "Codertocat/antisocial/web");
}

#[test]
fn a_package_without_tag_or_not_published_is_no_build() {
    assert_eq!(no_build(read("package", UNTAGGED_PACKAGE)), "the package has no image tag");
    let updated = changed(REGISTRY_PACKAGE, "/action", json!("updated"));
    assert_eq!(no_build(read("registry_package", &updated)), "the package is updated");
    let bare = r#"{"action":"published","registry_package":{"name":"npm","owner":{"login":"anna"},"package_version":null}}"#;
    assert_eq!(no_build(read("registry_package", bare)), "the package has no image tag");
}

#[test]
fn other_events_are_no_builds() {
    assert_eq!(no_build(read("ping", PING)), "a ping; the webhook works");
    assert!(no_build(read("check_suite", CHECK_SUITE)).starts_with("the event is none of"));
}

#[test]
fn only_the_right_signature_of_the_raw_body_is_a_proof() {
    let good = format!("sha256={}", hex::encode(hmac(b"old", PING.as_bytes())));
    let read = |pairs: &[(&str, &str)], body: &str| GitHub::new(secrets()).read(&webhook(&headers(pairs), body.as_bytes()));
    assert!(read(&[("x-github-event", "ping"), ("x-hub-signature-256", &good)], PING).is_ok());
    let wrong_key = format!("sha256={}", hex::encode(hmac(b"", PING.as_bytes())));
    for refused in ["sha256=", "", "sha256=00", &good[7..], &good.replace("sha256", "sha1"), &wrong_key] {
        let answer = read(&[("x-github-event", "ping"), ("x-hub-signature-256", refused)], PING);
        assert!(matches!(answer, Err(Rejection::Unauthorized(_))), "{refused}");
    }
    assert!(matches!(read(&[("x-github-event", "ping")], PING), Err(Rejection::Unauthorized(_))));
    let changed = PING.replacen(' ', "", 1);
    assert!(read(&[("x-github-event", "ping"), ("x-hub-signature-256", &good)], &changed).is_err());
}

#[test]
fn gitea_is_told_its_own_address() {
    let pairs = [("x-gitea-event", "workflow_run"), ("x-github-event", "workflow_run"), ("x-hub-signature-256", "sha256=")];
    let answer = GitHub::new(secrets()).read(&webhook(&headers(&pairs), b"{}"));
    assert_eq!(answer, Err(Rejection::Malformed("gitea sent this; its address is /builds/gitea".to_owned())));
}

#[test]
fn malformed_bodies_are_told_apart() {
    for (event, body) in [
        ("workflow_run", ""),
        ("workflow_run", "{\"action\""),
        ("workflow_run", "[]"),
        ("workflow_run", "{}"),
        ("package", "{}"),
        ("", "{}"),
    ] {
        assert!(matches!(read(event, body), Err(Rejection::Malformed(_))), "{event} {body}");
    }
    let odd = changed(COMPLETED, "/workflow_run/run_number", json!(1e300));
    assert_eq!(one(read("workflow_run", &odd)).number, None);
    let odd = changed(COMPLETED, "/workflow_run/head_commit/message", json!("ok\u{202e}\u{200b}\n\nmore"));
    assert_eq!(one(read("workflow_run", &odd)).message.as_deref(), Some("ok"));
    let odd = changed(COMPLETED, "/workflow_run/head_sha", json!("; touch pwned"));
    assert_eq!(one(read("workflow_run", &odd)).commit, None);
}

#[test]
fn a_form_is_told_to_be_json() {
    let body = "payload=%7B%7D";
    let signature = format!("sha256={}", hex::encode(hmac(b"s3cret", body.as_bytes())));
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let pairs = [("x-github-event", "workflow_run"), ("x-hub-signature-256", signature.as_str()), kind];
    let Err(Rejection::Malformed(why)) = GitHub::new(secrets()).read(&webhook(&headers(&pairs), body.as_bytes())) else { panic!() };
    assert!(why.contains("application/json"), "{why}");
}
