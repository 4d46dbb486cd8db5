//! Waiting: each wait has an end, and none outlives a person's Ctrl-C.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why the run ends before its time.
#[derive(Debug)]
pub enum End {
    /// A person ended it.
    Interrupted,
    /// The bot or the rig does what makes all further rounds worthless.
    Broken(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Interrupted => f.write_str("interrupted"),
            End::Broken(why) => f.write_str(why),
        }
    }
}

/// What a part of the run makes, unless the run ends.
pub type Outcome<T> = Result<T, End>;

/// The end of the run for this reason; for `map_err`.
pub fn broken<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> End {
    move |error| End::Broken(format!("{what}: {error}"))
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// With what it was for.
    Seen,
    /// With the deadline.
    InVain,
}

/// Waits, as long as nobody interrupts.
#[derive(Clone)]
pub struct Patience {
    interrupted: Arc<AtomicBool>,
}

impl Patience {
    /// Hears the signals that end a program from now on; they no longer end this one by themselves.
    pub fn begin() -> io::Result<Patience> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = runtime.block_on(async { kinds.map(signal).into_iter().collect::<io::Result<Vec<_>>>() })?;
        let heard = interrupted.clone();
        thread::spawn(move || {
            let each = signals.into_iter().map(|mut signal| Box::pin(async move { signal.recv().await }));
            runtime.block_on(futures_util::future::select_all(each));
            heard.store(true, Ordering::SeqCst);
        });
        Ok(Patience { interrupted })
    }

    /// Ends the run if a person wants that.
    pub fn check(&self) -> Outcome<()> {
        if self.interrupted.load(Ordering::SeqCst) { Err(End::Interrupted) } else { Ok(()) }
    }

    /// Waits for a moment.
    pub fn sleep_until(&self, moment: Instant) -> Outcome<()> {
        loop {
            self.check()?;
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// Looks again and again, for so long at most.
    pub fn wait(&self, at_most: Duration, mut look: impl FnMut() -> Outcome<bool>) -> Outcome<Waited> {
        let end = Instant::now() + at_most;
        loop {
            if look()? {
                return Ok(Waited::Seen);
            }
            if Instant::now() >= end {
                return Ok(Waited::InVain);
            }
            self.sleep_until(Instant::now() + LOOK_EVERY)?;
        }
    }
}
