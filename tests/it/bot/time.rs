//! The time of a stage. It is tokio's paused time, and it goes on by steps, each when the ledger has done all that it was handed: its
//! thread is no task, so paused time alone would rush past it.

use std::sync::mpsc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shipmate::clock::Clock;
use shipmate::domain::message::{MessageRef, RoomId};
use shipmate::store::Ledger;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, advance};

/// How far it goes at once: less than anything in the bot waits.
const STEP: Duration = Duration::from_millis(10);

/// The time; it stands still when this is dropped.
pub struct Time {
    began: (Timestamp, Instant),
    ledger: watch::Sender<Ledger>,
    /// A task for blocking work that lasts as long as this keeps tokio from moving the time by itself.
    _stands: mpsc::Sender<()>,
}

impl Time {
    /// Begins at this moment, in a runtime whose time is paused.
    pub fn begin(now: Timestamp, ledger: Ledger) -> Time {
        let (stands, ends) = mpsc::channel::<()>();
        spawn_blocking(move || ends.recv());
        let (ledger, mut of) = watch::channel(ledger);
        tokio::spawn(async move {
            while of.has_changed().is_ok() {
                let ledger = of.borrow_and_update().clone();
                at_rest(&ledger).await;
                advance(STEP).await;
            }
        });
        Time { began: (now, Instant::now()), ledger, _stands: stands }
    }

    /// From now on it waits for this ledger.
    pub fn follow(&self, ledger: &Ledger) {
        self.ledger.send_replace(ledger.clone());
    }

    pub fn now(&self) -> Timestamp {
        now(self.began)
    }

    pub fn clock(&self) -> Clock {
        let began = self.began;
        Clock::new(move || now(began))
    }
}

fn now((at, began): (Timestamp, Instant)) -> Timestamp {
    at.checked_add(SignedDuration::try_from(began.elapsed()).unwrap()).unwrap()
}

/// Waits until the ledger has done what it was handed so far. One that is dead does nothing any more.
pub async fn at_rest(ledger: &Ledger) {
    let nobody = MessageRef { room: RoomId("nowhere".into()), id: "0".into() };
    let _ = ledger.answered(nobody, Timestamp::UNIX_EPOCH).await;
    // And the others have their turn.
    let _ = spawn_blocking(|| ()).await;
}
