//! How an action ended: what it left behind, or which of the distinct ways to fail it was.

use serde::{Deserialize, Serialize};

/// Why an action, or the undo of one, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which of the distinct ways to fail it was.
    pub kind: FailureKind,
    /// What happened and how to mend it, for people; free of secrets.
    pub message: String,
    /// The last lines of output, oldest first; free of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// The SHA-256 of the output that it wrote, if it wrote any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
}

impl Failure {
    /// A failure without output.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), output: Vec::new(), output_hash: None }
    }

    /// The same with the last lines of output.
    pub fn with_output(self, output: Vec<String>) -> Failure {
        Failure { output, ..self }
    }
}

/// The distinct ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FailureKind {
    /// A process ended with this exit status, not 0.
    Exit {
        /// The status.
        status: i64,
    },
    /// A process was killed by a signal.
    Signal {
        /// Its number, where known.
        signal: Option<i64>,
    },
    /// The connection broke, so how it ended is unknown.
    Lost,
    /// The host could not be reached.
    Unreachable,
    /// A deadline passed.
    Timeout,
    /// The health check said no until its deadline.
    Unhealthy,
    /// The host has too little space.
    DiskFull,
    /// Something that must be there isn't: an image, a container, a file.
    Missing,
    /// The engine, the registry or a command refused.
    Refused,
    /// Not tried, since an earlier undo on the same host failed.
    Skipped,
    /// Given up since a person cancelled.
    Cancelled,
}

impl FailureKind {
    /// Whether the host isn't there: it didn't do it badly, it didn't do it.
    pub fn is_absence(&self) -> bool {
        match self {
            // `Skipped`: what comes after one of the others on the same host.
            FailureKind::Lost | FailureKind::Unreachable | FailureKind::Skipped => true,
            FailureKind::Exit { .. }
            | FailureKind::Signal { .. }
            | FailureKind::Timeout
            | FailureKind::Unhealthy
            | FailureKind::DiskFull
            | FailureKind::Missing
            | FailureKind::Refused
            | FailureKind::Cancelled => false,
        }
    }
}

/// What an action left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What people may want to know: `already there`, `16.0 MiB`, `healthy after 1.1 s (200)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The SHA-256 of the output that it wrote, if it wrote any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
    /// The last lines of output, where people asked for them by a command; free of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}
