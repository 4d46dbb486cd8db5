//! Approvals: who is asked what, whose votes count, and what makes them void.

use shipmate::domain::deployment::{Found, Phase};
use shipmate::engine::rehearsal::{Behaviour, Fault, TaskEnd};

use super::stage::{Room, Stage};
use super::{fleet, votes};
use crate::sample::*;

const CALL: &[&str] = &["deploy antisocial production", "needs"];

#[tokio::test(start_paused = true)]
async fn a_deploy_waits_for_the_vote_of_another_person_and_then_runs() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    for part in
        ["needs 1 vote (0 so far)", "asked for by anna", "plan `", "@", "migrate will run", "web@appserver1", "for berta, carl"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(stage.rehearsal.transcript().is_empty(), "nothing is touched before the vote");
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    stage.sees(&["approved by berta"]).await;
    let state = stage.state(1);
    assert_eq!(state.counted, [name("berta")]);
    assert_eq!(stage.ledger.summary(shipmate::domain::names::DeploymentId(1)).unwrap().unwrap().approved_by, [name("berta")]);
}

#[tokio::test(start_paused = true)]
async fn votes_that_dont_count_are_told_so_once_and_start_nothing() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("anna", "✅", &call).await;
    stage.sees(&["terminal:anna", "whoever asked can't approve it too"]).await;
    stage.room.react("dora", "✅", &call).await;
    stage.sees(&["terminal:dora", "counts the votes of others"]).await;
    stage.room.react("mallory", "✅", &call).await;
    stage.sees(&["terminal:mallory", "nobody in the fleet file"]).await;
    stage.room.unreact("mallory", "✅", &call).await;
    stage.room.react("mallory", "✅", &call).await;
    stage.say("anna", "!approvals").await;
    stage.sees(&["1 wait for votes", "0 of 1"]).await;
    assert_eq!(stage.room.count(&["terminal:mallory", "doesn't count"]), 1);
    assert!(stage.rehearsal.transcript().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vote_is_taken_back_at_once_whatever_else_an_emoji_set_off() {
    let stage = Stage::new(&fleet(&format!("{}\nbake = \"2h\"", votes(2)), "")).await;
    stage.say("anna", "!deploy antisocial build-41").await;
    let (call, _) = stage.sees(CALL).await;
    for who in ["berta", "carl"] {
        stage.room.react(who, "✅", &call).await;
    }
    let (closing, _) = stage.sees(&["#1 antisocial production runs build-41"]).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["#2 deploy antisocial production", "needs 2 votes"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#2", "needs 2 votes (1 so far)"]).await;
    // The answer to this takes as long as the chat is down.
    stage.room.is_down(true);
    stage.room.react("dora", "❌", &closing).await;
    stage.room.unreact("berta", "✅", &call).await;
    stage.recorded(|| stage.state(2).votes.is_empty()).await;
    stage.room.is_down(false);
    stage.sees(&["dora may not"]).await;
    assert_eq!(stage.state(1).phase.word(), "succeeded");
}

#[tokio::test(start_paused = true)]
async fn people_see_the_commits_of_the_branch_that_the_release_brings() {
    let stage = Stage::new(&fleet(r#"approval = { votes = 1, groups = ["approvers"] }"#, "")).await;
    stage.announce("build-41", "main").await;
    stage.say("anna", "!deploy antisocial build-41").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-41"]).await;
    for (tag, branch) in [("build-42", "main"), ("build-43", "feature"), ("build-44", "main")] {
        stage.announce(tag, branch).await;
    }
    stage.say("anna", "!deploy antisocial build-44").await;
    let (_, call) = stage.sees(&["#2", "build-41 → build-44", "the last 1 took"]).await;
    assert!(
        call.contains("since build-41:") && call.contains("Change of build-42") && call.contains("Change of build-44"),
        "{call}"
    );
    assert!(!call.contains("Change of build-43"), "{call}");
}

#[tokio::test(start_paused = true)]
async fn two_votes_are_two_people_not_two_accounts() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["needs 2 votes (1 so far)"]).await;
    stage.room.react("berta2", "✅", &call).await;
    stage.sees(&["terminal:berta2", "voted already"]).await;
    assert!(matches!(stage.state(1).phase, Phase::AwaitingApproval(_)));
    stage.say("carl", "!approve").await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).counted, [name("berta"), name("carl")]);
}

