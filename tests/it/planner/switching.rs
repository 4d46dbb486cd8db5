//! Which actions, in which order: first deploys, rolls, batches, waits, scaling, reverts, restarts, one-off commands.

use shipmate::domain::observed::ContainerSeen;
use shipmate::domain::plan::{Action, Origin, Plan, Release};
use shipmate::domain::planner::PlanError;
use shipmate::domain::spec::{Batch, EnvironmentSpec, HostPort, Millis, Order, Publish, RoleSpec, Service};

use crate::sample::*;

/// The container that an action starts, by target, with where it comes from.
fn starts(plan: &Plan) -> Vec<(String, String, Origin)> {
    let start = |action: &Action| match action {
        Action::Start { target, container: Some(name), origin } => Some((target.to_string(), name.clone(), *origin)),
        _ => None,
    };
    plan.actions().filter_map(|(_, action)| start(action)).collect()
}

fn with_role(mut spec: EnvironmentSpec, role: &str, change: impl FnOnce(&mut RoleSpec)) -> EnvironmentSpec {
    change(spec.roles.get_mut(&name(role)).unwrap());
    spec
}

fn publishing(port: HostPort) -> impl FnOnce(&mut RoleSpec) {
    |role| {
        let Service::Docker(container) = &mut role.service else { panic!("not by Docker") };
        container.publish = Some(Publish { container: 8000, host: port, address: None });
    }
}

#[test]
fn the_first_deploy_ever() {
    let spec = antisocial();
    let plan = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3
         pull: pull appserver1 | pull appserver2 | pull appserver3
         tasks: migrate web@appserver1, collectstatic web@appserver1
         web 1/2: start web@appserver1, healthy web@appserver1, join web@appserver1
         web 2/2: start web@appserver2, healthy web@appserver2, join web@appserver2
         worker + beat: start worker@appserver3, healthy worker@appserver3 | start beat@appserver3, healthy beat@appserver3
         record: record appserver1 | record appserver2 | record appserver3
         prune: prune appserver1",
    );
    assert_eq!(plan.before.iter().filter(|before| before.release.is_some()).count(), 0);
    assert_eq!(plan.from(), None);
}

#[test]
fn a_deploy_over_a_running_release() {
    let spec = antisocial();
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3
         pull: pull appserver1 | pull appserver2 | pull appserver3
         tasks: migrate web@appserver1, collectstatic web@appserver1
         web 1/2: start web@appserver1, healthy web@appserver1, join web@appserver1, leave web@appserver1, stop web@appserver1
         web 2/2: start web@appserver2, healthy web@appserver2, join web@appserver2, leave web@appserver2, stop web@appserver2
         worker + beat: stop worker@appserver3, start worker@appserver3, healthy worker@appserver3 | stop beat@appserver3, start beat@appserver3, healthy beat@appserver3
         record: record appserver1 | record appserver2 | record appserver3
         prune: prune appserver1",
    );
    assert_eq!(plan.from(), Some(&release("build-41")));
    assert!(plan.warnings.is_empty());
}

#[test]
fn a_stop_first_role_behind_a_balancer_leaves_drains_and_stops_before_it_starts() {
    let spec = with_role(environment([("web", web(&["a"]))], &[&["web"]]), "web", |role| {
        role.order = Order::StopFirst;
        role.drain = Millis::seconds(5);
    });
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[2], "web: leave web@a, drain web@a, stop web@a, start web@a, healthy web@a, join web@a");
    // The old one's port is free by then.
    assert_eq!(starts(&plan)[0].2, Origin::New { port: Some(8000) });
}

