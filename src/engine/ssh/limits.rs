//! Every deadline and bound of the engine, in one place. Nothing here waits, reads or opens connections without one.

use std::time::Duration;

/// How long an SSH connection may take to come up, key exchange included. ssh itself ends by then; see [`CONNECT_KILL`].
pub const CONNECT: Duration = Duration::from_secs(10);

/// When an ssh that still hasn't connected is killed: authentication and proxy commands aren't covered by ssh's own deadline.
pub const CONNECT_KILL: Duration = Duration::from_secs(14);

/// How many connections are being made at the same time: firewalls and sshd's MaxStartups take more for an attack.
pub const CONNECTS_AT_ONCE: usize = 5;

/// How often a connection is tried when the failure may pass by itself. Only connecting is ever retried.
pub const CONNECT_TRIES: u32 = 3;

/// No new try begins when connecting has taken this long in all: a host that lets its deadline pass isn't asked twice.
pub const CONNECT_TOTAL: Duration = Duration::from_secs(5);

/// The mean pause before the next try; the real one is between half and one and a half of it.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(400);

/// A silent connection is asked for a sign of life after this many seconds...
pub const KEEPALIVE_SECONDS: u32 = 5;

/// ...and given up when so many in a row stay unanswered.
pub const KEEPALIVES: u32 = 3;

/// An idle connection closes by itself after this many seconds; that is also how long it outlives a bot that was killed.
pub const IDLE_SECONDS: u32 = 300;

/// How many commands run at once over one connection: sshd's MaxSessions is 10 by default, and a person may need one.
pub const COMMANDS_AT_ONCE: usize = 8;

/// How long the local ssh process may take to answer.
pub const LOCAL: Duration = Duration::from_secs(3);

/// A call of the Docker Engine's API that isn't expected to take its time.
pub const API_CALL: Duration = Duration::from_secs(30);

/// Calls that write much: making, starting and removing containers and images on a busy disk.
pub const SLOW_API_CALL: Duration = Duration::from_secs(120);

/// Idle HTTP connections that are kept for each Docker socket...
pub const KEPT_CONNECTIONS: usize = 8;

/// ...and how long: an open one keeps its SSH connection from being idle.
pub const KEPT_FOR: Duration = Duration::from_secs(30);

/// A small script of our own on a host: probe, record, credentials.
pub const SCRIPT: Duration = Duration::from_secs(20);

/// The status command of a service, within a probe.
pub const STATUS_SECONDS: u32 = 8;

/// Starting a service that commands manage; stopping one may take its grace period longer.
pub const SERVICE_COMMAND: Duration = Duration::from_secs(60);

/// A pull without any progress.
pub const PULL_SILENCE: Duration = Duration::from_secs(60);

/// A pull in all.
pub const PULL_TOTAL: Duration = Duration::from_secs(30 * 60);

/// How long a container may take to be gone after its grace period and KILL.
pub const KILL: Duration = Duration::from_secs(10);

/// The time between two looks at something that changes by itself: short at first, growing up to the check's own interval.
pub const FIRST_POLL: Duration = Duration::from_millis(50);

/// The longest time between two looks where nothing else says how long.
pub const POLL: Duration = Duration::from_millis(500);

/// The hosts that are looked at side by side.
pub const HOSTS_AT_ONCE: usize = 32;

/// Lines of output that a failure shows.
pub const TAIL_LINES: usize = 20;

/// Characters that a line of a failure's output keeps.
pub const TAIL_CHARS: usize = 500;

/// Bytes after which a line without an end is passed on in parts.
pub const LINE_BYTES: usize = 64 * 1024;

/// Bytes that the output of a script of our own may have.
pub const ANSWER_BYTES: usize = 1024 * 1024;

/// Task containers of other deployments are kept this long, so that none loses its result to a deployment beside it.
pub const OLD_TASK: Duration = Duration::from_secs(24 * 60 * 60);