#[tokio::test(start_paused = true)]
async fn a_no_wins_over_any_number_of_votes() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["needs 2 votes (1 so far)"]).await;
    stage.room.react("carl", "❌", &call).await;
    stage.sees(&["#1", "was rejected by carl"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_was_taken_back_counts_no_longer() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.room.unreact("berta", "✅", &call).await;
    stage.sees(&["(0 so far)"]).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["(1 so far)", "approved by carl"]).await;
    assert!(matches!(stage.state(1).phase, Phase::AwaitingApproval(_)));
}

#[tokio::test(start_paused = true)]
async fn what_changes_after_the_call_voids_the_votes_and_people_are_asked_anew() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    // Somebody pushes another image with the tag.
    let other = shipmate::domain::plan::Release { tag: name("build-42"), ..release("build-49") };
    stage.rehearsal.push(&other, Behaviour::good());
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["void: it is another plan now", "the digest of build-42 changed"]).await;
    let (second, anew) = stage.sees(&["asked anew", "needs 2 votes (0 so far)"]).await;
    assert_ne!(second, call);
    assert_ne!(anew.lines().find(|line| line.contains("plan `")), text.lines().find(|line| line.contains("plan `")));
    assert!(anew.contains("digest"), "it says what changed:\n{anew}");
    // A vote at the void message is none.
    stage.room.react("dora", "❌", &call).await;
    stage.room.react("berta", "✅", &second).await;
    stage.room.react("carl", "✅", &second).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).plan.release, other);
}

