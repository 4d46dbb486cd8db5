//! Measures the store at the size that it must stay quick at: `cargo bench --bench store [-- DEPLOYMENTS]`.
//!
//! Fills a store with deployments of ten events each, then opens it again in a fresh process, so that the memory and the start are
//! those of a bot and not of the filling.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::{Event, Outcome};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::{Action, ActionIndex, Before, Origin, Plan, Purpose, Release, Revisions, Stage, Target};
use shipmate::domain::spec::{
    Batch, ContainerOptions, ContainerSpec, EnvValue, HealthCheck, HostPort, HostSpec, Millis, Order, Publish, RoleSpec, Service,
};
use shipmate::store::Ledger;

/// How many callers write at the same time.
const CALLERS: usize = 64;

/// How many builds they announce.
const BUILDS: usize = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [part, folder] if part == "open" => measure_open(Path::new(folder)),
        [part, folder] if part == "append" => runtime().block_on(measure_append(Path::new(folder))),
        [count] => measure(count.parse().unwrap()),
        _ => measure(100_000),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn measure(deployments: u64) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let part = |part: &str, folder: &Path| {
        assert!(Command::new(std::env::current_exe().unwrap()).arg(part).arg(folder).status().unwrap().success());
    };
    println!("an empty store:");
    let empty = tempfile::tempdir_in(".").unwrap();
    part("open", empty.path());
    let begin = Instant::now();
    let facts = runtime().block_on(fill(folder.path(), deployments));
    println!(
        "filled with {deployments} deployments, {facts} facts in {:.1?}, {} MiB on disk",
        begin.elapsed(),
        size(folder.path()) >> 20
    );
    for run in ["after the filling", "second", "third"] {
        println!("start, {run}:");
        part("open", folder.path());
    }
    println!("appending to it:");
    part("append", folder.path());
    println!("start after that:");
    part("open", folder.path());
    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    let begin = Instant::now();
    drop(Ledger::open(folder.path()).unwrap());
    println!("made anew from the journal in {:.1?}", begin.elapsed());
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

async fn fill(folder: &Path, deployments: u64) -> u64 {
    let (ledger, _) = Ledger::open(folder).unwrap();
    // Each app's deployments go one after the other; side by side they share the syncs.
    let apps: Vec<_> = (0..200)
        .map(|app| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in (app..deployments).step_by(200) {
                    let id = ledger.request(plan(app, n), "anna".parse().unwrap(), None, Timestamp::now()).await.unwrap();
                    deploy(&ledger, id).await;
                }
            })
        })
        .collect();
    for app in apps {
        app.await.unwrap();
    }
    ledger.head().seq
}

async fn deploy(ledger: &Ledger, id: DeploymentId) {
    for action in (0..5).map(ActionIndex) {
        ledger.deployment(id, Event::ActionStarted { action }, Timestamp::now()).await.unwrap();
        let outcome = Outcome { note: Some("healthy after 1.1 s (200)".into()), ..Outcome::default() };
        ledger.deployment(id, Event::ActionDone { action, outcome }, Timestamp::now()).await.unwrap();
    }
}

fn measure_open(folder: &Path) {
    let begin = Instant::now();
    let (ledger, recovery) = Ledger::open(folder).unwrap();
    let opened = begin.elapsed();
    let rss = rss_mib();
    println!("  open {opened:.1?}, resident {rss:.1} MiB, {:?}", recovery.story());
    let app = "app-7".parse().unwrap();
    let mut times = Vec::new();
    for number in 0..200 {
        let app = if number % 2 == 0 { format!("app-{number}").parse().unwrap() } else { "app-7".parse().unwrap() };
        let begin = Instant::now();
        ledger.history(&app, None, 20, None).unwrap();
        times.push(begin.elapsed());
    }
    println!("  history of 20, first {:.1?}, all {}", times[0], spread(times.clone()));
    let begin = Instant::now();
    let found = ledger.history(&app, None, 500, None).unwrap().len();
    println!("  history of {found}: {:.1?}", begin.elapsed());
    let begin = Instant::now();
    let state = ledger.state(DeploymentId(8)).unwrap();
    println!("  an old deployment's state ({}): {:.1?}, resident {:.1} MiB", state.is_some(), begin.elapsed(), rss_mib());
}

