//! Queue, locks, freezes, promotion, and deployments that builds start.

use shipmate::domain::build::BuildOutcome;
use shipmate::domain::deployment::Phase;
use shipmate::engine::rehearsal::Fault;

use super::stage::Stage;
use super::{STAGING, fleet, votes};

#[tokio::test(start_paused = true)]
async fn a_second_deploy_waits_for_the_first_one_and_is_planned_anew() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#2 deploy antisocial production", "running"]).await;
    stage.say("berta", "!deploy antisocial build-43").await;
    stage.sees(&["#3", "waits for the end of #2 (deploy build-42 by anna"]).await;
    stage.say("berta", "!restart antisocial").await;
    stage.sees(&["#4", "waits for"]).await;
    stage.say("anna", "!queue").await;
    let (_, queue) = stage.sees(&["2 waiting, first in first out"]).await;
    assert!(queue.find("#3").unwrap() < queue.find("#4").unwrap(), "{queue}");
    stage.rehearsal.hanging().await;
    stage.rehearsal.go_on();
    stage.sees(&["#2 antisocial production runs build-42"]).await;
    stage.sees(&["#3 antisocial production runs build-43 (was build-42)"]).await;
    stage.sees(&["#4 antisocial production restarted by berta"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_build_takes_the_place_of_one_that_waits_but_not_its_votes() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    for tag in ["build-42", "build-43"] {
        stage.announce(tag, "main").await;
    }
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["→ build-42", "needs 2 votes"]).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.say("berta", "!deploy antisocial build-43").await;
    stage.sees(&["#1", "is superseded by #2, a newer build; anna was the one who asked"]).await;
    stage.sees(&["→ build-43", "needs 2 votes (0 so far)"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_what_waits_and_touches_nothing() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["needs 1 vote"]).await;
    stage.say("anna", "!cancel").await;
    stage.sees(&["#1", "cancelled by anna before it started; nothing was touched"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_keeps_everything_out_until_it_is_taken_off_or_over() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.deploy(1, "build-41").await;
    stage.say("anna", "!lock antisocial 2h schema work").await;
    stage.sees(&["antisocial production is locked by anna until 2026-11-25 12:00 UTC: schema work"]).await;
    for command in ["!deploy antisocial build-42", "!revert antisocial", "!restart antisocial"] {
        stage.say("berta", command).await;
    }
    stage.say("berta", "!locks").await;
    stage.sees(&["1 locked", "by anna"]).await;
    assert_eq!(stage.room.count(&["is locked by anna since"]), 3);
    stage.say("berta", "!lock antisocial my turn").await;
    stage.sees(&["is locked by berta: my turn", "It was locked before by anna"]).await;
    stage.say("berta", "!unlock antisocial").await;
    stage.sees(&["is unlocked by berta"]).await;
    stage.deploy(2, "build-42").await;
    stage.say("anna", "!lock antisocial 1h again").await;
    stage.sees(&["until 2026-11-25 11:00 UTC: again"]).await;
    stage.later(46 * 60).await;
    stage.sees(&["ends soon"]).await;
    stage.later(15 * 60).await;
    stage.sees(&["open again, the time of the lock is over"]).await;
    assert_eq!(stage.room.count(&["ends soon"]), 1);
    stage.deploy(3, "build-43").await;
    // Of a short one there is a word when half of it is over.
    stage.say("anna", "!lock antisocial 10m a moment").await;
    stage.sees(&["is locked by anna", "a moment"]).await;
    stage.later(4 * 60).await;
    assert_eq!(stage.room.count(&["ends soon"]), 1);
    stage.later(2 * 60).await;
    stage.room.sees_times(2, &["ends soon"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_put_on_while_people_vote_stops_it_at_the_start() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote"]).await;
    stage.say("anna", "!lock antisocial wait").await;
    stage.sees(&["is locked by anna: wait"]).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1", "was not started", "is locked by anna"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_what_the_policy_names_the_environment_is_locked_and_a_revert_may_pass() {
    let stage = Stage::new(&fleet("lock_after = [\"undone\", \"revert\"]\nrevert_through_lock = true", "")).await;
    stage.deploy(1, "build-41").await;
    stage.deploy(2, "build-42").await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["#3", "healthy web@appserver2 failed"]).await;
    stage.sees(&["is locked by the policy, after #3"]).await;
    stage.say("anna", "!deploy antisocial build-44").await;
    stage.sees(&["is locked by the policy since"]).await;
    stage.say("anna", "!revert antisocial").await;
    stage.sees(&["#4 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_the_policy_outlasts_one_that_ends_by_itself() {
    let stage = Stage::new(&fleet("lock_after = [\"undone\"]", "")).await;
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.rehearsal.hanging().await;
    stage.say("anna", "!lock antisocial 1h look at it first").await;
    stage.sees(&["is locked by anna"]).await;
    stage.rehearsal.go_on();
    stage.sees(&["is locked by the policy, after #1"]).await;
    stage.later(2 * 3600).await;
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["is locked by the policy since"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_refuses_at_the_request_and_at_the_start() {
    let policy = format!(
        "{}\nfreeze = [{{ from = \"fri 16:00\", to = \"mon 08:00\", zone = \"Europe/Berlin\", reason = \"weekend\" }}]",
        votes(1)
    );
    let stage = Stage::new(&fleet(&policy, "")).await;
    stage.say("anna", "!freeze antisocial").await;
    stage.sees(&["is not frozen now", "Fri 2026-11-27 16:00", "Mon 2026-11-30 08:00", "weekend"]).await;
    // Friday, 14:59 UTC.
    stage.later(2 * 86_400 + 4 * 3600 + 59 * 60).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote"]).await;
    stage.later(120).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1", "was not started", "is frozen until 2026-11-30 07:00 UTC"]).await;
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["antisocial production is frozen until 2026-11-30 07:00 UTC", "weekend"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
    stage.say("anna", "!deploy antisocial build-43 --emergency \"it burns\"").await;
    stage.sees(&["#2 antisocial production runs build-43"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_good_build_of_the_branch_goes_out_by_itself_through_the_same_gate() {
    let stage = Stage::new(&fleet("automatic = { branch = \"main\" }", "")).await;
    stage.sees(&["#1 antisocial production runs build-41", "by shipmate"]).await;
    stage.announce("build-42", "feature").await;
    stage.announced("build-43", "main", BuildOutcome::Failed).await;
    stage.say("anna", "!lock antisocial hands off").await;
    stage.sees(&["is locked by anna"]).await;
    stage.announce("build-44", "main").await;
    stage.sees(&["build-44 of antisocial is not deployed to production by itself", "locked by anna"]).await;
    stage.say("anna", "!unlock antisocial").await;
    stage.sees(&["is unlocked by anna"]).await;
    stage.announce("build-45", "main").await;
    stage.sees(&["#2 antisocial production runs build-45 (was build-41)"]).await;
    assert!(stage.ledger.automatic().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_build_doesnt_go_out_over_a_newer_one() {
    let stage = Stage::new(&fleet("automatic = { branch = \"main\" }", "")).await;
    stage.sees(&["#1 antisocial production runs build-41"]).await;
    stage.announce("build-45", "main").await;
    stage.sees(&["#2 antisocial production runs build-45"]).await;
    stage.announce("build-44", "main").await;
    stage.sees(&["build-44 of antisocial is not deployed to production by itself: build-45 is newer"]).await;
    // CI counts from the beginning again, and a person says from where the bot is to go on.
    stage.announce("build-42", "main").await;
    stage.sees(&["build-42 of antisocial is not deployed", "build-45 is newer", "!deploy antisocial build-42 production"]).await;
    stage.say("anna", "!deploy antisocial build-42 production").await;
    stage.sees(&["#3 antisocial production runs build-42"]).await;
    stage.announce("build-43", "main").await;
    stage.sees(&["#4 antisocial production runs build-43"]).await;
    assert!(stage.ledger.automatic().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_build_takes_no_place_in_the_queue_from_a_newer_one() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.announce("build-43", "main").await;
    stage.announce("build-42", "main").await;
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["→ build-43", "needs 1 vote"]).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.say("anna", "!queue").await;
    let (_, queue) = stage.sees(&["2 waiting, first in first out"]).await;
    assert!(queue.contains("build-42") && queue.contains("build-43"), "{queue}");
    assert!(matches!(stage.state(1).phase, Phase::AwaitingApproval(_)));
}

#[tokio::test(start_paused = true)]
async fn with_votes_needed_a_build_asks() {
    let stage = Stage::new(&fleet(&format!("{}\nautomatic = {{ branch = \"main\" }}", votes(1)), "")).await;
    let (call, _) = stage.sees(&["→ build-41", "asked for by shipmate", "needs 1 vote"]).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-41"]).await;
}

#[tokio::test(start_paused = true)]
async fn production_takes_only_what_ended_well_in_staging() {
    let stage = Stage::new(&fleet("after = \"staging\"", STAGING)).await;
    stage.say("anna", "!deploy antisocial build-42 production").await;
    stage.sees(&["takes only what ended well in staging before"]).await;
    stage.say("anna", "!deploy antisocial build-42 staging").await;
    stage.sees(&["#1 antisocial staging runs build-42"]).await;
    stage.say("anna", "!deploy antisocial build-42 production").await;
    stage.sees(&["#2 antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_only_a_rehearsal_ran_is_no_release_to_go_back_to() {
    let policy = r#"rehearse = ["migrate --plan"]
approval = { votes = 1, groups = ["approvers"], commands = ["deploy"] }"#;
    let stage = Stage::new(&fleet(policy, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote", "rehearsed: `migrate --plan`"]).await;
    stage.room.react("carl", "❌", &call).await;
    stage.sees(&["#1", "was rejected by carl"]).await;
    stage.say("anna", "!revert antisocial build-42").await;
    stage.sees(&["build-42 never ended well in `antisocial` `production`"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_out_by_itself_waits_until_it_ended_well_where_it_must() {
    let policy = "after = \"staging\"\nautomatic = { branch = \"main\" }";
    let staging = STAGING.replacen("[apps", "[apps.antisocial.environments.staging]\nrehearse = [\"migrate --plan\"]\napproval = { votes = 1, groups = [\"approvers\"] }\n[apps", 1);
    let stage = Stage::new(&fleet(policy, &staging)).await;
    stage.say("anna", "!deploy antisocial build-41 staging").await;
    let (call, _) = stage.sees(&["antisocial staging", "needs 1 vote", "rehearsed: `migrate --plan`"]).await;
    stage.later(120).await;
    assert_eq!(stage.room.count(&["is not deployed to production by itself"]), 0);
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["antisocial staging runs build-41"]).await;
    stage.sees(&["antisocial production runs build-41", "by shipmate"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_any_more_when_the_turn_comes_is_refused() {
    let more = "[groups.deployers]\nroles = [\"discord:1\"]\n";
    let stage = Stage::new(&fleet("", more)).await;
    stage.say("anna", "!can dora deploy antisocial").await;
    stage.sees(&["dora may not deploy antisocial production"]).await;
    stage.room.give_role("dora", "discord:1");
    stage.say("anna", "!can dora deploy antisocial").await;
    stage.sees(&["dora may deploy antisocial production"]).await;
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#1 deploy", "running"]).await;
    stage.say("dora", "!deploy antisocial build-43").await;
    stage.sees(&["#2", "waits for the end of #1"]).await;
    stage.room.take_roles("dora");
    stage.rehearsal.hanging().await;
    stage.rehearsal.go_on();
    stage.sees(&["#2", "was not started", "dora may not"]).await;
    assert!(matches!(stage.state(2).phase, Phase::Rejected(_)));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_hurry_any_more_when_the_turn_comes_is_refused() {
    let policy = r#"approval = { votes = 1, groups = ["approvers"], emergency = { groups = ["oncall"] } }"#;
    let more = "[groups.oncall]\nroles = [\"discord:1\"]\n[groups.deployers]\nroles = [\"discord:2\"]\n";
    let stage = Stage::new(&fleet(policy, more)).await;
    stage.room.give_role("dora", "discord:1");
    stage.room.give_role("dora", "discord:2");
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.say("dora", "!deploy antisocial build-42 --emergency \"it burns\"").await;
    stage.sees(&["#1 deploy", "running"]).await;
    stage.say("dora", "!deploy antisocial build-43 --emergency \"it still burns\"").await;
    stage.sees(&["#2", "waits for the end of #1"]).await;
    stage.room.take_roles("dora");
    stage.room.give_role("dora", "discord:2");
    stage.rehearsal.hanging().await;
    stage.rehearsal.go_on();
    stage.sees(&["#2", "was not started", "the policy doesn't let you do without votes here"]).await;
    assert!(matches!(stage.state(2).phase, Phase::Rejected(_)));
}

#[tokio::test(start_paused = true)]
async fn while_a_chat_tells_no_roles_nobody_is_refused_for_good() {
    let more = "[groups.deployers]\nroles = [\"discord:1\"]\n[groups.approvers]\nroles = [\"discord:2\"]\n";
    let policy = r#"approval = { votes = 1, groups = ["approvers"] }"#;
    let stage = Stage::new(&fleet(policy, more)).await;
    stage.room.give_role("dora", "discord:1");
    stage.room.give_role("emil", "discord:2");
    stage.say("dora", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["#1", "needs 1 vote"]).await;
    stage.room.is_silent(true);
    stage.say("dora", "!deploy antisocial build-43").await;
    stage.sees(&["dora may not", "it needs the group", "a chat doesn't tell their roles at the moment: try again"]).await;
    // By what is known their vote doesn't count; it is kept until more is known.
    stage.room.react("emil", "✅", &call).await;
    stage.sees(&["#1", "needs 1 vote (1 so far)"]).await;
    stage.later(180).await;
    assert_eq!(stage.state(1).phase.word(), "waiting for votes");
    // Now the votes suffice, and the one who asked may not by what is known.
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1", "needs 1 vote (2 so far)"]).await;
    stage.later(180).await;
    assert_eq!((stage.state(1).phase.word(), stage.rehearsal.transcript().len()), ("waiting for votes", 0));
    stage.room.is_silent(false);
    stage.later(61).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.room.count(&["doesn't count"]), 0);
}

#[tokio::test(start_paused = true)]
async fn an_emergency_goes_before_what_waits() {
    let policy =
        r#"approval = { votes = 1, groups = ["approvers"], commands = ["deploy"], emergency = { groups = ["deployers"] } }"#;
    let stage = Stage::new(&fleet(policy, "")).await;
    stage.say("anna", "!deploy antisocial build-42 --emergency \"to begin with\"").await;
    stage.reaches_at_last(1, "succeeded").await;
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-43 --emergency \"and on\"").await;
    stage.sees(&["#2 deploy", "running"]).await;
    stage.say("anna", "!restart antisocial").await;
    stage.sees(&["#3", "waits"]).await;
    stage.say("anna", "!deploy antisocial build-45").await;
    stage.sees(&["#4", "waits"]).await;
    stage.say("berta", "!deploy antisocial build-44 --emergency \"it burns\"").await;
    stage.sees(&["#5", "waits"]).await;
    stage.rehearsal.hanging().await;
    stage.rehearsal.go_on();
    stage.reaches_at_last(5, "succeeded").await;
    stage.reaches_at_last(3, "succeeded").await;
    let started = |number| stage.state(number).started_at.unwrap();
    assert!(started(2) < started(5) && started(5) < started(3));
    assert!(stage.state(4).started_at.is_none(), "it asks for votes");
}
