//! Where the hosts differ from the record: what is found, what is said and typed about it, and that `!status` says the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shipmate::bot::views;
use shipmate::chat::{Block, Reply, Tone};
use shipmate::domain::drift::{Drift, Real, drift, fingerprint};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::observed::{Observed, Unreachable};
use shipmate::domain::plan::{Release, Target};
use shipmate::domain::spec::EnvironmentSpec;
use shipmate::runbook::Prefix;
use shipmate::store::TargetRecord;

use crate::sample::*;

/// All targets of the environment, recorded with a build.
fn recorded(spec: &EnvironmentSpec, tag: &str) -> BTreeMap<Target, Release> {
    let targets = spec.roles.iter().flat_map(|(role, of_role)| of_role.hosts.iter().map(move |host| (role, host)));
    targets.map(|(role, host)| (Target { role: role.clone(), host: host.clone() }, release(tag))).collect()
}

/// The lines of a reply's body, tables left out.
fn said(reply: &Reply) -> Vec<&str> {
    let lines = reply.body.iter().filter_map(|block| match block {
        Block::Line(line) => Some(line.as_str()),
        Block::Table { .. } | Block::Output(_) | Block::Offers(_) | Block::Calls(_) | Block::Links(_) => None,
    });
    lines.collect()
}

fn report(spec: &EnvironmentSpec, drifts: &[Drift]) -> Reply {
    let findings = views::drift_lines(&spec.app, &spec.environment, drifts, &Prefix::default());
    views::drift(&spec.app, &spec.environment, &findings)
}

fn status(spec: &EnvironmentSpec, recorded: &BTreeMap<Target, Release>, observed: &Observed) -> Reply {
    let record = |release: &Release| TargetRecord {
        current: release.clone(),
        revert: None,
        since: Timestamp::UNIX_EPOCH,
        by: DeploymentId(1),
        missed: None,
    };
    let records: Vec<_> = recorded.iter().map(|(target, release)| (target.clone(), record(release))).collect();
    views::status(spec, &records, observed, None, Timestamp::UNIX_EPOCH)
}

/// The notes of `!status`, by target.
fn notes(reply: &Reply) -> Vec<(String, String)> {
    let Some(Block::Table { rows, .. }) = reply.body.first() else { panic!("{reply:?}") };
    rows.iter().filter(|row| !row[4].is_empty()).map(|row| (row[0].clone(), row[4].clone())).collect()
}

#[test]
fn hosts_that_run_what_was_recorded_have_no_drift() {
    let mut spec = antisocial();
    spec.roles.insert(name("api"), service(&["appserver1"]));
    let observed = running(&spec, "build-42");
    assert_eq!(drift(&spec, &recorded(&spec, "build-42"), &observed), []);
    let status = status(&spec, &recorded(&spec, "build-42"), &observed);
    assert_eq!((status.tone, status.title.as_str()), (Tone::Good, "antisocial production: as recorded"));
    // What was never deployed can run whatever it likes.
    assert_eq!(drift(&spec, &BTreeMap::new(), &running(&spec, "build-7")), []);
    assert_eq!(drift(&spec, &BTreeMap::new(), &bare(&spec)), []);
}

