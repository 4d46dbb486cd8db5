//! The real bot on rehearsed hosts, in the chats that a test gives it. Time is the real one.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
#[cfg(feature = "discord")]
use shipmate::bot::Commands;
use shipmate::bot::{Bot, Habits, Parts, Vitals};
use shipmate::chat::Chat;
use shipmate::clock::Clock;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::DeploymentState;
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::{Condition, Health, Metrics};
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::sample::{name, release};

/// A fleet, its hosts, and the bot that deploys there.
pub struct Play {
    pub ledger: Ledger,
    pub rehearsal: Rehearsal,
    pub habits: Habits,
    fleet: Arc<Fleet>,
    catalog: Arc<Catalog>,
    folder: tempfile::TempDir,
    life: Option<Life>,
}

/// A bot that runs.
struct Life {
    bot: Bot,
    end: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Play {
    /// The hosts of antisocial know build-41 to build-49.
    pub fn new(fleet: &str) -> Play {
        let fleet = Fleet::parse("fleet.toml", fleet).unwrap_or_else(|problems| panic!("{problems}"));
        let rehearsal = Rehearsal::new(fleet.environment(&name("antisocial"), None).unwrap());
        for number in 41..50 {
            rehearsal.push(&release(&format!("build-{number}")), Behaviour::good());
        }
        Play {
            ledger: Ledger::in_memory(),
            rehearsal,
            habits: Habits { drift_every: Duration::ZERO, ..Habits::default() },
            fleet: Arc::new(fleet),
            catalog: Arc::new(Catalog::builtin().unwrap()),
            folder: tempfile::tempdir().unwrap(),
            life: None,
        }
    }

    /// What the bot suggests to those who don't type.
    #[cfg(feature = "discord")]
    pub fn menu(&self) -> Commands {
        Commands { catalog: self.catalog.clone(), fleet: self.fleet.clone(), ledger: self.ledger.clone() }
    }

    /// The bot begins to live in these chats.
    pub async fn start(&mut self, chats: Vec<Arc<dyn Chat>>) {
        let bot = Bot::start(Parts {
            fleet: self.fleet.clone(),
            catalog: self.catalog.clone(),
            ledger: self.ledger.clone(),
            engine: Arc::new(self.rehearsal.clone()),
            chats,
            metrics: Metrics::new(),
            prefix: Prefix::default(),
            outputs: self.folder.path().join("outputs"),
            output_keep: Duration::from_secs(3600),
            redactor: Redactor::default(),
            heartbeat: Some(self.folder.path().join("alive")),
            habits: self.habits.clone(),
            clock: Clock::system(),
        });
        let bot = bot.await.unwrap();
        let shutdown = CancellationToken::new();
        let (running, stop) = (bot.clone(), shutdown.clone());
        let end = tokio::spawn(async move {
            running.run(stop).await;
        });
        self.life = Some(Life { bot, end, shutdown });
    }

    pub async fn stop(&mut self) {
        let Life { end, shutdown, .. } = self.life.take().unwrap();
        shutdown.cancel();
        end.await.unwrap();
    }

    #[cfg_attr(not(feature = "discord"), allow(dead_code))]
    /// Waits until /healthz says these words of the chats, or that they are well.
    pub async fn chats_are(&self, in_trouble: Option<&str>) {
        let vitals = Vitals(self.life.as_ref().unwrap().bot.clone());
        let says = || match vitals.report().parts.into_iter().find(|(part, _)| *part == "chat") {
            Some((_, Condition::Degraded(why))) => Some(why),
            _ => None,
        };
        let is_so = || match (says(), in_trouble) {
            (Some(why), Some(words)) => why.contains(words),
            (said, words) => said.is_none() && words.is_none(),
        };
        // Nobody is told when it changes.
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "{in_trouble:?}: {:?}", says());
    }

    /// A build server tells of a build of the branch main.
    pub async fn announce(&self, app: &str, tag: &str, outcome: BuildOutcome) {
        let build = Build {
            app: name(app),
            tag: name(tag),
            outcome,
            number: None,
            digest: None,
            commit: tag.strip_prefix("build-").map(|number| format!("{number:0>40}").parse().unwrap()),
            branch: Some("main".to_owned()),
            url: Some("https://ci.example.org/job/antisocial/42/".to_owned()),
            author: Some("Dora".to_owned()),
            message: Some("Make *everything* faster".to_owned()),
            seconds: None,
            source: "generic".to_owned(),
            at: Timestamp::now(),
        };
        self.ledger.built(build, vec![format!("{app} {tag}")], Timestamp::now()).await.unwrap();
    }

    pub fn state(&self, number: u64) -> DeploymentState {
        self.ledger.state(DeploymentId(number)).unwrap().unwrap()
    }

    /// Waits until a deployment is over.
    pub async fn is_over(&self, number: u64) {
        let mut facts = self.ledger.subscribe();
        let over = async {
            while !self.state(number).phase.is_final() {
                facts.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), over).await.expect("it doesn't end");
    }
}
