//! `github`: a repository's or organisation's webhook, for the events `workflow_run`, `registry_package` and `package`.
//!
//! GitHub signs the raw body and nothing else, without a time, so an old delivery stays valid for ever; the delivery's id,
//! which the store keeps, is what makes a replay harmless. Gitea and Forgejo send GitHub's headers too: their requests are
//! turned away first, as they would be almost understood. A package's project is `owner/name`, as a registry knows it, and its
//! `trigger` is the event, so that rules can tell it from a run of the repository of that name. Its commit is the
//! image's label; the field that GitHub has for it, `labels.revision`, comes empty.

use serde::Deserialize;

use super::fields::{self, Number, Object, Text, seconds_between};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};
use crate::domain::build::BuildOutcome;

/// The source; see the module.
pub struct GitHub {
    secrets: Secrets,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RunBody {
    action: Text,
    workflow_run: Object<Run>,
    repository: Object<Repository>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Run {
    name: Text,
    path: Text,
    event: Text,
    conclusion: Text,
    run_number: Number,
    head_branch: Text,
    head_sha: Text,
    html_url: Text,
    run_started_at: Text,
    updated_at: Text,
    head_commit: Object<Commit>,
    head_repository: Object<Repository>,
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

#[derive(Deserialize, Default)]
#[serde(default)]
struct Repository {
    full_name: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PackageBody {
    action: Text,
    #[serde(alias = "registry_package")]
    package: Object<Package>,
    sender: Object<Account>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Package {
    name: Text,
    owner: Object<Account>,
    package_version: Object<Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Account {
    login: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Version {
    html_url: Text,
    container_metadata: Object<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    tag: Object<ContainerTag>,
    labels: Object<Labels>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ContainerTag {
    name: Text,
    digest: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Labels {
    revision: Text,
    all_labels: Object<AllLabels>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AllLabels {
    #[serde(rename = "org.opencontainers.image.revision")]
    revision: Text,
}

impl GitHub {
    /// The source with these secrets.
    pub fn new(secrets: Secrets) -> GitHub {
        GitHub { secrets }
    }

    fn prove(&self, webhook: &Webhook<'_>) -> Result<(), Rejection> {
        let given = proof::header(webhook.headers, "x-hub-signature-256")
            .ok_or(Rejection::Unauthorized("X-Hub-Signature-256 is missing: the webhook has no secret at GitHub"))?;
        match given.strip_prefix("sha256=") {
            Some(hex) if self.secrets.signed_hex(webhook.body, hex) => Ok(()),
            _ => Err(Rejection::Unauthorized("X-Hub-Signature-256 fits no secret")),
        }
    }
}

fn read_run(webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
    let body: RunBody = fields::json(webhook)?;
    let run = &body.workflow_run;
    let Some(project) = body.repository.full_name.line(255) else {
        return Err(Rejection::Malformed("`repository.full_name` is missing".to_owned()));
    };
    if !body.action.is("completed") {
        return no_build(format!("the run is {}", body.action.line(40).unwrap_or("in no known state".to_owned())));
    }
    // GitHub has sent `completed` with a conclusion of null, so the action alone says nothing.
    let Some(outcome) = run.conclusion.raw().and_then(super::outcome) else {
        return no_build(format!("the conclusion {} is no end of a build", run.conclusion.line(40).unwrap_or("null".to_owned())));
    };
    if run.head_repository.full_name.raw() != body.repository.full_name.raw() {
        return no_build("the run is of a fork");
    }
    let file = run.path.line(200).and_then(|path| path.rsplit('/').next().map(str::to_owned));
    Ok(Reading::Builds(vec![Notice {
        delivery: fields::delivery(webhook, "x-github-delivery"),
        workflow: run.name.line(100).or(file),
        trigger: run.event.line(40),
        number: run.run_number.0,
        commit: run.head_sha.commit(),
        branch: run.head_branch.branch(),
        url: run.html_url.url(),
        author: run.head_commit.author.name.line(100),
        message: run.head_commit.message.line(200),
        seconds: seconds_between(&run.run_started_at, &run.updated_at),
        ..Notice::new(project, outcome)
    }]))
}

fn read_package(webhook: &Webhook<'_>, event: &str) -> Result<Reading, Rejection> {
    let body: PackageBody = fields::json(webhook)?;
    let package = &body.package;
    let (Some(owner), Some(name)) = (package.owner.login.line(100), package.name.line(150)) else {
        return Err(Rejection::Malformed("the package's `owner.login` or `name` is missing".to_owned()));
    };
    let version = &package.package_version;
    let container = &version.container_metadata;
    let labels = &container.labels;
    // `updated` comes when a tag moves or the page is edited; a build is published once. Each platform's manifest of an
    // image is published too, with an empty tag.
    if !body.action.is("published") {
        return no_build(format!("the package is {}", body.action.line(40).unwrap_or("in no known state".to_owned())));
    }
    let Some(tag) = container.tag.name.line(128) else {
        return no_build("the package has no image tag");
    };
    Ok(Reading::Builds(vec![Notice {
        delivery: fields::delivery(webhook, "x-github-delivery"),
        trigger: Some(event.to_owned()),
        tag: Some(tag),
        digest: container.tag.digest.digest(),
        commit: labels.all_labels.revision.commit().or_else(|| labels.revision.commit()),
        url: version.html_url.url(),
        author: body.sender.login.line(100),
        ..Notice::new(format!("{owner}/{name}"), BuildOutcome::Succeeded)
    }]))
}

impl BuildSource for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        for (header, source) in [("x-forgejo-event", "forgejo"), ("x-gitea-event", "gitea")] {
            if webhook.headers.contains_key(header) {
                return Err(Rejection::Malformed(format!("{source} sent this; its address is /builds/{source}")));
            }
        }
        self.prove(webhook)?;
        match proof::header(webhook.headers, "x-github-event") {
            Some("workflow_run") => read_run(webhook),
            Some(event @ ("registry_package" | "package")) => read_package(webhook, event),
            Some("ping") => no_build("a ping; the webhook works"),
            Some(_) => no_build("the event is none of workflow_run, registry_package, package"),
            None => Err(Rejection::Malformed("the header X-GitHub-Event is missing".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