#[test]
fn the_size_of_a_batch_is_heeded_and_the_wait_stands_between_two() {
    let hosts = ["a", "b", "c"];
    let of_size = |batch, wait| {
        let spec = with_role(environment([("web", web(&hosts))], &[&["web"]]), "web", |role| {
            role.batch = batch;
            role.wait = Millis::seconds(wait);
            role.router = None;
        });
        let plan = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
        lines(&plan).into_iter().skip(2).take_while(|line| !line.starts_with("record")).collect::<Vec<_>>()
    };
    let switch = |host: &str| format!("start web@{host}, healthy web@{host}");
    let (a, b, c) = (switch("a"), switch("b"), switch("c"));
    assert_eq!(of_size(Batch::All, 30), [format!("web: {a} | {b} | {c}")]);
    assert_eq!(of_size(Batch::Hosts(7), 30), [format!("web: {a} | {b} | {c}")]);
    assert_eq!(of_size(Batch::Hosts(2), 0), [format!("web 1/2: {a} | {b}"), format!("web 2/2: {c}")]);
    assert_eq!(of_size(Batch::Hosts(2), 30), [format!("web 1/2: {a} | {b}"), "wait: wait".into(), format!("web 2/2: {c}")]);
    assert_eq!(
        of_size(Batch::Hosts(1), 30),
        [format!("web 1/3: {a}"), "wait: wait".into(), format!("web 2/3: {b}"), "wait: wait".into(), format!("web 3/3: {c}")]
    );
}

#[test]
fn the_roles_of_a_group_roll_side_by_side_batch_by_batch_with_the_longest_wait() {
    let mut api = worker(&["a", "b", "c"]);
    api.wait = Millis::seconds(10);
    let mut mail = worker(&["a", "b"]);
    mail.wait = Millis::seconds(20);
    let spec = environment([("api", api), ("mail", mail), ("beat", worker(&["c"]))], &[&["api", "mail"], &["beat"]]);
    let plan = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
    let on = |role: &str, host: &str| format!("start {role}@{host}, healthy {role}@{host}");
    assert_eq!(
        lines(&plan)[2..8],
        [
            format!("api 1/3 + mail 1/2: {} | {}", on("api", "a"), on("mail", "a")),
            "wait: wait".to_owned(),
            format!("api 2/3 + mail 2/2: {} | {}", on("api", "b"), on("mail", "b")),
            "wait: wait".to_owned(),
            format!("api 3/3: {}", on("api", "c")),
            format!("beat: {}", on("beat", "c")),
        ]
    );
    let waits: Vec<Millis> =
        plan.actions().filter_map(|(_, action)| if let Action::Wait { span } = action { Some(*span) } else { None }).collect();
    assert_eq!(waits, [Millis::seconds(20), Millis::seconds(10)]);
}

#[test]
fn a_pair_of_ports_is_used_in_turns() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = bare(&spec);
    let port = |observed: &_| starts(&Ask::new(&spec, observed).deploy(&release("build-9")).unwrap())[0].2;
    assert_eq!(port(&observed), Origin::New { port: Some(8000) });
    at(&mut observed, "a").containers = vec![seen(&spec, "web", "build-1", Some(8000))];
    assert_eq!(port(&observed), Origin::New { port: Some(8001) });
    at(&mut observed, "a").containers = vec![seen(&spec, "web", "build-2", Some(8001)), kept(&spec, "web", "build-1", Some(8000))];
    assert_eq!(port(&observed), Origin::New { port: Some(8000) });
}

#[test]
fn an_ephemeral_port_is_the_engines_to_choose() {
    let spec = with_role(environment([("web", web(&["a"]))], &[&["web"]]), "web", publishing(HostPort::Ephemeral));
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert_eq!(starts(&plan)[0].2, Origin::New { port: None });
    assert_eq!(lines(&plan)[2], "web: start web@a, healthy web@a, join web@a, leave web@a, stop web@a");
}

