//! Makes the store of today's schema that is kept for ever: a bit of everything that may be recorded.
//!
//! It goes through the ledger's front door, so a new kind of fact is in the next kept store once something here records it.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::{DeploymentState, Event, Failure, FailureKind, Outcome};
use shipmate::domain::message::{Account, Message, MessageRef, RoomId};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::{Action, ActionIndex, Plan, Purpose};
use shipmate::domain::spec::{
    Batch, ContainerOptions, ContainerSpec, EnvValue, EnvironmentSpec, HealthCheck, HostPort, Millis, Publish, RoleSpec, Service,
};
use shipmate::domain::step::{Aim, Step};
use shipmate::store::{Ledger, Post, SCHEMA, export};

use super::{TOLD, folder_of, told};
use crate::sample::{self, Ask, antisocial, environment, name, release};

/// The last action that everything is put back for when it fails.
const LAST: &str = "record appserver3";

#[tokio::test]
#[ignore = "makes tests/data/stores/schema-N for the schema of today; see the README there"]
async fn keep_a_store_of_todays_schema() {
    let to = folder_of(SCHEMA);
    assert!(!to.exists(), "{} is kept already: a store that a released schema wrote is never made again", to.display());
    fs::create_dir_all(&to).unwrap();
    let made = tempfile::tempdir().unwrap();
    let data = made.path().join("data");
    let (ledger, _) = Ledger::open(&data).unwrap();
    let maker = Maker { ledger, second: 0 }.everything().await;
    drop(maker);
    export(&data, Some(&to.join("export.jsonl"))).unwrap();
    fs::copy(data.join("journal.jsonl"), to.join("journal.jsonl")).unwrap();
    let (ledger, recovery) = Ledger::open(&data).unwrap();
    assert_eq!(recovery.story(), None);
    fs::write(to.join(TOLD), told::all(&ledger)).unwrap();
    drop(ledger);
    pack(&data, &to.join("store.tar.gz"));
}

/// sled's file is mostly zeros, which gzip makes small.
fn pack(data: &Path, to: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf"]).arg(to).arg("-C").arg(data).arg("store");
    assert!(tar.status().unwrap().success());
}

/// A ledger, and a clock that goes on with each fact.
struct Maker {
    ledger: Ledger,
    second: i64,
}

impl Maker {
    async fn everything(mut self) -> Maker {
        let (terminal, discord) = (RoomId("terminal".into()), RoomId("discord:1234".into()));
        let (production, staging) = (spec("production"), spec("staging"));
        let at = self.now();
        self.ledger.open_room(terminal.clone(), at).await.unwrap();
        self.builds().await;
        // #1: asked for in the chat, ends well, but for a prune that fails without harm.
        self.hears(&terminal, "1", "!deploy antisocial build-41").await;
        let first = self.asks(plan(&production, None, "build-41", "one"), "anna", Some((&terminal, "1"))).await;
        self.shows(&terminal).await;
        self.does_all_but(first, "prune appserver1").await;
        self.fails(first, "prune appserver1", FailureKind::Refused, "the engine refused: image is in use").await;
        self.shows(&terminal).await;
        let at = self.now();
        self.ledger.open_room(discord.clone(), at).await.unwrap();
        // #2 fails at its last action and is put back; #3 is cancelled before its task ran.
        let second = self.asks(plan(&production, Some("build-41"), "build-43", "two"), "bob", None).await;
        self.does_until(second, LAST).await;
        self.fails(second, LAST, FailureKind::Exit { status: 1 }, "exit status 1").await;
        self.puts_back(second).await;
        let third = self.asks(plan(&production, Some("build-41"), "build-43", "three"), "anna", None).await;
        self.does_until(third, "migrate web@appserver1").await;
        self.notes(third, Event::CancelAsked { by: name("bob") }).await;
        self.puts_back(third).await;
        self.shows(&terminal).await;
        let marks = [(terminal.clone(), "7".to_owned()), (discord.clone(), "1234".to_owned())].into();
        let at = self.now();
        self.ledger.heard_up_to(marks, at).await.unwrap();
        // #4 is stuck and stays so.
        let fourth = self.asks(plan(&staging, None, "build-43", "four"), "anna", None).await;
        self.sticks(fourth, "healthy beat@appserver3").await;
        // #5 is stuck too; #6 takes its lock over and mends it.
        let fifth = self.asks(plan(&production, Some("build-41"), "build-43", "five"), "anna", None).await;
        self.sticks(fifth, "healthy web@appserver2").await;
        let sixth = self.asks(plan(&production, Some("build-41"), "build-45", "six"), "carol", None).await;
        self.does_all(sixth).await;
        self.others(&production).await;
        // #10 goes on: some actions are done, one has no result yet. Its live message is shown in one room.
        let tenth = self.asks(plan(&production, Some("build-41"), "build-45", "ten"), "anna", None).await;
        self.does_until(tenth, "migrate web@appserver1").await;
        let task = place(&self.state(tenth).plan, "migrate web@appserver1");
        self.notes(tenth, Event::ActionStarted { action: task }).await;
        self.shows(&terminal).await;
        self.hears(&terminal, "2", "!apps").await;
        let at = self.now();
        self.ledger.answered(MessageRef { room: terminal.clone(), id: "2".into() }, at).await.unwrap();
        self.hears(&terminal, "3", "!status antisocial — \"now\", please ✓").await;
        self
    }

