//! Makers of failures.

use crate::domain::deployment::{Failure, FailureKind};

/// The engine, the registry or a command refused.
pub fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Refused, message)
}

/// Something that must be there isn't.
pub fn missing(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Missing, message)
}

/// The host, or its engine, could not be reached.
pub fn unreachable(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unreachable, message)
}

/// How a process ended that didn't end well, from the code that Docker and shells give it: 128 + n stands for signal n.
pub fn ended_with(code: i64) -> FailureKind {
    match code {
        129..=192 => FailureKind::Signal { signal: Some(code - 128) },
        status => FailureKind::Exit { status },
    }
}

/// `exit status 3`, `signal 9 (KILL)`.
pub fn describe(kind: FailureKind) -> String {
    let name = |signal| match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        6 => " (ABRT)",
        9 => " (KILL)",
        11 => " (SEGV)",
        13 => " (PIPE)",
        15 => " (TERM)",
        _ => "",
    };
    match kind {
        FailureKind::Exit { status } => format!("exit status {status}"),
        FailureKind::Signal { signal: Some(signal) } => format!("signal {signal}{}", name(signal)),
        FailureKind::Signal { signal: None } => "a signal".into(),
        FailureKind::Lost
        | FailureKind::Unreachable
        | FailureKind::Timeout
        | FailureKind::Unhealthy
        | FailureKind::DiskFull
        | FailureKind::Missing
        | FailureKind::Refused
        | FailureKind::Skipped
        | FailureKind::Cancelled => "no exit status".into(),
    }
}
