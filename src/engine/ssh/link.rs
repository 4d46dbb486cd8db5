//! A connection to a host. Everything goes through it: commands, the Docker Engine's socket, health checks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use openssh::{ForwardType, Session, Socket};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::timeout;

use super::command::RemoteCommand;
use super::dial::{dir_of, log_of};
use super::docker::{self, DockerHost};
use super::exec::{self, Ended, Source, Within};
use super::failure::{refused, unreachable};
use super::limits::{ANSWER_BYTES, COMMANDS_AT_ONCE, LOCAL};
use super::lines::Tail;
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::names::HostName;

/// What a script of our own printed.
pub type Answer = String;

/// A connection.
pub struct Link {
    host: HostName,
    session: Session,
    commands: Semaphore,
    forwards: AtomicU32,
    dockers: AsyncMutex<HashMap<String, bollard::Docker>>,
}

impl Link {
    /// A connection that was just made; nothing has run on it yet.
    pub fn new(host: HostName, session: Session) -> Link {
        let commands = Semaphore::new(COMMANDS_AT_ONCE);
        Link { host, session, commands, forwards: AtomicU32::new(0), dockers: AsyncMutex::default() }
    }

    /// The host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Whether the connection still stands.
    pub async fn is_alive(&self) -> bool {
        exec::is_alive(&self.session).await
    }

    /// Runs a command and hands on its lines as they come.
    pub async fn run(&self, command: &RemoteCommand, within: Within, each: &mut (dyn FnMut(Source, &str) + Send)) -> Ended {
        let _permit = self.commands.acquire().await;
        exec::run(&self.session, command, within, each).await
    }

    /// Runs a script of our own and returns what it printed.
    ///
    /// # Errors
    /// When it ends otherwise than with exit status 0.
    pub async fn ask(&self, command: &RemoteCommand, total: Duration) -> Result<Answer, Failure> {
        let (mut answer, mut tail, mut all) = (String::new(), Tail::default(), true);
        let ended = self
            .run(command, Within::total(total), &mut |source, line| match source {
                Source::Out if answer.len() + line.len() < ANSWER_BYTES => {
                    answer.push_str(line);
                    answer.push('\n');
                }
                Source::Out => all = false,
                Source::Err => tail.push(line),
            })
            .await;
        match self.outcome(ended, "a script of Shipmate") {
            None if all => Ok(answer),
            None => Err(refused(format!("{} has more to say than {ANSWER_BYTES} bytes", self.host))),
            Some(failure) => Err(Failure { output: tail.into_lines(), ..failure }),
        }
    }

    /// The failure that an end other than exit status 0 is.
    pub fn outcome(&self, ended: Ended, what: &str) -> Option<Failure> {
        let host = &self.host;
        Some(match ended {
            Ended::Exit(0) => return None,
            Ended::Exit(status) => Failure::new(
                FailureKind::Exit { status: status.into() },
                format!("{what} ended with exit status {status} on {host}"),
            ),
            Ended::Signal => Failure::new(
                FailureKind::Signal { signal: None },
                format!("{what} was killed by a signal on {host}: it ended without an exit status"),
            ),
            Ended::Lost => {
                Failure::new(FailureKind::Lost, format!("the connection to {host} broke while {what} ran; how it ended is unknown"))
            }
            Ended::Timeout(limit) => Failure::new(
                FailureKind::Timeout,
                format!("{what} was killed on {host}: no end after {:.0} s", limit.as_secs_f64()),
            ),
            Ended::NotStarted(why) => refused(format!("{what} could not be started on {host}: {why}")),
        })
    }

    /// The Docker Engine that listens at `socket` on the host.
    ///
    /// # Errors
    /// When it can't be reached; says which line to change on the host.
    pub async fn docker(self: &Arc<Self>, socket: &str) -> Result<DockerHost, Failure> {
        let mut dockers = self.dockers.lock().await;
        if let Some(api) = dockers.get(socket) {
            return Ok(DockerHost::new(Arc::clone(self), api.clone()));
        }
        let forward = self.forward(Socket::UnixSocket { path: PathBuf::from(socket).into() }).await?;
        let api = docker::connect(self, socket, forward).await?;
        dockers.insert(socket.to_owned(), api.clone());
        Ok(DockerHost::new(Arc::clone(self), api))
    }

    /// A local socket that leads to a TCP port as the host sees it.
    ///
    /// # Errors
    /// When ssh can't make it.
    pub async fn tunnel(&self, address: &str, port: u16) -> Result<Forward<'_>, Failure> {
        let remote = Socket::TcpSocket { host: address.to_owned().into(), port };
        Ok(Forward { path: self.forward(remote.clone()).await?, remote, link: self })
    }

    /// What ssh has said about forwards that the host refused; `None` = nothing.
    pub fn refused_forward(&self) -> Option<String> {
        let log = log_of(&self.session);
        log.lines().rfind(|line| line.contains("administratively prohibited")).map(str::to_owned)
    }

    async fn forward(&self, remote: Socket<'_>) -> Result<PathBuf, Failure> {
        let path = dir_of(&self.session).join(format!("f{}", self.forwards.fetch_add(1, Ordering::Relaxed)));
        let local = Socket::UnixSocket { path: path.clone().into() };
        match timeout(LOCAL, self.session.request_port_forward(ForwardType::Local, local, remote)).await {
            Ok(Ok(())) => Ok(path),
            Ok(Err(error)) => Err(unreachable(format!("the connection to {} takes no forward: {error}", self.host))),
            Err(_elapsed) => Err(unreachable(format!("the ssh of the connection to {} doesn't answer", self.host))),
        }
    }

    /// Ends it.
    pub async fn close(self) {
        let _gone_anyway = timeout(LOCAL, self.session.close()).await;
    }
}

/// A forwarded TCP port.
pub struct Forward<'a> {
    path: PathBuf,
    remote: Socket<'static>,
    link: &'a Link,
}

impl Forward<'_> {
    /// The local socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it.
    pub async fn close(self) {
        let local = Socket::UnixSocket { path: self.path.clone().into() };
        let _gone_with_the_session =
            timeout(LOCAL, self.link.session.close_port_forward(ForwardType::Local, local, self.remote)).await;
        let _ssh_may_have = std::fs::remove_file(&self.path);
    }
}