    /// #7 to #9: a revert, a restart, and a command that only reads.
    async fn others(&mut self, production: &EnvironmentSpec) {
        let observed = sample::running(production, "build-45");
        let ask = |nonce| Ask { nonce, ..Ask::new(production, &observed) }.recorded(&release("build-45"));
        let mut revert = ask("seven").revert(&release("build-41")).unwrap();
        revert.warnings = vec!["migrate ran with #6 (build-45) since build-41, and is not taken back".into()];
        let seventh = self.asks(revert, "bob", None).await;
        self.does_all(seventh).await;
        let observed = sample::running(production, "build-41");
        let ask = |nonce| Ask { nonce, ..Ask::new(production, &observed) }.recorded(&release("build-41"));
        let only_beat = Ask { role: Some("beat"), ..ask("eight") };
        let eighth = self.asks(only_beat.restart(&release("build-41")).unwrap(), "bob", None).await;
        self.does_all(eighth).await;
        let purpose = Purpose::Run { command: ["manage", "check", "--deploy"].map(str::to_owned).into(), read: true };
        let steps = [Step::Preflight {}, Step::Run {}];
        let ninth = ask("nine").plan(purpose, Aim::Current, &release("build-41"), &steps).unwrap();
        let ninth = self.asks(ninth, "carol", None).await;
        self.does_all(ninth).await;
    }

    /// One that a registry's notice completes, one of each other outcome, and one of another app.
    async fn builds(&mut self) {
        self.built(build("build-41", BuildOutcome::Succeeded), &["jenkins:41", "commit:41"]).await;
        let pushed = Build { digest: Some(release("build-41").digest), source: "registry".into(), ..bare("build-41") };
        self.built(pushed, &["registry:event-1"]).await;
        self.built(build("build-42", BuildOutcome::Failed), &["jenkins:42"]).await;
        self.built(build("build-43", BuildOutcome::Unstable), &["jenkins:43"]).await;
        self.built(build("build-44", BuildOutcome::Cancelled), &["jenkins:44"]).await;
        self.built(build("build-45", BuildOutcome::Succeeded), &["jenkins:45"]).await;
        self.built(Build { app: name("blog"), source: "github".into(), ..bare("v1.0") }, &["github:1"]).await;
    }

    fn now(&mut self) -> Timestamp {
        self.second += 7;
        Timestamp::from_second(1_795_000_000 + self.second).unwrap()
    }

    fn state(&self, id: DeploymentId) -> DeploymentState {
        self.ledger.state(id).unwrap().unwrap()
    }

    async fn built(&mut self, build: Build, keys: &[&str]) {
        let at = self.now();
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.ledger.built(Build { at, ..build }, keys, at).await.unwrap();
    }

