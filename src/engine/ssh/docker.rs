//! The Docker Engine of a host, over the socket that its SSH connection forwards.
//!
//! bollard's errors are told apart here into what callers branch on, and a broken connection is told from an engine that
//! is down by asking the connection. Note that bollard logs whole request bodies at `debug`, secrets in them included, by
//! the `log` facade: nothing of ours may forward that facade to a log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::SystemInfo;
use tokio::time::timeout;

use super::command::RemoteCommand;
use super::failure::refused;
use super::limits::{API_CALL, SCRIPT};
use super::link::Link;
use super::transport;
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::names::HostName;

/// The engine of a host.
#[derive(Clone)]
pub struct DockerHost {
    link: Arc<Link>,
    api: Docker,
}

/// Why a call failed, as far as callers care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The engine has no such thing.
    Missing(String),
    /// The thing is there already, or is in use.
    Conflict(String),
    /// The engine, or a registry behind it, says no.
    Refused(String),
    /// No answer in time.
    Timeout(Duration),
    /// The engine doesn't answer, though the host does.
    Down(String),
    /// The connection to the host broke.
    Lost,
}

/// Makes a client of the engine at the local end of a forward.
///
/// # Errors
/// When the engine doesn't answer; says which line to change on the host.
pub async fn connect(link: &Link, socket: &str, forward: PathBuf) -> Result<Docker, Failure> {
    let api = transport::client(forward).map_err(|error| refused(error.to_string()))?;
    match timeout(API_CALL, api.negotiate_version()).await {
        Ok(Ok(api)) => Ok(api),
        Ok(Err(error)) => Err(diagnose(link, socket, &error.to_string()).await),
        Err(_elapsed) => Err(Failure::new(
            FailureKind::Unreachable,
            format!("the Docker Engine of {} accepts calls at {socket} but answers none", link.host()),
        )),
    }
}

/// A forward that fails says nothing about why, so the host is asked: is there a socket, may we use it, does anything listen?
async fn diagnose(link: &Link, socket: &str, error: &str) -> Failure {
    const LOOK: &str = r#"echo "user=$(id -un)"; real=$(readlink -f -- "$1" || echo "$1")
if [ ! -S "$1" ]; then if [ -x "$(dirname -- "$1")" ]; then echo state=absent; else echo state=denied; fi
elif [ ! -r "$1" ] || [ ! -w "$1" ]; then echo state=denied; echo "group=$(stat -L -c %G -- "$1")"
elif ! grep -qF -e " $1" -e " $real" /proc/net/unix 2>/dev/null; then echo state=deaf
else echo state=forbidden; fi"#;
    let answer = match link.ask(&RemoteCommand::script(LOOK).arg(socket), SCRIPT).await {
        Ok(answer) => answer,
        Err(failure) => return failure,
    };
    let value = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    Failure::new(FailureKind::Unreachable, mend(link.host(), socket, value("state"), value("user"), value("group"), error))
}

fn mend(host: &HostName, socket: &str, state: &str, user: &str, group: &str, error: &str) -> String {
    match state {
        "absent" => format!(
            "{host} has no Docker Engine at {socket}: install it and start it there (`systemctl enable --now docker`), or set \
             `docker_socket` of this host in fleet.toml"
        ),
        "denied" => {
            let group = if group.is_empty() || group == "root" { "docker" } else { group };
            format!("{user} may not use {socket} on {host}: run `usermod -aG {group} {user}` there as root")
        }
        "deaf" => {
            format!("the Docker Engine of {host} is down: nothing listens at {socket}; start it there (`systemctl start docker`)")
        }
        "forbidden" => format!(
            "sshd of {host} refuses to forward {socket}: set `AllowStreamLocalForwarding yes` (and not `DisableForwarding yes`) in \
             /etc/ssh/sshd_config there and reload sshd; in authorized_keys of {user}, no `restrict` without `port-forwarding`"
        ),
        _ => format!("the Docker Engine of {host} can't be reached at {socket}: {error}"),
    }
}

