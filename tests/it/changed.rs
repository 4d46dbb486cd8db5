//! What changed since a plan was approved: named in people's terms, and found just when the hashes differ.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use shipmate::bot::views;
use shipmate::domain::changed::Changed;
use shipmate::domain::observed::Observed;
use shipmate::domain::plan::{Plan, Purpose, Release, Revisions};
use shipmate::domain::policy::OnFailure;
use shipmate::domain::spec::{EnvironmentSpec, Millis};
use shipmate::domain::step::{Aim, Step};

use crate::sample::*;

/// All that a plan is made from.
#[derive(Clone)]
struct World {
    spec: EnvironmentSpec,
    observed: Observed,
    release: Release,
    steps: Vec<Step>,
    nonce: &'static str,
    warnings: Vec<String>,
}

impl World {
    fn new() -> World {
        let spec = antisocial();
        let observed = running(&spec, "build-41");
        World { spec, observed, release: release("build-42"), steps: deploy_steps(), nonce: "1", warnings: Vec::new() }
    }

    fn plan(&self) -> Plan {
        let ask = Ask { nonce: self.nonce, ..Ask::new(&self.spec, &self.observed) };
        let mut plan = ask.plan(Purpose::Deploy, Aim::Build, &self.release, &self.steps).unwrap();
        plan.warnings.extend(self.warnings.iter().cloned());
        plan
    }
}

/// What people read about a change of the world.
#[track_caller]
fn said(change: impl FnOnce(&mut World)) -> Vec<String> {
    let then = World::new();
    let mut now = then.clone();
    change(&mut now);
    let changes = then.plan().changes(&now.plan());
    // They go into the journal.
    let text = serde_json::to_string(&changes).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Changed>>(&text).unwrap(), changes);
    changes.iter().map(views::changed).collect()
}

#[test]
fn the_same_request_in_the_same_world_is_the_same_plan() {
    assert_eq!(said(|_| {}), [""; 0]);
    let world = World::new();
    assert_eq!(world.plan().hash(), world.plan().hash());
    assert_eq!(world.plan().nonce, "1");
}

#[test]
fn a_warning_is_no_change() {
    let mut warned = World::new();
    warned.warnings.push("build-42 is unstable".into());
    let plan = World::new().plan();
    assert_eq!(plan.changes(&warned.plan()), []);
    assert_eq!(plan.hash(), warned.plan().hash());
}

#[test]
fn a_tag_that_was_pushed_again_is_named_by_its_digests() {
    let other = Release { tag: name("build-42"), digest: release("other").digest };
    let digests = (release("build-42").digest, other.digest.clone());
    let said = said(|world| world.release = other);
    assert_eq!(said, [format!("the digest of build-42 changed: {} → {}", digests.0.short(), digests.1.short())]);
}

#[test]
fn hosts_that_went_and_came_are_named() {
    let said = said(|world| {
        world.spec.roles.insert(name("web"), web(&["appserver1", "appserver4", "appserver5"]));
        let host = world.spec.hosts.remove(&name("appserver2")).unwrap();
        world.spec.hosts.insert(name("appserver4"), host.clone());
        world.spec.hosts.insert(name("appserver5"), host);
        world.observed = running(&world.spec, "build-41");
    });
    let fleet = "the fleet file changed for this environment";
    assert_eq!(said, ["the hosts changed: appserver2 no longer; appserver4, appserver5 as well", fleet]);
}

#[test]
fn what_a_target_runs_by_now_is_named() {
    let said = said(|world| {
        at(&mut world.observed, "appserver1").containers[0].release = release("build-40");
        at(&mut world.observed, "appserver2").containers.clear();
        let again = Release { tag: name("build-41"), digest: release("other").digest };
        at(&mut world.observed, "appserver3").containers[0].release = again;
    });
    let digests = (release("build-41").digest, release("other").digest);
    assert_eq!(
        said,
        [
            format!("beat@appserver3 runs another image of build-41 now: {} → {}", digests.0.short(), digests.1.short()),
            "what web@appserver1 runs changed: build-41 → build-40".to_owned(),
            "what web@appserver2 runs changed: build-41 → nothing known".to_owned(),
        ]
    );
}

#[test]
fn the_configuration_is_named_by_its_roles() {
    let said = said(|world| {
        for role in ["web", "beat"] {
            world.spec.roles.get_mut(&name(role)).unwrap().drain = Millis::seconds(3);
        }
    });
    assert_eq!(said, ["the configuration changed of beat, web", "the fleet file changed for this environment"]);
}

