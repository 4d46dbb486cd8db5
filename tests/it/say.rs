//! `shipmate say`, the real program, to a real bot whose hosts don't answer, and to one that rehearses.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use shipmate::bot::{Bot, End, Habits, Parts};
use shipmate::chat::Chat;
use shipmate::chat::local::{Local, socket, system_user};
use shipmate::clock::Clock;
use shipmate::domain::spec::Millis;
use shipmate::engine::rehearsal::{Behaviour, Rehearsal};
use shipmate::fleet::Fleet;
use shipmate::http::Metrics;
use shipmate::runbook::{Catalog, Prefix};
use shipmate::secret::Redactor;
use shipmate::store::Ledger;
use tokio_util::sync::CancellationToken;

use crate::sample::release;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

const FLEET: &str = r#"
[people.anna]
accounts = ["local:@USER@"]
groups = ["deployers"]

[apps.antisocial]
image = "registry.example.org/antisocial"

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1"]
publish = { container = 8000, host = 8000 }
health = { http = "/health", interval = "50ms" }
"#;

/// Hosts that refuse at once.
const SSH_CONFIG: &str = "Host *\n  HostName 127.0.0.1\n  Port 1\n";

/// The user that runs the tests.
fn user() -> String {
    system_user(rustix::process::getuid().as_raw()).unwrap()
}

fn program(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
    command.env_clear().current_dir(store.parent().unwrap()).env("SHIPMATE_STORE", store);
    command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", store.parent().unwrap()).env("USER", "anna");
    command
}

fn say(store: &Path, arguments: &[&str]) -> Output {
    program(store).arg("say").args(arguments).output().unwrap()
}

/// Its exit status, what it printed, and its errors.
#[track_caller]
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The real bot, with hosts that don't answer.
struct Ship {
    folder: tempfile::TempDir,
    child: Child,
    log: Receiver<String>,
}