impl DockerHost {
    /// The engine behind `api`, which lives as long as the link.
    pub fn new(link: Arc<Link>, api: Docker) -> DockerHost {
        DockerHost { link, api }
    }

    /// The host.
    pub fn host(&self) -> &HostName {
        self.link.host()
    }

    /// The connection that it is reached by.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The client, for streams and uncommon calls.
    pub fn api(&self) -> &Docker {
        &self.api
    }

    /// The client with a deadline of its own for the first byte of an answer; bollard's own would end a long stop.
    pub fn patient(&self, deadline: Duration) -> Docker {
        self.api.clone().with_timeout(deadline)
    }

    /// Awaits a call, no longer than `deadline`.
    ///
    /// # Errors
    /// When it fails.
    pub async fn call<T>(&self, deadline: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        match timeout(deadline, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.trouble(error).await),
            Err(_elapsed) => Err(Trouble::Timeout(deadline)),
        }
    }

    /// What an error of bollard means.
    pub async fn trouble(&self, error: Error) -> Trouble {
        match error {
            Error::DockerResponseServerError { status_code: 404, message } => Trouble::Missing(message),
            Error::DockerResponseServerError { status_code: 409, message } => Trouble::Conflict(message),
            Error::DockerResponseServerError { message, .. } => Trouble::Refused(message),
            Error::DockerStreamError { error } => Trouble::Refused(error),
            Error::RequestTimeoutError => Trouble::Timeout(self.api.timeout()),
            Error::HyperResponseError { .. } | Error::IOError { .. } => self.silent(&error).await,
            error => Trouble::Refused(error.to_string()),
        }
    }

    /// The engine, or the way to it, is gone.
    pub async fn silent(&self, why: &impl ToString) -> Trouble {
        if self.link.is_alive().await { Trouble::Down(why.to_string()) } else { Trouble::Lost }
    }

    /// The failure that a trouble is, when `doing` was being done.
    pub fn failure(&self, doing: &str, trouble: Trouble) -> Failure {
        let host = self.host();
        match trouble {
            Trouble::Missing(why) => Failure::new(FailureKind::Missing, format!("can't {doing} on {host}: {why}")),
            Trouble::Conflict(why) => refused(format!("can't {doing} on {host}: {why}")),
            Trouble::Refused(why) if why.contains("no space left on device") => Failure::new(
                FailureKind::DiskFull,
                format!("can't {doing} on {host}, its disk is full: {why}. `docker system prune` there frees space"),
            ),
            Trouble::Refused(why) => refused(format!("can't {doing} on {host}: {why}")),
            Trouble::Timeout(limit) => Failure::new(
                FailureKind::Timeout,
                format!("can't {doing} on {host}: no answer of its Docker Engine within {:.0} s", limit.as_secs_f64()),
            ),
            Trouble::Down(why) => Failure::new(
                FailureKind::Unreachable,
                format!("can't {doing} on {host}: its Docker Engine doesn't answer ({why}); is it running?"),
            ),
            Trouble::Lost => Failure::new(
                FailureKind::Lost,
                format!("the connection to {host} broke in the attempt to {doing}; how that ended is unknown"),
            ),
        }
    }

    /// What the engine says of itself.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn info(&self) -> Result<SystemInfo, Failure> {
        self.call(API_CALL, self.api.info()).await.map_err(|trouble| self.failure("ask the engine", trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_line_to_change() {
        let host = "appserver1".parse().unwrap();
        let say = |state, group| mend(&host, "/var/run/docker.sock", state, "deploy", group, "hyper error");
        assert!(say("absent", "").contains("systemctl enable --now docker"));
        assert!(say("denied", "docker").contains("usermod -aG docker deploy"));
        assert!(say("denied", "containers").contains("usermod -aG containers deploy"));
        assert!(say("denied", "root").contains("usermod -aG docker deploy"));
        assert!(say("deaf", "").contains("systemctl start docker"));
        assert!(say("forbidden", "").contains("AllowStreamLocalForwarding yes"));
        assert!(say("", "").contains("hyper error"));
    }
}
