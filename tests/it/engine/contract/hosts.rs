//! Hosts and registries: what is seen, pulled, recorded, removed and masked, and what is told when one is away.

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::plan::Action;
use shipmate::domain::spec::{Millis, Service};
use shipmate::engine::ResolveError;

use super::super::scene::{Scene, fails, tag_files};
use super::super::world::{SENTINEL, World};
use super::up;

pub async fn a_tag_is_resolved_and_an_unknown_one_is_told(world: &dyn World) {
    let scene = Scene::new(world).await;
    let digest = scene.engine.resolve(&scene.spec, &"build-41".parse().unwrap()).await.unwrap();
    assert_eq!(scene.engine.resolve(&scene.spec, &"build-41".parse().unwrap()).await.unwrap(), digest);
    let unknown = scene.engine.resolve(&scene.spec, &"build-99".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&unknown, ResolveError::Unknown { tag, .. } if tag.as_str() == "build-99"), "{unknown:?}");
}

pub async fn a_pull_brings_the_content_once(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-41", vec![scene.pull(&web)]).await;
    scene.twice(&plan, &scene.pull(&web)).await;
    assert_eq!(scene.apply(&plan, &scene.pull(&web)).await.unwrap().note.as_deref(), Some("already there"));
    assert!(scene.seen(&web).await.images.contains(&plan.release.digest));
}

pub async fn a_content_that_the_registry_has_not_is_missing(world: &dyn World) {
    let scene = Scene::new(world).await;
    let digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let plan = scene.plan_of("build-99", digest, vec![scene.pull(&scene.web())]);
    fails(scene.apply(&plan, &scene.pull(&scene.web())).await, FailureKind::Missing);
    fails(scene.apply(&plan, &scene.start(&scene.web(), "build-99")).await, FailureKind::Missing);
}

pub async fn tag_and_revert_are_recorded_and_put_back(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-42", Vec::new()).await;
    assert_eq!(scene.seen(&web).await.tag_files, tag_files(None, None));
    let first = scene.record(&web, tag_files(Some("build-41"), None), tag_files(None, None));
    let second = scene.record(&web, tag_files(Some("build-42"), Some("build-41")), tag_files(Some("build-41"), None));
    scene.twice(&plan, &first).await;
    scene.twice(&plan, &second).await;
    assert_eq!(scene.seen(&web).await.tag_files, tag_files(Some("build-42"), Some("build-41")));
    let file = format!("/var/www/{}/TAG", scene.spec.app);
    assert_eq!(world.read(&web.host, &file).await.as_deref(), Some("export TAG=build-42\n"));
    scene.undo_twice(&plan, &second).await;
    assert_eq!(scene.seen(&web).await.tag_files, tag_files(Some("build-41"), None));
    scene.undo_twice(&plan, &first).await;
    assert_eq!(world.read(&web.host, &file).await, None);
}

pub async fn pruning_removes_what_is_named_and_nothing_that_runs(world: &dyn World) {
    let scene = Scene::new(world).await;
    let worker = scene.target("worker", 1);
    // A build of this test's own on this host: others must not need its image.
    let old = up(&scene, &worker, "build-50").await;
    let image = vec![old.image_reference()];
    let containers = vec![scene.container(&worker, "build-50")];
    let refused = scene.apply(&old, &scene.prune(&worker, containers.clone(), image.clone())).await.unwrap_err();
    assert!(refused.message.contains("build-50"), "{refused:?}");
    assert!(scene.observe().await.running(&worker).is_some(), "what runs goes on");
    scene.apply(&old, &scene.stop(&worker, "build-50")).await.unwrap();
    let task = scene.task(&worker, &["migrate"], Millis::seconds(30));
    let plan = scene.plan("build-50", vec![task.clone()]).await;
    scene.apply(&plan, &task).await.unwrap();
    scene.twice(&plan, &scene.prune(&worker, containers, image)).await;
    let seen = scene.seen(&worker).await;
    assert!(seen.containers.is_empty() && !seen.images.contains(&old.release.digest), "{seen:?}");
}

