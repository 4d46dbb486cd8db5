//! `generic`: the source for anything that can run curl, and the one that `contrib/notify` speaks.
//!
//! ```json
//! {"app": "antisocial", "tag": "build-42", "outcome": "success", "commit": "8f6c1a9e", "branch": "main",
//!  "url": "https://ci.example.org/42", "author": "Anna", "message": "Make the feed faster", "duration": 143,
//!  "number": 42, "digest": "sha256:…", "delivery": "any text that is the same when it is sent again"}
//! ```
//!
//! `app`, `tag` and `outcome` are required. The proof is `Authorization: Bearer SECRET`, or better a signature as of
//! <https://www.standardwebhooks.com>, with the secret itself as the key. As this JSON is ours, it is read strictly, unlike that of
//! the services: an unknown key, tag or outcome is answered with what is right.

use serde::Deserialize;

use super::fields::{self, Number, Text};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook};
use crate::domain::names::{AppName, CommitSha, Digest, Tag, printable};

/// The source; see the module.
pub struct Generic {
    secrets: Secrets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    app: AppName,
    tag: Tag,
    outcome: String,
    commit: Option<CommitSha>,
    #[serde(default)]
    branch: Text,
    #[serde(default)]
    url: Text,
    #[serde(default)]
    author: Text,
    #[serde(default)]
    message: Text,
    #[serde(default)]
    duration: Number,
    #[serde(default)]
    number: Number,
    digest: Option<Digest>,
    #[serde(default)]
    delivery: Text,
}

impl Generic {
    /// The source with these secrets.
    pub fn new(secrets: Secrets) -> Generic {
        Generic { secrets }
    }

    fn prove<'a>(&self, webhook: &Webhook<'a>) -> Result<Option<&'a str>, Rejection> {
        // A signature that is there must be right: falling back to the token would make it worth nothing.
        if webhook.headers.contains_key("webhook-signature") {
            return proof::standard_webhook(&self.secrets, webhook).map(Some);
        }
        match proof::authorization(webhook.headers, "Bearer") {
            Some(token) if self.secrets.matches(token.as_bytes()) => Ok(None),
            Some(_) => Err(Rejection::Unauthorized("the bearer token is none of the secrets")),
            None => Err(Rejection::Unauthorized("neither Authorization: Bearer nor webhook-signature is there")),
        }
    }
}

