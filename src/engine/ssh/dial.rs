//! Making an SSH connection: one `ssh` in master mode, and what its words mean when it fails.
//!
//! openssh's own builder does nearly this, but an ssh that hangs in authentication or in a proxy command outlives its
//! deadline there. Here it is our child until it is connected, and dies with the wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use openssh::Session;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::limits::{CONNECT, CONNECT_KILL, IDLE_SECONDS, KEEPALIVE_SECONDS, KEEPALIVES};
use crate::domain::names::HostName;

/// Why there is no connection; the message says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialError {
    /// Which of the distinct ways to fail it was.
    pub kind: DialErrorKind,
    /// For people.
    pub message: String,
}

/// The distinct ways not to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialErrorKind {
    /// No key of the host is known.
    HostKeyUnknown,
    /// The host has another key than the known one.
    HostKeyChanged,
    /// The host doesn't let us in.
    AuthRefused,
    /// The name has no address.
    NameUnknown,
    /// Nothing listens there.
    Refused,
    /// No answer, or none in time.
    Timeout,
    /// The connection was ended before it was one.
    Closed,
    /// ssh itself can't run as it was told to.
    Local,
}

impl DialErrorKind {
    /// Whether it may pass by itself.
    pub fn may_pass(self) -> bool {
        match self {
            DialErrorKind::Refused | DialErrorKind::Timeout | DialErrorKind::Closed => true,
            DialErrorKind::HostKeyUnknown
            | DialErrorKind::HostKeyChanged
            | DialErrorKind::AuthRefused
            | DialErrorKind::NameUnknown
            | DialErrorKind::Local => false,
        }
    }
}

/// Connects once. `dir` becomes the session's: its control socket, log and forwarded sockets lie there.
///
/// # Errors
/// When there is no connection within [`CONNECT_KILL`].
pub async fn dial(host: &HostName, config: Option<&Path>, dir: TempDir) -> Result<Session, DialError> {
    let log = dir.path().join("log");
    let mut ssh = ssh(host, config, dir.path(), &log);
    let failed = |text: &str| classify(host, text);
    match timeout(CONNECT_KILL, ssh.status()).await {
        Ok(Ok(status)) if status.success() => Ok(Session::new_native_mux(dir)),
        Ok(Ok(_)) => Err(failed(&fs::read_to_string(&log).unwrap_or_default())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(failed("no ssh")),
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(_elapsed) => Err(failed("Operation timed out")),
    }
}

fn ssh(host: &HostName, config: Option<&Path>, dir: &Path, log: &Path) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    ssh.arg("-E").arg(log).arg("-S").arg(dir.join("master")).args(["-M", "-N", "-f"]);
    let numbers = [
        format!("ConnectTimeout={}", CONNECT.as_secs()),
        format!("ServerAliveInterval={KEEPALIVE_SECONDS}"),
        format!("ServerAliveCountMax={KEEPALIVES}"),
        format!("ControlPersist={IDLE_SECONDS}s"),
    ];
    // Options here win over the user's configuration. These are what the engine relies on; who, where, by which key, over
    // which jump host and with which algorithms stays the configuration's.
    let fixed = ["StrictHostKeyChecking=yes", "UpdateHostKeys=no", "BatchMode=yes", "LogLevel=INFO", "ClearAllForwardings=yes"];
    let off = ["ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no", "Tunnel=no"];
    for option in numbers.iter().map(String::as_str).chain(fixed).chain(off) {
        ssh.arg("-o").arg(option);
    }
    if let Some(config) = config {
        ssh.arg("-F").arg(config);
    }
    // `host:port` is how people write it, but not how ssh reads it; an IPv6 address has more than one colon.
    match host.as_str().rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => ssh.args(["-p", port, "--", name]),
        _ => ssh.args(["--", host.as_str()]),
    };
    ssh
}

/// The log of the session's ssh: what it has to say about forwards that were refused.
pub fn log_of(session: &Session) -> String {
    fs::read_to_string(session.control_socket().with_file_name("log")).unwrap_or_default()
}

/// The directory of the session's sockets.
pub fn dir_of(session: &Session) -> PathBuf {
    session.control_socket().parent().map(Path::to_path_buf).unwrap_or_default()
}