    async fn hears(&mut self, room: &RoomId, id: &str, text: &str) {
        let received = self.now();
        let at = MessageRef { room: room.clone(), id: id.into() };
        let message = Message { at, author: Account("terminal:anna".into()), text: text.into(), received, doubt: None };
        self.ledger.heard(message, received).await.unwrap();
    }

    async fn asks(&mut self, plan: Plan, by: &str, cause: Option<(&RoomId, &str)>) -> DeploymentId {
        let cause = cause.map(|(room, id)| MessageRef { room: room.clone(), id: id.into() });
        let at = self.now();
        self.ledger.request(plan, name(by), cause, at).await.unwrap()
    }

    async fn notes(&mut self, id: DeploymentId, event: Event) -> DeploymentState {
        let at = self.now();
        self.ledger.deployment(id, event, at).await.unwrap()
    }

    async fn does(&mut self, id: DeploymentId, (index, action): (ActionIndex, Action)) {
        self.notes(id, Event::ActionStarted { action: index }).await;
        self.notes(id, Event::ActionDone { action: index, outcome: outcome(&action) }).await;
    }

    async fn does_all(&mut self, id: DeploymentId) {
        for action in actions(&self.state(id).plan) {
            self.does(id, action).await;
        }
    }

    async fn does_all_but(&mut self, id: DeploymentId, left_out: &str) {
        for (index, action) in actions(&self.state(id).plan).into_iter().filter(|(_, action)| action.to_string() != left_out) {
            self.does(id, (index, action)).await;
        }
    }

    async fn does_until(&mut self, id: DeploymentId, end: &str) {
        for action in actions(&self.state(id).plan).into_iter().take_while(|(_, action)| action.to_string() != end) {
            self.does(id, action).await;
        }
    }

    async fn fails(&mut self, id: DeploymentId, at: &str, kind: FailureKind, message: &str) {
        let action = place(&self.state(id).plan, at);
        let output = vec!["Applying blog.0002… ✗".to_owned(), "ERROR: \"relation\" exists\\".to_owned()];
        let failure = Failure { output_hash: Some("ab".repeat(32)), ..Failure::new(kind, message).with_output(output) };
        self.notes(id, Event::ActionStarted { action }).await;
        self.notes(id, Event::ActionFailed { action, failure }).await;
    }

    async fn puts_back(&mut self, id: DeploymentId) {
        while let Some(&action) = self.state(id).to_undo().first().filter(|_| !self.state(id).phase.is_final()) {
            self.notes(id, Event::UndoStarted { action }).await;
            self.notes(id, Event::UndoDone { action }).await;
        }
    }

    /// Fails there; the first undo fails too, the others don't.
    async fn sticks(&mut self, id: DeploymentId, at: &str) {
        self.does_until(id, at).await;
        self.fails(id, at, FailureKind::Unhealthy, "unhealthy until the deadline of 30 s: 500").await;
        let action = self.state(id).to_undo()[0];
        let failure = Failure::new(FailureKind::Unreachable, "the host could not be reached: no route to host");
        self.notes(id, Event::UndoStarted { action }).await;
        self.notes(id, Event::UndoFailed { action, failure }).await;
        self.puts_back(id).await;
    }

    /// Brings a room up to date.
    async fn shows(&mut self, room: &RoomId) {
        for (post, _) in self.ledger.posts_after(room).unwrap() {
            let at = self.now();
            let message = MessageRef { room: room.clone(), id: format!("shown-{}", post.0) };
            self.ledger.posted(room.clone(), post, message, at).await.unwrap();
        }
        for (post, about, _) in self.ledger.live(room).unwrap() {
            let Post::Live { id } = about else { continue };
            if self.state(id).phase.is_final() {
                let at = self.now();
                self.ledger.settled(room.clone(), post, at).await.unwrap();
            }
        }
    }
}

