//! The listener: `POST /builds/{source}`, `GET /healthz`, `GET /metrics`.
//!
//! It is open to whoever can reach it, so everything has a bound: connections, header, body, and the time to send them. A
//! build is answered with 202 only when the [`Intake`] says that it is durable; the services repeat whatever isn't.
//! Answers are written for the person who looks at a webhook's log at the other end and asks why nothing happened.

mod answer;
mod body;
mod health;
mod metrics;
mod server;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::builds::{BuildSource, Notice};
use crate::domain::names::{AppName, Tag};

pub use health::{Condition, Health, HealthReport};
pub use metrics::Metrics;
pub use server::serve;

/// Who takes what a source announced.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes the notices of one request. What the answer calls accepted is durable when this returns; a notice that was
    /// taken before gets the same answer again. If the sender goes away the future is dropped, so each step in it must be whole.
    async fn take(&self, source: &'static str, notices: Vec<Notice>, now: Timestamp) -> Result<Taken, IntakeError>;
}

/// What became of a request's notices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The builds that are now known, or were already.
    pub accepted: Vec<Accepted>,
    /// Why the other notices are no builds of ours, one sentence each, for the sender to read.
    pub ignored: Vec<String>,
}

/// A build that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The app that it is a build of.
    pub app: AppName,
    /// Its tag.
    pub tag: Tag,
}

/// The store refuses; the text is for our log, the sender is only asked to come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IntakeError(pub String);

/// What the listener works with.
pub struct App {
    /// The sources that have a secret.
    pub sources: Vec<Box<dyn BuildSource>>,
    /// Where builds go.
    pub intake: Arc<dyn Intake>,
    /// What `/healthz` asks.
    pub health: Arc<dyn Health>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The time at which a request came in.
    pub clock: fn() -> Timestamp,
    /// The bounds.
    pub limits: Limits,
}

/// The listener's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long a request's header may take to come in, and then its body; also how long a connection may idle.
    pub read: Duration,
    /// Connections at a time, each with one request at a time; more wait in the kernel's queue.
    pub connections: u32,
    /// How long the running requests may go on after the shutdown.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 1024 * 1024, read: Duration::from_secs(10), connections: 512, drain: Duration::from_secs(15) }
    }
}