fn classify(host: &HostName, log: &str) -> DialError {
    let has = |text: &str| log.contains(text);
    let line = |text: &str| log.lines().find(|line| line.contains(text)).unwrap_or_default().trim();
    let (kind, message) = if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let known = line("Offending").rsplit_once(" in ").map_or("known_hosts", |(_, place)| place);
        let message = format!(
            "{host} shows another host key than the one in {known}: it was reinstalled, or something stands in between. \
             Find out which; if it was reinstalled, remove the old key (`ssh-keygen -R`) and add the new one"
        );
        (DialErrorKind::HostKeyChanged, message)
    } else if has("Host key verification failed") || has("host key is known for") {
        let message = format!(
            "the host key of {host} isn't known: compare its fingerprint with the host's own (`ssh-keygen -lf \
             /etc/ssh/ssh_host_ed25519_key.pub` there), then add it to known_hosts (`ssh-keyscan` prints it)"
        );
        (DialErrorKind::HostKeyUnknown, message)
    } else if has("Permission denied (") {
        let message = format!(
            "{host} doesn't let Shipmate in ({}): put its public key into ~/.ssh/authorized_keys of that user on the host, \
             or set User and IdentityFile in the SSH configuration",
            line("Permission denied (").trim_end_matches('.')
        );
        (DialErrorKind::AuthRefused, message)
    } else if has("Temporary failure in name resolution") {
        (DialErrorKind::Timeout, format!("{host} can't be found for now ({}): does the DNS answer?", line("Temporary failure")))
    } else if has("Could not resolve hostname") {
        let message = format!(
            "{host} has no address ({}): set HostName in the SSH configuration, or mend the DNS",
            line("Could not resolve")
        );
        (DialErrorKind::NameUnknown, message)
    } else if has("Connection refused") {
        (
            DialErrorKind::Refused,
            format!("nothing accepts SSH at {host} ({}): is the host up, sshd running, the port right?", line("refused")),
        )
    } else if has("timed out") || has("No route to host") || has("Network is unreachable") {
        let why =
            ["timed out", "No route", "unreachable"].into_iter().map(line).find(|line| !line.is_empty()).unwrap_or("timed out");
        (DialErrorKind::Timeout, format!("{host} doesn't answer ({why}): is it up, and does a firewall stand in between?"))
    } else if log == "no ssh" {
        (DialErrorKind::Local, "there is no `ssh` on this machine: install the OpenSSH client".to_owned())
    } else if has("Bad configuration option")
        || has("terminating,")
        || has("Can't open user config")
        || has("Bad owner or permissions")
    {
        let why = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        (DialErrorKind::Local, format!("ssh doesn't take its configuration ({why})"))
    } else {
        let why = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        (DialErrorKind::Closed, format!("no SSH connection to {host}: {why}"))
    };
    DialError { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(log: &str) -> DialErrorKind {
        let error = classify(&"appserver1".parse().unwrap(), log);
        assert!(error.message.contains("appserver1") || error.kind == DialErrorKind::Local, "{error}");
        error.kind
    }

    #[test]
    fn what_ssh_says_is_told_apart() {
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nOffending ED25519 key in /root/known_hosts:3\r\nHost key verification failed.\r\n";
        let unknown = "No ED25519 host key is known for appserver1 and you have requested strict checking.\r\nHost key verification failed.\r\n";
        let cases = [
            (changed, DialErrorKind::HostKeyChanged),
            (unknown, DialErrorKind::HostKeyUnknown),
            ("root@appserver1: Permission denied (publickey).\r\n", DialErrorKind::AuthRefused),
            ("ssh: Could not resolve hostname appserver1: Name or service not known\r\n", DialErrorKind::NameUnknown),
            ("ssh: Could not resolve hostname appserver1: Temporary failure in name resolution\r\n", DialErrorKind::Timeout),
            ("ssh: connect to host 127.0.7.1 port 2222: Connection refused\r\n", DialErrorKind::Refused),
            ("ssh: connect to host 10.0.0.1 port 22: Connection timed out\r\n", DialErrorKind::Timeout),
            ("ssh: connect to host 10.0.0.1 port 22: No route to host\r\n", DialErrorKind::Timeout),
            ("Connection timed out during banner exchange\r\n", DialErrorKind::Timeout),
            ("kex_exchange_identification: Connection closed by remote host\r\n", DialErrorKind::Closed),
            ("/x: line 1: Bad configuration option: foo\r\n", DialErrorKind::Local),
            ("", DialErrorKind::Closed),
        ];
        for (log, expected) in cases {
            assert_eq!(kind(log), expected, "{log}");
        }
    }

    #[test]
    fn the_place_of_the_old_key_is_named() {
        let log = "REMOTE HOST IDENTIFICATION HAS CHANGED\nOffending ED25519 key in /root/known_hosts:3\n";
        assert!(classify(&"appserver1".parse().unwrap(), log).message.contains("/root/known_hosts:3"));
    }

    #[test]
    fn a_port_in_the_name_becomes_an_option() {
        let words = |host: &str| {
            let command = ssh(&host.parse().unwrap(), None, Path::new("/d"), Path::new("/d/log"));
            command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert!(words("deploy@10.0.0.7:2222").ends_with(&["-p", "2222", "--", "deploy@10.0.0.7"].map(String::from)));
        assert!(words("appserver1").ends_with(&["--", "appserver1"].map(String::from)));
        assert!(words("2001:db8::1").ends_with(&["--", "2001:db8::1"].map(String::from)));
    }
}