async fn measure_append(folder: &Path) {
    let (ledger, _) = Ledger::open(folder).unwrap();
    let mut alone = Vec::new();
    for number in 0..500 {
        let begin = Instant::now();
        announce(&ledger, "alone", number).await;
        alone.push(begin.elapsed());
    }
    println!("  one caller: {}", spread(alone));
    let begin = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for number in (caller..BUILDS).step_by(CALLERS) {
                    let begin = Instant::now();
                    announce(&ledger, "many", number).await;
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    let rate = BUILDS as f64 / begin.elapsed().as_secs_f64();
    println!("  {CALLERS} callers: {rate:.0} a second, each {}, resident {:.1} MiB", spread(times), rss_mib());
}

async fn announce(ledger: &Ledger, kind: &str, number: usize) {
    let build = Build {
        app: "app-7".parse().unwrap(),
        tag: format!("{kind}-{number}").parse().unwrap(),
        outcome: BuildOutcome::Succeeded,
        number: None,
        digest: None,
        commit: Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap()),
        branch: Some("master".into()),
        url: Some(format!("https://ci.example.org/job/app-7/{number}/")),
        author: Some("Anna".into()),
        message: Some("Make the front page faster".into()),
        seconds: Some(61),
        source: "jenkins".into(),
        at: Timestamp::now(),
    };
    let keys = vec![format!("delivery:{kind}:{number}"), format!("said:{kind}:{number}")];
    ledger.built(build, keys, Timestamp::now()).await.unwrap();
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    format!("median {:.1?}, p99 {:.1?}, worst {:.1?}", at(50), at(99), at(100))
}

fn rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn plan(app: u64, number: u64) -> Plan {
    let release = |number: u64| Release {
        tag: format!("build-{number}").parse().unwrap(),
        digest: format!("sha256:{number:064x}").parse().unwrap(),
    };
    let target = Target { role: "web".parse().unwrap(), host: "appserver1".parse().unwrap() };
    let container = Some(format!("app-{app}-production-web-build-{number}-0123"));
    let actions = vec![
        Action::Preflight { host: target.host.clone(), min_free_mib: 1024 },
        Action::Pull { host: target.host.clone() },
        Action::Start { target: target.clone(), container: container.clone(), origin: Origin::New { port: Some(8000) } },
        Action::Healthy { target: target.clone(), container: container.clone() },
        Action::Stop { target: target.clone(), container, undo: true },
    ];
    let env = ["DATABASE", "CACHE", "SECRET_KEY"].map(|name| (name.to_owned(), EnvValue::Secret(name.into())));
    let role = RoleSpec {
        hosts: vec![target.host.clone()],
        service: Service::Docker(ContainerSpec {
            command: vec!["gunicorn".into(), "app.wsgi".into()],
            env: BTreeMap::from(env),
            env_files: vec!["/etc/default/app".into()],
            publish: Some(Publish { container: 8000, host: HostPort::Fixed(vec![8000, 8001]), address: None }),
            volumes: vec!["/var/www/app/uploads:/uploads".into()],
            networks: Vec::new(),
            options: ContainerOptions::default(),
        }),
        health: HealthCheck::Running { after: Millis::seconds(3) },
        order: Order::StartFirst,
        batch: Batch::Hosts(1),
        wait: Millis(0),
        router: None,
        drain: Millis::seconds(5),
        grace: Millis::seconds(10),
    };
    let host = HostSpec { address: "10.0.0.7".into(), docker_socket: "/run/docker.sock".into() };
    Plan {
        app: format!("app-{app}").parse().unwrap(),
        environment: "production".parse().unwrap(),
        purpose: Purpose::Deploy,
        image: "registry.example.org/app".parse().unwrap(),
        release: release(number),
        before: vec![Before { target: target.clone(), release: number.checked_sub(200).map(release) }],
        warnings: Vec::new(),
        stages: vec![Stage { name: "web 1/1".into(), lanes: vec![actions], at_once: 1 }],
        roles: BTreeMap::from([(target.role.clone(), role)]),
        hosts: BTreeMap::from([(target.host, host)]),
        on_failure: Default::default(),
        bake: Default::default(),
        lock_after: Default::default(),
        nonce: String::new(),
        revision: Revisions::default(),
    }
}
