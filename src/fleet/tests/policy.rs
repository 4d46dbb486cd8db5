//! What an environment demands, key by key.

use jiff::civil::{Weekday, date, time};
use jiff::tz::TimeZone;

use super::access::{fleet, names, who};
use super::*;
use crate::domain::freeze::{Freeze, When};
use crate::domain::policy::{ApprovalPolicy, Automatic, LockAfter, OnFailure, Policy, Strength, Who};

/// The policy of an environment that has these lines.
fn policy(lines: &str) -> Policy {
    let fleet = fleet(&format!("[apps.a.environments.production]\n{lines}"));
    assert_eq!(fleet.warnings, []);
    let spec = fleet.environment(&"a".parse().unwrap(), Some(&"production".parse().unwrap())).unwrap();
    spec.policy.clone()
}

#[test]
fn an_environment_that_says_nothing_demands_nothing() {
    let policy = policy("");
    assert_eq!(policy, Policy::default());
    assert_eq!((policy.on_failure, policy.bake, policy.approval), (OnFailure::Undo, Millis(0), None));
}

#[test]
fn votes_have_defaults_for_all_but_whose_they_are() {
    let hours = |hours: u64| Millis::seconds(hours * 60 * 60);
    let least = ApprovalPolicy {
        votes: 1,
        approvers: who(&[], &["ben"]),
        requester_counts: false,
        expires: hours(4),
        strength: Strength::Reaction,
        commands: None,
        emergency: Who::default(),
    };
    assert_eq!(policy("approval = { people = [\"ben\"] }").approval, Some(least));
    let most = ApprovalPolicy {
        votes: 2,
        approvers: who(&["deployers"], &["ben"]),
        requester_counts: true,
        expires: hours(30 * 24),
        strength: Strength::Typed,
        commands: Some(names(&["deploy", "revert"])),
        emergency: who(&["deployers"], &["anna"]),
    };
    let lines = "[apps.a.environments.production.approval]\nvotes = 2\ngroups = [\"deployers\"]\npeople = [\"ben\"]\n\
                 requester_counts = true\nexpires = \"30 days\"\nstrength = \"typed\"\ncommands = [\"deploy\", \"revert\"]\n\
                 emergency = { groups = [\"deployers\"], people = [\"anna\"] }";
    assert_eq!(policy(lines).approval, Some(most));
    assert_eq!(
        policy("approval = { people = [\"ben\"], strength = \"reaction\", expires = \"1m\" }").approval.unwrap().expires.0,
        60_000
    );
}

#[test]
fn votes_that_could_never_be_reached_are_a_mistake() {
    let answer = |approval: &str| {
        let people =
            "[people.anna]\naccounts = [\"local:anna\"]\ngroups = [\"approvers\"]\n[people.ben]\naccounts = [\"local:ben\"]\n";
        let roles = "[groups.leads]\nroles = [\"discord:1\"]\n[apps.a]\nimage = \"a\"\n";
        let web = with_web("a", "x", "");
        answers(&format!("{people}{roles}{web}[apps.a.environments.x]\napproval = {{ {approval} }}")).pop()
    };
    let few = |votes: u32, voters: &str| {
        format!("15: `votes` can't be {votes}: only {voters} could vote; name more people or groups, or ask for fewer votes")
    };
    assert_eq!(answer("votes = 2, groups = [\"approvers\"]"), Some(few(2, "1 person")));
    // Who is named twice has one vote.
    assert_eq!(answer("votes = 2, groups = [\"approvers\"], people = [\"anna\"]"), Some(few(2, "1 person")));
    assert_eq!(answer("votes = 2, groups = [\"approvers\"], people = [\"ben\"]"), None);
    // A chat's role can have been given to all the people, and to nobody else who counts.
    assert_eq!(answer("votes = 2, groups = [\"leads\"]"), None);
    assert_eq!(answer("votes = 3, groups = [\"leads\"]"), Some(few(3, "2 people")));
    let nobody = "15: nobody could vote: name people, or groups that somebody is in".to_owned();
    assert_eq!(answer("groups = [\"ghosts\"]"), Some(nobody.clone()));
    assert_eq!(answer("groups = []"), Some(nobody));
}