pub async fn secrets_are_masked_wherever_they_come_out(world: &dyn World) {
    let file = "/etc/default/sentinels";
    let inner = "sentinel of a file, in words";
    let scene = Scene::new(world).await.with("web", |role| {
        if let Service::Docker(container) = &mut role.service {
            container.env_files = vec![file.to_owned()];
        }
    });
    let web = scene.web();
    world.write(&web.host, file, &format!("# made by a test\nexport FILE_SECRET=\"{inner}\"\n")).await;
    let plan = scene.plan("build-56", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let migrate = scene.task(&web, &["migrate"], Millis::seconds(30));
    scene.apply(&plan, &migrate).await.unwrap();
    let output = scene.heard.take();
    assert!(output.contains("SECRET_KEY=***") && !output.contains(SENTINEL), "{output}");
    // After a restart of the bot the container is there; what it knows must be masked all the same.
    scene.undo(&plan, &migrate).await.unwrap();
    let leaks = scene.env("web", "LEAK", "FILE_SECRET").env("web", "MIGRATE_RC", "1");
    let plan = leaks.plan("build-41", Vec::new()).await;
    leaks.apply(&plan, &leaks.pull(&web)).await.unwrap();
    for _ in 0..2 {
        let failure = fails(leaks.apply(&plan, &migrate).await, FailureKind::Exit { status: 1 });
        let output = leaks.heard.take();
        assert!(output.contains("FILE_SECRET=***") && !output.contains(inner), "{output}");
        assert!(!format!("{failure:?}").contains(inner), "{failure:?}");
    }
    let restarted = Scene { engine: world.engine().await, ..leaks };
    let failure = fails(restarted.apply(&plan, &migrate).await, FailureKind::Exit { status: 1 });
    let output = restarted.heard.take();
    assert!(output.contains("FILE_SECRET=***") && !format!("{output} {failure:?}").contains(inner), "{output} {failure:?}");
}

pub async fn preflight_sees_too_little_space(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    let preflight = |min_free_mib| Action::Preflight { host: web.host.clone(), min_free_mib };
    let note = scene.twice(&plan, &preflight(1)).await.note.unwrap();
    assert!(note.ends_with("MiB free"), "{note}");
    let failure = fails(scene.apply(&plan, &preflight(u64::MAX)).await, FailureKind::DiskFull);
    assert!(failure.message.contains(web.host.as_str()), "{failure:?}");
    assert!(scene.seen(&web).await.free_mib > 0);
}

pub async fn without_a_registry_nothing_is_resolved_or_pulled_and_the_kept_one_starts(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let kept = up(&scene, &web, "build-41").await;
    scene.apply(&kept, &scene.stop(&web, "build-41")).await.unwrap();
    let next = scene.plan("build-51", Vec::new()).await;
    world.registry(false).await;
    let silent = scene.engine.resolve(&scene.spec, &"build-41".parse().unwrap()).await;
    let failure = scene.apply(&next, &scene.pull(&web)).await;
    let again = scene.apply(&kept, &scene.pull(&web)).await;
    let started = scene.apply(&kept, &scene.start_kept(&web, "build-41")).await;
    world.registry(true).await;
    assert!(matches!(&silent, Err(ResolveError::Unavailable(_))), "{silent:?}");
    fails(failure, FailureKind::Refused);
    assert_eq!(again.unwrap().note.as_deref(), Some("already there"));
    started.unwrap();
    scene.apply(&kept, &scene.healthy(&web, "build-41")).await.unwrap();
}

pub async fn a_host_that_is_down_is_named_and_the_others_are_seen(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = up(&scene, &web, "build-41").await;
    world.power(&web.host, false).await;
    let preflight = Action::Preflight { host: web.host.clone(), min_free_mib: 1 };
    let observed = scene.observe().await;
    let applied = scene.apply(&plan, &preflight).await;
    let undone = scene.undo(&plan, &scene.start(&web, "build-41")).await;
    let resolved = scene.engine.resolve(&scene.spec, &"build-41".parse().unwrap()).await;
    world.power(&web.host, true).await;
    let unreachable: Vec<_> = observed.unreachable().map(|(host, why)| (host.clone(), why.to_string())).collect();
    assert!(
        unreachable.len() == 1 && unreachable[0].0 == web.host && unreachable[0].1.contains(web.host.as_str()),
        "{unreachable:?}"
    );
    assert!(observed.host(&scene.target("worker", 1).host).is_some());
    assert!(fails(applied, FailureKind::Unreachable).message.contains(web.host.as_str()));
    fails(undone, FailureKind::Unreachable);
    assert_eq!(resolved.unwrap(), plan.release.digest, "another host is asked");
    // The same engine finds its way back by itself.
    scene.apply(&plan, &preflight).await.unwrap();
    scene.apply(&plan, &scene.start_kept(&web, "build-41")).await.unwrap();
    scene.undo_twice(&plan, &scene.start(&web, "build-41")).await;
}
