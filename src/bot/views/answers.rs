//! Answers to questions, and refusals.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::drift::{finding, place};
use super::{ago, between, code, counted, headline, line, lines, span, table, text};
use crate::chat::{Block, Checked, Reply, Tone};
use crate::domain::build::Build;
use crate::domain::drift::{self, Drift};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, HostName, PersonName};
use crate::domain::observed::{HostSeen, Observed, Unreachable};
use crate::domain::plan::{Plan, Purpose, Release, Target};
use crate::domain::spec::EnvironmentSpec;
use crate::runbook::{Prefix, UsageError};
use crate::store::{PhaseName, Summary, TargetRecord};

/// A command that could not be understood.
pub fn usage(error: &UsageError) -> Reply {
    line(Tone::Warning, error.to_string())
}

/// The environment is locked by another deployment.
pub fn held(app: &AppName, environment: &EnvironmentName, holder: &Summary, prefix: &Prefix, now: Timestamp) -> Reply {
    let since = span(between(holder.requested_at, now));
    let stuck = holder.phase == PhaseName::Stuck;
    let is_stuck = if stuck { ", which is STUCK" } else { "" };
    let what = format!("{} ({} {} by {}){is_stuck}", holder.id, holder.purpose.word(), holder.release.tag, holder.by);
    let advice = if stuck {
        format!("look at {}, then mend it by a deploy or a revert", code(prefix.typed(&format!("show {}", holder.id.0))))
    } else {
        format!("wait for it, or stop it with {}", code(prefix.typed(&format!("cancel {}", holder.id.0))))
    };
    Reply { body: lines([advice]).collect(), ..line(Tone::Warning, format!("{app} {environment} is held by {what} since {since}")) }
}

/// Which build a deploy without a tag is about.
pub fn newest_named(build: &Build) -> Reply {
    let branch = build.branch.as_deref().map_or_else(String::new, |branch| format!(" of {}", text(branch)));
    line(Tone::Info, format!("the newest good build of {} is {}{branch}", build.app, code(&build.tag)))
}

/// The apps, where they run, and what was last deployed there.
pub fn apps(rows: &[(AppName, EnvironmentName, usize, Option<Summary>)], now: Timestamp) -> Reply {
    let rows = rows.iter().map(|(app, environment, hosts, last)| {
        let last = last.as_ref().map_or_else(String::new, |last| {
            format!("{} {} {} {}", last.id, last.release.tag, last.phase, ago(last.requested_at, now))
        });
        vec![app.to_string(), environment.to_string(), hosts.to_string(), last]
    });
    Reply { tone: Tone::Info, title: "apps".to_owned(), body: vec![table(&["app", "environment", "hosts", "last"], rows)] }
}

/// What shall run and what really runs, target by target; what differs is what the drift watch would report.
pub fn status(
    spec: &EnvironmentSpec,
    records: &[(Target, TargetRecord)],
    observed: &Observed,
    lock: Option<&Summary>,
    now: Timestamp,
) -> Reply {
    let recorded: BTreeMap<Target, Release> =
        records.iter().map(|(target, record)| (target.clone(), record.wanted().clone())).collect();
    let (of_targets, mut others): (Vec<Drift>, Vec<Drift>) =
        drift::drift(spec, &recorded, observed).into_iter().partition(|drift| drift.target().is_some());
    let mut rows = Vec::new();
    let mut wrong = 0;
    for (role, role_spec) in &spec.roles {
        for host in &role_spec.hosts {
            let target = Target { role: role.clone(), host: host.clone() };
            let record = records.iter().find(|(known, _)| *known == target).map(|(_, record)| record);
            let note = match observed.hosts.get(host) {
                Some(Err(why)) => Some(text(&why.to_string())),
                Some(Ok(_)) | None => of_targets.iter().find(|drift| drift.target() == Some(&target)).map(finding),
            };
            wrong += usize::from(note.is_some());
            let wanted = record.map_or("-".to_owned(), |record| record.wanted().tag.to_string());
            let revert = record.and_then(|record| record.revert.as_ref()).map_or("-".to_owned(), |release| release.tag.to_string());
            let note = note.map_or_else(String::new, |note| format!("⚠ {note}"));
            rows.push(vec![target.to_string(), wanted, reality(observed, &target, now), revert, note]);
        }
    }
    // A host that doesn't answer stands at its targets already.
    others.retain(|drift| !matches!(drift, Drift::Unreachable { host, .. } if matches!(observed.hosts.get(host), Some(Err(_)))));
    let mut body = vec![table(&["target", "TAG", "runs", "REVERT", ""], rows)];
    body.extend(lines(others.iter().map(|drift| format!("⚠ {} {}", place(drift), finding(drift)))));
    if let Some(lock) = lock {
        let stuck = if lock.phase == PhaseName::Stuck { ", which is STUCK" } else { "" };
        body.push(Block::Line(format!(
            "locked by {} ({} {} by {}, {}){stuck}",
            lock.id,
            lock.purpose.word(),
            lock.release.tag,
            lock.by,
            ago(lock.requested_at, now)
        )));
    }
    let differ = match wrong {
        0 => None,
        1 => Some("1 target differs".to_owned()),
        n => Some(format!("{n} targets differ")),
    };
    let (tone, verdict) = match (differ, others.len()) {
        (None, 0) => (Tone::Good, "as recorded".to_owned()),
        (None, n) => (Tone::Warning, counted(n, "finding")),
        (Some(differ), 0) => (Tone::Warning, differ),
        (Some(differ), n) => (Tone::Warning, format!("{differ}, and {}", counted(n, "more finding"))),
    };
    Reply { tone, title: format!("{} {}: {verdict}", spec.app, spec.environment), body }
}

