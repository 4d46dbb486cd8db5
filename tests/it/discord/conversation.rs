//! A whole conversation in Discord: the real bot and the real adapter, on hosts that are rehearsed.

use shipmate::chat::menu::Menu;
use shipmate::domain::build::BuildOutcome;
use shipmate::domain::deployment::{Event, Found};
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::Fault;

use super::*;
use crate::play::Play;

const FLEET: &str = r#"
[people.anna]
accounts = ["discord:100"]
groups = ["deployers"]

[people.carl]
accounts = ["discord:101"]

[groups.approvers]
roles = ["discord:7"]

[[rooms]]
room = "discord:901"
apps = ["antisocial"]
announces = '(?<app>[\w-]+) (?<tag>build-\d+) (?:passed|(?<failed>failed))'

[apps.antisocial]
image = "registry.lan:5000/thraxil/antisocial"
compare = "https://git.example.org/antisocial/compare/{from}...{to}"

[apps.antisocial.environments.production]
automatic = { branch = "main" }
approval = { votes = 1, groups = ["approvers"], commands = ["deploy"], emergency = { groups = ["deployers"] } }

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1", "appserver2"]
publish = { container = 8000, host = [8000, 8001] }
health = { http = "/health" }

[apps.blog]
image = "registry.lan:5000/thraxil/blog"

[apps.blog.environments.production.roles.web]
hosts = ["appserver1"]
health = { running = "1s" }
"#;

/// A bot in Discord, and the people there.
struct Talk {
    server: Server,
    play: Play,
}

impl Talk {
    async fn new() -> Talk {
        Talk::begun(Server::new().await).await
    }

    async fn begun(server: Server) -> Talk {
        assert_eq!((server.fake.user("anna"), server.fake.user("carl")), (100, 101));
        server.fake.give_role("carl", 7);
        let mut talk = Talk { server, play: Play::new(FLEET) };
        talk.start().await;
        talk
    }

    async fn start(&mut self) {
        let (before, _) = self.fake().connections();
        let menu = Some(Arc::new(self.play.menu()) as Arc<dyn Menu>);
        let discord = Discord::new(Parts { menu, announcing: [room()].into(), ..parts(self.fake()) }).unwrap();
        self.play.start(vec![Arc::new(discord)]).await;
        self.fake().until("a session", |fake| (fake.connections().0 > before).then_some(())).await;
    }

    fn fake(&self) -> &Fake {
        &self.server.fake
    }

    async fn announce(&self, app: &str, tag: &str) {
        self.play.announce(app, tag, BuildOutcome::Succeeded).await;
    }