impl Ship {
    /// With `account` in the fleet file.
    fn new(account: &str, stdin: Stdio) -> Ship {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fleet.toml"), FLEET.replace("@USER@", account)).unwrap();
        std::fs::write(folder.path().join("ssh_config"), SSH_CONFIG).unwrap();
        let mut command = program(&folder.path().join("data"));
        command.env("SHIPMATE_LISTEN", "127.0.0.1:0").env("SHIPMATE_SSH_CONFIG", folder.path().join("ssh_config"));
        let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (to, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let ship = Ship { folder, child, log };
        ship.logs("ready");
        ship
    }

    #[track_caller]
    fn logs(&self, word: &str) {
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if line.contains(word) {
                return;
            }
            seen.push(line);
        }
        panic!("`{word}` isn't in the log:\n{}", seen.join("\n"));
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    #[track_caller]
    fn say(&self, line: &str) -> (i32, String, String) {
        told(&say(&self.store(), &[line]))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn questions_are_answered_and_nothing_is_done_for_strangers() {
    let ship = Ship::new("somebody-else", Stdio::null());
    let (status, said, _) = ship.say("!help");
    assert!(status == 0 && said.contains("!status [APP]"), "{said}");
    let (status, said, errors) = ship.say("!apps");
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(said.starts_with("• apps\n") && said.contains("antisocial  production"), "{said}");
    let (status, said, _) = ship.say("!status antisocial");
    assert!(status == 0 && said.contains("web@appserver1") && said.contains('?'), "{said}");
    let (status, said, _) = ship.say("!deploy antisocial build-42");
    assert_eq!(status, 1);
    assert!(said.starts_with(&format!("! I don't know `local:{}`; add the account to a person", user())), "{said}");
    let (status, said, _) = ship.say("!deplyo antisocial");
    assert_eq!((status, said.as_str()), (1, "! no command `deplyo`; did you mean `!deploy`?\n"));
    let (status, said, errors) = ship.say("hello");
    assert_eq!((status, said.as_str()), (1, ""));
    assert_eq!(errors, "shipmate: the bot has nothing to say to that; `!help` lists what it knows\n");
    let (status, _, errors) = told(&say(&ship.store(), &["--react", "yes", "m1-0000"]));
    assert_eq!((status, errors.starts_with("shipmate: the bot has no message `m1-0000`")), (1, true), "{errors}");
    assert_eq!(told(&say(&ship.store(), &[])).0, 2);
    assert_eq!(told(&say(&ship.store(), &["!apps", "--react", "yes", "m1-0000"])).0, 2);
}

#[test]
fn a_person_of_the_fleet_file_may_act() {
    let ship = Ship::new(&user(), Stdio::null());
    let (status, said, _) = ship.say("!deploy antisocial build-42");
    assert_eq!(status, 1);
    assert!(said.contains("nothing was touched"), "{said}");
}

#[test]
fn lines_of_standard_input_are_said_one_after_the_other() {
    let ship = Ship::new(&user(), Stdio::null());
    let talk = |lines: &str| {
        let mut child = program(&ship.store()).args(["say", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        told(&child.wait_with_output().unwrap())
    };
    let (status, said, _) = talk("!apps\n\n!builds antisocial\n");
    assert_eq!(status, 0, "{said}");
    let (status, said, _) = talk("!apps\n!frobnicate\n!apps");
    assert_eq!(status, 1);
    let heads: Vec<&str> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(heads, ["• apps", "! no command `frobnicate`; `!help` lists them", "• apps"]);
}

#[test]
fn many_may_talk_at_once_and_one_who_only_listens_is_no_trouble() {
    let ship = Ship::new(&user(), Stdio::null());
    let mut listener = UnixStream::connect(socket(&ship.store())).unwrap();
    let talks: Vec<_> =
        (0..4).map(|_| program(&ship.store()).args(["say", "!apps"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    for talk in talks {
        let (status, said, _) = told(&talk.wait_with_output().unwrap());
        assert!(status == 0 && said.starts_with("• apps\n"), "{said}");
    }
    drop(ship);
    let mut heard = String::new();
    listener.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, format!("{{\"hello\":{{\"protocol\":1,\"account\":\"local:{}\"}}}}\n", user()));
}

#[test]
fn a_bot_that_is_not_there_or_goes_is_told() {
    let mut ship = Ship::new(&user(), Stdio::null());
    let store = ship.store();
    let mut talk =
        program(&store).args(["say", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = talk.stdin.take().unwrap();
    input.write_all(b"!apps\n").unwrap();
    let mut output = BufReader::new(talk.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "• apps\n");
    // It waits for more to say, and dies with the bot.
    ship.signal(Signal::KILL);
    ship.child.wait().unwrap();
    let (status, _, errors) = told(&talk.wait_with_output().unwrap());
    assert!(status == 1 && errors.starts_with("shipmate: the bot has gone; "), "{errors}");
    drop(input);
    let nobody = format!("shipmate: no bot listens at {}; is it running with the same SHIPMATE_STORE?\n", socket(&store).display());
    // A dead bot leaves its socket; one that never lived has none.
    assert!(socket(&store).exists());
    assert_eq!(ship.say("!apps"), (1, String::new(), nobody));
    let elsewhere = ship.folder.path().join("elsewhere");
    let (status, _, errors) = told(&say(&elsewhere, &["!apps"]));
    assert!(status == 1 && errors.starts_with("shipmate: no bot listens at "), "{errors}");
    // What answers there is no bot.
    std::fs::remove_file(socket(&store)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(socket(&store)).unwrap();
    for (hello, expected) in [
        (
            "{\"hello\":{\"protocol\":2,\"account\":\"local:anna\"}}\n",
            "speaks version 2 of the local chat and this program version 1",
        ),
        ("220 mail.example.org ESMTP\n", "doesn't speak as a bot"),
    ] {
        let talk = program(&store).args(["say", "!apps"]).stderr(Stdio::piped()).spawn().unwrap();
        listener.accept().unwrap().0.write_all(hello.as_bytes()).unwrap();
        let (status, _, errors) = told(&talk.wait_with_output().unwrap());
        assert!(status == 1 && errors.contains(expected), "{errors}");
    }
}

#[test]
fn the_local_chat_neither_ends_the_bot_nor_holds_it() {
    // Nobody is at the terminal: it goes on for those who come by the socket.
    let mut ship = Ship::new(&user(), Stdio::null());
    ship.logs("nobody is at the terminal");
    assert_eq!(ship.say("!apps").0, 0);
    ship.signal(Signal::TERM);
    assert!(ship.child.wait().unwrap().success());
    assert!(!socket(&ship.store()).exists());
    // Somebody was there, and goes, while others are connected.
    let mut ship = Ship::new(&user(), Stdio::piped());
    let mut listener = UnixStream::connect(socket(&ship.store())).unwrap();
    assert_eq!(ship.say("!apps").0, 0);
    let mut terminal = ship.child.stdin.take().unwrap();
    terminal.write_all(b"!apps\n").unwrap();
    drop(terminal);
    assert!(ship.child.wait().unwrap().success());
    listener.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("data");
    std::fs::write(folder.path().join("fleet.toml"), FLEET.replace("@USER@", "anna")).unwrap();
    std::fs::create_dir(&store).unwrap();
    std::fs::write(socket(&store), "notes").unwrap();
    let (status, _, errors) = told(&program(&store).env("SHIPMATE_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).output().unwrap());
    assert!(status == 1 && errors.contains("is not a socket, and the local chat needs that name: move it away"), "{errors}");
    assert_eq!(std::fs::read_to_string(socket(&store)).unwrap(), "notes");
}

/// A bot in this process whose hosts are rehearsed, with nothing but the local chat.
struct Rehearsed {
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    bot: tokio::task::JoinHandle<End>,
    // Held, for what it drops closes.
    _local: Arc<Local>,
}

impl Rehearsed {
    async fn new() -> Rehearsed {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::parse("fleet.toml", &FLEET.replace("@USER@", &user())).unwrap();
        let rehearsal = Rehearsal::new(fleet.environments().next().unwrap());
        for (tag, behaviour) in [
            ("build-41", Behaviour::good().warms_up_in(Millis(100))),
            ("build-42", Behaviour::good().exits_at_once(3)),
            ("build-43", Behaviour::good().warms_up_in(Millis::seconds(3600))),
        ] {
            rehearsal.push(&release(tag), behaviour);
        }
        let local = Arc::new(Local::open(folder.path(), system_user, Timestamp::now).unwrap());
        let bot = Bot::start(Parts {
            fleet: Arc::new(fleet),
            catalog: Arc::new(Catalog::builtin().unwrap()),
            ledger: Ledger::in_memory(),
            engine: Arc::new(rehearsal),
            chats: vec![local.clone() as Arc<dyn Chat>],
            metrics: Metrics::new(),
            prefix: Prefix::default(),
            outputs: folder.path().join("outputs"),
            output_keep: Duration::from_secs(3600),
            redactor: Redactor::default(),
            heartbeat: None,
            habits: Habits::default(),
            clock: Clock::system(),
        });
        let (bot, shutdown) = (bot.await.unwrap(), CancellationToken::new());
        let stopping = shutdown.clone();
        let bot = tokio::spawn(async move { bot.run(stopping).await });
        Rehearsed { folder, shutdown, bot, _local: local }
    }

    async fn say(&self, arguments: &[&str]) -> (i32, String, String) {
        // The bot has a thread of its own besides this one.
        told(&tokio::task::block_in_place(|| say(self.folder.path(), arguments)))
    }

    async fn ends(self) {
        self.shutdown.cancel();
        assert_eq!(self.bot.await.unwrap(), End::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_followed_to_its_end() {
    let bot = Rehearsed::new().await;
    let (status, said, errors) = bot.say(&["!deploy antisocial build-41"]).await;
    assert_eq!((status, errors.as_str()), (0, ""), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    // Each line names its message: the live one, then the closing one.
    let (live, _) = lines[0].split_once(' ').unwrap();
    let (closing, end) = lines.iter().rev().find(|line| line.contains('✔')).unwrap().split_once(' ').unwrap();
    assert!(lines[0].contains("▸ #1 ") && live.starts_with('m') && live.contains('-'), "{said}");
    assert!(end.starts_with("✔ #1 antisocial production runs build-41"), "{said}");
    assert_ne!(live, closing);
    assert!(lines.iter().all(|line| line.starts_with(live) || line.starts_with(closing)), "{said}");

    let (status, said, _) = bot.say(&["!deploy antisocial build-42"]).await;
    assert_eq!(status, 1);
    assert!(said.contains("✘ #2 "), "{said}");

    let (status, said, _) = bot.say(&["!deploy antisocial build-41"]).await;
    assert!(status == 0 && said.lines().all(|line| !line.starts_with('m')), "there is nothing to do: {said}");

    let (status, said, _) = bot.say(&["!restart antisocial", "--no-wait"]).await;
    assert!(status == 0 && said.contains("▸ #3 ") && !said.contains('✔'), "{said}");
    bot.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_counts_as_anywhere() {
    let bot = Rehearsed::new().await;
    bot.say(&["!deploy antisocial build-41"]).await;
    let mut follows =
        program(bot.folder.path()).args(["say", "!deploy antisocial build-43"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follows.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = tokio::task::block_in_place(|| lines.next()).unwrap();
    let (live, _) = first.split_once(' ').unwrap();
    let (status, said, errors) = bot.say(&["--react", "no", live]).await;
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(said.contains("#2"), "{said}");
    let rest: Vec<String> = tokio::task::block_in_place(|| lines.collect());
    assert!(rest.iter().any(|line| line.contains("cancelled by anna")), "{rest:#?}");
    assert_eq!(follows.wait().unwrap().code(), Some(1));
    // Nobody has anything to say about its being taken back.
    let (status, said, errors) = bot.say(&["--unreact", "no", live]).await;
    assert_eq!((status, said.as_str(), errors.contains("nothing to say")), (1, "", true), "{errors}");
    bot.ends().await;
}
