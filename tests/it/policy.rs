//! Who may do what, as people hear it in the room and as `shipmate policy test` holds it to a file.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shipmate::bot::{Bot, End, Habits, Parts};
use shipmate::chat::console::{Console, Look};
use shipmate::clock::Clock;
use shipmate::domain::policy::{Rule, Who};
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::Metrics;
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::sample::{name, release};

const FLEET: &str = r#"
[people.anna]
accounts = ["terminal:anna"]
groups = ["deployers"]

[people.berta]
accounts = ["terminal:berta"]

[people.carl]
accounts = ["terminal:carl"]

[apps.blog]
image = "blog"

[apps.blog.environments.production.roles.web]
hosts = ["web1"]
health = { running = "10ms" }
"#;

/// A bot on a rehearsed fleet, and the terminal that people type on.
struct Room {
    bot: tokio::task::JoinHandle<End>,
    keys: DuplexStream,
    shown: Arc<(Mutex<String>, Notify)>,
    /// Where in all that was shown the test has come to.
    read: usize,
    _outputs: TempDir,
}

impl Room {
    async fn of(fleet: Fleet) -> Room {
        let rehearsal = Rehearsal::new(fleet.environments().next().unwrap());
        rehearsal.push(&release("build-1"), Behaviour::good());
        let (keys, theirs) = tokio::io::duplex(1 << 16);
        let (ours, mut out) = tokio::io::duplex(1 << 16);
        let shown = Arc::new((Mutex::new(String::new()), Notify::new()));
        let screen = Arc::clone(&shown);
        tokio::spawn(async move {
            let mut bytes = vec![0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes).await {
                screen.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&bytes[..count]));
                screen.1.notify_one();
            }
        });
        let outputs = tempfile::tempdir().unwrap();
        let parts = Parts {
            fleet: Arc::new(fleet),
            catalog: Arc::new(Catalog::builtin().unwrap()),
            ledger: Ledger::in_memory(),
            engine: Arc::new(rehearsal),
            chats: vec![Arc::new(Console::new(theirs, ours, Look::Lines, "anna", Timestamp::now))],
            metrics: Metrics::new(),
            prefix: Prefix::default(),
            outputs: outputs.path().to_owned(),
            output_keep: Duration::from_secs(3600),
            redactor: Redactor::default(),
            heartbeat: None,
            habits: Habits::default(),
            clock: Clock::system(),
        };
        let bot = Bot::start(parts).await.unwrap();
        let bot = tokio::spawn(async move { bot.run(CancellationToken::new()).await });
        Room { bot, keys, shown, read: 0, _outputs: outputs }
    }

    /// What comes from here on until `words` are shown, with them.
    async fn hears(&mut self, who: &str, line: &str, words: &str) -> String {
        self.keys.write_all(format!("/as {who}\n{line}\n").as_bytes()).await.unwrap();
        let seen = async {
            loop {
                let shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner)[self.read..].to_owned();
                match shown.find(words) {
                    Some(at) => break shown[..at + words.len()].to_owned(),
                    None => self.shown.1.notified().await,
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), seen).await;
        let all = || self.shown.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let heard = waited.unwrap_or_else(|_| panic!("{who} typed {line} and never saw {words:?} in\n{}", all()));
        self.read += heard.len();
        heard
    }

    async fn ends(self) {
        drop(self.keys);
        assert_eq!(self.bot.await.unwrap(), End::Stopped);
    }
}

/// All that acts in production is for berta.
fn for_berta() -> Fleet {
    let mut fleet = Fleet::parse("fleet.toml", FLEET).unwrap();
    fleet.access.rules.push(Rule {
        line: 3,
        commands: None,
        apps: None,
        environments: Some(BTreeSet::from([name("production")])),
        allow: Who { people: BTreeSet::from([name("berta")]), ..Who::default() },
    });
    fleet
}

#[tokio::test]
async fn a_rule_decides_for_everybody_and_is_named_to_those_whom_it_stops() {
    let mut room = Room::of(for_berta()).await;
    let no =
        "anna may not `deploy` blog production: the rule at line 3 of the fleet file is for berta; add anna there if that is wrong";
    room.hears("anna", "!deploy blog build-1", no).await;
    room.hears("anna", "!can berta deploy blog", "berta may deploy blog production: rule at line 3 of the fleet file, by name")
        .await;
    room.hears("anna", "!can anna restart blog", "anna may not restart blog production: the rule at line 3").await;
    room.hears("anna", "!can carl status blog", "carl may status blog production: the command is for everybody").await;
    room.hears("anna", "!can carl help blog", "carl may help: the command is for everybody").await;
    room.hears("anna", "!can carl cancel blog", "carl may not cancel blog production: the rule at line 3").await;
    room.hears("zoe", "!restart blog", "I don't know `terminal:zoe`; add the account to a person in the fleet file").await;
    room.hears("berta", "!deploy blog build-1", "blog production runs build-1").await;
    room.ends().await;
}