#[tokio::test(start_paused = true)]
async fn the_votes_go_with_the_message() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.room.delete(&call).await;
    let (second, _) = stage.sees(&["needs 2 votes (0 so far)", "asked anew, since a message with the call was deleted"]).await;
    assert_ne!(second, call);
    stage.say("anna", "!why 1").await;
    stage.sees(&["was deleted, and the votes with it"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_anew_before_anybody_was_asked_is_not_asked_anew() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.deploy_approved(1, "build-41").await;
    stage.rehearsal.fault(Fault::apply("start web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42 --emergency \"it burns\"").await;
    stage.rehearsal.hanging().await;
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["#3", "waits for the end of #2"]).await;
    stage.rehearsal.go_on();
    let (_, call) = stage.sees(&["#3", "build-42 → build-43", "needs 1 vote"]).await;
    assert!(!call.contains("asked anew"), "{call}");
}

#[tokio::test(start_paused = true)]
async fn what_was_approved_and_could_not_start_in_time_says_so() {
    let more = "[groups.approvers]\nroles = [\"discord:2\"]\n";
    let stage = Stage::new(&fleet(&votes(1), more)).await;
    stage.room.give_role("emil", "discord:2");
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.is_silent(true);
    stage.room.react("emil", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.later(4 * 3600 + 1).await;
    stage.sees(&["#1", "expired: it was approved and could not start in time"]).await;
    stage.sees(&["#1", "expired: it had 1 vote and did not start in time"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_expires() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.later(4 * 3600 + 1).await;
    stage.sees(&["#1", "expired: nobody voted in time"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.say("berta", "!approve 1").await;
    stage.sees(&["#1 is expired, so there is nothing to vote on"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_a_vote_must_be_typed_an_emoji_is_not_enough_and_the_code_is() {
    let policy = r#"approval = { votes = 1, groups = ["approvers"], strength = "typed" }"#;
    let stage = Stage::new(&fleet(policy, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["terminal:berta", "an emoji isn't enough"]).await;
    stage.say("berta", "!approve 1").await;
    stage.sees(&["typed with the code of the plan"]).await;
    let code = text.split("plan `").nth(1).unwrap().split('`').next().unwrap().to_owned();
    stage.say("berta", &format!("!approve {code}")).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).votes[&name("berta")].found, Found::Typed);
}

#[tokio::test(start_paused = true)]
async fn the_group_is_read_again_at_the_start() {
    let more = "[groups.approvers]\nroles = [\"discord:9\"]\n";
    let policy = r#"approval = { votes = 2, groups = ["approvers"] }"#;
    let stage = Stage::new(&fleet(policy, more)).await;
    stage.room.give_role("dora", "discord:9");
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("dora", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.room.take_roles("dora");
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["(2 so far)"]).await;
    stage.say("anna", "!why 1").await;
    stage.sees(&["dora's vote doesn't count now"]).await;
    assert!(stage.rehearsal.transcript().is_empty());
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).counted, [name("berta"), name("carl")]);
}

#[tokio::test(start_paused = true)]
async fn an_emergency_needs_no_votes_is_marked_for_ever_and_wants_a_review() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42 --emergency \"the site is down\"").await;
    stage.sees(&["EMERGENCY: #1 by anna, without votes: “the site is down”", "@berta @carl"]).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    stage.say("anna", "!history antisocial").await;
    stage.sees(&["history of antisocial", "EMERGENCY", "the site is down"]).await;
    stage.say("anna", "!approvals").await;
    stage.sees(&["#1 was an emergency of anna"]).await;
    stage.say("anna", "!approve 1").await;
    stage.sees(&["somebody whose votes count, other than anna"]).await;
    stage.say("berta", "!approve 1").await;
    stage.sees(&["#1: reviewed by berta"]).await;
    assert_eq!(stage.state(1).reviewed_by, Some(name("berta")));
    // An emoji at the closing message is a review as well.
    stage.say("anna", "!deploy antisocial build-41 --emergency \"and again\"").await;
    let (closing, _) = stage.sees(&["#2 antisocial production runs build-41"]).await;
    stage.room.react("carl", "✅", &closing).await;
    stage.sees(&["#2: reviewed by carl"]).await;
    stage.say("carl", "!deploy antisocial build-43 --emergency me").await;
    stage.sees(&["carl may not"]).await;
}

#[tokio::test(start_paused = true)]
async fn people_see_the_rehearsal_before_they_vote() {
    let policy = format!("{}\nrehearse = [\"migrate --plan\"]", votes(1));
    let stage = Stage::new(&fleet(&policy, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    assert!(text.contains("rehearsed: `migrate --plan`") && text.contains("rehearse of build-42 says hello"), "{text}");
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["antisocial production runs build-42"]).await;
    assert_eq!(stage.room.count(&["rehearse"]), 0, "a rehearsal is no deployment to people: {:#?}", stage.room.texts());
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_that_fails_is_shown_and_people_decide() {
    let policy = format!("{}\nrehearse = [\"migrate --plan\"]", votes(1));
    let stage = Stage::new(&fleet(&policy, "")).await;
    stage.rehearsal.push(&release("build-42"), Behaviour::good().task(&name("rehearse"), TaskEnd::Exit(3)));
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    for part in ["rehearsed, and FAILED: `migrate --plan`", "rehearse ended with exit status 3", "rehearse of build-42 says hello"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn other_emojis_can_mean_yes_and_no() {
    let mut stage = Stage::bare(&fleet(&votes(1), ""), vec![Room::new("room", "terminal")]);
    stage.habits().emojis = shipmate::bot::Emojis { approve: "👍".to_owned(), reject: "👎".to_owned() };
    stage.start().await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, text) = stage.sees(CALL).await;
    assert!(text.contains("👍 or `!approve") && text.contains("👎 or `!reject"), "{text}");
    stage.room.react("carl", "✅", &call).await;
    stage.room.react("carl", "❌", &call).await;
    stage.room.react("berta", "👍", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).counted, [name("berta")]);
}

#[tokio::test(start_paused = true)]
async fn the_vote_of_who_asked_counts_where_the_policy_says_so() {
    let policy = r#"approval = { votes = 1, groups = ["deployers"], requester_counts = true }"#;
    let stage = Stage::new(&fleet(policy, "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("anna", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).counted, [name("anna")]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_about_votes_counts_for_emojis_too() {
    let more = "[[access.rules]]\ncommands = [\"approve\"]\npeople = [\"berta\"]\n";
    let stage = Stage::new(&fleet(&votes(1), more)).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["terminal:carl", "counts the votes of others"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_typed_their_vote_takes_it_back_with_the_emoji() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(CALL).await;
    stage.say("berta", "!approve").await;
    stage.sees(&["(1 so far)"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.room.unreact("berta", "✅", &call).await;
    stage.sees(&["(0 so far)"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_is_over_in_every_room() {
    let (one, other) = (Room::new("room", "terminal"), Room::new("other", "discord"));
    let mut stage = Stage::bare(&fleet(&votes(1), ""), vec![one, other.clone()]);
    stage.start().await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (_, call) = (other.sees(CALL).await, stage.sees(CALL).await);
    stage.room.react("carl", "✅", &call.0).await;
    for room in [&stage.room, &other] {
        room.sees(&["#1 deploy antisocial production", "approved by carl"]).await;
        room.sees(&["#1 antisocial production runs build-42"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_becomes_a_persons_by_a_code_said_on_both_sides() {
    let (one, other) = (Room::new("room", "terminal"), Room::new("other", "discord"));
    let mut stage = Stage::bare(&fleet(&votes(1), ""), vec![one, other.clone()]);
    stage.start().await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (_, call) = (stage.sees(CALL).await, other.sees(CALL).await);
    other.react("77", "✅", &call.0).await;
    other.sees(&["discord:77", "nobody in the fleet file"]).await;
    other.say("77", "!link", stage.now()).await;
    let (_, text) = other.sees(&["to make discord:77 yours"]).await;
    let code = text.split("!link ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    // Somebody else who reads the code only gives rights away.
    other.say("78", &format!("!link {code}"), stage.now()).await;
    other.sees(&["I don't know discord:78"]).await;
    stage.say("berta", &format!("!link {code}")).await;
    stage.sees(&["discord:77 is berta's from now on"]).await;
    stage.say("berta", &format!("!link {code}")).await;
    stage.sees(&["nobody got this code"]).await;
    other.unreact("77", "✅", &call.0).await;
    other.react("77", "✅", &call.0).await;
    other.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).counted, [name("berta")]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_said_to_read_only_needs_votes_too() {
    let policy = r#"approval = { votes = 1, groups = ["approvers"], commands = ["run"] }"#;
    let stage = Stage::new(&fleet(policy, "")).await;
    stage.deploy(1, "build-41").await;
    stage.say("anna", "!run antisocial --read manage flush").await;
    let (call, _) = stage.sees(&["manage flush", "needs 1 vote"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["`manage flush` ended with exit status 0"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_roles_of_a_linked_account_are_not_the_persons() {
    let (one, other) = (Room::new("room", "terminal"), Room::new("other", "discord"));
    let more = "[groups.approvers]\nroles = [\"discord:9\"]\n";
    let mut stage = Stage::bare(&fleet(&votes(1), more), vec![one, other.clone()]);
    stage.start().await;
    other.give_role("77", "discord:9");
    other.say("77", "!link", stage.now()).await;
    let (_, text) = other.sees(&["to make discord:77 yours"]).await;
    let code = text.split("!link ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    stage.say("dora", &format!("!link {code}")).await;
    stage.sees(&["discord:77 is dora's from now on"]).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = other.sees(CALL).await;
    other.react("77", "✅", &call).await;
    other.sees(&["the policy counts the votes of others"]).await;
    assert!(stage.state(1).votes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_comes_while_the_bot_looks_for_votes_is_not_taken_for_one_that_is_gone() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    let slow = stage.room.is_slow().await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 2 votes"]).await;
    // By now it has asked for the emojis, and there were none.
    stage.later(1).await;
    stage.room.react("berta", "✅", &call).await;
    stage.later(1).await;
    drop(slow);
    stage.sees(&["(1 so far)"]).await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
}