#[test]
fn a_start_first_role_that_has_only_one_port_gives_it_up_first() {
    let spec = with_role(environment([("web", web(&["a"]))], &[&["web"]]), "web", publishing(HostPort::Fixed(vec![8000])));
    let plan = Ask::new(&spec, &running(&spec, "build-41")).deploy(&release("build-42")).unwrap();
    assert_eq!(lines(&plan)[2], "web: leave web@a, stop web@a, start web@a, healthy web@a, join web@a");
    assert_eq!(starts(&plan)[0].2, Origin::New { port: Some(8000) });
}

#[test]
fn a_revert_starts_the_kept_containers_again_and_pulls_nothing() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    for (role, host, port) in [
        ("web", "appserver1", Some(8001)),
        ("web", "appserver2", Some(8001)),
        ("worker", "appserver3", None),
        ("beat", "appserver3", None),
    ] {
        // Made with a configuration that the fleet file doesn't have any more.
        let old = ContainerSeen { revision: "old".into(), ..kept(&spec, role, "build-41", port) };
        at(&mut observed, host).containers.push(old);
    }
    let plan = Ask::new(&spec, &observed).revert(&release("build-41")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3
         web 1/2: start web@appserver1, healthy web@appserver1, join web@appserver1, leave web@appserver1, stop web@appserver1
         web 2/2: start web@appserver2, healthy web@appserver2, join web@appserver2, leave web@appserver2, stop web@appserver2
         worker + beat: stop worker@appserver3, start worker@appserver3, healthy worker@appserver3 | stop beat@appserver3, start beat@appserver3, healthy beat@appserver3
         record: record appserver1 | record appserver2 | record appserver3",
    );
    assert!(starts(&plan).iter().all(|(_, container, origin)| container.ends_with("build-41-0") && *origin == Origin::Kept));
}

