//! How long each operation takes on the rig. Run by hand: `cargo test --test it -- --ignored measure --nocapture`.

use std::time::{Duration, Instant};

use shipmate::domain::plan::Action;
use shipmate::domain::spec::{HealthCheck, Millis};
use shipmate::engine::Engine;
use shipmate::engine::ssh::{SshEngine, SshSettings};

use super::scene::{Scene, tag_files};
use super::ssh::{RigWorld, open};
use super::world::Company;

#[derive(Default)]
struct Times(Vec<(String, Vec<Duration>)>);

impl Times {
    async fn of<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        match self.0.iter_mut().find(|(known, _)| known == what) {
            Some((_, all)) => all.push(took),
            None => self.0.push((what.to_owned(), vec![took])),
        }
        result
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints a table; proves nothing"]
async fn measure() {
    let world = open(Company::Alone).await;
    run(&world, "RIG_SSH_CONFIG").await;
    world.rig.does(&["rtt", "30"]);
    eprintln!("the same with a round-trip time of 30 ms");
    run(&world, "RIG_SSH_CONFIG_RTT").await;
    world.rig.does(&["rtt", "off"]);
}

async fn engine(world: &RigWorld, config: &str) -> Box<dyn Engine> {
    let settings = SshSettings { ssh_config: Some(world.rig.variable(config).into()), ..world.settings() };
    Box::new(SshEngine::start(settings).await.unwrap())
}

async fn run(world: &RigWorld, config: &str) {
    let mut times = Times::default();
    for _ in 0..9 {
        let scene = Scene::new(world).await.with_router(world).env("web", "MIGRATE_SECS", "0").env("web", "START_SECS", "0");
        let scene = scene.with("worker", |role| role.health = HealthCheck::Running { after: Millis(0) });
        let web = scene.web();
        let plan = scene.plan("build-41", Vec::new()).await;
        let image = vec![plan.image_reference()];
        scene.apply(&plan, &scene.prune(&web, Vec::new(), image)).await.unwrap();
        let engine = times.of("start of the engine", engine(world, config)).await;
        let scene = Scene { engine, ..scene };
        let preflight = Action::Preflight { host: web.host.clone(), min_free_mib: 1 };
        times.of("observe 3 hosts, not connected", scene.observe()).await;
        times.of("observe 3 hosts, connected", scene.observe()).await;
        times.of("resolve", scene.engine.resolve(&scene.spec, &"build-41".parse().unwrap())).await.unwrap();
        times.of("preflight", scene.apply(&plan, &preflight)).await.unwrap();
        times.of("pull, cold", scene.apply(&plan, &scene.pull(&web))).await.unwrap();
        times.of("pull, there already", scene.apply(&plan, &scene.pull(&web))).await.unwrap();
        let task = scene.task(&web, &["migrate"], Millis::seconds(30));
        times.of("task of 0 s (create, attach, start, end)", scene.apply(&plan, &task)).await.unwrap();
        times.of("task, result taken again", scene.apply(&plan, &task)).await.unwrap();
        times.of("start, new", scene.apply(&plan, &scene.start(&web, "build-41"))).await.unwrap();
        times.of("healthy (Http)", scene.apply(&plan, &scene.healthy(&web, "build-41"))).await.unwrap();
        times.of("healthy again", scene.apply(&plan, &scene.healthy(&web, "build-41"))).await.unwrap();
        times.of("join", scene.apply(&plan, &scene.join(&web, "build-41"))).await.unwrap();
        times.of("leave", scene.apply(&plan, &scene.leave(&web, "build-41"))).await.unwrap();
        times.of("stop (app drains 200 ms)", scene.apply(&plan, &scene.stop(&web, "build-41"))).await.unwrap();
        times.of("start, kept", scene.apply(&plan, &scene.start_kept(&web, "build-41"))).await.unwrap();
        let record = scene.record(&web, tag_files(Some("build-41"), None), tag_files(None, None));
        times.of("record", scene.apply(&plan, &record)).await.unwrap();
        times.of("logs", scene.engine.logs(&scene.spec, &web, 20)).await.unwrap();
        times.of("undo of start", scene.undo(&plan, &scene.start(&web, "build-41"))).await.unwrap();
        times.of("rest", scene.engine.rest()).await;
        scene.undo(&plan, &task).await.unwrap();
    }
    for (what, all) in &mut times.0 {
        all.sort();
        let ms = |took: Duration| took.as_secs_f64() * 1000.0;
        eprintln!("{what:45} {:8.1} ms [{:.1}-{:.1}]", ms(all[all.len() / 2]), ms(all[0]), ms(all[all.len() - 1]));
    }
}