/// What a target runs, and since when.
fn reality(observed: &Observed, target: &Target, now: Timestamp) -> String {
    if let Some(Err(_)) = observed.hosts.get(&target.host) {
        return "?".to_owned();
    }
    let since = observed
        .running(target)
        .and_then(|container| container.started_at)
        .map(|at| format!(" since {}", span(between(at, now))))
        .unwrap_or_default();
    observed.tag(target).map_or_else(|| "-".to_owned(), |tag| format!("{tag}{since}"))
}

/// The last deployments, the newest first.
pub fn history(app: &AppName, history: &[Summary], now: Timestamp) -> Reply {
    if history.is_empty() {
        return line(Tone::Info, format!("nothing was deployed of {app} yet"));
    }
    let rows = history.iter().map(|summary| {
        let what = match (&summary.purpose, &summary.from) {
            (Purpose::Deploy | Purpose::Revert, Some(from)) if from.tag != summary.release.tag => {
                format!("{} → {}", from.tag, summary.release.tag)
            }
            (Purpose::Run { command, .. }, _) => code(command.join(" ")),
            _ => summary.release.tag.to_string(),
        };
        let took = summary.ended_at.zip(summary.started_at.or(Some(summary.requested_at)));
        let took = took.map(|(end, start)| span(between(start, end))).unwrap_or_default();
        let mended = summary.mended_by.map(|by| format!(", mended by {by}")).unwrap_or_default();
        let ended = summary
            .cause
            .as_deref()
            .map_or_else(|| summary.phase.to_string(), |cause| format!("{}: {}", summary.phase, text(cause)));
        let names =
            |names: Vec<String>, said: &str| if names.is_empty() { String::new() } else { format!("{said}{}", names.join(", ")) };
        let approved = names(summary.approved_by.iter().map(ToString::to_string).collect(), ", approved by ");
        let without = names(summary.skipped.iter().map(ToString::to_string).collect(), ", without ");
        let emergency = summary.emergency.as_deref().map(|why| format!(", EMERGENCY “{}”", text(why))).unwrap_or_default();
        vec![
            summary.id.to_string(),
            ago(summary.requested_at, now),
            summary.environment.to_string(),
            summary.purpose.word().to_owned(),
            what,
            summary.by.to_string(),
            took,
            format!("{ended}{without}{mended}{approved}{emergency}"),
        ]
    });
    Reply {
        tone: Tone::Info,
        title: format!("history of {app}"),
        body: vec![table(&["", "when", "environment", "what", "", "by", "took", "end"], rows)],
    }
}

/// A number that no deployment has.
pub fn no_such_deployment(id: DeploymentId) -> Reply {
    line(Tone::Warning, format!("there is no deployment {id}"))
}

