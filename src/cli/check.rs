//! `shipmate check`: everything that can be known before the first deploy, in one table, with nothing touched.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures_util::future::join_all;

use super::chats::Chats;
use super::{failed, log, wiring};
use crate::bot::views;
use crate::chat::text;
use crate::domain::names::HostName;
use crate::domain::observed::{HostSeen, Unreachable};
use crate::domain::spec::EnvironmentSpec;
use crate::engine::Engine;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings) -> ExitCode {
    log::start(settings, None);
    let world = match wiring::World::read(settings) {
        Ok(world) => world,
        Err(problems) => return failed(&problems),
    };
    let specs: Vec<&EnvironmentSpec> = world.fleet.apps.values().flat_map(|app| app.environments.values()).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime can't start: {error}")),
    };
    let chats = match Chats::of(&world, settings, None) {
        Ok(chats) => chats,
        Err(error) => return failed(&error),
    };
    let (looked, services) = runtime.block_on(async {
        let hosts = async { Ok::<_, std::io::Error>(look(&*world.engine(settings).await?, &specs).await) };
        tokio::join!(hosts, chats.check())
    });
    runtime.shutdown_background();
    let Looked { hosts, balancers } = match looked {
        Ok(looked) => looked,
        Err(error) => return failed(&error),
    };
    let counts = (world.fleet.apps.len(), specs.len(), world.catalog.runbooks().count());
    for line in text::lines(&views::hosts(counts, &hosts, &balancers), "", None) {
        println!("{}", line.text);
    }
    for line in services.iter().flat_map(|(service, checked)| text::lines(&views::chat(service, checked), "", None)) {
        println!("{}", line.text);
    }
    let of_services = services.iter().flat_map(|(service, checked)| {
        let service = service.to_lowercase();
        checked.iter().filter_map(move |checked| Some(format!("{service}, {}: {}", checked.what, checked.is.as_ref().err()?)))
    });
    let of_hosts = hosts.iter().filter_map(|(host, seen)| Some(format!("{host}: {}", seen.as_ref().err()?)));
    let of_balancers = balancers.iter().filter_map(|(host, lost)| Some(format!("{host}: {}", lost.as_ref()?)));
    let problems: Vec<String> = of_hosts.chain(of_balancers).chain(of_services).collect();
    if problems.is_empty() { ExitCode::SUCCESS } else { failed(&problems.join("\n")) }
}

/// What the look at all hosts found.
#[derive(Default)]
struct Looked {
    hosts: BTreeMap<HostName, Result<HostSeen, Unreachable>>,
    /// The balancers' hosts, each with why it doesn't answer if so.
    balancers: BTreeMap<HostName, Option<Unreachable>>,
}

/// What each host says; a host of several environments with what it runs in all of them.
async fn look(engine: &dyn Engine, specs: &[&EnvironmentSpec]) -> Looked {
    let mut looked = Looked::default();
    let seen = join_all(specs.iter().map(|spec| engine.observe(spec))).await;
    for (spec, observed) in specs.iter().zip(seen) {
        let routers = spec.roles.values().filter_map(|role| role.router.as_ref());
        looked.balancers.extend(routers.map(|router| (router.host.clone(), observed.lost_balancers.get(&router.host).cloned())));
        for (host, seen) in observed.hosts {
            match (looked.hosts.get_mut(&host), seen) {
                (Some(Ok(known)), Ok(seen)) => known.containers.extend(seen.containers),
                (Some(_), Err(_)) => {}
                (_, seen) => {
                    looked.hosts.insert(host, seen);
                }
            }
        }
    }
    engine.rest().await;
    looked
}
