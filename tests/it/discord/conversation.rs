//! A whole conversation in Discord: the real bot and the real adapter, on hosts that are rehearsed.

use shipmate::bot::{Bot, Commands, Habits, Parts as BotParts, Vitals};
use shipmate::clock::Clock;
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::deployment::{Event, Found};
use shipmate::domain::names::DeploymentId;
use shipmate::engine::rehearsal::{Behaviour, Fault, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::{Condition, Health, Metrics};
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::sample::{name, release};

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
    ledger: Ledger,
    rehearsal: Rehearsal,
    fleet: Arc<Fleet>,
    folder: tempfile::TempDir,
    life: Option<Life>,
}

/// A bot that runs.
struct Life {
    bot: Bot,
    end: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Talk {
    async fn new() -> Talk {
        let server = Server::new().await;
        assert_eq!((server.fake.user("anna"), server.fake.user("carl")), (100, 101));
        server.fake.give_role("carl", 7);
        let fleet = Fleet::parse("fleet.toml", FLEET).unwrap();
        let rehearsal = Rehearsal::new(fleet.environment(&name("antisocial"), None).unwrap());
        for number in 41..50 {
            rehearsal.push(&release(&format!("build-{number}")), Behaviour::good());
        }
        let folder = tempfile::tempdir().unwrap();
        let mut talk = Talk { server, ledger: Ledger::in_memory(), rehearsal, fleet: Arc::new(fleet), folder, life: None };
        talk.start().await;
        talk
    }

    async fn start(&mut self) {
        let (before, _) = self.fake().connections();
        let (catalog, fleet, ledger) = (Arc::new(Catalog::builtin().unwrap()), self.fleet.clone(), self.ledger.clone());
        let menu = Commands { catalog: catalog.clone(), fleet, ledger };
        let discord =
            Discord::new(Parts { menu: Some(Arc::new(menu)), announcing: [room()].into(), ..parts(self.fake()) }).unwrap();
        let bot = Bot::start(BotParts {
            fleet: self.fleet.clone(),
            catalog,
            ledger: self.ledger.clone(),
            engine: Arc::new(self.rehearsal.clone()),
            chats: vec![Arc::new(discord)],
            metrics: Metrics::new(),
            prefix: Prefix::default(),
            outputs: self.folder.path().join("outputs"),
            output_keep: Duration::from_secs(3600),
            redactor: Redactor::default(),
            heartbeat: Some(self.folder.path().join("alive")),
            habits: Habits { drift_every: Duration::ZERO, ..Habits::default() },
            clock: Clock::system(),
        });
        let bot = bot.await.unwrap();
        let shutdown = CancellationToken::new();
        let (running, stop) = (bot.clone(), shutdown.clone());
        let end = tokio::spawn(async move {
            running.run(stop).await;
        });
        self.life = Some(Life { bot, end, shutdown });
        self.fake().until("a session", |fake| (fake.connections().0 > before).then_some(())).await;
    }

    async fn stop(&mut self) {
        let Life { end, shutdown, .. } = self.life.take().unwrap();
        shutdown.cancel();
        end.await.unwrap();
    }

    /// Waits until /healthz says something of the chat, or nothing.
    async fn healthz(&self, words: Option<&str>) {
        let vitals = Vitals(self.life.as_ref().unwrap().bot.clone());
        let says = || match vitals.report().parts.into_iter().find(|(part, _)| *part == "chat") {
            Some((_, Condition::Degraded(why))) => Some(why),
            _ => None,
        };
        let wait = async {
            while says().is_some() != words.is_some() || !words.is_none_or(|words| says().is_some_and(|why| why.contains(words))) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "{words:?}: {:?}", says());
    }

    /// Waits for a deployment's end.
    async fn is_over(&self, id: DeploymentId) {
        let mut facts = self.ledger.subscribe();
        let over = async {
            while !self.ledger.state(id).unwrap().unwrap().phase.is_final() {
                facts.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), over).await.expect("it waits for Discord");
    }

    fn fake(&self) -> &Fake {
        &self.server.fake
    }

    async fn announce(&self, app: &str, tag: &str) {
        self.announced(app, tag, BuildOutcome::Succeeded).await;
    }

    async fn announced(&self, app: &str, tag: &str, outcome: BuildOutcome) {
        let build = Build {
            app: name(app),
            tag: name(tag),
            outcome,
            number: None,
            digest: None,
            commit: tag.strip_prefix("build-").map(|number| format!("{number:0>40}").parse().unwrap()),
            branch: Some("main".to_owned()),
            url: Some("https://ci.example.org/job/antisocial/42/".to_owned()),
            author: Some("Dora".to_owned()),
            message: Some("Make *everything* faster".to_owned()),
            seconds: None,
            source: "generic".to_owned(),
            at: Timestamp::now(),
        };
        self.ledger.built(build, vec![format!("{app} {tag}")], Timestamp::now()).await.unwrap();
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
    talk.rehearsal.fault(Fault::apply("healthy web@appserver2"));
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
    let mut facts = talk.ledger.subscribe();
    let withdrawn = async {
        let is = |(_, event): &(Timestamp, Event)| matches!(event, Event::ApprovalWithdrawn { .. });
        while !talk.ledger.events(first).unwrap().iter().any(is) {
            facts.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), withdrawn).await.expect("the vote stays");
    let state = talk.ledger.state(first).unwrap().unwrap();
    assert!(state.started_at.is_none() && state.votes.is_empty(), "{state:?}");
    fake.put_reaction("carl", call, "✅");
    fake.sees(&["#1 antisocial production runs build-41"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slash_commands_suggest_and_buttons_count_like_typed_words() {
    let talk = Talk::new().await;
    let fake = talk.fake();
    for (tag, outcome) in
        [("build-41", BuildOutcome::Succeeded), ("build-42", BuildOutcome::Failed), ("build-43", BuildOutcome::Succeeded)]
    {
        talk.announced("antisocial", tag, outcome).await;
    }
    fake.until("the slash commands", |fake| fake.commands().contains(&"deploy".to_owned()).then_some(())).await;
    assert_eq!(fake.types("anna", "deploy", &[], "app", "an").await, ["antisocial"]);
    let tags = fake.types("anna", "deploy", &[("app", "antisocial")], "tag", "").await;
    assert_eq!(tags, ["build-43", "build-41", "build-42"], "the newest good ones first");
    assert_eq!(fake.types("anna", "deploy", &[("app", "antisocial")], "tag", "41").await, ["build-41"]);
    assert_eq!(fake.types("anna", "deploy", &[("app", "antisocial")], "environment", "pro").await, ["production"]);

    let told = fake.slash("anna", "deploy", &[("app", "antisocial"), ("tag", "build-43")]).await;
    assert_eq!(told["data"]["content"], "`!deploy antisocial build-43`");
    assert_eq!(told["data"]["allowed_mentions"]["parse"], serde_json::json!([]));
    let (call, _) = fake.sees(&["#1 deploy", "needs 1 vote"]).await;
    // Whoever asked can't, by a click neither; whoever may is enough.
    assert_eq!(fake.click("anna", call, "Approve").await["type"], 6);
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
    fake.say_as_program("ci", "Image antisocial build-44 passed in 2 min", true);
    fake.say_as_program("ci", "Image antisocial build-45 failed", true);
    fake.say_as_program("ci", "Image unknown build-46 passed", true);
    fake.sees(&["build-44 of antisocial is ready"]).await;
    fake.sees(&["build-45 of antisocial failed"]).await;
    fake.say("anna", "!queue");
    fake.sees(&["nothing waits"]).await;
    let texts = fake.texts();
    assert!(
        !texts.iter().any(|text| ["build-41", "build-42", "build-43", "build-46"].iter().any(|tag| text.contains(tag))),
        "{texts:?}"
    );
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
    talk.rehearsal.fault(Fault::apply("start web@appserver1").hangs());
    fake.put_reaction("carl", call, "✅");
    talk.rehearsal.hanging().await;
    fake.is_down(true);
    talk.rehearsal.go_on();
    talk.is_over(DeploymentId(1)).await;
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
        talk.rehearsal.fault(Fault::apply("start web@appserver1").hangs());
        fake.say("anna", &format!("!deploy antisocial build-4{number}"));
        let (call, _) = fake.sees(&[&format!("#{number} deploy"), "needs 1 vote"]).await;
        fake.put_reaction("carl", call, "✅");
        talk.rehearsal.hanging().await;
        fake.forbid(Some(refused));
        talk.rehearsal.go_on();
        talk.is_over(DeploymentId(number)).await;
        talk.healthz(Some(words)).await;
        fake.forbid(None);
        fake.sees(&[&format!("#{number} antisocial production runs build-4{number}")]).await;
        talk.healthz(None).await;
    }
    let closed = |text: &&String| text.contains("antisocial production runs");
    assert_eq!(fake.texts().iter().filter(closed).count(), 3, "{}", fake.texts().join("\n---\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_and_a_command_of_the_time_between_two_lives_count_once() {
    let mut talk = Talk::new().await;
    talk.fake().say("anna", "!deploy antisocial build-41");
    let (call, _) = talk.fake().sees(&["#1 deploy", "needs 1 vote"]).await;
    talk.stop().await;
    talk.fake().put_reaction("carl", call, "✅");
    talk.fake().say("anna", "!history antisocial");
    talk.start().await;
    talk.fake().sees(&["#1 antisocial production runs build-41"]).await;
    let state = talk.ledger.state(DeploymentId(1)).unwrap().unwrap();
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
