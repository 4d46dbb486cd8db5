//! Services: they start, are waited for, stop, and are kept; those of containers and those of commands.

use std::time::{Duration, Instant};

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::plan::{Action, Origin};
use shipmate::domain::spec::{EnvValue, HealthCheck, Millis, Service, ServiceCommands};

use super::super::scene::{Scene, fails};
use super::super::world::World;
use super::up;

pub async fn a_service_starts_becomes_healthy_stops_and_is_kept(world: &dyn World) {
    let scene = Scene::new(world).await;
    for (target, port) in [(scene.web(), Some(scene.port)), (scene.target("worker", 1), None)] {
        let plan = scene.plan("build-41", Vec::new()).await;
        scene.apply(&plan, &scene.pull(&target)).await.unwrap();
        scene.twice(&plan, &scene.start(&target, "build-41")).await;
        let note = scene.twice(&plan, &scene.healthy(&target, "build-41")).await.note.unwrap();
        assert!(note.starts_with("healthy after "), "{note}");
        let observed = scene.observe().await;
        let seen = observed.running(&target).unwrap();
        assert_eq!((&seen.name, &seen.release, seen.port), (&scene.container(&target, "build-41"), &plan.release, port));
        assert_eq!((seen.revision.clone(), seen.restarts), (scene.spec.roles[&target.role].revision(), 0));
        assert!(seen.started_at.is_some());
        if port.is_some() {
            assert_eq!(world.serves(&scene.address(1)).await.as_deref(), Some("build-41"));
        }
        scene.twice(&plan, &scene.stop(&target, "build-41")).await;
        let observed = scene.observe().await;
        assert!(observed.running(&target).is_none());
        let kept: Vec<_> = observed.containers(&target).map(|kept| (kept.name.as_str(), kept.port)).collect();
        assert_eq!(kept, [(scene.container(&target, "build-41").as_str(), port)]);
        scene.twice(&plan, &scene.start_kept(&target, "build-41")).await;
        scene.twice(&plan, &scene.healthy(&target, "build-41")).await;
    }
}

pub async fn the_undo_of_a_start_leaves_nothing(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = up(&scene, &web, "build-41").await;
    scene.undo_twice(&plan, &scene.start(&web, "build-41")).await;
    assert_eq!(scene.observe().await.containers(&web).count(), 0);
    assert_eq!(world.serves(&scene.address(1)).await, None);
    // A kept one is put back to where it was: stopped, and there.
    let plan = up(&scene, &web, "build-41").await;
    scene.undo_twice(&plan, &scene.start_kept(&web, "build-41")).await;
    let observed = scene.observe().await;
    assert_eq!((observed.containers(&web).count(), observed.running(&web)), (1, None));
}

pub async fn the_undo_of_a_stop_starts_it_again(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = up(&scene, &web, "build-41").await;
    scene.apply(&plan, &scene.stop(&web, "build-41")).await.unwrap();
    // The plan of a later deployment, which stopped the old one, puts it back.
    let later = scene.plan("build-42", Vec::new()).await;
    scene.undo_twice(&later, &scene.stop(&web, "build-41")).await;
    scene.apply(&later, &scene.healthy(&web, "build-41")).await.unwrap();
    assert_eq!(world.serves(&scene.address(1)).await.as_deref(), Some("build-41"));
    scene.undo(&plan, &scene.start(&web, "build-41")).await.unwrap();
    fails(scene.undo(&later, &scene.stop(&web, "build-41")).await, FailureKind::Missing);
}

pub async fn undo_of_what_was_never_begun_is_done(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    for action in [
        scene.start(&web, "build-41"),
        scene.task(&web, &["migrate"], Millis::seconds(9)),
        scene.pull(&web),
        scene.join(&web, "build-41"),
    ] {
        scene.undo(&plan, &action).await.unwrap_or_else(|failure| panic!("{action}: {failure:?}"));
    }
}

fn deadline(scene: Scene, deadline: Millis) -> Scene {
    let longer = deadline;
    scene.with("web", |role| {
        if let HealthCheck::Http { deadline, .. } = &mut role.health {
            *deadline = longer;
        }
    })
}

pub async fn an_images_own_health_check_counts(world: &dyn World) {
    let scene = Scene::new(world).await.with("web", |role| role.health = HealthCheck::Docker { deadline: Millis::seconds(20) });
    let web = scene.web();
    let plan = up(&scene, &web, "build-41").await;
    let note = scene.twice(&plan, &scene.healthy(&web, "build-41")).await.note.unwrap();
    assert!(note.contains("HEALTHCHECK"), "{note}");
    assert_eq!(scene.observe().await.running(&web).unwrap().health.as_deref(), Some("healthy"));
    scene.undo(&plan, &scene.start(&web, "build-41")).await.unwrap();
    let scene = scene.with("web", |role| role.health = HealthCheck::Docker { deadline: Millis::seconds(3) });
    let plan = up(&scene, &web, "build-46").await;
    fails(scene.apply(&plan, &scene.healthy(&web, "build-46")).await, FailureKind::Unhealthy);
}

pub async fn what_never_gets_healthy_says_its_last_answer(world: &dyn World) {
    let scene = deadline(Scene::new(world).await, Millis(1500));
    let web = scene.web();
    let plan = up(&scene, &web, "build-46").await;
    let failure = fails(scene.apply(&plan, &scene.healthy(&web, "build-46")).await, FailureKind::Unhealthy);
    assert!(failure.message.contains("404 Not Found ×"), "{failure:?}");
    assert!(failure.output.iter().any(|line| line.contains("listening on")), "{failure:?}");
    scene.undo_twice(&plan, &scene.start(&web, "build-46")).await;
}

