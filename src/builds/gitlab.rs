//! `gitlab`: a project's or group's webhook, for pipeline events.
//!
//! The proof is the secret token, sent as it is, or the newer signing token (`whsec_…`, GitLab signs as Standard Webhooks
//! says). Where both are sent, the signature decides: the token passes through every proxy's log. GitLab switches a
//! webhook off after some failures in a row, so whatever is no build is still answered well.
//!
//! `variables` may hold secrets and are never read. Dates are not RFC 3339 (`2016-08-12 15:23:28 UTC`), so only the duration
//! is taken. The number is `iid`, which counts in the project (`$CI_PIPELINE_IID`).

use serde::Deserialize;

use super::fields::{self, Number, Object, Text};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};

/// The source; see the module.
pub struct GitLab {
    secrets: Secrets,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kind {
    object_kind: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    object_attributes: Object<Pipeline>,
    merge_request: Object<MergeRequest>,
    project: Object<Project>,
    commit: Object<Commit>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pipeline {
    id: Number,
    iid: Number,
    name: Text,
    #[serde(rename = "ref")]
    reference: Text,
    sha: Text,
    source: Text,
    status: Text,
    duration: Number,
    url: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MergeRequest {
    source_project_id: Number,
    target_project_id: Number,
    source_branch: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Project {
    path_with_namespace: Text,
    web_url: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Commit {
    message: Text,
    author: Object<Author>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Author {
    name: Text,
}

impl GitLab {
    /// The source with these secrets: secret tokens and signing tokens alike.
    pub fn new(secrets: Secrets) -> GitLab {
        GitLab { secrets }
    }

    fn prove(&self, webhook: &Webhook<'_>) -> Result<(), Rejection> {
        if webhook.headers.contains_key("webhook-signature") {
            return proof::standard_webhook(&self.secrets, webhook).map(|_| ());
        }
        match proof::header(webhook.headers, "x-gitlab-token") {
            Some(token) if self.secrets.matches(token.as_bytes()) => Ok(()),
            Some(_) => Err(Rejection::Unauthorized("X-Gitlab-Token is none of the secrets")),
            None => Err(Rejection::Unauthorized("neither X-Gitlab-Token nor webhook-signature is there")),
        }
    }
}

impl BuildSource for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        self.prove(webhook)?;
        // The kind alone first: in other events the same keys hold other things.
        let kind: Kind = fields::json(webhook)?;
        match kind.object_kind.raw() {
            Some("pipeline") => {}
            Some(_) => return no_build("the event is no pipeline event"),
            None => return Err(Rejection::Malformed("`object_kind` is missing".to_owned())),
        }
        let body: Body = fields::json(webhook)?;
        let pipeline = &body.object_attributes;
        let Some(project) = body.project.path_with_namespace.line(255) else {
            return Err(Rejection::Malformed("`project.path_with_namespace` is missing".to_owned()));
        };
        let Some(outcome) = pipeline.status.raw().and_then(super::outcome) else {
            return no_build(format!("the pipeline is {}", pipeline.status.line(40).unwrap_or("in no known state".to_owned())));
        };
        let from = body.merge_request.source_project_id;
        if from != body.merge_request.target_project_id || (pipeline.source.is("merge_request_event") && from.0.is_none()) {
            return no_build("the pipeline is of a fork's merge request, or of one that doesn't say which project it is from");
        }
        if pipeline.source.is("parent_pipeline") {
            return no_build("a child pipeline; its parent is announced");
        }
        let page = || Some(format!("{}/-/pipelines/{}", body.project.web_url.url()?, pipeline.id.0?));
        Ok(Reading::Builds(vec![Notice {
            delivery: fields::delivery(webhook, "idempotency-key").or_else(|| fields::delivery(webhook, "x-gitlab-event-uuid")),
            workflow: pipeline.name.line(100),
            trigger: pipeline.source.line(40),
            number: pipeline.iid.0.or(pipeline.id.0),
            commit: pipeline.sha.commit(),
            branch: body.merge_request.source_branch.branch().or_else(|| pipeline.reference.branch()),
            url: pipeline.url.url().or_else(page),
            author: body.commit.author.name.line(100),
            message: body.commit.message.line(200),
            seconds: pipeline.duration.0,
            ..Notice::new(project, outcome)
        }]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::proof::tests::{NOW, headers, secrets, standard_headers, webhook};
    use super::*;
    use crate::domain::build::BuildOutcome;

    const SUCCESS: &str = include_str!("../../tests/data/builds/gitlab-pipeline-success.json");
    const MERGE_REQUEST: &str = include_str!("../../tests/data/builds/gitlab-pipeline-merge_request.json");
    const PUSH: &str = include_str!("../../tests/data/builds/gitlab-push.json");

    fn read(body: &str) -> Result<Reading, Rejection> {
        let pairs = [("X-Gitlab-Token", "s3cret"), ("X-Gitlab-Event-UUID", "uuid-1"), ("Idempotency-Key", "key-1")];
        GitLab::new(secrets()).read(&webhook(&headers(&pairs), body.as_bytes()))
    }

    fn one(body: &str) -> Notice {
        match read(body) {
            Ok(Reading::Builds(mut notices)) if notices.len() == 1 => notices.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn changed(pointer: &str, value: Value) -> String {
        changed_in(SUCCESS, pointer, value)
    }

    fn changed_in(body: &str, pointer: &str, value: Value) -> String {
        let mut json: Value = serde_json::from_str(body).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        json.to_string()
    }

    #[test]
    fn a_finished_pipeline_is_announced() {
        let expected = Notice {
            delivery: Some("key-1".to_owned()),
            workflow: Some("Image".to_owned()),
            trigger: Some("push".to_owned()),
            number: Some(42),
            commit: Some("8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718".parse().unwrap()),
            branch: Some("main".to_owned()),
            url: Some("https://gitlab.example.org/thraxil/antisocial/-/pipelines/1031".to_owned()),
            author: Some("Anna Example".to_owned()),
            message: Some("Make the feed faster".to_owned()),
            seconds: Some(143),
            ..Notice::new("thraxil/antisocial".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(one(SUCCESS), expected);
        assert!(!format!("{expected:?}").contains("hunter2"), "a variable's value was kept");
        for (status, outcome) in [("failed", BuildOutcome::Failed), ("canceled", BuildOutcome::Cancelled)] {
            assert_eq!(one(&changed("/object_attributes/status", json!(status))).outcome, outcome);
        }
    }

    #[test]
    fn other_states_forks_children_and_events_are_no_builds() {
        for status in ["running", "pending", "skipped", "manual", "canceling"] {
            assert_eq!(read(&changed("/object_attributes/status", json!(status))), no_build(format!("the pipeline is {status}")));
        }
        let fork = no_build("the pipeline is of a fork's merge request, or of one that doesn't say which project it is from");
        assert_eq!(read(&changed_in(MERGE_REQUEST, "/merge_request/source_project_id", json!(14))), fork);
        assert_eq!(read(&changed_in(MERGE_REQUEST, "/merge_request", Value::Null)), fork);
        assert_eq!(
            read(&changed("/object_attributes/source", json!("parent_pipeline"))),
            no_build("a child pipeline; its parent is announced")
        );
        assert_eq!(read(PUSH), no_build("the event is no pipeline event"));
    }

    #[test]
    fn a_merge_request_of_the_project_itself_names_its_branch() {
        let expected = Notice {
            delivery: Some("key-1".to_owned()),
            trigger: Some("merge_request_event".to_owned()),
            number: Some(31),
            commit: Some("bcbb5ec396a2c0f828686f14fac9b80b780504f2".parse().unwrap()),
            branch: Some("test".to_owned()),
            url: Some("http://192.168.64.1:3005/gitlab-org/gitlab-test/-/pipelines/31".to_owned()),
            author: Some("User".to_owned()),
            message: Some("test".to_owned()),
            seconds: Some(63),
            ..Notice::new("gitlab-org/gitlab-test".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(one(MERGE_REQUEST), expected);
    }

    #[test]
    fn older_versions_send_less() {
        let mut json: Value = serde_json::from_str(SUCCESS).unwrap();
        json.as_object_mut().unwrap().remove("merge_request");
        json["project"].as_object_mut().unwrap().remove("id");
        let pipeline = json["object_attributes"].as_object_mut().unwrap();
        for key in ["iid", "name", "source", "detailed_status", "queued_duration", "variables", "url"] {
            pipeline.remove(key).unwrap();
        }
        let notice = one(&json.to_string());
        assert_eq!((notice.number, notice.branch.as_deref(), notice.trigger), (Some(1031), Some("main"), None));
        assert_eq!(notice.url.unwrap(), "https://gitlab.example.org/thraxil/antisocial/-/pipelines/1031");
    }

    #[test]
    fn the_token_or_the_signature_is_the_proof() {
        let read = |pairs: &[(&str, &str)]| GitLab::new(secrets()).read(&webhook(&headers(pairs), SUCCESS.as_bytes()));
        assert!(read(&[("x-gitlab-token", "old")]).is_ok());
        for refused in ["", "S3CRET", "s3cret2"] {
            assert!(matches!(read(&[("x-gitlab-token", refused)]), Err(Rejection::Unauthorized(_))), "{refused}");
        }
        assert!(matches!(read(&[]), Err(Rejection::Unauthorized(_))));
        let signed = standard_headers(b"s3cret", "id-1", NOW, SUCCESS.as_bytes());
        assert!(GitLab::new(secrets()).read(&webhook(&signed, SUCCESS.as_bytes())).is_ok());
        let mut forged = standard_headers(b"guess", "id-1", NOW, SUCCESS.as_bytes());
        forged.insert("x-gitlab-token", http::HeaderValue::from_static("s3cret"));
        assert!(GitLab::new(secrets()).read(&webhook(&forged, SUCCESS.as_bytes())).is_err());
    }

    #[test]
    fn odd_bodies_are_malformed_or_read_as_far_as_they_go() {
        for malformed in ["", "[]", "{}", "{\"object_kind\":\"pipeline\"}", "{\"object_kind\":7}", "\u{feff}{}"] {
            assert!(matches!(read(malformed), Err(Rejection::Malformed(_))), "{malformed}");
        }
        assert_eq!(one(&changed("/object_attributes/iid", json!(1e300))).number, Some(1031));
        assert_eq!(one(&changed("/object_attributes/duration", Value::Null)).seconds, None);
        assert_eq!(one(&changed("/commit", Value::Null)).author, None);
        assert_eq!(one(&changed("/commit/author/name", json!("A\u{202e}nna\u{200d}"))).author.as_deref(), Some("Anna"));
        assert_eq!(
            one(&changed("/object_attributes/url", json!("javascript:x"))).url.unwrap(),
            "https://gitlab.example.org/thraxil/antisocial/-/pipelines/1031"
        );
    }
}
