//! `registry`: the notifications of a Distribution registry (`registry:2` and `registry:3`), which announce pushed images.
//!
//! The registry delivers one event after the other and repeats each until it is answered with success: a refused one would
//! hold back all that follow. So once the fixed `Authorization` header is proven, nothing is malformed: what can't be read is
//! logged and passed over. Layers, pulls, and manifests without a tag (the parts of an image for several platforms) come too, and are no builds.

use serde::Deserialize;
use serde_json::Value;

use super::fields::{self, Object, Text};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};
use crate::domain::build::BuildOutcome;

/// The source; see the module.
pub struct Registry {
    secrets: Secrets,
}

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    id: Text,
    action: Text,
    target: Object<Target>,
    actor: Object<Actor>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    media_type: Text,
    digest: Text,
    repository: Text,
    tag: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Actor {
    name: Text,
}

impl Registry {
    /// The source with these secrets.
    pub fn new(secrets: Secrets) -> Registry {
        Registry { secrets }
    }

    fn prove(&self, webhook: &Webhook<'_>) -> Result<(), Rejection> {
        let whole = proof::header(webhook.headers, "authorization")
            .ok_or(Rejection::Unauthorized("no Authorization: set it in notifications.endpoints.headers of the registry"))?;
        // The header is whatever the registry's configuration says: usually Bearer, but the bare secret is as good.
        let bearer = proof::authorization(webhook.headers, "Bearer").unwrap_or(whole);
        let basic = proof::basic_password(webhook.headers).unwrap_or_default();
        let fits = self.secrets.matches(bearer.as_bytes()) | self.secrets.matches(&basic);
        if fits { Ok(()) } else { Err(Rejection::Unauthorized("Authorization is none of the secrets")) }
    }
}

fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
            | "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.oci.image.index.v1+json"
    )
}

fn read_event(event: Value) -> Option<Notice> {
    let event: Event = serde_json::from_value(event).ok().or_else(skipped)?;
    let target = &event.target;
    if !event.action.is("push") || !target.media_type.raw().is_some_and(is_manifest) || target.tag.raw().is_none() {
        return None;
    }
    let project = target.repository.line(255).or_else(skipped)?;
    Some(Notice {
        delivery: event.id.line(200),
        tag: target.tag.line(128),
        digest: target.digest.digest(),
        author: event.actor.name.line(100),
        ..Notice::new(project, BuildOutcome::Succeeded)
    })
}

fn skipped<T>() -> Option<T> {
    tracing::warn!("an event of the registry can't be read and is passed over");
    None
}

impl BuildSource for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        self.prove(webhook)?;
        let Some(envelope) = fields::json::<Envelope>(webhook).ok().or_else(skipped) else {
            return no_build(
                "the body is no envelope of events; it is passed over, as a refusal would hold back the following ones",
            );
        };
        let notices: Vec<Notice> = envelope.events.into_iter().filter_map(read_event).collect();
        match notices.is_empty() {
            true => no_build("no event is the push of a manifest with a tag"),
            false => Ok(Reading::Builds(notices)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::proof::tests::{headers, secrets, webhook};
    use super::*;

    const PUSH: &str = include_str!("../../tests/data/builds/registry-push.json");
    const PUSH_INDEX: &str = include_str!("../../tests/data/builds/registry-push-index.json");
    const PUSH_BLOB: &str = include_str!("../../tests/data/builds/registry-push-blob.json");
    const PUSH_UNTAGGED: &str = include_str!("../../tests/data/builds/registry-push-untagged.json");
    const PULL: &str = include_str!("../../tests/data/builds/registry-pull.json");

    fn read(body: &str) -> Result<Reading, Rejection> {
        Registry::new(secrets()).read(&webhook(&headers(&[("authorization", "Bearer s3cret")]), body.as_bytes()))
    }

    fn notices(body: &str) -> Vec<Notice> {
        match read(body) {
            Ok(Reading::Builds(notices)) => notices,
            Ok(Reading::NoBuild(_)) => vec![],
            Err(refused) => panic!("{refused}"),
        }
    }

    fn events(bodies: &[&str]) -> Vec<Value> {
        bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["events"][0].clone()).collect()
    }

    #[test]
    fn a_pushed_tag_is_announced_with_its_digest() {
        let expected = Notice {
            delivery: Some("fd8b0453-99ce-4122-8cd3-9c4d71f01cda".to_owned()),
            tag: Some("build-42".to_owned()),
            digest: Some("sha256:c560bd866dfa4411dded838279129fbedf341ea57620c3baf842a519cd886261".parse().unwrap()),
            ..Notice::new("thraxil/antisocial".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(notices(PUSH), [expected]);
        assert_eq!(notices(PUSH_INDEX)[0].tag.as_deref(), Some("build-43"));
    }

    #[test]
    fn blobs_pulls_and_untagged_manifests_are_no_builds() {
        for body in [PUSH_BLOB, PUSH_UNTAGGED, PULL] {
            assert!(matches!(read(body), Ok(Reading::NoBuild(_))));
        }
    }

    #[test]
    fn once_proven_nothing_is_refused() {
        for body in ["", "{", "[]", "{}", "{\"events\":7}", "null", "{\"events\":[null,7,{}]}", "{\"events\":[{\"action\":1e999}]}"]
        {
            assert!(matches!(read(body), Ok(Reading::NoBuild(_))), "{body}");
        }
    }

    #[test]
    fn an_unreadable_event_does_not_hide_the_others() {
        let mut mixed = events(&[PULL, PUSH, PUSH_BLOB, PUSH_INDEX]);
        mixed.insert(1, json!("garbage"));
        mixed.push(json!({"action": "push", "target": {"mediaType": "application/vnd.oci.image.index.v1+json", "tag": "x"}}));
        let found = notices(&json!({ "events": mixed }).to_string());
        assert_eq!(found.iter().map(|n| n.tag.as_deref().unwrap()).collect::<Vec<_>>(), ["build-42", "build-43"]);
        let strange = PUSH.replace("\"tag\": \"build-42\"", "\"tag\": \"a\\u202eb\"");
        assert_eq!(notices(&strange)[0].tag.as_deref(), Some("ab"));
    }

    #[test]
    fn the_header_of_the_configuration_is_the_proof() {
        let read = |value: &str| Registry::new(secrets()).read(&webhook(&headers(&[("authorization", value)]), PUSH.as_bytes()));
        for good in ["Bearer s3cret", "old", "Basic c2hpcG1hdGU6czNjcmV0"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for refused in ["Bearer", "Bearer x", "", "Basic c2hpcG1hdGU6", "s3cret2"] {
            assert!(matches!(read(refused), Err(Rejection::Unauthorized(_))), "{refused}");
        }
        assert!(matches!(Registry::new(secrets()).read(&webhook(&headers(&[]), b"")), Err(Rejection::Unauthorized(_))));
    }
}
