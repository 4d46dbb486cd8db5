//! `gitea` and `forgejo`: a repository's or organisation's webhook, for runs and packages.
//!
//! One reader for both: Forgejo sends Gitea's headers beside its own, and they part ways in the event only: Gitea has
//! `workflow_run`, Forgejo `action_run_success` and `action_run_failure` (which is also what a cancelled run is).
//! Forgejo's `action_run_recover` comes in addition to a success and is passed over. Without a secret both send the signature
//! header with nothing in it, which proves nothing.
//!
//! Gitea names no head repository; whether a pull request's run is of a fork shows in its list of pull requests only,
//! and where that is empty it counts as one; older versions have no such list. For a fork that was deleted it names the repository
//! itself, which shows only where both branches have one name.

use serde::Deserialize;

use super::fields::{self, List, Number, Object, Text, seconds_between};
use super::proof::{self, Secrets};
use super::{BuildSource, Notice, Reading, Rejection, Webhook, no_build};
use crate::domain::build::BuildOutcome;

/// The source; see the module.
pub struct Gitea {
    name: &'static str,
    secrets: Secrets,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GiteaBody {
    action: Text,
    workflow: Object<Workflow>,
    workflow_run: Object<GiteaRun>,
    repository: Object<Repository>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Workflow {
    id: Text,
    name: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GiteaRun {
    display_title: Text,
    event: Text,
    run_number: Number,
    head_branch: Text,
    head_sha: Text,
    conclusion: Text,
    html_url: Text,
    actor: Object<Account>,
    started_at: Text,
    completed_at: Text,
    pull_requests: List<Object<PullRequest>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PullRequest {
    head: Object<Head>,
    base: Object<Head>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Head {
    #[serde(rename = "ref")]
    reference: Text,
    repo: Object<Repository>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Repository {
    id: Number,
    full_name: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Account {
    login: Text,
    full_name: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ForgejoBody {
    run: Object<ForgejoRun>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ForgejoRun {
    title: Text,
    repository: Object<Repository>,
    workflow_id: Text,
    index_in_repo: Number,
    trigger_user: Object<Account>,
    prettyref: Text,
    commit_sha: Text,
    /// Taken as a fork if it is missing.
    is_fork_pull_request: Option<bool>,
    trigger_event: Text,
    status: Text,
    started: Text,
    stopped: Text,
    html_url: Text,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PackageBody {
    action: Text,
    package: Object<Package>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Package {
    owner: Object<Account>,
    creator: Object<Account>,
    r#type: Text,
    name: Text,
    version: Text,
    html_url: Text,
}

impl Account {
    fn shown(&self) -> Option<String> {
        self.full_name.line(100).or_else(|| self.login.line(100))
    }
}

impl Gitea {
    /// The source under one of its two names, with these secrets.
    pub fn new(name: &'static str, secrets: Secrets) -> Gitea {
        Gitea { name, secrets }
    }

    fn prove(&self, webhook: &Webhook<'_>) -> Result<(), Rejection> {
        let given = either(webhook, "signature")
            .ok_or(Rejection::Unauthorized("the signature is missing or empty: the webhook has no secret at its server"))?;
        match self.secrets.signed_hex(webhook.body, given) {
            true => Ok(()),
            false => Err(Rejection::Unauthorized("the signature fits no secret")),
        }
    }
}

/// The header in Forgejo's name, else in Gitea's.
fn either<'a>(webhook: &Webhook<'a>, header: &str) -> Option<&'a str> {
    let named = |server: &str| proof::header(webhook.headers, &format!("x-{server}-{header}"));
    named("forgejo").or_else(|| named("gitea"))
}

fn delivery(webhook: &Webhook<'_>) -> Option<String> {
    fields::delivery(webhook, "x-forgejo-delivery").or_else(|| fields::delivery(webhook, "x-gitea-delivery"))
}

fn project(repository: &Repository) -> Result<String, Rejection> {
    repository.full_name.line(255).ok_or_else(|| Rejection::Malformed("the repository's `full_name` is missing".to_owned()))
}

fn read_gitea_run(webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
    let body: GiteaBody = fields::json(webhook)?;
    let run = &body.workflow_run;
    let project = project(&body.repository)?;
    if !body.action.is("completed") {
        return no_build(format!("the run is {}", body.action.line(40).unwrap_or("in no known state".to_owned())));
    }
    let Some(outcome) = run.conclusion.raw().and_then(super::outcome) else {
        return no_build(format!("the conclusion {} is no end of a build", run.conclusion.line(40).unwrap_or("null".to_owned())));
    };
    let of_pull_request = run.event.raw().is_none_or(|event| event.starts_with("pull_request"));
    let ours = |pull: &Object<PullRequest>| {
        let head = &pull.head;
        head.repo.id.0.is_some() && head.repo.id == body.repository.id && head.reference.raw() != pull.base.reference.raw()
    };
    if of_pull_request && (run.pull_requests.is_empty() || !run.pull_requests.iter().all(ours)) {
        return no_build("the run is of a fork, or of a pull request that doesn't say which repository it is from");
    }
    let pulled = || run.pull_requests.first().filter(|_| of_pull_request)?.head.reference.branch();
    Ok(Reading::Builds(vec![Notice {
        delivery: delivery(webhook),
        workflow: body.workflow.name.line(100).or_else(|| body.workflow.id.line(100)),
        trigger: run.event.line(40),
        number: run.run_number.0,
        commit: run.head_sha.commit(),
        branch: run.head_branch.branch().or_else(pulled),
        url: run.html_url.url(),
        author: run.actor.shown(),
        message: run.display_title.line(200),
        seconds: seconds_between(&run.started_at, &run.completed_at),
        ..Notice::new(project, outcome)
    }]))
}

fn read_forgejo_run(webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
    let body: ForgejoBody = fields::json(webhook)?;
    let run = &body.run;
    let project = project(&run.repository)?;
    let Some(outcome) = run.status.raw().and_then(super::outcome) else {
        return no_build(format!("the run is {}", run.status.line(40).unwrap_or("in no known state".to_owned())));
    };
    if run.is_fork_pull_request != Some(false) {
        return no_build("the run is of a fork");
    }
    Ok(Reading::Builds(vec![Notice {
        delivery: delivery(webhook),
        workflow: run.workflow_id.line(100),
        trigger: run.trigger_event.line(40),
        number: run.index_in_repo.0,
        commit: run.commit_sha.commit(),
        // A pull request is `#7` here.
        branch: run.prettyref.branch().filter(|name| !name.starts_with('#')),
        url: run.html_url.url(),
        author: run.trigger_user.shown(),
        message: run.title.line(200),
        seconds: seconds_between(&run.started, &run.stopped),
        ..Notice::new(project, outcome)
    }]))
}

fn read_package(webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
    let body: PackageBody = fields::json(webhook)?;
    let package = &body.package;
    let (Some(owner), Some(name)) = (package.owner.login.line(100), package.name.line(150)) else {
        return Err(Rejection::Malformed("the package's `owner.login` or `name` is missing".to_owned()));
    };
    if !body.action.is("created") || !package.r#type.is("container") {
        return no_build("the package is no new container image");
    }
    // Each platform's manifest of an image is a version too, named by its digest.
    let Some(tag) = package.version.line(128).filter(|version| !version.contains(':')) else {
        return no_build("the image has no tag");
    };
    Ok(Reading::Builds(vec![Notice {
        delivery: delivery(webhook),
        trigger: Some("package".to_owned()),
        tag: Some(tag),
        url: package.html_url.url(),
        author: package.creator.shown(),
        ..Notice::new(format!("{owner}/{name}"), BuildOutcome::Succeeded)
    }]))
}

impl BuildSource for Gitea {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&self, webhook: &Webhook<'_>) -> Result<Reading, Rejection> {
        self.prove(webhook)?;
        // Some versions leave the event empty for what GitHub doesn't have; its type is then still there.
        match either(webhook, "event").or_else(|| either(webhook, "event-type")) {
            Some("workflow_run") => read_gitea_run(webhook),
            Some("action_run_success" | "action_run_failure") => read_forgejo_run(webhook),
            Some("action_run_recover") => no_build("a recovery; the success itself is announced"),
            Some("package") => read_package(webhook),
            Some(_) => no_build("the event is none of workflow_run, action_run_success, action_run_failure, package"),
            None => Err(Rejection::Malformed("the header X-Gitea-Event is missing".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
