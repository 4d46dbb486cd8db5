//! One SSH connection to each host, held while it is used and made again when it is dead.
//!
//! The first thing that runs on a new connection must be a command: sshd switches off Nagle's algorithm at the first
//! command only, and before that every second answer of a forwarded socket waits 40 ms for a delayed acknowledgement.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssh::Session;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::command::RemoteCommand;
use super::control::ControlDir;
use super::dial::{DialError, DialErrorKind, dial};
use super::failure::unreachable;
use super::limits::{CONNECT_PAUSE, CONNECT_TOTAL, CONNECT_TRIES, CONNECTS_AT_ONCE, SCRIPT};
use super::link::{Answer, Link};
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::names::HostName;

/// The connections of one run.
pub struct Links {
    config: Option<PathBuf>,
    slots: Mutex<HashMap<HostName, Arc<Slot>>>,
    dials: Semaphore,
    // After the slots: sessions shut down through sockets in it.
    control: ControlDir,
}

#[derive(Default)]
struct Slot {
    state: AsyncMutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    link: Option<Arc<Link>>,
    failed: Option<(Instant, DialError)>,
}

impl Links {
    /// No connections yet. `config` is the SSH configuration; `None` = the user's own.
    pub fn new(config: Option<PathBuf>, control: ControlDir) -> Links {
        Links { config, slots: Mutex::default(), dials: Semaphore::new(CONNECTS_AT_ONCE), control }
    }

    /// A live connection to the host: the one that is there, or a new one.
    ///
    /// # Errors
    /// When the host can't be reached; says how to mend it.
    pub async fn get(&self, host: &HostName) -> Result<Arc<Link>, Failure> {
        Ok(self.get_with(host, &RemoteCommand::new("true")).await?.0)
    }

    /// As [`Links::get`]; a new connection runs `first` as its first command, and its answer is returned too.
    ///
    /// # Errors
    /// When the host can't be reached; says how to mend it.
    pub async fn get_with(&self, host: &HostName, first: &RemoteCommand) -> Result<(Arc<Link>, Option<Answer>), Failure> {
        let asked = Instant::now();
        let slot = Arc::clone(self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(host.clone()).or_default());
        let mut state = slot.state.lock().await;
        if let Some(link) = &state.link {
            if link.is_alive().await {
                return Ok((Arc::clone(link), None));
            }
            debug!(%host, "the connection is dead");
            state.link = None;
        }
        // Whoever waited while another tried in vain has his answer: a dead host costs one wait, not one for each asker.
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(unreachable(error.message.clone()));
        }
        match self.dial(host).await {
            Ok(session) => {
                let link = Arc::new(Link::new(host.clone(), session));
                let answer = link.ask(first, SCRIPT).await.map_err(|failure| no_commands(host, failure))?;
                state.failed = None;
                state.link = Some(Arc::clone(&link));
                Ok((link, Some(answer)))
            }
            Err(error) => {
                let message = error.message.clone();
                state.failed = Some((Instant::now(), error));
                Err(unreachable(message))
            }
        }
    }

    async fn dial(&self, host: &HostName) -> Result<Session, DialError> {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let error = {
                let _permit = self.dials.acquire().await;
                let dir = self.control.for_link().map_err(|error| DialError {
                    kind: DialErrorKind::Local,
                    message: format!("can't make a directory for the connection to {host}: {error}"),
                })?;
                match dial(host, self.config.as_deref(), dir).await {
                    Ok(session) => {
                        debug!(%host, tries, elapsed = ?started.elapsed(), "connected");
                        return Ok(session);
                    }
                    Err(error) => error,
                }
            };
            if !error.kind.may_pass() || tries == CONNECT_TRIES || started.elapsed() >= CONNECT_TOTAL {
                return Err(error);
            }
            debug!(%host, tries, %error, "no connection, trying again");
            sleep(jittered(CONNECT_PAUSE)).await;
        }
    }

    /// Lets go of a connection whose rights are settled (groups of its user, what sshd forwards), so that a change on the
    /// host counts at the next try.
    pub async fn forget(&self, link: &Arc<Link>) {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(link.host()).cloned();
        if let Some(slot) = slot {
            let mut state = slot.state.lock().await;
            if state.link.as_ref().is_some_and(|held| Arc::ptr_eq(held, link)) {
                state.link = None;
            }
        }
    }

    /// Closes the connections that nobody uses.
    pub async fn rest(&self) {
        let slots: Vec<_> = self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for slot in slots {
            let Ok(mut state) = slot.state.try_lock() else { continue };
            if let Some(link) = state.link.take_if(|link| Arc::strong_count(link) == 1).and_then(Arc::into_inner) {
                link.close().await;
            }
        }
    }
}

/// Who is let in and can't run the simplest script has a login shell, or a forced command, that isn't one.
fn no_commands(host: &HostName, failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Exit { .. } | FailureKind::Signal { .. } | FailureKind::Refused => {
            let why = failure.output.last().cloned().unwrap_or(failure.message);
            unreachable(format!(
                "{host} lets Shipmate in, but runs no commands for it ({why}): its user needs a POSIX login shell, and no forced command"
            ))
        }
        _ => failure,
    }
}

/// Between half of the span and one and a half of it, so that many who failed at once don't come back at once.
fn jittered(span: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    span.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX))
}
