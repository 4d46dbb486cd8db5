//! `dockerhub`: a repository's webhook at Docker Hub, which announces a pushed tag.
//!
//! Docker Hub has no authentication at all, so the secret is in the address: `https://host/builds/dockerhub?token=SECRET`.
//! What it says is a hint only: it names no digest, and the plan asks the registry for that. The `callback_url` of the body
//! is never called: it could lead anywhere.

use serde::Deserialize;

use super::fields::{self, Number, Object, Text};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};
use crate::domain::build::BuildOutcome;

/// The source; see the module.
pub struct DockerHub {
    secrets: Secrets,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    push_data: Object<Push>,
    repository: Object<Repository>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Push {
    pushed_at: Number,
    pusher: Text,
    tag: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Repository {
    repo_name: Text,
    repo_url: Text,
}

impl DockerHub {
    /// The source with these secrets.
    pub fn new(secrets: Secrets) -> DockerHub {
        DockerHub { secrets }
    }
}

impl BuildSource for DockerHub {
    fn name(&self) -> &'static str {
        "dockerhub"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        let token = proof::query_token(webhook.query)
            .ok_or(Rejection::Unauthorized("no secret: give the webhook the URL https://HOST/builds/dockerhub?token=SECRET"))?;
        if !self.secrets.matches(&token) {
            return Err(Rejection::Unauthorized("the token in the webhook's URL is none of the secrets"));
        }
        let body: Body = fields::json(webhook)?;
        let Some(project) = body.repository.repo_name.line(255) else {
            return Err(Rejection::Malformed("`repository.repo_name` is missing".to_owned()));
        };
        let Some(tag) = body.push_data.tag.line(128) else {
            return no_build("the push has no tag");
        };
        Ok(Reading::Builds(vec![Notice {
            delivery: body.push_data.pushed_at.0.map(|at| format!("{project}:{tag} at {at}")),
            tag: Some(tag),
            url: body.repository.repo_url.url(),
            author: body.push_data.pusher.line(100),
            ..Notice::new(project, BuildOutcome::Succeeded)
        }]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::tests::{headers, secrets, webhook};
    use super::*;

    const PUSH: &str = include_str!("../../tests/data/builds/dockerhub-push.json");

    fn read(query: Option<&str>, body: &str) -> Result<Reading, Rejection> {
        DockerHub::new(secrets()).read(&Webhook { query, ..webhook(&headers(&[]), body.as_bytes()) })
    }

    #[test]
    fn a_pushed_tag_is_announced() {
        let expected = Notice {
            delivery: Some("thraxil/antisocial:build-42 at 1763647408".to_owned()),
            tag: Some("build-42".to_owned()),
            url: Some("https://hub.docker.com/r/thraxil/antisocial".to_owned()),
            author: Some("thraxil".to_owned()),
            ..Notice::new("thraxil/antisocial".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(read(Some("token=s3cret"), PUSH), Ok(Reading::Builds(vec![expected])));
    }

    #[test]
    fn only_the_token_lets_in() {
        for refused in [None, Some(""), Some("token="), Some("token"), Some("token=s3cre"), Some("token=S3CRET"), Some("x=s3cret")]
        {
            assert!(matches!(read(refused, PUSH), Err(Rejection::Unauthorized(_))), "{refused:?}");
        }
    }

    #[test]
    fn odd_bodies_are_malformed_or_read_as_far_as_they_go() {
        for malformed in ["", "{", "[]", "{}", "{\"repository\":{\"repo_name\":7}}"] {
            assert!(matches!(read(Some("token=old"), malformed), Err(Rejection::Malformed(_))), "{malformed}");
        }
        let bare = r#"{"repository":{"repo_name":"a/b"}}"#;
        assert_eq!(read(Some("token=old"), bare), no_build("the push has no tag"));
        let untagged = PUSH.replace("\"build-42\"", "null");
        assert_eq!(read(Some("token=old"), &untagged), no_build("the push has no tag"));
        let float = PUSH.replace("1763647408", "1.763647408e+09");
        assert_eq!(read(Some("token=old"), &float), read(Some("token=old"), PUSH));
        let huge = PUSH.replace("1763647408", "99999999999999999999999");
        let Ok(Reading::Builds(notices)) = read(Some("token=old"), &huge) else { panic!() };
        assert_eq!(notices[0].delivery, None);
    }
}