#[test]
fn every_kind_of_drift_is_found_and_said_with_what_mends_it() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "appserver1").containers[0].release = release("build-41");
    at(&mut observed, "appserver1").containers.push(seen(&spec, "cron", "build-30", None));
    at(&mut observed, "appserver2").containers[0].health = Some("unhealthy".to_owned());
    let third = at(&mut observed, "appserver3");
    third.containers.retain(|container| container.role.as_str() == "beat");
    third.containers.push(seen(&spec, "beat", "build-41", None));
    observed.lost_balancers.insert(name("lb1"), Unreachable("connection refused".into()));
    let found = drift(&spec, &recorded(&spec, "build-42"), &observed);
    let wanted = release("build-42");
    assert_eq!(
        found,
        [
            Drift::Twice { target: target("beat@appserver3"), how_many: 2, keep: wanted.tag.clone() },
            Drift::WrongVersion {
                target: target("web@appserver1"),
                wanted: wanted.clone(),
                real: Real::Release(release("build-41"))
            },
            Drift::Unhealthy { target: target("web@appserver2") },
            Drift::Dead { target: target("worker@appserver3"), wanted },
            Drift::Orphan {
                host: name("appserver1"),
                container: "antisocial-production-cron-build-30-0".into(),
                role: name("cron"),
                tag: name("build-30"),
            },
            Drift::Unreachable { host: name("lb1"), why: "connection refused".into() },
        ]
    );
    let reply = report(&spec, &found);
    assert_eq!((reply.tone, reply.title.as_str()), (Tone::Warning, "antisocial production is not as recorded: 6 findings"));
    assert_eq!(
        said(&reply),
        [
            "beat@appserver3 runs twice at once: `!deploy antisocial build-42 production`",
            "web@appserver1 runs build-41, and build-42 should run: `!deploy antisocial build-42 production`",
            "web@appserver2 is unhealthy: `!restart antisocial web production`",
            "worker@appserver3 runs nothing, and build-42 should run: `!deploy antisocial build-42 production`",
            "appserver1 still runs `antisocial-production-cron-build-30-0` (cron build-30), which the fleet file doesn't have there: \
             `ssh appserver1 docker stop antisocial-production-cron-build-30-0`, if nobody needs it",
            "lb1 doesn't answer: connection refused: bring it back, then `!status antisocial`",
        ]
    );
    let status = status(&spec, &recorded(&spec, "build-42"), &observed);
    assert_eq!(status.title, "antisocial production: 4 targets differ, and 2 more findings");
    let marked: Vec<String> = notes(&status).into_iter().map(|(target, note)| format!("{target} {note}")).collect();
    let beside: Vec<&str> = said(&status);
    let of_report: Vec<String> =
        found.iter().map(|drift| said(&report(&spec, std::slice::from_ref(drift)))[0].to_owned()).collect();
    for line in marked.iter().map(|line| line.replace("⚠ ", "")).chain(beside.iter().map(|line| line.replace("⚠ ", ""))) {
        assert!(of_report.iter().any(|reported| reported.starts_with(&line)), "{line} is in {of_report:#?}");
    }
    assert_eq!(marked.len() + beside.len(), of_report.len());
}

#[test]
fn what_should_run_is_deployed_by_the_command_that_is_shown() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    let third = at(&mut observed, "appserver3");
    third.containers.retain(|container| container.role.as_str() == "beat");
    third.containers.push(seen(&spec, "beat", "build-41", None));
    let found = drift(&spec, &recorded(&spec, "build-42"), &observed);
    assert_eq!(found.len(), 2);
    let ask = Ask::new(&spec, &observed).recorded(&release("build-42"));
    let plan = ask.deploy(&release("build-42")).unwrap();
    let lines = lines(&plan).join("\n");
    assert!(lines.contains("stop beat@appserver3") && lines.contains("start worker@appserver3"), "{lines}");
}

#[test]
fn another_image_of_the_same_tag_is_another_version_and_another_tag_of_the_same_image_isnt() {
    let spec = environment([("worker", worker(&["a"]))], &[&["worker"]]);
    let mut observed = running(&spec, "build-42");
    let pushed_again = Release { tag: name("build-42"), digest: release("other").digest };
    let wanted = BTreeMap::from([(target("worker@a"), pushed_again.clone())]);
    let found = drift(&spec, &wanted, &observed);
    let (ran, wants) = (release("build-42").digest, pushed_again.digest.clone());
    assert_eq!(
        said(&report(&spec, &found)),
        [format!(
            "worker@a runs another image of build-42 ({}), and {} should run: `!deploy antisocial build-42 production`",
            ran.short(),
            wants.short()
        )]
    );
    at(&mut observed, "a").containers[0].release = Release { tag: name("build-41"), ..pushed_again };
    assert_eq!(drift(&spec, &wanted, &observed), []);
}

#[test]
fn a_service_is_told_by_its_tag_file() {
    let spec = environment([("web", service(&["a", "b"]))], &[&["web"]]);
    let wanted = recorded(&spec, "build-42");
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").tag_files = files(Some("build-41"), None);
    at(&mut observed, "b").tag_files = files(None, None);
    assert_eq!(
        said(&report(&spec, &drift(&spec, &wanted, &observed))),
        [
            "web@a runs build-41, and build-42 should run: `!deploy antisocial build-42 production`",
            "web@b runs, and no TAG file says what; build-42 should run: `!deploy antisocial build-42 production`",
        ]
    );
    // A container is still there from the time before the service: beside it, it is one too many; alone, it is what runs.
    at(&mut observed, "a").containers = vec![seen(&spec, "web", "build-42", None)];
    at(&mut observed, "b").containers = vec![seen(&spec, "web", "build-42", None)];
    at(&mut observed, "b").services.insert(name("web"), false);
    let found = drift(&spec, &wanted, &observed);
    assert_eq!(found, [Drift::Twice { target: target("web@a"), how_many: 2, keep: name("build-42") }]);
    at(&mut observed, "b").containers.clear();
    assert!(matches!(drift(&spec, &wanted, &observed)[1], Drift::Dead { .. }));
}

