//! Tasks: they run once, and how they ended is told truly.

use std::time::{Duration, Instant};

use shipmate::domain::deployment::FailureKind;
use shipmate::domain::spec::Millis;

use super::super::scene::{Scene, fails};
use super::super::world::World;

pub async fn a_task_runs_once_however_often_it_is_applied(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis::seconds(30));
    scene.apply(&plan, &task).await.unwrap();
    let first = scene.heard.take();
    scene.apply(&plan, &task).await.unwrap();
    assert_eq!(scene.heard.take(), first, "the same result again");
    assert_eq!(first.matches("migrate begins").count(), 1, "{first}");
    assert!(first.ends_with("migrate done"), "{first}");
    // Words with spaces and signs arrive as they are.
    let manage = scene.task(&web, &["manage", "shell", "-c", "print(\"$HOME\", 'a  b')"], Millis::seconds(30));
    scene.apply(&plan, &manage).await.unwrap();
    assert!(scene.heard.take().contains("manage shell -c print(\"$HOME\", 'a  b')"));
    assert_eq!(scene.observe().await.containers(&web).count(), 0, "containers of tasks aren't the role's");
}

pub async fn a_failed_task_says_its_exit_status(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-44", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis::seconds(30));
    for _ in 0..2 {
        let failure = fails(scene.apply(&plan, &task).await, FailureKind::Exit { status: 1 });
        assert!(failure.message.contains("migrate") && failure.message.contains(web.host.as_str()), "{failure:?}");
        assert!(failure.output.last().unwrap().contains("ProgrammingError"), "{failure:?}");
    }
    scene.undo_twice(&plan, &task).await;
}

pub async fn a_task_killed_by_a_signal_is_no_success(world: &dyn World) {
    let scene = Scene::new(world).await;
    let web = scene.web();
    let plan = scene.plan("build-54", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let failed = scene.apply(&plan, &scene.task(&web, &["migrate"], Millis::seconds(30))).await;
    fails(failed, FailureKind::Signal { signal: Some(9) });
}

pub async fn a_task_that_overruns_its_deadline_is_killed(world: &dyn World) {
    let scene = Scene::new(world).await.env("web", "MIGRATE_SECS", "600");
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis(1500));
    let began = Instant::now();
    let failure = fails(scene.apply(&plan, &task).await, FailureKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(failure.output.iter().any(|line| line.contains("migrate begins")), "{failure:?}");
    // It was killed, not forgotten: the same again finds its end.
    fails(scene.apply(&plan, &task).await, FailureKind::Signal { signal: Some(9) });
    scene.undo_twice(&plan, &task).await;
}

pub async fn a_task_goes_on_while_the_bot_is_away(world: &dyn World) {
    let scene = Scene::new(world).await.env("web", "MIGRATE_SECS", "1.5");
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis::seconds(30));
    let killed = tokio::time::timeout(Duration::from_millis(800), scene.apply(&plan, &task)).await;
    assert!(killed.is_err(), "{killed:?}");
    assert!(scene.heard.take().contains("migrate begins"));
    let scene = Scene { engine: world.engine().await, ..scene };
    scene.apply(&plan, &task).await.unwrap();
    let output = scene.heard.take();
    assert_eq!((output.matches("migrate begins").count(), output.matches("migrate done").count()), (1, 1), "{output}");
}

pub async fn the_undo_of_a_task_ends_it(world: &dyn World) {
    let scene = Scene::new(world).await.env("web", "MIGRATE_SECS", "600");
    let web = scene.web();
    let plan = scene.plan("build-41", Vec::new()).await;
    scene.apply(&plan, &scene.pull(&web)).await.unwrap();
    let task = scene.task(&web, &["migrate"], Millis::seconds(600));
    let cancelled = tokio::time::timeout(Duration::from_millis(800), scene.apply(&plan, &task)).await;
    assert!(cancelled.is_err(), "{cancelled:?}");
    scene.undo_twice(&plan, &task).await;
    scene.heard.take();
    // Were it still there, this would follow it and not begin anew.
    let again = tokio::time::timeout(Duration::from_millis(1500), scene.apply(&plan, &task)).await;
    assert!(again.is_err() && scene.heard.take().matches("migrate begins").count() == 1);
    scene.undo(&plan, &task).await.unwrap();
}
