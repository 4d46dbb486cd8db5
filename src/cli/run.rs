//! `shipmate`: the bot, its listener, its signals.

use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::chats::Chats;
use super::{BROKEN, failed, log, wiring};
use crate::bot::{Bot, BuildIntake, Commands, Emojis, End, Habits, Parts, Vitals};
use crate::builds;
use crate::chat::Chat;
use crate::chat::console::{Console, Look};
use crate::chat::local::{Local, system_user};
use crate::clock::Clock;
use crate::http::{self, App, Limits, Metrics};
use crate::settings::Settings;
use crate::store::Ledger;

pub(super) fn run(settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let end = runtime.block_on(bot(settings));
            // A thread that still reads standard input must not hold up the exit.
            runtime.shutdown_background();
            end
        }
        Err(error) => failed(&format!("the runtime can't start: {error}")),
    }
}

async fn bot(settings: Settings) -> ExitCode {
    let console = match Console::stdio(&settings.terminal_user, Timestamp::now) {
        Ok(console) => console,
        Err(error) => return failed(&format!("the terminal can't be used: {error}")),
    };
    let drawn = matches!(Look::of_stdio(), Look::Screen { .. });
    log::start(&settings, drawn.then(|| console.notes()));
    let world = match wiring::World::read(&settings) {
        Ok(world) => world,
        Err(problems) => return failed(&problems),
    };
    let (ledger, recovery) = match Ledger::open(&settings.store) {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    if let Some(story) = recovery.story() {
        tracing::warn!("{story}");
    }
    // The ledger is ours now, so whatever socket is in its folder is nobody's.
    let local = match Local::open(&settings.store, system_user, Timestamp::now) {
        Ok(local) => Arc::new(local),
        Err(error) => return failed(&error),
    };
    let engine = match world.engine(&settings).await {
        Ok(engine) => engine,
        Err(error) => return failed(&error),
    };
    let listener = match TcpListener::bind(&settings.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            return failed(&format!(
                "can't listen on {}: {error}; is another bot running, or is SHIPMATE_LISTEN wrong?",
                settings.listen
            ));
        }
    };
    let mut chats = vec![Arc::new(console) as Arc<dyn Chat>, local.clone()];
    let menu = Commands { catalog: world.catalog.clone(), fleet: world.fleet.clone(), ledger: ledger.clone() };
    match Chats::of(&world, &settings, Some(Arc::new(menu))) {
        Ok(services) => chats.extend(services.into_all()),
        Err(error) => return failed(&error),
    }
    let metrics = Metrics::new();
    let started = Bot::start(Parts {
        fleet: world.fleet.clone(),
        catalog: world.catalog.clone(),
        ledger: ledger.clone(),
        engine,
        chats,
        metrics: metrics.clone(),
        prefix: match settings.prefix.parse() {
            Ok(prefix) => prefix,
            Err(error) => return failed(&error),
        },
        outputs: settings.store.join("outputs"),
        output_keep: settings.output_keep,
        redactor: world.redactor.clone(),
        heartbeat: Some(settings.store.join("alive")),
        habits: Habits {
            emojis: Emojis { approve: settings.approve_emoji.clone(), reject: settings.reject_emoji.clone() },
            stale_after: settings.stale_after,
            drift_every: settings.drift_every,
            post_head: settings.post_head.clone(),
        },
        clock: Clock::system(),
    });
    let bot = match started.await {
        Ok(bot) => bot,
        Err(error) => return failed(&error),
    };
    let app = App {
        sources: builds::all(&settings.webhook_secrets),
        intake: Arc::new(BuildIntake { fleet: world.fleet, ledger: ledger.clone(), metrics: metrics.clone() }),
        health: Arc::new(Vitals(bot.clone())),
        metrics,
        clock: Timestamp::now,
        limits: Limits::default(),
    };
    tracing::info!(listen = %settings.listen, store = %settings.store.display(), "ready");
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone());
    let closing = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, app, closing.clone().cancelled_owned()));
    let end = bot.run(shutdown).await;
    closing.cancel();
    // It only ends when its last request has; a panic in it was logged.
    let _ = server.await;
    if let Err(error) = local.close() {
        tracing::warn!(%error, "the local chat's socket can't be removed; the next start does that");
    }
    match end {
        End::Stopped => ExitCode::SUCCESS,
        End::Broken => {
            failed(&ledger.trouble().unwrap_or_else(|| "a part of the bot broke; the log says which".to_owned()));
            ExitCode::from(BROKEN)
        }
    }
}

/// The first SIGTERM or SIGINT stops in order; the second one at once, which the journal makes safe.
fn stop_on_signal(shutdown: CancellationToken) {
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("signals can't be heard; stop the bot with SIGKILL, which the journal makes safe");
            return;
        };
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                tracing::warn!("second signal: exiting at once; the next start goes on");
                std::process::exit(0);
            }
            shutdown.cancel();
        }
    });
}