#[test]
fn a_host_that_doesnt_answer_hides_its_targets_and_no_others() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-41");
    unreachable(&mut observed, "appserver3");
    observed.lost_balancers.insert(name("appserver3"), Unreachable("the same host".into()));
    let found = drift(&spec, &recorded(&spec, "build-42"), &observed);
    let lost: Vec<&Drift> = found.iter().filter(|drift| drift.target().is_none()).collect();
    assert_eq!(lost, [&Drift::Unreachable { host: name("appserver3"), why: "no route to host".into() }]);
    assert_eq!(found.len(), 3);
    let reply = status(&spec, &recorded(&spec, "build-42"), &observed);
    assert_eq!(reply.title, "antisocial production: 4 targets differ");
    assert_eq!(notes(&reply)[0], ("beat@appserver3".to_owned(), "⚠ no route to host".to_owned()));
    assert_eq!(said(&reply), [""; 0]);
}

#[test]
fn a_target_that_moved_leaves_an_orphan_whatever_the_record_says() {
    let mut spec = environment([("beat", worker(&["a"])), ("web", web(&["b"]))], &[&["beat", "web"]]);
    let old = recorded(&spec, "build-42");
    let observed = running(&spec, "build-42");
    spec.roles.get_mut(&name("beat")).unwrap().hosts = vec![name("b")];
    let found = drift(&spec, &old, &observed);
    assert!(matches!(&found[..], [Drift::Orphan { host, .. }] if host.as_str() == "a"), "{found:?}");
    assert_eq!(status(&spec, &old, &observed).title, "antisocial production: 1 finding");
}

#[test]
fn stopped_containers_are_no_orphans() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "appserver1")
        .containers
        .extend([kept(&spec, "cron", "build-30", None), kept(&spec, "web", "build-41", None)]);
    assert_eq!(drift(&spec, &recorded(&spec, "build-42"), &observed), []);
}

#[test]
fn what_a_host_calls_a_container_is_never_pasted_into_a_shell() {
    let spec = antisocial();
    for evil in ["x;reboot", "$(reboot)", "-f", "x y", "x`y", ""] {
        let orphan = Drift::Orphan { host: name("a"), container: evil.into(), role: name("cron"), tag: name("build-1") };
        let reply = report(&spec, &[orphan]);
        assert!(said(&reply)[0].ends_with("stop it on a by hand, if nobody needs it"), "{reply:?}");
    }
    let long = "x".repeat(300);
    let orphan = Drift::Orphan { host: name("a"), container: long.clone(), role: name("cron"), tag: name("build-1") };
    assert!(said(&report(&spec, &[orphan]))[0].contains(&format!("`ssh a docker stop {long}`")));
}

#[test]
fn the_fingerprint_is_that_of_the_findings_and_nothing_else() {
    let lost = |why: &str| Drift::Unreachable { host: name("a"), why: why.into() };
    let dead = |role: &str| Drift::Dead { target: target(&format!("{role}@b")), wanted: release("build-42") };
    let first = fingerprint(&[lost("timeout after 10.2 s"), dead("web")]);
    assert_eq!(first.split(' ').map(str::len).collect::<Vec<_>>(), [16, 16]);
    assert_eq!(first, fingerprint(&[dead("web"), lost("no route to host")]));
    let others = [
        vec![],
        vec![dead("web")],
        vec![lost("timeout"), dead("worker")],
        vec![lost("timeout"), dead("web"), dead("worker")],
        vec![lost("timeout"), Drift::Unhealthy { target: target("web@b") }],
        vec![lost("timeout"), Drift::Dead { target: target("web@b"), wanted: release("build-43") }],
    ];
    let mut all: Vec<String> = others.iter().map(|drifts| fingerprint(drifts)).chain([first]).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), others.len() + 1);
}
