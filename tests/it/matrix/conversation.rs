//! Whole conversations in Matrix: the real bot and the real adapter, on hosts that are rehearsed, and people with real clients.

use std::time::Duration;

use shipmate::domain::build::BuildOutcome;
use shipmate::domain::deployment::{Found, Phase};
use shipmate::engine::rehearsal::Fault;

use super::server::Second;
use super::wire::Wire;
use super::*;
use crate::play::Play;

/// A fleet with these people, by name, accounts and group, and an approval of antisocial's that approvers give.
pub fn fleet(people: &[(&str, &[&str], &str)], rooms: &[&str], approval: &str) -> String {
    let mut fleet = String::new();
    for (name, accounts, group) in people {
        fleet.push_str(&format!("[people.{name}]\naccounts = {accounts:?}\ngroups = [\"{group}\"]\n"));
    }
    for room in rooms {
        fleet.push_str(&format!("[[rooms]]\nroom = \"{room}\"\napps = [\"antisocial\"]\n"));
    }
    fleet.push_str(&format!(
        r#"
[apps.antisocial]
image = "registry.lan:5000/thraxil/antisocial"

[apps.antisocial.environments.production]
automatic = {{ branch = "main" }}
approval = {{ {approval}, groups = ["approvers"], commands = ["deploy"] }}

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1", "appserver2"]
publish = {{ container = 8000, host = [8000, 8001] }}
health = {{ http = "/health" }}

[apps.blog]
image = "registry.lan:5000/thraxil/blog"

[apps.blog.environments.production.roles.web]
hosts = ["appserver1"]
health = {{ running = "1s" }}
"#
    ));
    fleet
}

/// A bot in a room, and the people there.
struct Talk {
    meeting: Meeting,
    play: Play,
}

impl Talk {
    /// anna deploys, bert approves.
    async fn new(meeting: Meeting, approval: &str) -> Talk {
        let [anna, bert] = ["anna", "bert"].map(|who| meeting.account(who).0);
        let people = [("anna", &[anna.as_str()] as &[&str], "deployers"), ("bert", &[&bert], "approvers")];
        let play = Play::new(&fleet(&people, &[&meeting.room().0], approval));
        Talk::of(meeting, play).await
    }

    async fn of(meeting: Meeting, play: Play) -> Talk {
        let mut talk = Talk { meeting, play };
        talk.play.start(vec![talk.meeting.chat()]).await;
        talk.meeting.the_bot_is_there().await;
        talk
    }

    async fn restart(&mut self) {
        self.meeting.restart().await;
        self.play.start(vec![self.meeting.chat()]).await;
    }

    /// anna asks for a build, which asks for votes.
    async fn asks_for(&self, number: u64, tag: &str) -> Shown {
        self.meeting.say("anna", &format!("!deploy antisocial {tag}")).await;
        self.meeting.sees(&[&format!("#{number} deploy"), "needs 1 vote"]).await
    }

    /// Deploys a build with bert's vote; the closing message.
    async fn deploys(&self, number: u64, tag: &str) -> Shown {
        let call = self.asks_for(number, tag).await;
        self.meeting.react("bert", &self.meeting.message(&call.id), "✅").await;
        self.meeting.sees(&[&format!("#{number} antisocial production runs {tag}")]).await
    }

