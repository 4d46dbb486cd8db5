//! The bot dies before and after every write of its journal, in the middle of each of the shipped commands that act; after the next
//! start everything comes to the same end, and nobody reads anything twice.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use shipmate::bot::End;
use shipmate::domain::deployment::Event;
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Fault};
use shipmate::store::{Change, Direction, Key, Ledger, MemoryStore, Store, StoreError};

use super::stage::{Room, Stage};
use super::{fleet, votes};
use crate::sample::*;

/// How many of the lives are lived at the same time.
const AT_ONCE: usize = 16;

/// When a store dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// The write is lost.
    Before,
    /// The write is durable, and nobody hears of it.
    After,
}

/// A store that dies at one of its writes.
struct Mortal {
    inner: Arc<MemoryStore>,
    left: AtomicU64,
    death: Death,
    dead: AtomicBool,
}

impl Mortal {
    fn dies(&self) -> Result<(), StoreError> {
        self.dead.store(true, Ordering::SeqCst);
        Err(StoreError::Io { path: "the store".into(), why: "the bot was killed".into() })
    }
}

impl Store for Mortal {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, range: Range<Key>, direction: Direction, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.inner.scan(range, direction, limit)
    }

    fn write(&self, changes: Vec<Change>, lines: &[u8]) -> Result<(), StoreError> {
        if self.dead.load(Ordering::SeqCst) {
            return self.dies();
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return self.inner.write(changes, lines);
        }
        if matches!(self.death, Death::After) {
            self.inner.write(changes, lines)?;
        }
        self.dies()
    }

    fn distrust(&self, _why: &str) {}
}

/// What a person does, and how it ends.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    /// What was deployed before, the last of it running.
    before: &'static [&'static str],
    /// What anna types then.
    command: &'static str,
    /// What the policy demands.
    policy: fn() -> String,
    /// An action that fails in it.
    fails: Option<&'static str>,
    /// Whether people vote while the bot is dead, if they were asked already.
    votes_while_away: bool,
    /// The phase that it comes to.
    ends: &'static str,
    /// What the targets run then.
    runs: &'static str,
}

/// Lives through a scenario, dying at the write of this number; whether it died at all.
async fn live(scenario: Scenario, write: u64, death: Death) -> bool {
    let context = format!("{} dies {death:?} write {write}", scenario.command);
    let mut stage = Stage::bare(&fleet(&(scenario.policy)(), ""), vec![Room::new("room", "terminal")]);
    let inner = Arc::new(MemoryStore::default());
    stage.ledger = Ledger::over(inner.clone()).unwrap();
    for number in 41..44 {
        stage
            .rehearsal
            .push(&release(&format!("build-{number}")), Behaviour::good().warms_up_in(shipmate::domain::spec::Millis(0)));
    }
    stage.start().await;
    for (number, tag) in (1..).zip(scenario.before) {
        stage.say("anna", &format!("!deploy antisocial {tag} --emergency \"to begin with\"")).await;
        stage.reaches_at_last(number, "succeeded").await;
        stage.sees(&[&format!("#{number} antisocial production runs {tag}")]).await;
    }
    stage.stop().await;

    stage.ledger =
        Ledger::over(Arc::new(Mortal { inner: inner.clone(), left: AtomicU64::new(write), death, dead: AtomicBool::new(false) }))
            .unwrap();
    if let Some(action) = scenario.fails {
        stage.rehearsal.fault(Fault::apply(action));
    }
    let mut died = match stage.try_start().await {
        Ok(()) => false,
        Err(()) => true,
    };
    if !died {
        died = play(&mut stage, scenario).await;
    }
    if died {
        stage.ledger = Ledger::over(inner).unwrap();
        if let Some(action) = scenario.fails.filter(|_| !knows_of_a_failure(&stage)) {
            // What nobody wrote down is tried again, and is as broken as before.
            stage.rehearsal.fault(Fault::apply(action));
        }
        if scenario.votes_while_away {
            stage.votes_if_asked(1 + scenario.before.len() as u64).await;
        }
        stage.start().await;
        assert!(!play(&mut stage, scenario).await, "{context}: it dies once");
    }
    for host in ["appserver1", "appserver2"] {
        let running: Vec<String> =
            stage.rehearsal.running(&target(&format!("web@{host}"))).iter().map(ToString::to_string).collect();
        assert_eq!(running, [scenario.runs], "{context}: {host}");
    }
    assert_eq!(stage.rehearsal.violations(), Vec::<String>::new(), "{context}");
    assert!(stage.rehearsal.task_runs(&name("migrate")) <= 1 + scenario.before.len() as u32, "{context}: each migration ran once");
    stage.stop().await;
    let posts = stage.ledger.health().counts.posts;
    let wanted: Vec<String> = (1..=posts).map(|post| format!("post:{post}")).collect();
    assert_eq!(stage.room.keys_shown("post:"), sorted(wanted), "{context}: each post is shown, and once");
    died
}