pub async fn what_starts_slowly_is_waited_for(world: &dyn World) {
    let scene = Scene::new(world).await.env("web", "START_SECS", "2");
    let web = scene.web();
    let plan = up(&scene, &web, "build-47").await;
    let note = scene.apply(&plan, &scene.healthy(&web, "build-47")).await.unwrap().note.unwrap();
    assert!(note.contains("200 OK"), "{note}");
    assert!(!scene.heard.notes().is_empty(), "what it waits for is said");
}

pub async fn what_crashes_at_start_fails_at_once(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = up(&scene, &web, "build-45").await;
    let began = Instant::now();
    let failure = fails(scene.apply(&plan, &scene.healthy(&web, "build-45")).await, FailureKind::Exit { status: 3 });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(failure.output.iter().any(|line| line.contains("ImproperlyConfigured")), "{failure:?}");
    scene.undo_twice(&plan, &scene.start(&web, "build-45")).await;
    assert_eq!(scene.observe().await.containers(&web).count(), 0);
}

pub async fn what_ignores_term_is_killed(world: &dyn World) {
    let scene = Scene::new(world).await.with("web", |role| role.grace = Millis::seconds(1));
    let web = scene.web();
    let plan = up(&scene, &web, "build-48").await;
    scene.apply(&plan, &scene.healthy(&web, "build-48")).await.unwrap();
    let note = scene.apply(&plan, &scene.stop(&web, "build-48")).await.unwrap().note.unwrap();
    assert!(note.contains("killed"), "{note}");
    assert_eq!(world.serves(&scene.address(1)).await, None);
}

pub async fn an_unset_secret_is_named(world: &dyn World) {
    let scene = Scene::new(world).await.with("web", |role| {
        if let Service::Docker(container) = &mut role.service {
            container.env.insert("TOKEN".into(), EnvValue::Secret("NOT_SET".into()));
        }
    });
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let failure = fails(scene.apply(&plan, &scene.start(&web, "build-41")).await, FailureKind::Missing);
    assert!(failure.message.contains("NOT_SET"), "{failure:?}");
}

pub async fn a_balancer_is_told_and_told_again(world: &dyn World) {
    let scene = Scene::new(world).await.with_router(world);
    let web = scene.web();
    let plan = up(&scene, &web, "build-41").await;
    scene.apply(&plan, &scene.healthy(&web, "build-41")).await.unwrap();
    let line = format!("{}-{} {}", scene.spec.app, web.host, scene.address(1));
    scene.twice(&plan, &scene.join(&web, "build-41")).await;
    assert!(world.balanced().await.contains(&line));
    scene.twice(&plan, &scene.leave(&web, "build-41")).await;
    assert!(!world.balanced().await.contains(&line));
    scene.undo_twice(&plan, &scene.leave(&web, "build-41")).await;
    assert!(world.balanced().await.contains(&line));
    scene.undo_twice(&plan, &scene.join(&web, "build-41")).await;
    assert!(!world.balanced().await.contains(&line));
    // A role without a balancer has nothing to tell.
    let worker = scene.target("worker", 1);
    assert_eq!(scene.apply(&plan, &scene.join(&worker, "build-41")).await.unwrap().note.as_deref(), Some("no balancer"));
}

pub async fn a_service_of_commands_is_switched(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    // A service like an init's: it runs while its file is there.
    let file = format!("/var/tmp/{}-runs", scene.spec.app);
    let words = |text: &str| text.split(' ').map(|word| word.replace("FILE", &file)).collect::<Vec<_>>();
    let scene = scene.with("web", |role| {
        role.health = HealthCheck::Running { after: Millis(300) };
        let container = role.container().clone();
        let (start, stop, status) = (words("touch FILE"), words("rm FILE"), words("test -e FILE"));
        role.service = Service::Commands(ServiceCommands { start, stop, status, port: None, container });
    });
    let plan = scene.plan("build-41", Vec::new()).await;
    let start = Action::Start { target: web.clone(), container: None, origin: Origin::Kept };
    let stop = Action::Stop { target: web.clone(), container: None, undo: true };
    let healthy = Action::Healthy { target: web.clone(), container: None };
    assert!(!scene.seen(&web).await.services[&web.role]);
    scene.twice(&plan, &stop).await;
    scene.twice(&plan, &start).await;
    assert!(scene.seen(&web).await.services[&web.role]);
    scene.twice(&plan, &healthy).await;
    scene.twice(&plan, &stop).await;
    fails(scene.apply(&plan, &healthy).await, FailureKind::Unhealthy);
    scene.undo_twice(&plan, &stop).await;
    assert!(scene.seen(&web).await.services[&web.role]);
    scene.undo_twice(&plan, &start).await;
    assert!(!scene.seen(&web).await.services[&web.role]);
}

pub async fn logs_are_the_last_lines(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    fails(scene.engine.logs(&scene.spec, &web, 5).await, FailureKind::Missing);
    let plan = up(&scene, &web, "build-41").await;
    scene.apply(&plan, &scene.healthy(&web, "build-41")).await.unwrap();
    let lines = scene.engine.logs(&scene.spec, &web, 1).await.unwrap();
    assert_eq!(lines, [format!("antisocial build-41: listening on {}", scene.address(1))]);
}
