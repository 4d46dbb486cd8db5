//! Running a command on a host, and saying truly how it ended.
//!
//! A process that a signal killed and a connection that broke look the same to a multiplexed session: both end without
//! an exit status. So the session is asked afterwards whether it lives; its ssh closes its own socket before ours, so the
//! answer can't be late. The number of the signal doesn't travel: 128 + n from a shell in between would only be a guess.
//!
//! sshd doesn't end a command whose client left. So each command tells its process id first, and one that overran its
//! deadline is ended, with all its children, by that.

use std::time::Duration;

use openssh::{Child, Error, Session, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::command::RemoteCommand;
use super::limits::{LOCAL, SCRIPT};
use super::lines::Lines;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status. 0 alone is success.
    Exit(i32),
    /// Without an exit status, while the connection lives: a signal killed it.
    Signal,
    /// The connection broke; how it ended is unknown.
    Lost,
    /// It ran, or was silent, longer than this, and was killed.
    Timeout(Duration),
    /// It could not be started.
    NotStarted(String),
}

/// How long a command may take.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    /// Without a line of output; `None` = as long as it likes.
    pub silence: Option<Duration>,
    /// In all.
    pub total: Duration,
}

impl Within {
    /// A deadline for all of it, silent or not.
    pub const fn total(total: Duration) -> Within {
        Within { silence: None, total }
    }
}

/// Which of its two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What the wrapper prints before the command's own output; what a login shell's start-up files print comes before that.
const PID_MARK: &str = "shipmate-process:";

/// Whether the connection still stands, as far as this end knows.
pub async fn is_alive(session: &Session) -> bool {
    matches!(timeout(LOCAL, session.check()).await, Ok(Ok(())))
}

/// Runs a command and hands on its lines as they come.
pub async fn run(session: &Session, command: &RemoteCommand, within: Within, each: &mut (dyn FnMut(Source, &str) + Send)) -> Ended {
    let line = match command.line() {
        Ok(line) => line,
        Err(error) => return Ended::NotStarted(error.to_string()),
    };
    // `exec` twice: the process that sshd started becomes the command itself, so that the command's end is what sshd reports.
    let wrapped = format!("exec sh -c 'echo {PID_MARK}$$; exec \"$@\"' sh {line}");
    let until = Instant::now() + within.total;
    let mut process = session.raw_command(wrapped);
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match timeout_at(until, process.spawn()).await {
        Ok(Ok(child)) => child,
        Ok(Err(error)) if is_alive(session).await => return Ended::NotStarted(why(&error)),
        Ok(Err(_)) => return Ended::Lost,
        Err(_elapsed) => return Ended::Timeout(within.total),
    };
    let mut pid = None;
    let mut named = |source: Source, text: &str| match (source, pid) {
        (Source::Out, None) => pid = text.split_once(PID_MARK).and_then(|(_, pid)| pid.trim().parse::<u32>().ok()),
        (Source::Out | Source::Err, _) => each(source, text),
    };
    let overrun = read(&mut child, within, until, &mut named).await.err();
    match overrun {
        None => match timeout_at(until, child.wait()).await {
            Ok(result) => ended(session, result).await,
            Err(_elapsed) => Ended::Timeout(within.total),
        },
        Some(limit) => {
            // Its outputs may be open only because something that it left behind holds them; then it has ended well in time.
            if let Ok(Ok(status)) = timeout(Duration::from_millis(200), child.wait()).await {
                return ended(session, Ok(status)).await;
            }
            if let Some(pid) = pid {
                kill(session, pid).await;
            }
            if is_alive(session).await { Ended::Timeout(limit) } else { Ended::Lost }
        }
    }
}

/// Reads both outputs to their ends; `Err` is the limit that was overrun.
async fn read<S>(
    child: &mut Child<S>,
    within: Within,
    until: Instant,
    each: &mut (dyn FnMut(Source, &str) + Send),
) -> Result<(), Duration> {
    let (mut out, mut err) = (child.stdout().take(), child.stderr().take());
    let (mut out_lines, mut err_lines) = (Lines::default(), Lines::default());
    let (mut out_bytes, mut err_bytes) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    while out.is_some() || err.is_some() {
        let quiet_until = within.silence.map_or(until, |silence| until.min(Instant::now() + silence));
        let chunk = async {
            tokio::select! {
                length = next(&mut out, &mut out_bytes) => (Source::Out, length),
                length = next(&mut err, &mut err_bytes) => (Source::Err, length),
            }
        };
        let (source, length) = match timeout_at(quiet_until, chunk).await {
            Ok(chunk) => chunk,
            Err(_elapsed) if quiet_until < until => return Err(within.silence.unwrap_or(within.total)),
            Err(_elapsed) => return Err(within.total),
        };
        match (source, length) {
            (Source::Out, 0) => out = None,
            (Source::Err, 0) => err = None,
            (Source::Out, length) => out_lines.push(&out_bytes[..length], |line| each(Source::Out, line)),
            (Source::Err, length) => err_lines.push(&err_bytes[..length], |line| each(Source::Err, line)),
        }
    }
    out_lines.end(|line| each(Source::Out, line));
    err_lines.end(|line| each(Source::Err, line));
    Ok(())
}

/// The next bytes, 0 at the end; a broken pipe is an end too, since how the command ended is asked elsewhere.
async fn next(output: &mut Option<impl AsyncRead + Unpin>, bytes: &mut [u8]) -> usize {
    match output {
        Some(output) => output.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn ended(session: &Session, result: Result<std::process::ExitStatus, Error>) -> Ended {
    match result {
        Ok(status) => status.code().map_or(Ended::Signal, Ended::Exit),
        // openssh's reading of exit status 127.
        Err(Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => Ended::Exit(127),
        Err(_) if is_alive(session).await => Ended::Signal,
        Err(_) => Ended::Lost,
    }
}

/// Ends the process and its children: sshd makes each command the leader of a process group of its own.
async fn kill(session: &Session, pid: u32) {
    // Without `--`: neither dash nor busybox takes it here.
    let script = RemoteCommand::script(
        "kill -TERM -$1; n=0; while kill -0 -$1 && [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; kill -KILL -$1; :",
    )
    .arg(pid.to_string());
    if let Ok(line) = script.line() {
        let mut killer = session.raw_command(line);
        killer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let done = async {
            if let Ok(child) = killer.spawn().await {
                let _killed_or_gone = child.wait().await;
            }
        };
        tokio::select! { () = done => (), () = sleep(SCRIPT) => () }
    }
}

fn why(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