/// Whether the newest deployment's journal says that something failed.
fn knows_of_a_failure(stage: &Stage) -> bool {
    let events = stage.ledger.events(DeploymentId(stage.newest())).unwrap();
    events.iter().any(|(_, event)| matches!(event, Event::ActionFailed { .. }))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// The people do what they want done until it is; whether the bot died meanwhile.
async fn play(stage: &mut Stage, scenario: Scenario) -> bool {
    // Whoever isn't heard says it again: nothing of it was acknowledged.
    let number = scenario.before.len() as u64 + 1;
    if stage.newest() < number && stage.ledger.inbox().unwrap().is_empty() {
        stage.say("anna", scenario.command).await;
    }
    tokio::select! {
        end = stage.dies() => {
            assert_eq!(end, End::Broken);
            return true;
        }
        () = stage.votes_and_waits(number, scenario.ends) => {}
    }
    // The rooms get the last state too.
    tokio::select! {
        end = stage.dies() => {
            assert_eq!(end, End::Broken);
            true
        }
        () = stage.shows_all() => false,
    }
}

async fn die_everywhere(scenario: Scenario) {
    let mut write = 0;
    loop {
        let lives = (write..write + AT_ONCE as u64)
            .flat_map(|write| [Death::Before, Death::After].map(|death| live(scenario, write, death)));
        let died = join_all(lives).await;
        write += AT_ONCE as u64;
        if died.iter().any(|died| !died) {
            break;
        }
    }
    assert!(write > 10, "it has writes to die at");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_with_votes() {
    let policy = || votes(1);
    die_everywhere(Scenario {
        before: &["build-42"],
        command: "!deploy antisocial build-43",
        policy,
        fails: None,
        votes_while_away: true,
        ends: "succeeded",
        runs: "build-43",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_is_put_back() {
    let fails = Some("healthy web@appserver2");
    let policy = || votes(1);
    die_everywhere(Scenario {
        before: &["build-42"],
        command: "!deploy antisocial build-43",
        policy,
        fails,
        votes_while_away: false,
        ends: "undone",
        runs: "build-42",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_revert() {
    let policy = || votes(1).replace("votes = 1", "votes = 1, commands = [\"deploy\"]");
    die_everywhere(Scenario {
        before: &["build-41", "build-42"],
        command: "!revert antisocial",
        policy,
        fails: None,
        votes_while_away: true,
        ends: "succeeded",
        runs: "build-41",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart() {
    let policy = || votes(1);
    die_everywhere(Scenario {
        before: &["build-42"],
        command: "!restart antisocial",
        policy,
        fails: None,
        votes_while_away: false,
        ends: "succeeded",
        runs: "build-42",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_run_once() {
    let policy = || votes(1);
    die_everywhere(Scenario {
        before: &["build-42"],
        command: "!run antisocial manage check",
        policy,
        fails: None,
        votes_while_away: true,
        ends: "succeeded",
        runs: "build-42",
    })
    .await;
}