#[test]
fn a_role_that_moved_among_the_same_hosts_has_another_configuration() {
    let said = said(|world| {
        world.spec.roles.insert(name("beat"), worker(&["appserver1"]));
        world.observed = running(&world.spec, "build-41");
    });
    assert_eq!(said, ["the configuration changed of beat", "the fleet file changed for this environment"]);
}

#[test]
fn everything_else_has_a_sentence_too() {
    let fleet = "the fleet file changed for this environment";
    assert_eq!(said(|world| world.nonce = "2"), ["it is the plan of another request"]);
    assert_eq!(said(|world| world.release = release("build-43")), ["the build changed: build-42 → build-43"]);
    assert_eq!(said(|world| drop(world.steps.pop())), ["the command's runbook changed"]);
    assert_eq!(said(|world| world.spec.tasks[0].command.push("--fake".into())), [fleet]);
    assert_eq!(
        said(|world| world.spec.image = name("registry.lan:5000/other")),
        ["the image's repository changed: `registry.lan:5000/thraxil/antisocial` → `registry.lan:5000/other`", fleet]
    );
    assert_eq!(
        said(|world| world.spec.hosts.get_mut(&name("appserver1")).unwrap().address = "10.0.0.1".into()),
        ["the address or the Docker socket changed of appserver1", fleet]
    );
    assert_eq!(
        said(|world| at(&mut world.observed, "appserver1").tag_files = files(Some("build-41"), Some("build-39"))),
        ["what would be done on the hosts changed"]
    );
}

#[test]
fn of_the_policy_only_what_the_plan_will_do_is_part_of_it() {
    assert_eq!(said(|world| world.spec.policy.revert_through_lock = true), [""; 0]);
    let after = ["what happens after a failure, or after the end, changed"];
    assert_eq!(said(|world| world.spec.policy.bake = Millis::seconds(60)), after);
    assert_eq!(said(|world| world.spec.policy.on_failure = OnFailure::Hold { span: Millis::seconds(60), quorum: 1 }), after);
}

#[test]
fn a_plan_from_before_nonces_and_revisions_reads_and_keeps_its_hash() {
    let old = Plan { nonce: String::new(), revision: Revisions::default(), ..World::new().plan() };
    let text = serde_json::to_string(&old).unwrap();
    assert!(!text.contains("\"nonce\"") && !text.contains("\"revision\":{\"runbook"), "{text}");
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), old);
    assert_eq!(serde_json::to_value(old.hash()).unwrap(), hex::encode(Sha256::digest(&text)));
}

/// Something that may happen between two plans, by its number.
fn happen(world: &mut World, what: u8) {
    match what {
        0 => world.release.digest = release("other").digest,
        1 => world.release.tag = name("build-43"),
        2 => world.nonce = "2",
        3 => drop(world.steps.pop()),
        4 => world.spec.min_free_mib += 1,
        5 => drop(world.spec.tasks.pop()),
        6 => world.spec.roles.values_mut().for_each(|role| role.grace = Millis(1)),
        7 => world.spec.hosts.values_mut().for_each(|host| host.docker_socket = "/other.sock".into()),
        8 => at(&mut world.observed, "appserver1").containers[0].release = release("build-40"),
        9 => at(&mut world.observed, "appserver2").containers.clear(),
        10 => at(&mut world.observed, "appserver3").tag_files = files(None, None),
        11 => at(&mut world.observed, "appserver1").images.push(release("build-7").digest),
        12 => world.warnings.push("mind the gap".into()),
        13 => world.spec.tag_folder = None,
        _ => world.spec.image = name("registry.lan:5000/other"),
    }
}

proptest! {
    #[test]
    fn something_changed_just_when_the_hashes_differ(
        then in proptest::collection::btree_set(0u8..15, 0..4),
        now in proptest::collection::btree_set(0u8..15, 0..4),
    ) {
        let after = |what: &std::collections::BTreeSet<u8>| {
            let mut world = World::new();
            what.iter().for_each(|what| happen(&mut world, *what));
            world.plan()
        };
        let (then, now) = (after(&then), after(&now));
        prop_assert_eq!(then.changes(&now).is_empty(), then.hash() == now.hash());
        prop_assert_eq!(then.changes(&now).len(), now.changes(&then).len());
    }
}
