//! `jenkins`: the Notification plugin's JSON.
//!
//! The plugin can sign nothing and send no header of its own; it can only be given an address. So the secret is in that: as the
//! password (`https://shipmate:SECRET@host/builds/jenkins`, which the plugin sends as Basic authentication, letters and digits
//! only, as it decodes nothing) or as `?token=SECRET`. In Jenkins the address is then a "Secret" one: a public one is
//! printed in every build's log. Only the phase FINALIZED counts: STARTED repeats the result of the build before,
//! and after COMPLETED the same build comes once more.
//!
//! `parameters` and `log` may hold secrets; they are never read.

use serde::Deserialize;

use super::fields::{self, List, Number, Object, Text};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};
use crate::domain::names::printable;

/// The source; see the module.
pub struct Jenkins {
    secrets: Secrets,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    name: Text,
    url: Text,
    build: Object<Build>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Build {
    number: Number,
    phase: Text,
    status: Text,
    full_url: Text,
    /// Milliseconds; older versions of the plugin don't send it.
    duration: Number,
    notes: Text,
    scm: Object<Scm>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Scm {
    branch: Text,
    commit: Text,
    culprits: List<Text>,
}

impl Jenkins {
    /// The source with these secrets.
    pub fn new(secrets: Secrets) -> Jenkins {
        Jenkins { secrets }
    }

    fn prove(&self, webhook: &Webhook<'_>) -> Result<(), Rejection> {
        let as_bytes = |text: &str| text.as_bytes().to_vec();
        let given = proof::authorization(webhook.headers, "Bearer")
            .or_else(|| proof::header(webhook.headers, "x-shipmate-token"))
            .map(as_bytes)
            .or_else(|| proof::basic_password(webhook.headers))
            .or_else(|| proof::query_token(webhook.query));
        match given {
            Some(token) if self.secrets.matches(&token) => Ok(()),
            Some(_) => Err(Rejection::Unauthorized("the secret in the endpoint's URL is none of ours")),
            None => {
                Err(Rejection::Unauthorized("no secret: give the endpoint the URL https://shipmate:SECRET@HOST/builds/jenkins"))
            }
        }
    }
}

/// A job's name with its folders, `web/antisocial`. The plugin's `name` is only the last part: the `main` of every multibranch
/// job would be one.
fn full_name(body: &Body) -> Option<String> {
    let path = body.url.raw().and_then(|url| url.strip_prefix("job/")).map(|path| path.trim_end_matches('/'));
    let parts = path.map(|path| path.split("/job/").map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy()));
    let name = parts.map(|parts| printable(&parts.collect::<Vec<_>>().join("/"), 255)).filter(|name| !name.is_empty());
    name.or_else(|| body.name.line(255))
}

impl BuildSource for Jenkins {
    fn name(&self) -> &'static str {
        "jenkins"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        self.prove(webhook)?;
        let body: Body = fields::json(webhook)?;
        let Some(project) = full_name(&body) else {
            return Err(Rejection::Malformed("neither `url` nor `name` says which job it is".to_owned()));
        };
        let build = &body.build;
        let Some(phase) = build.phase.line(20) else {
            return Err(Rejection::Malformed("`build.phase` is missing; is the endpoint's format JSON?".to_owned()));
        };
        if phase != "FINALIZED" {
            return no_build(format!("phase {phase}: only FINALIZED is announced; set the endpoint's event to \"Job Finalized\""));
        }
        let Some(outcome) = build.status.raw().and_then(super::outcome) else {
            return no_build(format!("status {} is no end of a build", build.status.line(20).unwrap_or("missing".to_owned())));
        };
        // Culprits are all who committed since the last good build, which is what Jenkins mails were addressed to.
        let culprits: Vec<String> = build.scm.culprits.iter().filter_map(|person| person.line(40)).take(5).collect();
        Ok(Reading::Builds(vec![Notice {
            number: build.number.0,
            commit: build.scm.commit.commit(),
            branch: build.scm.branch.branch(),
            url: build.full_url.url(),
            author: (!culprits.is_empty()).then(|| culprits.join(", ")),
            message: build.notes.line(200),
            seconds: build.duration.0.map(|milliseconds| milliseconds / 1000),
            ..Notice::new(project, outcome)
        }]))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::super::proof::tests::{headers, secrets, webhook};
    use super::*;
    use crate::domain::build::BuildOutcome;

    const FINALIZED: &str = include_str!("../../tests/data/builds/jenkins-finalized.json");
    const MULTIBRANCH: &str = include_str!("../../tests/data/builds/jenkins-finalized-multibranch.json");
    const STARTED: &str = include_str!("../../tests/data/builds/jenkins-started.json");

    fn read(body: &str) -> Result<Reading, Rejection> {
        Jenkins::new(secrets()).read(&webhook(&headers(&[("x-shipmate-token", "s3cret")]), body.as_bytes()))
    }