#[test]
fn a_deploy_forward_takes_a_kept_container_only_if_its_configuration_is_todays() {
    let spec = environment([("worker", worker(&["a"]))], &[&["worker"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").containers.push(kept(&spec, "worker", "build-41", None));
    let ask = |observed: &_| starts(&Ask::new(&spec, observed).deploy(&release("build-41")).unwrap())[0].2;
    assert_eq!(ask(&observed), Origin::Kept);
    at(&mut observed, "a").containers[1].revision = "old".into();
    assert_eq!(ask(&observed), Origin::New { port: None });
}

#[test]
fn a_revert_takes_no_kept_container_whose_port_is_taken() {
    let spec = environment([("web", web(&["a"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "a").containers.push(kept(&spec, "web", "build-41", Some(8000)));
    let plan = Ask::new(&spec, &observed).revert(&release("build-41")).unwrap();
    assert_eq!(starts(&plan)[0].2, Origin::New { port: Some(8001) });
    assert_eq!(lines(&plan)[1], "pull: pull a");
}

#[test]
fn a_revert_runs_only_the_tasks_that_are_meant_for_it() {
    let mut spec = antisocial();
    spec.tasks[1].on_revert = true;
    let plan = Ask::new(&spec, &running(&spec, "build-42")).revert(&release("build-41")).unwrap();
    assert!(lines(&plan).contains(&"tasks: collectstatic web@appserver1".to_owned()));
}

#[test]
fn a_release_that_runs_already_is_left_alone_by_a_revert_whatever_its_configuration() {
    let spec = environment([("web", web(&["a", "b"]))], &[&["web"]]);
    let mut observed = running(&spec, "build-41");
    at(&mut observed, "a").containers[0].revision = "old".into();
    at(&mut observed, "b").containers = vec![seen(&spec, "web", "build-42", Some(8001))];
    let plan = Ask::new(&spec, &observed).revert(&release("build-41")).unwrap();
    assert_eq!(
        lines(&plan)[2..4],
        ["check web: healthy web@a, join web@a", "web: start web@b, healthy web@b, join web@b, leave web@b, stop web@b"]
    );
}

#[test]
fn a_changed_configuration_is_something_to_deploy() {
    let spec = antisocial();
    let observed = running(&spec, "build-42");
    let changed = with_role(spec, "web", |role| {
        let Service::Docker(container) = &mut role.service else { panic!("not by Docker") };
        container.command.push("--threads=8".into());
    });
    let plan = Ask::new(&changed, &observed).deploy(&release("build-42")).unwrap();
    assert!(lines(&plan).contains(&"web 1/2: start web@appserver1, healthy web@appserver1, join web@appserver1, leave web@appserver1, stop web@appserver1".to_owned()));
    assert!(lines(&plan).contains(&"check worker + check beat: healthy worker@appserver3 | healthy beat@appserver3".to_owned()));
}

#[test]
fn there_is_nothing_to_do_when_everything_is_right() {
    let spec = antisocial();
    let observed = running(&spec, "build-42");
    let nothing = Ask::new(&spec, &observed).deploy(&release("build-42"));
    assert_eq!(nothing, Err(PlanError::NothingToDo { targets: 4, tag: "build-42".into() }));
    assert_eq!(nothing.unwrap_err().to_string(), "nothing to do: all 4 targets run `build-42` already");
}

#[test]
fn after_a_stuck_deployment_even_a_plan_that_only_checks_is_worth_running() {
    let spec = antisocial();
    let observed = running(&spec, "build-42");
    let plan = Ask { mends: true, ..Ask::new(&spec, &observed) }.deploy(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3
         check web: healthy web@appserver1, join web@appserver1 | healthy web@appserver2, join web@appserver2
         check worker + check beat: healthy worker@appserver3 | healthy beat@appserver3",
    );
    assert!(plan.actions().all(|(_, action)| !action.has_undo()), "an undo would take a good server out of the balancer");
}

#[test]
fn a_host_that_was_added_is_the_only_one_switched_and_tasks_dont_run_again() {
    let mut spec = antisocial();
    let mut observed = running(&spec, "build-42");
    spec.roles.get_mut(&name("web")).unwrap().hosts.push(name("appserver4"));
    spec.roles.get_mut(&name("web")).unwrap().wait = Millis::seconds(30);
    spec.hosts =
        environment(spec.roles.iter().map(|(role, of_role)| (role.as_str(), of_role.clone())).collect::<Vec<_>>(), &[]).hosts;
    observed.hosts.extend(bare(&spec).hosts.into_iter().filter(|(host, _)| host.as_str() == "appserver4"));
    let plan = Ask::new(&spec, &observed).deploy(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3 | preflight appserver4
         pull: pull appserver4
         check web: healthy web@appserver1, join web@appserver1 | healthy web@appserver2, join web@appserver2
         web: start web@appserver4, healthy web@appserver4, join web@appserver4
         check worker + check beat: healthy worker@appserver3 | healthy beat@appserver3
         record: record appserver4",
    );
    let undone: Vec<String> =
        plan.actions().map(|(_, action)| action).filter(|action| action.has_undo()).map(Action::to_string).collect();
    assert_eq!(undone, ["start web@appserver4", "join web@appserver4", "record appserver4"]);
}

#[test]
fn a_restart_stops_and_starts_what_runs_in_the_order_of_the_roll() {
    let spec = antisocial();
    let observed = running(&spec, "build-42");
    let plan = Ask::new(&spec, &observed).restart(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2 | preflight appserver3
         web 1/2: leave web@appserver1, stop web@appserver1, start web@appserver1, healthy web@appserver1, join web@appserver1
         web 2/2: leave web@appserver2, stop web@appserver2, start web@appserver2, healthy web@appserver2, join web@appserver2
         worker + beat: stop worker@appserver3, start worker@appserver3, healthy worker@appserver3 | stop beat@appserver3, start beat@appserver3, healthy beat@appserver3",
    );
    assert!(starts(&plan).iter().all(|(_, container, origin)| container.ends_with("build-42-0") && *origin == Origin::Kept));
}

#[test]
fn a_restart_of_one_role_touches_only_its_hosts_and_those_where_it_runs() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "appserver2").containers.clear();
    unreachable(&mut observed, "appserver3");
    let plan = Ask { role: Some("web"), ..Ask::new(&spec, &observed) }.restart(&release("build-42")).unwrap();
    assert_lines(
        &plan,
        "preflight: preflight appserver1 | preflight appserver2
         web: leave web@appserver1, stop web@appserver1, start web@appserver1, healthy web@appserver1, join web@appserver1",
    );
}

#[test]
fn a_restart_never_stops_all_hosts_of_a_start_first_role_at_once() {
    let all_at_once = |order, hosts: &[&str]| {
        let spec = with_role(environment([("web", web(hosts))], &[&["web"]]), "web", |role| {
            role.batch = Batch::All;
            role.order = order;
        });
        let plan = Ask::new(&spec, &running(&spec, "build-42")).restart(&release("build-42")).unwrap();
        plan.stages[1..].iter().map(|stage| stage.lanes.len()).collect::<Vec<_>>()
    };
    assert_eq!(all_at_once(Order::StartFirst, &["a", "b", "c", "d", "e"]), [2, 2, 1]);
    assert_eq!(all_at_once(Order::StartFirst, &["a", "b"]), [1, 1]);
    assert_eq!(all_at_once(Order::StartFirst, &["a"]), [1]);
    assert_eq!(all_at_once(Order::StopFirst, &["a", "b", "c"]), [3]);
}

#[test]
fn a_command_runs_in_the_first_target_that_runs_the_release() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    at(&mut observed, "appserver1").containers = vec![seen(&spec, "web", "build-41", Some(8000))];
    let run = |ask: Ask<'_>, release: &Release| ask.run(release, &["manage", "clearsessions"]);
    let plan = run(Ask::new(&spec, &observed), &release("build-42")).unwrap();
    assert_lines(&plan, "preflight: preflight appserver2\nrun: run web@appserver2");
    let Some((_, Action::Task { command, irreversible: false, .. })) = plan.actions().last() else { panic!("no task") };
    assert_eq!(command.join(" "), "manage clearsessions");
    // Nobody runs this one: then the first that runs anything.
    assert_lines(
        &run(Ask::new(&spec, &observed), &release("build-9")).unwrap(),
        "preflight: preflight appserver1\nrun: run web@appserver1",
    );
    let worker = Ask { role: Some("worker"), ..Ask::new(&spec, &observed) };
    assert_lines(&run(worker, &release("build-42")).unwrap(), "preflight: preflight appserver3\nrun: run worker@appserver3");
}

#[test]
fn a_command_can_be_run_while_another_host_is_down() {
    let spec = antisocial();
    let mut observed = running(&spec, "build-42");
    unreachable(&mut observed, "appserver3");
    assert!(Ask::new(&spec, &observed).run(&release("build-42"), &["true"]).is_ok());
    unreachable(&mut observed, "appserver1");
    unreachable(&mut observed, "appserver2");
    let error = Ask::new(&spec, &observed).run(&release("build-42"), &["true"]).unwrap_err();
    assert_eq!(error.to_string(), "appserver1: no route to host\nappserver2: no route to host\nappserver3: no route to host");
}

#[test]
fn a_task_called_like_a_role_has_a_container_of_its_own() {
    let mut spec = environment([("migrate", worker(&["a"]))], &[&["migrate"]]);
    spec.tasks = vec![task("migrate", "migrate", true)];
    let plan = Ask::new(&spec, &bare(&spec)).deploy(&release("build-1")).unwrap();
    let mut names: Vec<&String> = plan
        .actions()
        .filter_map(|(_, action)| match action {
            Action::Task { container, .. } | Action::Start { container: Some(container), .. } => Some(container),
            _ => None,
        })
        .collect();
    names.dedup();
    assert_eq!(names, ["antisocial-production-migrate-build-1-1-task", "antisocial-production-migrate-build-1-1"]);
}