#[tokio::test]
async fn a_cancel_is_for_those_who_may_act_where_the_deployment_is() {
    let mut room = Room::of(for_berta()).await;
    room.hears("berta", "!deploy blog build-1", "blog production runs build-1").await;
    room.hears("anna", "!cancel 1", "anna may not `cancel` blog production: the rule at line 3").await;
    room.hears("berta", "!cancel 1", "#1 is succeeded and can't be cancelled").await;
    room.ends().await;
}

#[tokio::test]
async fn help_lists_what_the_asker_may_do() {
    let mut room = Room::of(for_berta()).await;
    let end = "`!help COMMAND` explains one.";
    let berta = room.hears("berta", "!help", end).await;
    assert!(berta.contains("!deploy APP [TAG] [ENVIRONMENT]") && berta.contains("!cancel [DEPLOYMENT]"), "{berta}");
    for who in ["anna", "carl", "zoe"] {
        let shown = room.hears(who, "!help", end).await;
        assert!(shown.contains("!status [APP]") && !shown.contains("!deploy APP"), "{who}: {shown}");
    }
    room.ends().await;
}

/// Runs `shipmate policy test` on a file of expected answers, with no setting but the fleet file.
fn policy_test(expected: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fleet.toml"), FLEET).unwrap();
    std::fs::write(folder.path().join("deploy.env"), "SHIPMATE_LISTEN=nowhere\n").unwrap();
    std::fs::write(folder.path().join("expect.toml"), expected).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
    command.args(["policy", "test", "expect.toml"]).current_dir(folder.path()).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn expected_answers_that_hold_are_only_counted() {
    let output = policy_test(
        "[[expect]]\nperson = 'anna'\ncommand = 'deploy'\napp = 'blog'\nat = '2026-12-24T10:00:00+01:00'\nallowed = true\napprovals = 0\n\
         [[expect]]\nperson = 'carl'\ncommand = 'deploy'\napp = 'blog'\nenvironment = 'production'\nallowed = false\n\
         [[expect]]\naccount = 'discord:1'\ncommand = 'status'\nallowed = true\n\
         [[expect]]\naccount = 'terminal:anna'\ncommand = 'cancel'\nallowed = true\n",
    );
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "4 passed, 0 failed\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn answers_that_differ_are_listed_with_the_reason() {
    let output = policy_test(
        "[[expect]]\nperson = 'carl'\ncommand = 'deploy'\napp = 'blog'\nallowed = true\napprovals = 2\n\
         [[expect]]\naccount = 'discord:1'\ncommand = 'deploy'\napp = 'blog'\nallowed = true\n\
         [[expect]]\nperson = 'anna'\ncommand = 'deploy'\napp = 'blog'\nallowed = true\n",
    );
    let said = text(&output.stdout);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = said.lines().map(words).collect();
    assert_eq!(
        lines,
        [
            "✘ the policy answers otherwise than expect.toml expects",
            "line who what expected found why",
            "1 carl deploy blog production may, 2 votes may not, 0 votes it needs the group `deployers`; it takes no votes",
            "7 discord:1 deploy blog production may may not only people in the fleet file may change anything",
            "1 passed, 2 failed",
        ]
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn names_that_nobody_has_are_mistakes_of_the_file() {
    let output = policy_test("[[expect]]\nperson = 'carla'\ncommand = 'deplyo'\napp = 'blog'\nallowed = true\n");
    let said = text(&output.stderr);
    assert!(
        said.contains("shipmate: expect.toml:2: `person` can't be \"carla\": there is no such person; did you mean `carl`?"),
        "{said}"
    );
    assert!(
        said.contains("expect.toml:3: `command` can't be \"deplyo\": there is no such command; did you mean `deploy`?"),
        "{said}"
    );
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let output = policy_test("[[expect]]\nperson = 'carl'\ncommand = 'deploy'\nallowed = false\n");
    assert_eq!(text(&output.stderr), "shipmate: expect.toml:1: `app` is missing: `deploy` is about one\n");
}

#[test]
fn the_file_is_explained_where_one_looks_for_it() {
    let help = Command::new(env!("CARGO_BIN_EXE_shipmate")).args(["policy", "test", "--help"]).env_clear().output().unwrap();
    let said = text(&help.stdout);
    for part in ["[[expect]]", "person = \"berta\"", "at = \"2026-12-24T10:00:00+01:00\"", "approvals = 1"] {
        assert!(said.contains(part), "{said}");
    }
}