    fn one(body: &str) -> Notice {
        match read(body) {
            Ok(Reading::Builds(mut notices)) if notices.len() == 1 => notices.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_finalized_build_is_announced() {
        let expected = Notice {
            number: Some(42),
            commit: Some("8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718".parse().unwrap()),
            branch: Some("main".to_owned()),
            url: Some("https://jenkins.example.org/job/antisocial/42/".to_owned()),
            author: Some("anna, ben".to_owned()),
            message: Some("Make the feed faster".to_owned()),
            seconds: Some(143),
            ..Notice::new("antisocial".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(one(FINALIZED), expected);
        for (status, outcome) in [("FAILURE", BuildOutcome::Failed), ("ABORTED", BuildOutcome::Cancelled)] {
            assert_eq!(one(&FINALIZED.replace("\"SUCCESS\"", &format!("\"{status}\""))).outcome, outcome);
        }
    }

    #[test]
    fn a_job_in_folders_has_its_full_name() {
        let notice = one(MULTIBRANCH);
        assert_eq!((notice.project.as_str(), notice.outcome), ("web apps/antisocial/main", BuildOutcome::Unstable));
    }

    #[test]
    fn a_build_that_tells_little_of_its_sources_is_announced() {
        let with = |scm: &str| {
            let mut json: serde_json::Value = serde_json::from_str(FINALIZED).unwrap();
            json["build"]["scm"] = serde_json::from_str(scm).unwrap();
            one(&json.to_string())
        };
        // A Pipeline job that was not checked out by the time, and an older plugin.
        let notice = with("{}");
        assert_eq!((notice.number, notice.commit, notice.branch, notice.author), (Some(42), None, None, None));
        // Subversion's revision is no commit of ours.
        let notice = with(r#"{"url":"https://svn.example.org/trunk","commit":"4","culprits":["anna"]}"#);
        assert_eq!((notice.commit, notice.branch, notice.author.as_deref()), (None, None, Some("anna")));
    }

    #[test]
    fn the_first_versions_of_the_plugin_send_less() {
        let body = r#"{"name":"web","url":"job/apps/job/web/","build":{"full_url":"http://jenkins.example.org/job/apps/job/web/8/",
            "number":8,"phase":"FINALIZED","status":"SUCCESS","url":"job/apps/job/web/8/","scm":{"url":"git@git.example.org:web.git",
            "branch":"origin/develop","commit":"8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718"},"artifacts":{}}}"#;
        let expected = Notice {
            number: Some(8),
            commit: Some("8f6c1a9e4b7d2035c1e8a47f90b3d6e5a2c4f718".parse().unwrap()),
            branch: Some("develop".to_owned()),
            url: Some("http://jenkins.example.org/job/apps/job/web/8/".to_owned()),
            ..Notice::new("apps/web".to_owned(), BuildOutcome::Succeeded)
        };
        assert_eq!(one(body), expected);
    }

    #[test]
    fn other_phases_and_ends_are_no_builds() {
        let Ok(Reading::NoBuild(why)) = read(STARTED) else { panic!() };
        assert!(why.starts_with("phase STARTED"), "{why}");
        for no_end in ["\"NOT_BUILT\"", "null", "7"] {
            assert!(matches!(read(&FINALIZED.replace("\"SUCCESS\"", no_end)), Ok(Reading::NoBuild(_))), "{no_end}");
        }
    }

    #[test]
    fn every_field_may_be_missing_but_the_job_and_the_phase() {
        let notice = one(r#"{"name":"a","build":{"phase":"FINALIZED","status":"SUCCESS"}}"#);
        assert_eq!(notice, Notice::new("a".to_owned(), BuildOutcome::Succeeded));
        let notice =
            one(r#"{"name":"a","url":7,"build":{"phase":"FINALIZED","status":"SUCCESS","number":1e30,"duration":"x","scm":null}}"#);
        assert_eq!(notice, Notice::new("a".to_owned(), BuildOutcome::Succeeded));
        for malformed in ["", "{}", "null", "<xml/>", r#"{"name":"a"}"#, r#"{"build":{"phase":"FINALIZED"}}"#] {
            assert!(matches!(read(malformed), Err(Rejection::Malformed(_))), "{malformed}");
        }
    }

    #[test]
    fn the_secret_is_in_the_address() {
        let source = Jenkins::new(secrets());
        let basic =
            |password: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("shipmate:{password}")));
        for (pairs, query, good) in [
            (vec![("authorization", basic("s3cret"))], None, true),
            (vec![("authorization", basic("wrong"))], None, false),
            (vec![("authorization", basic(""))], None, false),
            (vec![("authorization", "Bearer old".to_owned())], None, true),
            (vec![], Some("token=s3cret"), true),
            (vec![], Some("a=b&token=%733cret"), true),
            (vec![], Some("token=s3cre"), false),
            (vec![], Some("token="), false),
            (vec![], None, false),
        ] {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let given = headers(&pairs);
            let request = Webhook { query, ..webhook(&given, FINALIZED.as_bytes()) };
            let refused = matches!(source.read(&request), Err(Rejection::Unauthorized(_)));
            assert_eq!(!refused, good, "{query:?} {pairs:?}");
        }
    }
}