/// Web behind a balancer, with everything that a container can have; a singleton; and a service of the host's init.
fn spec(environment_name: &str) -> EnvironmentSpec {
    let mut web = RoleSpec { drain: Millis::seconds(5), wait: Millis::seconds(1), ..sample::web(&["appserver1", "appserver2"]) };
    web.service = Service::Docker(container());
    if let HealthCheck::Http { host, headers, .. } = &mut web.health {
        *host = Some("www.example.org".into());
        headers.insert("X-Forwarded-Proto".into(), "https".into());
    }
    let beat = RoleSpec { health: HealthCheck::Docker { deadline: Millis::seconds(20) }, ..sample::worker(&["appserver3"]) };
    let legacy = RoleSpec { batch: Batch::All, ..sample::service(&["appserver4"]) };
    let roles = [("web", web), ("beat", beat), ("legacy", legacy)];
    let mut spec = environment(roles, &[&["web"], &["beat"], &["legacy"]]);
    spec.environment = name(environment_name);
    spec.tasks = antisocial().tasks;
    spec
}

fn container() -> ContainerSpec {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let pairs = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    ContainerSpec {
        command: texts(&["web", "--bind", "0.0.0.0:8000"]),
        env: [
            ("SECRET_KEY".into(), EnvValue::Secret("ANTISOCIAL_SECRET_KEY".into())),
            ("WHERE".into(), EnvValue::Text("{host}:{port}".into())),
        ]
        .into(),
        env_files: texts(&["/etc/antisocial.env"]),
        publish: Some(Publish { container: 8000, host: HostPort::Fixed(vec![8000, 8001]), address: Some("10.0.0.1".into()) }),
        volumes: texts(&["/srv/media:/media:ro"]),
        networks: texts(&["backend"]),
        options: ContainerOptions {
            user: Some("1000:1000".into()),
            memory: Some(512 << 20),
            milli_cpus: Some(1500),
            shm_size: Some(64 << 20),
            init: true,
            read_only: true,
            tmpfs: texts(&["/tmp"]),
            cap_add: texts(&["NET_BIND_SERVICE"]),
            extra_hosts: texts(&["db:10.0.0.9"]),
            labels: pairs("team", "feeds"),
            log_driver: Some("json-file".into()),
            log_options: pairs("max-size", "10m"),
        },
    }
}

fn plan(spec: &EnvironmentSpec, runs: Option<&str>, tag: &str, nonce: &str) -> Plan {
    let observed = runs.map_or_else(|| sample::bare(spec), |runs| sample::running(spec, runs));
    let mut ask = Ask { nonce, ..Ask::new(spec, &observed) };
    if let Some(runs) = runs {
        ask = ask.recorded(&release(runs));
    }
    ask.deploy(&release(tag)).unwrap()
}

fn actions(plan: &Plan) -> Vec<(ActionIndex, Action)> {
    plan.actions().map(|(index, action)| (index, action.clone())).collect()
}

fn place(plan: &Plan, text: &str) -> ActionIndex {
    plan.actions().find(|(_, action)| action.to_string() == text).unwrap().0
}

fn outcome(action: &Action) -> Outcome {
    match action {
        Action::Pull { .. } => Outcome { note: Some("16.0 MiB".into()), ..Outcome::default() },
        Action::Task { .. } => {
            Outcome { note: None, output_hash: Some("cd".repeat(32)), output: vec!["System check identified no issues.".into()] }
        }
        _ => Outcome::default(),
    }
}

fn bare(tag: &str) -> Build {
    Build {
        app: name("antisocial"),
        tag: name(tag),
        outcome: BuildOutcome::Succeeded,
        number: None,
        digest: None,
        commit: None,
        branch: None,
        url: None,
        author: None,
        message: None,
        seconds: None,
        source: "jenkins".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

/// What a CI tells of a build, in full.
fn build(tag: &str, outcome: BuildOutcome) -> Build {
    Build {
        outcome,
        commit: Some(name("8f6c1a9e0d3b5f7a9c1e2d4f6a8b0c1d2e3f4a5b")),
        branch: Some("main".into()),
        url: Some(format!("https://ci.example.org/job/antisocial/{tag}")),
        author: Some("Anna Ünal".into()),
        message: Some("Make the feed \"faster\"".into()),
        seconds: Some(143),
        ..bare(tag)
    }
}