    fn count(&self, words: &str) -> usize {
        self.meeting.texts().iter().filter(|text| text.contains(words)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_announced_approved_deployed_put_back_and_reverted() {
    goes_all_the_way(Meeting::encrypted().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_goes_on_in_a_room_that_is_not_encrypted() {
    goes_all_the_way(Meeting::plain().await).await;
}

async fn goes_all_the_way(meeting: Meeting) {
    let talk = Talk::new(meeting, "votes = 1").await;
    let (meeting, play) = (&talk.meeting, &talk.play);
    for app in ["blog", "antisocial"] {
        play.announce(app, "build-41", BuildOutcome::Succeeded).await;
    }
    let news = meeting.sees(&["build-41 of antisocial is ready"]).await;
    assert!(news.text().contains("Make *everything* faster") && news.html().contains("<code>!deploy antisocial build-41</code>"));

    // A mention is as good as the prefix. Who asked can't approve.
    let asked = meeting.send("anna", text(&format!("{}: deploy antisocial build-41", meeting.bot.id))).await;
    let call = meeting.sees(&["#1 deploy antisocial production", "needs 1 vote"]).await;
    assert!(call.text().contains("web@appserver1: start"), "{}", call.text());
    meeting.react("anna", &meeting.message(&call.id), "✅").await;
    meeting.sees(&["whoever asked can't approve it too"]).await;
    meeting.react("bert", &meeting.message(&call.id), "✅\u{fe0f}").await;
    let closing = meeting.sees(&["#1 antisocial production runs build-41"]).await;
    let answers = |shown: &Shown| shown.first["m.relates_to"]["m.in_reply_to"]["event_id"] == *asked && !shown.edits.is_empty();
    let live = meeting.shown().into_iter().find(answers).unwrap_or_else(|| panic!("no live message: {:#?}", meeting.shown()));
    assert!(live.text().contains("✓ start") && live.edits.len() < 20, "{} edits of\n{}", live.edits.len(), live.text());

    // The steps and the output are beside the closing message.
    let kept = meeting.anna.until("the details", |_| meeting.beside(&closing.id).pop()).await;
    assert!(meeting.anna.opens(&kept.now).await.contains("start web@appserver2"));

    // The next one isn't healthy.
    play.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    let call = talk.asks_for(2, "build-42").await;
    meeting.react("bert", &meeting.message(&call.id), "✅").await;
    meeting.sees(&["#2", "healthy web@appserver2 failed", "Put back"]).await;

    talk.deploys(3, "build-43").await;
    meeting.say("anna", "!revert antisocial").await;
    meeting.sees(&["#4 antisocial production runs build-41"]).await;
    // The room is for one app; where it is encrypted nothing was sent openly, and nothing called anybody.
    assert_eq!(talk.count("blog"), 0, "{:#?}", meeting.texts());
    for shown in meeting.shown() {
        assert!(
            shown.encrypted == meeting.encrypted && shown.all().iter().all(|content| content["m.mentions"].is_object()),
            "{shown:#?}"
        );
        assert_eq!(shown.first["m.mentions"], json!({}), "{shown:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_votes_are_typed_only_an_encrypted_one_of_a_signed_device_counts() {
    let talk = Talk::new(Meeting::encrypted().await, "votes = 1, strength = \"typed\"").await;
    let (meeting, play) = (&talk.meeting, &talk.play);
    let call = talk.asks_for(1, "build-41").await;
    let command = call.text();
    let at = command.find("!approve ").unwrap();
    let end = command[at + 9..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
    let approve = text(&command[at..at + 9 + end]);

    meeting.react("bert", &meeting.message(&call.id), "✅").await;
    meeting.sees(&["here an emoji isn't enough"]).await;
    let unsigned = meeting.bert.on_an_unsigned_device().await;
    unsigned.is_in(&meeting.room).await;
    unsigned.looks_up(&meeting.bot.id).await;
    let open = meeting.bert.sends_openly(&meeting.room, "m.room.message", approve.clone()).await;
    let unproven = unsigned.sends(&meeting.room, "m.room.message", approve.clone()).await;
    for sent in [open, unproven] {
        let refuses = |shown: &Shown| {
            let answers = shown.first["m.relates_to"]["m.in_reply_to"]["event_id"] == *sent;
            answers && shown.text().contains("here it must be proven who typed it")
        };
        meeting.anna.until("the answer to a vote that isn't proven", |_| meeting.shown().into_iter().find(refuses)).await;
    }
    let waits = |talk: &Talk| matches!(talk.play.state(1).phase, Phase::AwaitingApproval(_));
    assert!(waits(&talk) && play.rehearsal.transcript().is_empty());
    meeting.send("bert", approve).await;
    meeting.sees(&["#1 antisocial production runs build-41"]).await;
    assert!(play.state(1).votes.values().all(|vote| vote.found == Found::Typed), "{:?}", play.state(1).votes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_and_a_command_of_the_time_between_two_lives_count_once() {
    let mut talk = Talk::new(Meeting::encrypted().await, "votes = 1").await;
    let call = talk.asks_for(1, "build-41").await;
    talk.play.stop().await;
    talk.meeting.react("bert", &talk.meeting.message(&call.id), "✅").await;
    talk.meeting.say("anna", "!history antisocial").await;
    talk.restart().await;
    talk.meeting.sees(&["#1 antisocial production runs build-41"]).await;
    // Whether it is found at the message or told of as missed.
    assert_eq!(talk.play.state(1).votes.len(), 1);
    talk.meeting.say("anna", "!apps").await;
    talk.meeting.sees(&["apps", "blog"]).await;
    assert_eq!((talk.count("antisocial production runs build-41"), talk.count("history")), (1, 1), "{:#?}", talk.meeting.texts());
    assert_eq!(talk.count("#1 deploy antisocial production"), 2, "{:#?}", talk.meeting.texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_homeserver_is_down_deployments_go_on_and_the_room_is_mended_afterwards() {
    let second = Second::new().await;
    let talk = Talk::new(Meeting::of_strangers(second.server).await, "votes = 1").await;
    let call = talk.asks_for(1, "build-41").await;
    talk.play.rehearsal.fault(Fault::apply("start web@appserver1").hangs());
    talk.meeting.react("bert", &talk.meeting.message(&call.id), "✅").await;
    talk.play.rehearsal.hanging().await;
    second.server.stops().await;
    talk.play.rehearsal.go_on();
    talk.play.is_over(1).await;
    second.server.starts().await;
    talk.meeting.sees(&["#1 antisocial production runs build-41"]).await;
    talk.meeting.say("anna", "!queue").await;
    talk.meeting.sees(&["nothing waits"]).await;
    assert_eq!(talk.count("antisocial production runs build-41"), 1, "{:#?}", talk.meeting.texts());
    assert_eq!(talk.count("is running"), 0, "{:#?}", talk.meeting.texts());
}

/// carl's command, whose key comes late, to a bot that runs what is as young as this.
async fn unreadable(stale_after: Duration) -> Talk {
    let meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    let carl = meeting.joined_by("carl", &wire.url).await;
    let mut play = Play::new(&fleet(
        &[("carl", &[&account(&carl.id).0], "deployers"), ("dora", &["terminal:dora"], "approvers")],
        &[&meeting.room().0],
        "votes = 1",
    ));
    play.habits.stale_after = stale_after;
    let talk = Talk::of(meeting, play).await;
    carl.looks_up(&talk.meeting.bot.id).await;
    wire.keeps_keys();
    let sent = carl.sends(&talk.meeting.room, "m.room.message", text("!deploy antisocial build-41")).await;
    let answer = talk.meeting.sees(&["I could not read that", &carl.id]).await;
    assert_eq!(answer.first["m.relates_to"]["m.in_reply_to"]["event_id"], *sent);
    wire.gives_keys().await;
    talk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_key_comes_soon_is_run() {
    let talk = unreadable(Duration::from_secs(120)).await;
    talk.meeting.sees(&["#1 deploy", "needs 1 vote"]).await;
    assert_eq!(talk.count("I could not read that"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_key_comes_late_is_asked_about() {
    let talk = unreadable(Duration::from_millis(1)).await;
    talk.meeting.sees(&["was not run", "!deploy antisocial build-41"]).await;
    assert_eq!((talk.count("I could not read that"), talk.count("#1 deploy")), (1, 0), "{:#?}", talk.meeting.texts());
}
