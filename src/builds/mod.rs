//! Where builds come from: one file for each service that can tell us of one.
//!
//! A source only proves and reads; it knows neither our apps nor our tags. What it says is a [`Notice`] in the words of
//! the service; the fleet file's rules turn that into a [`Build`](crate::domain::build::Build). A source is pure, so a
//! body can be read again and tests need no server.
//!
//! A new source is one file with a [`BuildSource`] and one row in `SOURCES`.

mod dockerhub;
mod fields;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod jenkins;
mod proof;
mod registry;

use std::collections::BTreeMap;

use http::HeaderMap;
use jiff::Timestamp;

use crate::domain::build::BuildOutcome;
use crate::domain::names::{CommitSha, Digest};
use crate::secret::Secret;

pub use proof::Secrets;

/// One finished build in the words of the service that announced it. All text is untrusted, for showing only, and was
/// cleaned where it was read: one line each, of limited length, without control and invisible characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The delivery's id, where the service gives one; the same id is the same notice.
    pub delivery: Option<String>,
    /// What the service calls the project: a job's full name, `owner/repository`, an image repository.
    pub project: String,
    /// Which of the project's pipelines ran (`Image`, `image.yaml`), where it can have several: each counts its own numbers.
    pub workflow: Option<String>,
    /// What started the build (`push`, `pull_request`, ...), where the service says it.
    pub trigger: Option<String>,
    /// The build's number.
    pub number: Option<u64>,
    /// The image tag, where the service knows it.
    pub tag: Option<String>,
    /// The image's digest, where the service knows it.
    pub digest: Option<Digest>,
    /// How the build ended.
    pub outcome: BuildOutcome,
    /// The commit that was built.
    pub commit: Option<CommitSha>,
    /// The branch that was built.
    pub branch: Option<String>,
    /// A page that shows the build: http or https, at most 2,000 characters.
    pub url: Option<String>,
    /// Who made the commit.
    pub author: Option<String>,
    /// The first line of the commit's message.
    pub message: Option<String>,
    /// How long the build took, in seconds.
    pub seconds: Option<u64>,
}

impl Notice {
    /// A notice of which only the project and the outcome are known.
    pub fn new(project: String, outcome: BuildOutcome) -> Notice {
        Notice {
            delivery: None,
            project,
            workflow: None,
            trigger: None,
            number: None,
            tag: None,
            digest: None,
            outcome,
            commit: None,
            branch: None,
            url: None,
            author: None,
            message: None,
            seconds: None,
        }
    }
}

/// A request that came in on `POST /builds/{source}`.
#[derive(Clone, Copy)]
pub struct Webhook<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What follows the `?`, still encoded. It may hold a secret: never log it.
    pub query: Option<&'a str>,
    /// Its body, as it was sent: signatures are made of these bytes.
    pub body: &'a [u8],
    /// When it came in, for the signatures that expire.
    pub now: Timestamp,
}

/// What a proven request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Builds that ended; at least one.
    Builds(Vec<Notice>),
    /// An event that is no finished build of ours, and why. Answered with 200.
    NoBuild(String),
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No valid proof of who sent it. Answered with 401.
    #[error("unauthorized: {0}")]
    Unauthorized(&'static str),
    /// Not of the shape that the service documents. Answered with 400. The text may quote the body: never log it.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// A service that announces builds.
pub trait BuildSource: Send + Sync {
    /// The last part of its path, `POST /builds/{name}`.
    fn name(&self) -> &'static str;

    /// Proves that the request is from the service, then reads it.
    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection>;
}

type Constructor = fn(Secrets) -> Box<dyn BuildSource>;

const SOURCES: &[(&str, Constructor)] = &[
    ("generic", |secrets| Box::new(generic::Generic::new(secrets))),
    ("jenkins", |secrets| Box::new(jenkins::Jenkins::new(secrets))),
    ("github", |secrets| Box::new(github::GitHub::new(secrets))),
    ("gitlab", |secrets| Box::new(gitlab::GitLab::new(secrets))),
    ("gitea", |secrets| Box::new(gitea::Gitea::new("gitea", secrets))),
    ("forgejo", |secrets| Box::new(gitea::Gitea::new("forgejo", secrets))),
    ("registry", |secrets| Box::new(registry::Registry::new(secrets))),
    ("dockerhub", |secrets| Box::new(dockerhub::DockerHub::new(secrets))),
];

/// The names of all sources that exist, configured or not.
pub fn names() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|(name, _)| *name)
}

/// The variable of `deploy.env` that holds a source's secrets: `SHIPMATE_WEBHOOK_SECRET_GITHUB`.
pub fn secret_variable(source: &str) -> String {
    format!("SHIPMATE_WEBHOOK_SECRET_{}", source.to_ascii_uppercase())
}

/// The source of that name. `None` if there is no such source, or no secret: without one anybody could announce a build.
pub fn source(name: &str, secrets: Vec<Secret>) -> Option<Box<dyn BuildSource>> {
    let (_, constructor) = SOURCES.iter().find(|(known, _)| *known == name)?;
    Some(constructor(Secrets::new(secrets)?))
}

/// Every source that has a secret. Names that are not in [`names`] are for the caller to refuse.
pub fn all(secrets_by_source: &BTreeMap<String, Vec<Secret>>) -> Vec<Box<dyn BuildSource>> {
    names().filter_map(|name| source(name, secrets_by_source.get(name)?.clone())).collect()
}

/// How the services call an end, in our words; `None` for a word that is no end, or an end that made nothing (`skipped`).
fn outcome(word: &str) -> Option<BuildOutcome> {
    match word.to_ascii_lowercase().as_str() {
        "success" | "succeeded" | "passed" => Some(BuildOutcome::Succeeded),
        "unstable" => Some(BuildOutcome::Unstable),
        "failure" | "failed" | "error" | "timed_out" | "startup_failure" => Some(BuildOutcome::Failed),
        "cancelled" | "canceled" | "aborted" => Some(BuildOutcome::Cancelled),
        _ => None,
    }
}

fn no_build(why: impl Into<String>) -> Result<Reading, Rejection> {
    Ok(Reading::NoBuild(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_secret_does_not_exist() {
        for name in names() {
            assert!(source(name, vec![]).is_none(), "{name}");
            let built = source(name, vec![Secret::new("s").unwrap()]).unwrap();
            assert_eq!(built.name(), name);
        }
        assert!(source("nosuch", vec![Secret::new("s").unwrap()]).is_none());
    }

    #[test]
    fn all_builds_only_what_has_secrets() {
        let mut secrets = BTreeMap::from([("gitlab".to_owned(), vec![Secret::new("s").unwrap()]), ("github".to_owned(), vec![])]);
        secrets.insert("nosuch".to_owned(), vec![Secret::new("s").unwrap()]);
        let sources = all(&secrets);
        assert_eq!(sources.iter().map(|s| s.name()).collect::<Vec<_>>(), ["gitlab"]);
    }
}