impl BuildSource for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        let signed_id = self.prove(webhook)?;
        let body: Body = fields::json(webhook)?;
        let outcome = super::outcome(&body.outcome).ok_or_else(|| {
            let word = printable(&body.outcome, 40);
            Rejection::Malformed(format!("outcome `{word}` is unknown; use success, unstable, failure or cancelled"))
        })?;
        Ok(Reading::Builds(vec![Notice {
            delivery: signed_id.map(|id| printable(id, 200)).or_else(|| body.delivery.line(200)),
            number: body.number.0,
            tag: Some(body.tag.into()),
            digest: body.digest,
            commit: body.commit,
            branch: body.branch.branch(),
            url: body.url.url(),
            author: body.author.line(100),
            message: body.message.line(200),
            seconds: body.duration.0,
            ..Notice::new(body.app.into(), outcome)
        }]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::tests::{NOW, headers, secrets, standard_headers, webhook};
    use super::*;
    use crate::domain::build::BuildOutcome;

    const SUCCESS: &[u8] = include_bytes!("../../tests/data/builds/generic-success.json");

    fn read(pairs: &[(&str, &str)], body: &[u8]) -> Result<Reading, Rejection> {
        Generic::new(secrets()).read(&webhook(&headers(pairs), body))
    }

    fn bearer(body: &str) -> Result<Reading, Rejection> {
        read(&[("authorization", "Bearer s3cret")], body.as_bytes())
    }

    fn one(reading: Result<Reading, Rejection>) -> Notice {
        match reading {
            Ok(Reading::Builds(mut notices)) if notices.len() == 1 => notices.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_signed_notice_is_read_whole() {
        let signed = standard_headers(b"s3cret", "msg_7", NOW, SUCCESS);
        let notice = one(Generic::new(secrets()).read(&webhook(&signed, SUCCESS)));
        let expected = Notice {
            delivery: Some("msg_7".to_owned()),
            number: Some(42),
            tag: Some("build-42".to_owned()),
            commit: Some("8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718".parse().unwrap()),
            branch: Some("main".to_owned()),
            url: Some("https://ci.example.org/antisocial/42".to_owned()),
            author: Some("Anna Example".to_owned()),
            message: Some("Make the feed faster".to_owned()),
            seconds: Some(143),
            ..Notice::new("antisocial".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(notice, expected);
    }

    #[test]
    fn a_bearer_token_is_enough_and_the_rest_is_refused() {
        for token in ["Bearer old", "bearer s3cret"] {
            assert!(read(&[("authorization", token)], SUCCESS).is_ok());
        }
        for refused in ["Bearer S3cret", "Bearer ", "Basic s3cret", "s3cret"] {
            assert!(matches!(read(&[("authorization", refused)], SUCCESS), Err(Rejection::Unauthorized(_))), "{refused}");
        }
        assert!(matches!(read(&[], SUCCESS), Err(Rejection::Unauthorized(_))));
        // A wrong signature isn't saved by a right token.
        let both = [("authorization", "Bearer s3cret"), ("webhook-signature", "")];
        assert!(matches!(read(&both, SUCCESS), Err(Rejection::Unauthorized(_))));
    }

    #[test]
    fn outcomes_are_known_by_the_words_of_every_ci() {
        for (word, outcome) in [
            ("success", BuildOutcome::Succeeded),
            ("SUCCESS", BuildOutcome::Succeeded),
            ("unstable", BuildOutcome::Unstable),
            ("failure", BuildOutcome::Failed),
            ("failed", BuildOutcome::Failed),
            ("ABORTED", BuildOutcome::Cancelled),
            ("canceled", BuildOutcome::Cancelled),
        ] {
            assert_eq!(one(bearer(&format!(r#"{{"app":"a","tag":"t","outcome":"{word}"}}"#))).outcome, outcome);
        }
        let Err(Rejection::Malformed(why)) = bearer(r#"{"app":"a","tag":"t","outcome":"great\u202e"}"#) else { panic!() };
        assert_eq!(why, "outcome `great` is unknown; use success, unstable, failure or cancelled");
    }

    #[test]
    fn a_mistake_is_answered_with_what_is_right() {
        for (body, part) in [
            (r#"{"app":"a","outcome":"success"}"#, "missing field `tag`"),
            (r#"{"app":"a","tag":"x; touch pwned","outcome":"success"}"#, "is not a tag"),
            (r#"{"app":"A B","tag":"t","outcome":"success"}"#, "is not an app name"),
            (r#"{"app":"a","tag":"t","outcome":"success","comit":"x"}"#, "unknown field `comit`"),
            (r#"{"app":"a","tag":"t","outcome":"success","digest":"sha256:1"}"#, "is not a digest"),
            (r#"{"app":"a","tag":"t","outcome":"success","number":1e999}"#, "number out of range"),
            (r#"{"app":"a""#, "EOF"),
            ("", "EOF"),
            ("[]", "invalid length"),
        ] {
            let Err(Rejection::Malformed(why)) = bearer(body) else { panic!("{body}") };
            assert!(why.contains(part), "{body}: {why}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(bearer(&deep), Err(Rejection::Malformed(_))));
    }

    #[test]
    fn strange_text_is_cleaned_and_strange_numbers_are_dropped() {
        let notice = one(bearer(
            r#"{"app":"a","tag":"t","outcome":"success","message":"ok\u202e\u200b\u0007\nsecond","author":"\u200b",
                "url":"javascript:alert(1)","number":99999999999999999999,"duration":-5,"delivery":"d\u0000-1"}"#,
        ));
        assert_eq!(notice.message.as_deref(), Some("ok"));
        assert_eq!((notice.author, notice.url, notice.number, notice.seconds), (None, None, None, None));
        assert_eq!(notice.delivery.as_deref(), Some("d-1"));
    }
}
