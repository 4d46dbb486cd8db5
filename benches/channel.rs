//! Measures what a busy channel costs a deployment: `cargo bench --bench channel [-- ROUNDS]`.
//!
//! The whole bot with its store on the disk, in a Discord of our own, deploys on rehearsed hosts whose containers take their time to
//! be healthy. Every second deployment has a thousand messages written in the channel beside it. Both kinds alternate, so that
//! whatever else the machine does hits both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/it/discord/fake.rs"]
mod fake;
#[path = "../tests/it/until.rs"]
mod until;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shipmate::bot::{Bot, Habits, Parts as BotParts};
use shipmate::chat::discord::{Discord, Parts};
use shipmate::clock::Clock;
use shipmate::domain::message::RoomId;
use shipmate::domain::plan::Release;
use shipmate::domain::spec::Millis;
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::Metrics;
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::{Redactor, Secret};
use shipmate::store::Ledger;
use tokio_util::sync::CancellationToken;

use self::fake::{CHANNEL, Fake};

/// How many messages are written beside a deployment.
const MESSAGES: u32 = 1000;

/// In which time.
const WITHIN: Duration = Duration::from_secs(4);

const FLEET: &str = r#"
[people.anna]
accounts = ["discord:100"]
groups = ["deployers"]

[apps.antisocial]
image = "registry.lan:5000/thraxil/antisocial"

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1", "appserver2", "appserver3"]
publish = { container = 8000, host = [8000, 8001] }
health = { http = "/health" }
"#;

fn release(number: usize) -> Release {
    Release { tag: format!("build-{number}").parse().unwrap(), digest: format!("sha256:{number:0>64}").parse().unwrap() }
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(7);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(rounds));
}

async fn measure(rounds: usize) {
    let fake = Fake::start().await;
    assert_eq!(fake.user("anna"), 100);
    let fleet = Arc::new(Fleet::parse("fleet.toml", FLEET).unwrap());
    let rehearsal = Rehearsal::new(fleet.environment(&"antisocial".parse().unwrap(), None).unwrap());
    for number in 0..=2 * rounds {
        rehearsal.push(&release(number), Behaviour::good().warms_up_in(Millis::seconds(1)));
    }
    let folder = tempfile::tempdir().unwrap();
    let room = RoomId(format!("discord:{CHANNEL}"));
    let discord = Discord::new(Parts {
        token: Secret::new("the-token".to_owned()).unwrap(),
        rooms: vec![room],
        announcing: Default::default(),
        prefix: "!".to_owned(),
        api: Some(fake.api()),
        client: Arc::new(|| reqwest::Client::builder().timeout(Duration::from_secs(10)).build()),
        people: Default::default(),
        menu: None,
        now: Timestamp::now,
    });
    let bot = Bot::start(BotParts {
        fleet,
        catalog: Arc::new(Catalog::builtin().unwrap()),
        ledger: Ledger::open(&folder.path().join("store")).unwrap().0,
        engine: Arc::new(rehearsal),
        chats: vec![Arc::new(discord.unwrap())],
        metrics: Metrics::new(),
        prefix: Prefix::default(),
        outputs: folder.path().join("outputs"),
        output_keep: Duration::from_secs(3600),
        redactor: Redactor::default(),
        heartbeat: None,
        habits: Habits { drift_every: Duration::ZERO, ..Habits::default() },
        clock: Clock::system(),
    });
    let bot = bot.await.unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let life = tokio::spawn(async move { bot.run(stop).await });
    fake.until("a session", |fake| (fake.connections().0 > 0).then_some(())).await;

    deploy(&fake, 0, false).await;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        quiet.push(deploy(&fake, 2 * round + 1, false).await);
        busy.push(deploy(&fake, 2 * round + 2, true).await);
    }
    shutdown.cancel();
    life.await.unwrap();
    assert_eq!(fake.connections(), (1, 0), "the connection bore it");
    let (quiet, busy) = (median(quiet), median(busy));
    println!("a deployment in a quiet channel: {:.2} s (median of {rounds})", quiet.as_secs_f64());
    println!("beside {MESSAGES} messages:          {:.2} s (median of {rounds})", busy.as_secs_f64());
    println!("it costs {:+.1} %", (busy.as_secs_f64() / quiet.as_secs_f64() - 1.0) * 100.0);
}

/// From the command to the closing message.
async fn deploy(fake: &Fake, number: usize, busy: bool) -> Duration {
    let begin = Instant::now();
    fake.say("anna", &format!("!deploy antisocial build-{number}"));
    if busy {
        let fake = fake.clone();
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(WITHIN / MESSAGES);
            for n in 0..MESSAGES {
                pace.tick().await;
                fake.say("mallory", &format!("lunch? {n}"));
            }
        });
    }
    fake.sees(&[&format!("antisocial production runs build-{number}"), "deploy by anna"]).await;
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