    /// Deploys a build with carl's vote; the closing message.
    async fn deploy(&self, number: u64, tag: &str) -> u64 {
        self.fake().say("anna", &format!("!deploy antisocial {tag}"));
        let (call, _) = self.fake().sees(&[&format!("#{number} deploy"), "needs 1 vote"]).await;
        self.fake().put_reaction("carl", call, "✅");
        self.fake().sees(&[&format!("#{number} antisocial production runs {tag}")]).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_announced_approved_deployed_put_back_and_reverted() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    talk.announce("blog", "build-7").await;
    talk.announce("antisocial", "build-41").await;
    let (_, news) = fake.sees(&["build-41 of antisocial is ready"]).await;
    assert!(news.contains("Make \\*everything\\* faster") && news.contains("`!deploy antisocial build-41`"), "{news}");

    // A mention is as good as the prefix. Who asked can't approve, and a person without the role can't either.
    let said = fake.say("anna", "<@42> deploy antisocial build-41");
    let (call, text) = fake.sees(&["#1 deploy antisocial production", "needs 1 vote"]).await;
    assert!(text.contains("**web 1/2**  web@appserver1: start"), "{text}");
    fake.put_reaction("anna", call, "✅");
    fake.sees(&["whoever asked can't approve it too"]).await;
    fake.put_reaction("mallory", call, "✅");
    fake.sees(&["nobody in the fleet file"]).await;
    fake.put_reaction("carl", call, "✅");
    fake.sees(&["#1 antisocial production runs build-41"]).await;
    let live = fake.of_the_bot().into_iter().find(|(_, shown)| shown.reference == Some(said.to_string()) && shown.edits > 0);
    let (_, live) = live.unwrap_or_else(|| panic!("no live message answers the command:\n{}", fake.texts().join("\n---\n")));
    assert!(live.text().contains("✓ start") && live.edits < 20, "{} edits of\n{}", live.edits, live.text());
    assert_eq!(live.embeds[0]["color"], 0x2E_CC71);

    // The steps and the output are beside the closing message.
    let (closing, _) = fake.sees(&["#1 antisocial production runs build-41"]).await;
    let kept = fake.until("the details", |fake| fake.beside(closing).pop()).await;
    assert!(kept.files.len() == 1 && kept.files[0].contains("start web@appserver2"), "{kept:?}");
    assert_eq!(fake.thread(closing).unwrap(), "#1 deploy antisocial production: → build-41");

    // The next one isn't healthy.
    talk.play.rehearsal.fault(Fault::apply("healthy web@appserver2"));
    fake.say("anna", "!deploy antisocial build-42");
    let (call, _) = fake.sees(&["#2 deploy", "needs 1 vote"]).await;
    fake.put_reaction("carl", call, "✅");
    let (_, closing) = fake.sees(&["#2", "healthy web@appserver2 failed", "Put back"]).await;
    assert!(!closing.contains("-# ref") || closing.matches("-# ref").count() == 1, "{closing}");

    talk.announce("antisocial", "build-43").await;
    let third = talk.deploy(3, "build-43").await;
    let commits = |from: u64, to: u64| format!("https://git.example.org/antisocial/compare/{from:0>40}...{to:0>40}");
    let build = "[build page of build-43](https://ci.example.org/job/antisocial/42/)";
    let (_, closing) = fake.sees(&["#3 antisocial production runs build-43"]).await;
    assert!(closing.contains(&format!("{build} · [commits since build-41]({})", commits(41, 43))), "{closing}");
    fake.say("anna", "!revert antisocial");
    let (_, closing) = fake.sees(&["#4 antisocial production runs build-41"]).await;
    let takes_back = format!("[commits since build-41, which it takes back]({})", commits(41, 43));
    let reverts = format!("[#3, which it reverts](https://discord.com/channels/900/901/{third})");
    assert!(closing.contains(&format!("{takes_back} · {reverts}")), "{closing}");
    // The channel is for one app.
    assert!(!fake.texts().iter().any(|text| text.contains("blog")), "{}", fake.texts().join("\n---\n"));
    assert!(fake.of_the_bot().iter().all(|(_, shown)| shown.allowed_mentions["parse"] == serde_json::json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_is_told_after_it_was_taken_back_starts_nothing() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    fake.say("anna", "!deploy antisocial build-41");
    let (call, _) = fake.sees(&["#1 deploy", "needs 1 vote"]).await;
    fake.hold();
    fake.put_reaction("carl", call, "✅");
    fake.take_reaction("carl", call, "✅");
    fake.release(|held| held.reverse());
    let first = DeploymentId(1);
    let mut facts = talk.play.ledger.subscribe();
    let withdrawn = async {
        let is = |(_, event): &(Timestamp, Event)| matches!(event, Event::ApprovalWithdrawn { .. });
        while !talk.play.ledger.events(first).unwrap().iter().any(is) {
            facts.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), withdrawn).await.expect("the vote stays");
    let state = talk.play.state(1);
    assert!(state.started_at.is_none() && state.votes.is_empty(), "{state:?}");
    fake.put_reaction("carl", call, "✅");
    fake.sees(&["#1 antisocial production runs build-41"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slash_commands_suggest_and_buttons_count_like_typed_words() {
    let server = Server::new().await;
    // They are offered again if Discord doesn't take them.
    server.fake.fail_next("PUT /applications", 503, 0);
    let talk = Talk::begun(server).await;
    let fake = talk.fake();
    for (tag, outcome) in
        [("build-41", BuildOutcome::Succeeded), ("build-42", BuildOutcome::Failed), ("build-43", BuildOutcome::Succeeded)]
    {
        talk.play.announce("antisocial", tag, outcome).await;
    }
    fake.until("the slash commands", |fake| fake.commands().contains(&"deploy".to_owned()).then_some(())).await;
    assert_eq!(fake.types("anna", "deploy", &[], "app", "an").await, ["antisocial"]);
    // In a channel where the bot isn't, nobody learns of anything.
    assert!(fake.types_in(902, ("mallory", "deploy"), &[], "app", "").await.is_empty());
    let told = fake.slash_in(902, "carl", "deploy", &[("app", "antisocial"), ("tag", "build-43")]).await;
    assert!(told["data"]["content"].as_str().unwrap().contains("I don't listen in this channel"), "{told}");
    assert_eq!(told["data"]["flags"], 64, "only whoever asked sees it");
    let tags = fake.types("anna", "deploy", &[("app", "antisocial")], "tag", "").await;
    assert_eq!(tags, ["build-43", "build-41", "build-42"], "the newest good ones first");
    assert_eq!(fake.types("anna", "deploy", &[("app", "antisocial")], "tag", "41").await, ["build-41"]);
    assert_eq!(fake.types("anna", "deploy", &[("app", "antisocial")], "environment", "pro").await, ["production"]);

    let told = fake.slash("anna", "deploy", &[("app", "antisocial"), ("tag", "build-43")]).await;
    assert_eq!(told["data"]["content"], "`!deploy antisocial --tag build-43`");
    assert_eq!(told["data"]["allowed_mentions"]["parse"], serde_json::json!([]));
    let (call, _) = fake.sees(&["#1 deploy", "needs 1 vote"]).await;
    // What stands in a field is never taken for another one.
    let told = fake.slash("anna", "deploy", &[("app", "antisocial"), ("tag", "production")]).await;
    assert_eq!(told["data"]["content"], "`!deploy antisocial --tag production`");
    // Whoever asked can't, by a click neither; whoever may is enough.
    assert_eq!(fake.click("anna", call, "Approve").await["type"], 6);
    let told = fake.click_elsewhere("carl", 902, call, "run approve 1").await;
    assert!(told["data"]["content"].as_str().unwrap().contains("I don't listen in this channel"), "{told}");
    fake.sees(&["whoever asked can't approve it too"]).await;
    fake.click("carl", call, "Approve").await;
    fake.sees(&["#1 antisocial production runs build-43"]).await;
    let over = fake.of_the_bot().into_iter().find(|(id, _)| *id == call).unwrap().1;
    assert_eq!(over.components, serde_json::json!([]), "nobody votes any more");

    fake.say("anna", "!deploy antisocial build-41");
    let (call, _) = fake.sees(&["#2 deploy", "needs 1 vote"]).await;
    fake.click("carl", call, "Reject").await;
    fake.sees(&["#2", "was rejected by carl"]).await;
    // The deployments are suggested by number, the newest first.
    assert_eq!(fake.types("anna", "why", &[], "deployment", "").await, ["2", "1"]);
    fake.slash("anna", "why", &[("deployment", "2")]).await;
    fake.sees(&["#2", "asked for by anna"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_in_the_channel_lose_nothing_and_hold_up_nothing() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    fake.say("anna", "!deploy antisocial build-41");
    let (call, _) = fake.sees(&["#1 deploy", "needs 1 vote"]).await;
    for n in 0..1000 {
        fake.say("mallory", &format!("lunch? {n}"));
        match n {
            300 => drop(fake.say("anna", "!apps")),
            500 => fake.put_reaction("carl", call, "✅"),
            700 => drop(fake.say("carl", "!queue")),
            _ => {}
        }
    }
    fake.sees(&["#1 antisocial production runs build-41"]).await;
    fake.sees(&["apps", "blog"]).await;
    fake.until("the answer of !queue", |fake| {
        fake.texts().iter().any(|text| text.contains("waits") || text.contains("waiting")).then_some(())
    })
    .await;
    assert_eq!(fake.connections(), (1, 0), "the connection bore it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhooks_message_announces_a_build_and_commands_nothing() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    // A person, and another bot, can't.
    fake.say("anna", "antisocial build-41 passed");
    fake.say_as_program("another bot", "antisocial build-42 passed", false);
    fake.say_as_program("ci", "!deploy antisocial build-43", true);
    fake.answer_as_application("another bot", "antisocial build-47 passed");
    fake.say_as_program("ci", "Image antisocial build-44 passed in 2 min", true);
    fake.say_as_program("ci", "Image antisocial build-45 failed", true);
    fake.say_as_program("ci", "Image unknown build-46 passed", true);
    fake.sees(&["build-44 of antisocial is ready"]).await;
    fake.sees(&["build-45 of antisocial failed"]).await;
    fake.say("anna", "!queue");
    fake.sees(&["nothing waits"]).await;
    let texts = fake.texts();
    assert!(
        !texts.iter().any(|text| ["build-41", "build-42", "build-43", "build-46", "build-47"].iter().any(|tag| text.contains(tag))),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_discord_refuses_is_told_as_text_and_holds_up_nothing() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    fake.fail_next("POST /channels/901/messages", 400, 50035);
    talk.announce("antisocial", "build-41").await;
    fake.sees(&["build-41 of antisocial is ready"]).await;
    // Neither is taken.
    fake.fail_next("POST /channels/901/messages", 400, 50035);
    fake.fail_next("POST /channels/901/messages", 400, 50035);
    talk.announce("antisocial", "build-42").await;
    talk.announce("antisocial", "build-43").await;
    fake.sees(&["build-43 of antisocial is ready"]).await;
    assert!(!fake.texts().iter().any(|text| text.contains("build-42")), "{:?}", fake.texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_calls_those_whose_votes_would_count_and_nobody_else() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    fake.say("anna", "!deploy antisocial build-41 --emergency \"<@100> @everyone it burns\"");
    let (call, text) = fake.sees(&["EMERGENCY: #1 by anna"]).await;
    assert!(text.contains("<@101>") && !text.contains(" <@100>"), "{text}");
    let shown = fake.of_the_bot().into_iter().find(|(id, _)| *id == call).unwrap().1;
    assert_eq!(shown.allowed_mentions["users"], serde_json::json!(["101"]));
    assert_eq!(shown.allowed_mentions["parse"], serde_json::json!([]));
    fake.sees(&["#1 antisocial production runs build-41"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_discord_is_down_deployments_go_on_and_the_channel_is_mended_afterwards() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    fake.say("anna", "!deploy antisocial build-41");
    let (call, _) = fake.sees(&["#1 deploy", "needs 1 vote"]).await;
    talk.play.rehearsal.fault(Fault::apply("start web@appserver1").hangs());
    fake.put_reaction("carl", call, "✅");
    talk.play.rehearsal.hanging().await;
    fake.is_down(true);
    talk.play.rehearsal.go_on();
    talk.play.is_over(1).await;
    fake.is_down(false);
    fake.sees(&["#1 antisocial production runs build-41"]).await;
    let texts = fake.texts();
    assert_eq!(
        texts.iter().filter(|text| text.contains("antisocial production runs build-41")).count(),
        1,
        "{}",
        texts.join("\n---\n")
    );
    assert!(!texts.iter().any(|text| text.contains("is running")), "{}", texts.join("\n---\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_its_channel_is_on_healthz_and_mended_afterwards() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    for (number, refused, words) in [
        (1, (403, 50013), "`shipmate check` says which permission is missing"),
        (2, (404, 10003), "it was deleted"),
        (3, (401, 0), "SHIPMATE_DISCORD_TOKEN"),
    ] {
        talk.play.rehearsal.fault(Fault::apply("start web@appserver1").hangs());
        fake.say("anna", &format!("!deploy antisocial build-4{number}"));
        let (call, _) = fake.sees(&[&format!("#{number} deploy"), "needs 1 vote"]).await;
        fake.put_reaction("carl", call, "✅");
        talk.play.rehearsal.hanging().await;
        fake.forbid(Some(refused));
        talk.play.rehearsal.go_on();
        talk.play.is_over(number).await;
        talk.play.chats_are(Some(words)).await;
        fake.forbid(None);
        fake.sees(&[&format!("#{number} antisocial production runs build-4{number}")]).await;
        talk.play.chats_are(None).await;
    }
    let closed = |text: &&String| text.contains("antisocial production runs");
    assert_eq!(fake.texts().iter().filter(closed).count(), 3, "{}", fake.texts().join("\n---\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_and_a_command_of_the_time_between_two_lives_count_once() {
    let mut talk = Talk::new().await;
    talk.fake().say("anna", "!deploy antisocial build-41");
    let (call, _) = talk.fake().sees(&["#1 deploy", "needs 1 vote"]).await;
    talk.play.stop().await;
    talk.fake().put_reaction("carl", call, "✅");
    talk.fake().say("anna", "!history antisocial");
    talk.start().await;
    talk.fake().sees(&["#1 antisocial production runs build-41"]).await;
    let state = talk.play.state(1);
    assert!(state.votes.values().all(|vote| vote.found == Found::AfterReconnect) && state.votes.len() == 1, "{:?}", state.votes);
    talk.fake().say("anna", "!apps");
    talk.fake().sees(&["apps", "blog"]).await;
    let answers = |words: &str| talk.fake().texts().iter().filter(|text| text.contains(words)).count();
    assert_eq!(
        (answers("antisocial production runs build-41"), answers("history")),
        (1, 1),
        "{}",
        talk.fake().texts().join("\n---\n")
    );
}
