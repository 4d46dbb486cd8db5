//! Small plans, and deployments brought to each of their ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::{DeploymentState, Event, Failure, FailureKind, Outcome};
use shipmate::domain::message::{Account, Message, MessageRef, RoomId};
use shipmate::domain::names::{AppName, DeploymentId, EnvironmentName};
use shipmate::domain::plan::{Action, ActionIndex, Before, Origin, Plan, Purpose, Release, Revisions, Stage, Target};
use shipmate::domain::spec::Millis;
use shipmate::store::Ledger;

/// The place of the plan's task and of its last action.
pub const TASK: ActionIndex = ActionIndex(1);
pub const START: ActionIndex = ActionIndex(2);

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_793_700_000 + second).unwrap()
}

pub fn app() -> AppName {
    "blog".parse().unwrap()
}

pub fn production() -> EnvironmentName {
    "production".parse().unwrap()
}

pub fn release(number: u64) -> Release {
    let digest = format!("sha256:{number:064x}");
    Release { tag: format!("build-{number}").parse().unwrap(), digest: digest.parse().unwrap() }
}

pub fn target(host: &str) -> Target {
    Target { role: "web".parse().unwrap(), host: host.parse().unwrap() }
}

/// A plan of three actions: preflight, an irreversible task, a start that can be undone.
pub fn plan(purpose: Purpose, number: u64, before: Option<u64>) -> Plan {
    let web = target("h1");
    let actions = vec![
        Action::Preflight { host: web.host.clone(), min_free_mib: 100 },
        Action::Task {
            target: web.clone(),
            task: "migrate".parse().unwrap(),
            container: "blog-migrate".into(),
            command: vec!["migrate".into()],
            deadline: Millis::seconds(60),
            irreversible: true,
        },
        Action::Start { target: web.clone(), container: Some("blog-web".into()), origin: Origin::New { port: None } },
    ];
    Plan {
        app: app(),
        environment: production(),
        purpose,
        image: "registry.example.org/blog".parse().unwrap(),
        release: release(number),
        before: ["h1", "h2"].map(|host| Before { target: target(host), release: before.map(release) }).into(),
        warnings: Vec::new(),
        stages: vec![Stage { name: "all".into(), lanes: vec![actions], at_once: 1 }],
        roles: BTreeMap::new(),
        hosts: BTreeMap::new(),
        on_failure: Default::default(),
        bake: Default::default(),
        lock_after: Default::default(),
        nonce: String::new(),
        revision: Revisions::default(),
    }
}

pub fn deploy(number: u64, before: Option<u64>) -> Plan {
    plan(Purpose::Deploy, number, before)
}

pub async fn request(ledger: &Ledger, plan: Plan) -> DeploymentId {
    ledger.request(plan, "anna".parse().unwrap(), None, at(0)).await.unwrap()
}

pub fn started(action: ActionIndex) -> Event {
    Event::ActionStarted { action }
}

pub fn done(action: ActionIndex) -> Event {
    Event::ActionDone { action, outcome: Outcome::default() }
}

pub fn failed(action: ActionIndex) -> Event {
    Event::ActionFailed { action, failure: failure() }
}

fn failure() -> Failure {
    Failure::new(FailureKind::Exit { status: 1 }, "exit status 1")
}

async fn all(ledger: &Ledger, id: DeploymentId, events: Vec<Event>) -> DeploymentState {
    let mut state = None;
    for event in events {
        state = Some(ledger.deployment(id, event, at(1)).await.unwrap());
    }
    state.unwrap()
}

/// The events by which a deployment of the plan ends well.
pub fn success() -> Vec<Event> {
    [ActionIndex(0), TASK, START].into_iter().flat_map(|action| [started(action), done(action)]).collect()
}

pub async fn succeed(ledger: &Ledger, id: DeploymentId) -> DeploymentState {
    all(ledger, id, success()).await
}

/// Fails at its last action and is put back.
pub async fn undo(ledger: &Ledger, id: DeploymentId) -> DeploymentState {
    let events = vec![started(START), failed(START), Event::UndoStarted { action: START }, Event::UndoDone { action: START }];
    all(ledger, id, events).await
}

/// Fails at its last action, and can't be put back.
pub async fn stick(ledger: &Ledger, id: DeploymentId) -> DeploymentState {
    let lost = Event::UndoFailed { action: START, failure: failure() };
    all(ledger, id, vec![started(START), failed(START), Event::UndoStarted { action: START }, lost]).await
}

pub fn build(number: u64) -> Build {
    Build {
        app: app(),
        tag: release(number).tag,
        outcome: BuildOutcome::Succeeded,
        number: None,
        digest: None,
        commit: None,
        branch: None,
        url: Some(format!("https://ci.example.org/{number}")),
        author: None,
        message: None,
        seconds: Some(61),
        source: "jenkins".into(),
        at: at(0),
    }
}

pub fn room() -> RoomId {
    RoomId("terminal".into())
}

pub fn message(id: &str) -> MessageRef {
    MessageRef { room: room(), id: id.into() }
}

pub fn said(id: &str, text: &str) -> Message {
    Message { at: message(id), author: Account("terminal:anna".into()), text: text.into(), received: at(0), doubt: None }
}