#[test]
fn freezes_are_weekly_or_dated_by_the_clock_of_a_place() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let weekend = When::Weekly { from: (Weekday::Friday, time(16, 0, 0, 0)), to: (Weekday::Monday, time(8, 0, 0, 0)) };
    let holidays = When::Dated { from: date(2026, 12, 23).at(0, 0, 0, 0), to: date(2027, 1, 2).at(8, 0, 0, 0) };
    assert_eq!(
        policy(
            "freeze = [ { from = \"fri 16:00\", to = \"Monday 08:00\", zone = \"Europe/Berlin\" },\n\
             { from = \"2026-12-23\", to = \"2027-01-02 08:00\", zone = \"Europe/Berlin\", reason = \"holidays\" } ]"
        )
        .freezes,
        [
            Freeze { reason: "frozen".to_owned(), zone: zone.clone(), when: weekend },
            Freeze { reason: "holidays".to_owned(), zone, when: holidays }
        ]
    );
}

#[test]
fn good_builds_of_a_branch_may_go_out_by_themselves() {
    assert_eq!(policy("automatic = { branch = \"main\" }").automatic, Some(Automatic { branch: "main".to_owned() }));
}

#[test]
fn an_environment_may_come_after_another_one() {
    assert_eq!(policy("after = \"staging\"").after, Some("staging".parse().unwrap()));
}

#[test]
fn environments_that_wait_for_each_other_are_one_mistake() {
    let source = |last: &str| {
        let environment = |name: &str, after: &str| {
            let web = with_web("a", name, "").replace("h1", name);
            format!("[apps.a.environments.{name}]\nafter = \"{after}\"\n{web}")
        };
        let (dev, test, live) = (environment("dev", "test"), environment("test", last), environment("live", "test"));
        format!("[apps.a]\nimage = \"a\"\n{dev}{test}{live}")
    };
    assert_eq!(
        answers(&source("dev")),
        ["4: a circle that no release could enter: `dev` after `test` after `dev`; take one `after` away"]
    );
    assert_eq!(answers(&source("test")), ["10: `after` names another environment of the app, not its own"]);
    assert_eq!(answers(&source("tset")), ["10: the app has no environment `tset`; there are `dev` and `live`"]);
}

#[test]
fn the_bot_locks_after_what_the_environment_says() {
    assert_eq!(policy("lock_after = [\"revert\", \"undone\"]").lock_after, BTreeSet::from([LockAfter::Undone, LockAfter::Revert]));
    assert_eq!(policy("lock_after = []").lock_after, BTreeSet::new());
    assert!(policy("revert_through_lock = true").revert_through_lock);
}

#[test]
fn a_failure_puts_all_back_or_asks_first() {
    let hold = |quorum| OnFailure::Hold { span: Millis::seconds(600), quorum };
    assert_eq!(policy("on_failure = \"undo\"").on_failure, OnFailure::Undo);
    assert_eq!(policy("on_failure = { hold = \"10m\", quorum = 0 }").on_failure, hold(0));
    assert_eq!(policy("on_failure = { hold = \"10m\" }").on_failure, hold(1));
}

#[test]
fn what_follows_and_precedes_a_deployment() {
    assert_eq!(policy("bake = \"10m\"").bake, Millis::seconds(600));
    assert!(policy("mention_authors = true").mention_authors);
    let rehearse = "rehearse = [\"migrate --plan 'a b'\", [\"check\", \"--tag x\"]]";
    let read = policy(&format!("{rehearse}\napproval = {{ people = [\"ben\"] }}")).rehearse;
    assert_eq!(read, [vec!["migrate", "--plan", "a b"], vec!["check", "--tag x"]]);
    let warned = fleet(&format!("[apps.a.environments.production]\n{rehearse}")).warnings;
    assert!(warned.len() == 1 && warned[0].text.contains("nothing here takes votes"), "{warned:?}");
}

#[test]
fn the_example_shows_a_policy() {
    let fleet = example();
    let production = fleet.environment(&"antisocial".parse().unwrap(), None).unwrap().policy.clone();
    let approval = production.approval.unwrap();
    assert_eq!((approval.votes, approval.approvers, approval.emergency), (1, who(&["approvers"], &["ben"]), who(&["leads"], &[])));
    assert_eq!(production.freezes.iter().map(|freeze| freeze.reason.as_str()).collect::<Vec<_>>(), ["weekend", "holidays"]);
    assert_eq!(production.after.as_ref().map(EnvironmentName::as_str), Some("staging"));
    assert_eq!(production.on_failure, OnFailure::Hold { span: Millis::seconds(600), quorum: 1 });
    let staging = fleet.environment(&"antisocial".parse().unwrap(), Some(&"staging".parse().unwrap())).unwrap();
    assert_eq!(staging.policy, Policy::default());
}
