//! Where the hosts differ from the record, and what to type about it.

use super::{code, counted, line, lines, text};
use crate::chat::{Reply, Tone};
use crate::domain::drift::{Drift, Real};
use crate::domain::names::{AppName, EnvironmentName, HostName};
use crate::runbook::Prefix;

/// The report of the drift watch: a line for each finding of an environment, with what mends it.
pub fn drift_lines(app: &AppName, environment: &EnvironmentName, drifts: &[Drift], prefix: &Prefix) -> Vec<String> {
    let said = |drift: &Drift| format!("{} {}: {}", place(drift), finding(drift), mend(app, environment, drift, prefix));
    drifts.iter().map(said).collect()
}

/// The same as a message.
pub fn drift(app: &AppName, environment: &EnvironmentName, findings: &[String]) -> Reply {
    if findings.is_empty() {
        return line(Tone::Info, format!("{app} {environment} has less that is not as recorded than before"));
    }
    let title = format!("{app} {environment} is not as recorded: {}", counted(findings.len(), "finding"));
    Reply { tone: Tone::Warning, title, body: lines(findings.iter().cloned()).collect() }
}

/// What is wrong, without where: `runs build-41, and build-42 should run`.
pub(super) fn finding(drift: &Drift) -> String {
    match drift {
        Drift::WrongVersion { wanted, real, .. } => match real {
            Real::Release(real) if real.tag == wanted.tag => {
                format!("runs another image of {} ({}), and {} should run", wanted.tag, real.digest.short(), wanted.digest.short())
            }
            Real::Release(real) => format!("runs {}, and {} should run", real.tag, wanted.tag),
            Real::Tag { tag } => format!("runs {tag}, and {} should run", wanted.tag),
            Real::Nothing => format!("runs, and no TAG file says what; {} should run", wanted.tag),
        },
        Drift::Dead { wanted, .. } => format!("runs nothing, and {} should run", wanted.tag),
        Drift::Twice { how_many: 2, .. } => "runs twice at once".to_owned(),
        Drift::Twice { how_many, .. } => format!("runs {how_many} times at once"),
        Drift::Unhealthy { .. } => "is unhealthy".to_owned(),
        Drift::Orphan { container, role, tag, .. } => {
            format!("still runs {} ({role} {tag}), which the fleet file doesn't have there", code(container))
        }
        Drift::Unreachable { why, .. } => format!("doesn't answer: {}", text(why)),
    }
}

/// Where it is wrong: `web@appserver1`.
pub(super) fn place(drift: &Drift) -> String {
    match drift {
        Drift::WrongVersion { target, .. }
        | Drift::Dead { target, .. }
        | Drift::Twice { target, .. }
        | Drift::Unhealthy { target } => target.to_string(),
        Drift::Orphan { host, .. } | Drift::Unreachable { host, .. } => host.to_string(),
    }
}

/// What to type about it.
fn mend(app: &AppName, environment: &EnvironmentName, drift: &Drift, prefix: &Prefix) -> String {
    // Not `code`, here and below: a command that is cut is another command.
    let typed = |line: String| format!("`{}`", prefix.typed(&line));
    match drift {
        Drift::WrongVersion { wanted, .. } | Drift::Dead { wanted, .. } => {
            typed(format!("deploy {app} {} {environment}", wanted.tag))
        }
        // The same deploy stops what is too much.
        Drift::Twice { keep, .. } => typed(format!("deploy {app} {keep} {environment}")),
        Drift::Unhealthy { target } => typed(format!("restart {app} {} {environment}", target.role)),
        Drift::Orphan { host, container, .. } => stop(host, container),
        Drift::Unreachable { .. } => format!("bring it back, then {}", typed(format!("status {app}"))),
    }
}

/// Shipmate stops nothing that no fleet file names, so a person must. What they paste into a shell is in the grammar of names, whatever
/// the host said.
fn stop(host: &HostName, container: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if container.starts_with(|c: char| c.is_ascii_alphanumeric()) && container.chars().all(plain) {
        format!("`ssh {host} docker stop {container}`, if nobody needs it")
    } else {
        format!("stop it on {host} by hand, if nobody needs it")
    }
}
