//! A bot that was away: what it left goes on, votes that came in meanwhile count, old commands are asked about.

use shipmate::domain::deployment::{Event, Found, Phase};
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::Fault;

use super::stage::{Details, Room, Stage};
use super::{fleet, votes};
use crate::sample::*;

#[tokio::test(start_paused = true)]
async fn a_vote_that_came_in_while_the_bot_was_away_counts() {
    let mut stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote"]).await;
    stage.stop().await;
    stage.room.react("berta", "✅", &call).await;
    stage.start().await;
    stage.sees(&["I was away for", "#1 wait"]).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!(stage.state(1).votes[&name("berta")].found, Found::AfterReconnect);
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_was_taken_back_while_the_service_was_away_counts_no_longer() {
    let stage = Stage::new(&fleet(&votes(2), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 2 votes"]).await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.room.forget_emojis(&call);
    stage.room.reconnect().await;
    stage.sees(&["(0 so far)"]).await;
    assert!(matches!(stage.state(1).phase, Phase::AwaitingApproval(_)));
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_goes_on_and_the_rooms_are_told() {
    let mut stage = Stage::new(&fleet("", "")).await;
    stage.rehearsal.fault(Fault::apply("healthy web@appserver2").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["#1 deploy", "running"]).await;
    stage.say("anna", "!deploy antisocial build-43").await;
    stage.sees(&["#2", "waits for the end of #1"]).await;
    stage.rehearsal.hanging().await;
    // An action that runs comes to its end before the bot stops; this one does only afterwards, as after a kill.
    stage.kill().await;
    stage.rehearsal.go_on();
    stage.start().await;
    stage.sees(&["I was away for", "going on with #1", "#2 wait"]).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    stage.sees(&["#2 antisocial production runs build-43"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_command_is_asked_about_and_runs_when_its_author_says_so() {
    let stage = Stage::new(&fleet("", "")).await;
    let old = stage.now().checked_sub(jiff::SignedDuration::from_mins(5)).unwrap();
    stage.room.say("anna", "!deploy antisocial build-42", old).await;
    let (asked, text) = stage.sees(&["typed while I was away", "`!deploy antisocial build-42` by terminal:anna 5 min ago"]).await;
    assert!(text.contains('✅'), "{text}");
    assert!(stage.rehearsal.transcript().is_empty());
    stage.room.react("berta", "✅", &asked).await;
    stage.say("berta", "!queue").await;
    stage.sees(&["nothing waits"]).await;
    assert!(stage.rehearsal.transcript().is_empty(), "somebody else's word is not enough");
    stage.room.react("anna", "✅", &asked).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_vote_that_was_taken_back_while_the_bot_was_away_starts_nothing() {
    let more = "[groups.approvers]\nroles = [\"discord:2\"]\n";
    let mut stage = Stage::new(&fleet(&votes(1), more)).await;
    stage.room.give_role("emil", "discord:2");
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote"]).await;
    // The vote is there, and as long as the chat tells no roles nothing starts.
    stage.room.is_silent(true);
    stage.room.react("emil", "✅", &call).await;
    stage.sees(&["(1 so far)"]).await;
    stage.kill().await;
    stage.room.take_back_unheard("emil", "✅", &call);
    stage.room.is_silent(false);
    // The new life plans faster than the chat answers.
    let room = stage.room.clone();
    let slow = room.is_slow().await;
    stage.start().await;
    stage.later(30).await;
    assert_eq!(stage.state(1).phase.word(), "waiting for votes");
    drop(slow);
    stage.sees(&["needs 1 vote (0 so far)"]).await;
    stage.later(180).await;
    assert!(stage.rehearsal.transcript().is_empty());
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_tells_no_emojis_holds_up_what_was_approved_for_a_while_only() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.sees(&["needs 1 vote"]).await;
    stage.room.is_down(true);
    stage.say("berta", "!approve").await;
    stage.later(60).await;
    assert_eq!(stage.state(1).phase.word(), "waiting for votes");
    stage.later(180).await;
    stage.reaches(1, "succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn an_old_word_opens_no_lock() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.say("anna", "!lock antisocial hands off").await;
    stage.sees(&["is locked by anna"]).await;
    let old = stage.now().checked_sub(jiff::SignedDuration::from_mins(5)).unwrap();
    stage.room.say("anna", "!unlock antisocial", old).await;
    stage.sees(&["typed while I was away", "`!unlock antisocial` by terminal:anna 5 min ago"]).await;
    assert_eq!(stage.ledger.environment_locks().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_down_holds_up_no_deploy_without_a_tag() {
    let stage = Stage::new(&fleet("", "")).await;
    stage.room.is_down(true);
    stage.say("anna", "!deploy antisocial").await;
    stage.recorded(|| stage.newest() == 1).await;
    stage.reaches(1, "succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn rooms_that_were_down_are_brought_up_to_date_and_nothing_is_shown_twice() {
    let stage = Stage::new(&fleet(&votes(1), "")).await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["needs 1 vote"]).await;
    stage.room.is_down(true);
    stage.room.react("berta", "✅", &call).await;
    stage.reaches(1, "succeeded").await;
    stage.room.is_down(false);
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    stage.sees(&["approved by berta"]).await;
    assert_eq!(stage.room.count(&["#1 antisocial production runs build-42"]), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_in_which_the_bot_died_is_held_anew_before_people_are_asked() {
    let policy = format!("{}\nrehearse = [\"migrate --plan\"]", votes(1));
    let mut stage = Stage::new(&fleet(&policy, "")).await;
    stage.rehearsal.fault(Fault::apply("rehearse web@appserver1").hangs());
    stage.say("anna", "!deploy antisocial build-42").await;
    stage.rehearsal.hanging().await;
    assert_eq!(stage.room.count(&["needs 1 vote"]), 0, "it isn't rehearsed yet");
    stage.kill().await;
    stage.rehearsal.go_on();
    stage.start().await;
    let (call, text) = stage.sees(&["#1 deploy", "needs 1 vote"]).await;
    assert_eq!(text.matches("rehearsed: `migrate --plan`").count(), 1, "{text}");
    assert!(text.contains("rehearse of build-42 says hello"), "{text}");
    // The one that was left comes to its end too.
    stage.reaches(2, "succeeded").await;
    stage.room.react("carl", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert_eq!((stage.state(1).rounds, stage.room.count(&["asked anew"])), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_down_for_an_hour_holds_up_no_other_and_misses_nothing() {
    let (one, other) = (Room::new("room", "terminal"), Room::new("other", "terminal"));
    let mut stage = Stage::bare(&fleet("", ""), vec![one, other.clone()]);
    stage.start().await;
    let ending = |(number, tag): (u64, &str)| format!("#{number} antisocial production runs {tag}");
    let deploys = [(1, "build-41"), (2, "build-42"), (3, "build-43"), (4, "build-44")];
    stage.deploy(1, "build-41").await;
    stage.room.is_down(true);
    for deploy in &deploys[1..] {
        other.say("anna", &format!("!deploy antisocial {}", deploy.1), stage.now()).await;
        other.sees(&[&ending(*deploy)]).await;
        stage.later(20 * 60).await;
    }
    assert_eq!(stage.room.count(&["antisocial production runs"]), 1, "it is down");
    stage.room.is_down(false);
    for deploy in deploys {
        stage.sees(&[&ending(deploy)]).await;
    }
    stage.shows_all().await;
    for room in [&stage.room, &other] {
        let told: Vec<String> = room.texts().into_iter().filter(|text| text.contains("antisocial production runs")).collect();
        let each_in_turn = told.iter().zip(deploys).all(|(text, deploy)| text.contains(&ending(deploy)));
        assert!(told.len() == deploys.len() && each_in_turn, "each once, in order:\n{}", told.join("\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn details_that_could_not_be_kept_are_kept_later_also_by_a_later_life() {
    let mut stage = Stage::new(&fleet("", "")).await;
    stage.room.details_belong(Details::NotNow);
    stage.deploy(1, "build-42").await;
    let (first, _) = stage.sees(&["#1 antisocial production runs build-42"]).await;
    assert!(stage.room.has_no_files(&first));
    stage.room.details_belong(Details::Beside);
    let kept = stage.room.files(&first).await;
    let (name, text) = kept.first_key_value().unwrap();
    assert_eq!(name, "#1 deploy antisocial production: → build-42: deployment-1.txt");
    assert!(text.contains("start web@appserver2"), "{text}");

    stage.room.details_belong(Details::NotNow);
    stage.deploy(2, "build-43").await;
    let (second, _) = stage.sees(&["#2 antisocial production runs build-43"]).await;
    stage.kill().await;
    assert!(stage.room.has_no_files(&second));
    stage.room.details_belong(Details::Beside);
    stage.start().await;
    assert_eq!(stage.room.files(&second).await.len(), 1);
    // Nothing is owed any more, and the message is settled.
    stage.recorded(|| stage.room.is_settled(&stage.ledger)).await;
}

#[tokio::test(start_paused = true)]
async fn a_room_for_other_apps_is_told_nothing_and_takes_no_votes_away() {
    let rooms = r#"
[[rooms]]
room = "discord:1"
apps = ["blog"]

[apps.blog]
image = "registry.lan:5000/thraxil/blog"

[apps.blog.environments.production.roles.web]
hosts = ["appserver1"]
health = { running = "1s" }
"#;
    let mut stage = Stage::bare(&fleet(&votes(1), rooms), vec![Room::new("here", "terminal"), Room::new("discord:1", "discord")]);
    stage.start().await;
    stage.say("anna", "!deploy antisocial build-42").await;
    let (call, _) = stage.sees(&["#1 deploy", "needs 1 vote"]).await;
    // The other room comes anew, and has no message to vote at.
    stage.rooms[1].reconnect().await;
    stage.room.react("berta", "✅", &call).await;
    stage.sees(&["#1 antisocial production runs build-42"]).await;
    let lost = stage.ledger.events(DeploymentId(1)).unwrap().into_iter().any(|(_, event)| matches!(event, Event::VotesLost { .. }));
    assert!(!lost, "nobody deleted anything");
    stage.recorded(|| stage.rooms.iter().all(|room| room.is_settled(&stage.ledger))).await;
    assert_eq!(stage.rooms[1].texts(), [""; 0]);
    // What concerns it comes afterwards.
    stage.say("anna", "!lock blog production they move").await;
    stage.rooms[1].sees(&["blog", "they move"]).await;
}