/// The last lines of a target.
pub fn logs(target: &Target, lines: &[String]) -> Reply {
    let body = if lines.is_empty() { Vec::new() } else { vec![Block::Output(lines.join("\n"))] };
    let title =
        if lines.is_empty() { format!("{target} wrote nothing") } else { format!("the last {} lines of {target}", lines.len()) };
    Reply { tone: Tone::Info, title, body }
}

/// A cancel was taken up.
pub fn cancelling(id: DeploymentId, by: &PersonName) -> Reply {
    line(Tone::Warning, format!("{id}: cancelled by {by}; what it did is being put back"))
}

/// A cancel came too late, or too early.
pub fn nothing_to_cancel(running: &[DeploymentId]) -> Reply {
    let title = match running {
        [] => "nothing runs that could be cancelled".to_owned(),
        running => format!("say which one: {}", running.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    line(Tone::Warning, title)
}

/// A deployment that is over, or on its way back already.
pub fn not_cancellable(id: DeploymentId, phase: &str) -> Reply {
    line(Tone::Warning, format!("{id} is {phase} and can't be cancelled"))
}

/// What `shipmate check` found: the fleet in numbers, and each host.
pub fn hosts(
    (apps, environments, commands): (usize, usize, usize),
    hosts: &BTreeMap<HostName, Result<HostSeen, Unreachable>>,
    balancers: &BTreeMap<HostName, Option<Unreachable>>,
) -> Reply {
    let rows = hosts.iter().map(|(host, seen)| match seen {
        Ok(seen) => {
            let containers = seen.containers.iter().filter(|container| container.running);
            let services = seen.services.iter().filter(|(_, runs)| **runs).map(|(role, _)| role.to_string());
            let runs: Vec<String> =
                containers.map(|container| format!("{} {}", container.role, container.release.tag)).chain(services).collect();
            let free = format!("{}.{} GiB", seen.free_mib / 1024, seen.free_mib % 1024 * 10 / 1024);
            vec![host.to_string(), "ok".to_owned(), seen.engine_version.clone(), free, runs.join(", ")]
        }
        Err(_) => vec![host.to_string(), "FAILED".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
    });
    let balancer = |(host, lost): (&HostName, &Option<Unreachable>)| {
        let ssh = if lost.is_some() { "FAILED" } else { "ok" };
        vec![host.to_string(), ssh.to_owned(), "-".to_owned(), "-".to_owned(), "balancer".to_owned()]
    };
    let rows = rows.chain(balancers.iter().map(balancer));
    let failed = hosts.values().filter(|seen| seen.is_err()).count() + balancers.values().filter(|lost| lost.is_some()).count();
    let of = hosts.len() + balancers.len();
    let verdict = if failed == 0 { "all hosts are well".to_owned() } else { format!("{failed} of {of} hosts are not well") };
    let title = format!("{apps} apps, {environments} environments, {commands} commands; {verdict}");
    let tone = if failed == 0 { Tone::Good } else { Tone::Bad };
    Reply { tone, title, body: vec![table(&["host", "ssh", "docker", "free", "runs"], rows)] }
}

/// What was looked at in a chat service.
pub fn chat(service: &str, checked: &[Checked]) -> Reply {
    let rows = checked.iter().map(|Checked { what, is }| {
        let (how, more) = match is {
            Ok(more) => ("ok", more.clone()),
            Err(_) => ("FAILED", String::new()),
        };
        vec![what.clone(), how.to_owned(), text(&more)]
    });
    let failed = checked.iter().filter(|checked| checked.is.is_err()).count();
    let (tone, verdict) = match failed {
        0 => (Tone::Good, "all is well".to_owned()),
        n => (Tone::Bad, format!("{n} of {} are not well", checked.len())),
    };
    Reply { tone, title: format!("{service}: {verdict}"), body: vec![table(&[&service.to_lowercase(), "", ""], rows)] }
}

/// A command that was taken back before it became a deployment.
pub fn withdrawn(plan: &Plan) -> Reply {
    line(Tone::Warning, format!("{}: taken back before it began; nothing was touched", headline(plan)))
}

/// A cancel of what is still being planned.
pub fn withdrawing(by: &PersonName) -> Reply {
    line(Tone::Warning, format!("what is being planned is taken back by {by}"))
}

/// More commands wait in a room than anybody can mean.
pub fn too_many() -> Reply {
    line(Tone::Warning, "too many commands wait here; type it again when they are answered")
}
