//! The whole product on real hosts: the real program, typed at as a person would, told of builds as CI would.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::rig::Rig;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with settings and fleet, and the program that runs in it.
struct Ship<'a> {
    rig: &'a Rig,
    folder: tempfile::TempDir,
    program: Option<Program>,
}

struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

const SECRET: &str = "correct-horse-battery";
const CONTAINER_SECRET: &str = "sentinel-f00dcafe-secret";

impl<'a> Ship<'a> {
    fn new(rig: &'a Rig) -> Ship<'a> {
        Ship::with_fleet(rig, include_str!("../data/voyage.toml"))
    }

    fn with_fleet(rig: &'a Rig, fleet: &str) -> Ship<'a> {
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet.replace("@NET@", rig.variable("RIG_NET")).replace("@IMAGE@", rig.variable("RIG_IMAGE"));
        std::fs::write(folder.path().join("fleet.toml"), fleet).unwrap();
        Ship { rig, folder, program: None }
    }

    fn listen(&self) -> String {
        format!("127.0.{}.252:8081", self.rig.variable("RIG_NET"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
        let folder = self.folder.path();
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", std::env::var("HOME").unwrap_or_else(|_| "/root".into()))
            .env("SHIPMATE_LISTEN", self.listen())
            .env("SHIPMATE_STORE", folder.join("data"))
            .env("SHIPMATE_FLEET", folder.join("fleet.toml"))
            .env("SHIPMATE_SSH_CONFIG", self.rig.variable("RIG_SSH_CONFIG"))
            .env("SHIPMATE_TERMINAL_USER", "anna")
            .env("SHIPMATE_WEBHOOK_SECRET_GENERIC", SECRET)
            .env("ANTISOCIAL_SECRET_KEY", CONTAINER_SECRET);
        command
    }

    fn start(&mut self) -> &mut Self {
        let mut child = self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (to, lines) = channel();
        for (name, stream) in [
            ("", Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>),
            ("log: ", Box::new(child.stderr.take().unwrap())),
        ] {
            let to = to.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = to.send(format!("{name}{line}"));
                }
            });
        }
        let stdin = child.stdin.take();
        self.program = Some(Program { child, stdin, lines, seen: Vec::new() });
        let up = Instant::now();
        while TcpStream::connect(self.listen()).is_err() {
            assert!(up.elapsed() < PATIENCE, "the program listens");
            assert_eq!(
                self.program().child.try_wait().unwrap(),
                None,
                "{:#?}",
                self.program().lines.try_iter().collect::<Vec<_>>()
            );
            std::thread::yield_now();
        }
        self
    }

    fn program(&mut self) -> &mut Program {
        self.program.as_mut().unwrap()
    }

    fn say(&mut self, line: &str) -> &mut Self {
        writeln!(self.program().stdin.as_mut().unwrap(), "{line}").unwrap();
        self
    }

    /// Waits until the room (or, with `log: ` before it, the log) shows a line that has all of `words`.
    #[track_caller]
    fn sees(&mut self, words: &[&str]) -> String {
        let program = self.program();
        let end = Instant::now() + PATIENCE;
        loop {
            match program.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    program.seen.push(line.clone());
                    if words.iter().all(|word| line.contains(word)) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line has {words:?}; there were:\n{}", program.seen.join("\n"));
                }
            }
        }
    }

    /// CI announces a build, with a signature made by the script that users get. The HTTP status.
    #[track_caller]
    fn announce(&self, tag: &str) {
        let notify = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/notify");
        let mut notify = Command::new(notify);
        let output = notify
            .args(["app=antisocial", &format!("tag={tag}"), "outcome=success"])
            .env("SHIPMATE_URL", format!("http://{}", self.listen()))
            .env("SHIPMATE_SECRET", SECRET)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Deploys a build and waits for its end.
    #[track_caller]
    fn deploy(&mut self, number: u64, tag: &str) {
        self.say(&format!("!deploy antisocial {tag}"));
        self.sees(&[&format!("#{number} antisocial production runs {tag}")]);
    }

    fn kill(&mut self) {
        let mut program = self.program.take().unwrap();
        program.child.kill().unwrap();
        program.child.wait().unwrap();
    }

    #[track_caller]
    fn quit(&mut self) -> Vec<String> {
        let mut program = self.program.take().unwrap();
        drop(program.stdin.take());
        let status = program.child.wait().unwrap();
        let mut seen = program.seen;
        seen.extend(program.lines.iter());
        assert!(status.success(), "{}", seen.join("\n"));
        seen
    }

    fn tag_files(&self, host: &str) -> String {
        self.rig
            .on(host, "cat /var/www/antisocial/TAG /var/www/antisocial/REVERT 2>/dev/null || true")
            .replace('\n', " ")
            .trim()
            .to_owned()
    }
}

impl Drop for Ship<'_> {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = program.child.kill();
            let _ = program.child.wait();
        }
    }
}

#[test]
fn a_build_is_announced_deployed_and_reverted_on_real_hosts() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start();
    ship.announce("build-41");
    ship.sees(&["build-41 of antisocial is ready"]);
    ship.deploy(1, "build-41");
    assert_eq!(rig.site(), "build-41");
    ship.announce("build-42");
    ship.sees(&["build-42 of antisocial is ready"]);
    ship.say("!deploy antisocial");
    ship.sees(&["the newest good build", "build-42"]);
    ship.sees(&["#2 antisocial production runs build-42", "was build-41"]);
    assert_eq!(rig.site(), "build-42");
    assert_eq!(rig.runs("appserver1"), ["web build-42"]);
    assert_eq!(rig.runs("appserver3"), ["beat build-42", "worker build-42"]);
    assert_eq!(ship.tag_files("appserver3"), "export TAG=build-42 export TAG=build-41");
    ship.say("!revert antisocial");
    ship.sees(&["#3 antisocial production runs build-41"]);
    assert_eq!(rig.site(), "build-41");
    assert_eq!(ship.tag_files("appserver1"), "export TAG=build-41 export TAG=build-42");
    ship.say("!status antisocial");
    ship.sees(&["antisocial production: as recorded"]);
    let seen = ship.quit();
    assert!(!seen.join("\n").contains(CONTAINER_SECRET), "no secret is shown");
}

#[test]
fn a_build_whose_migration_fails_leaves_every_host_as_it_was() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-44");
    ship.sees(&["#2", "migrate web@appserver1 failed", "exit status 1"]);
    ship.sees(&["relation", "already exists"]);
    ship.sees(&["Nothing was switched"]);
    assert_eq!(rig.site(), "build-41");
    assert_eq!(rig.runs("appserver2"), ["web build-41"]);
    assert_eq!(ship.tag_files("appserver1"), "export TAG=build-41");
    ship.say("!show 2");
    ship.sees(&["output of migrate"]);
    ship.sees(&["relation", "already exists"]);
}

#[test]
fn a_task_that_a_signal_killed_is_a_failure() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-54");
    ship.sees(&["#2", "migrate web@appserver1 failed", "killed by"]);
    ship.sees(&["Nothing was switched"]);
    assert_eq!(rig.site(), "build-41");
}

#[test]
fn a_build_that_never_gets_healthy_is_put_back() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-46");
    ship.sees(&["#2", "healthy web@appserver1 failed", "not healthy"]);
    ship.sees(&["Put back: web@appserver1 (build-41)"]);
    assert_eq!(rig.site(), "build-41");
    assert_eq!(rig.runs("appserver1"), ["web build-41"]);
}

#[test]
fn an_unhealthy_second_host_puts_the_first_one_back() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    // Something else has the ports of the second host's new container.
    let address = rig.variable("RIG_ADDRESSES").split(' ').nth(1).unwrap();
    rig.on("appserver2", &format!("setsid python3 -m http.server 8001 --bind {address} >/dev/null 2>&1 </dev/null & echo up"));
    ship.say("!deploy antisocial build-42");
    ship.sees(&["#2", "web@appserver2 failed"]);
    ship.sees(&["Put back:", "web@appserver1 (build-41)"]);
    assert_eq!(rig.site(), "build-41");
    assert_eq!(rig.runs("appserver1"), ["web build-41"]);
    assert_eq!(rig.runs("appserver2"), ["web build-41"]);
    rig.on("appserver2", "pkill -f 'http.server 8001'");
}

#[test]
fn a_host_that_is_down_is_named_before_anything_is_touched() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    rig.does(&["kill", "2"]);
    ship.announce("build-42");
    ship.say("!deploy antisocial");
    ship.sees(&["the newest good build", "build-42"]);
    ship.sees(&["appserver2", "is the host up", "nothing was touched"]);
    assert_eq!(rig.runs("appserver1"), ["web build-41"]);
    rig.does(&["start", "2"]);
}

#[test]
fn an_unknown_tag_is_told_at_plan_time() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().say("!deploy antisocial build-99");
    ship.sees(&["has no tag `build-99`"]);
    assert!(rig.runs("appserver1").is_empty());
}

#[test]
fn a_dead_registry_switches_nothing() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    rig.does(&["registry", "down"]);
    ship.say("!deploy antisocial build-42");
    ship.sees(&["nothing was touched"]);
    assert_eq!(rig.site(), "build-41");
    rig.on("appserver1", &format!("docker image inspect {}:build-41 >/dev/null", rig.variable("RIG_IMAGE")));
    rig.does(&["registry", "up"]);
}

#[test]
fn a_bot_that_is_killed_in_the_middle_goes_on_after_its_next_start() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    // build-47 takes 5 s until it listens.
    ship.say("!deploy antisocial build-47");
    ship.sees(&["web@appserver1", "✓ start", "… healthy"]);
    ship.kill();
    ship.start();
    ship.sees(&["I was away for", "going on with #2"]);
    ship.sees(&["#2 deploy antisocial production: build-41 → build-47, by anna"]);
    ship.sees(&["#2 antisocial production runs build-47"]);
    assert_eq!(rig.site(), "build-47");
    assert_eq!(rig.runs("appserver1"), ["web build-47"]);
    assert_eq!(rig.runs("appserver3"), ["beat build-47", "worker build-47"]);
    ship.say("!show 2");
    ship.sees(&["#2 deploy antisocial production", "succeeded"]);
}

#[test]
fn output_is_kept_without_secrets_and_a_one_off_command_shows_its_own() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-56");
    ship.say("!show 1");
    ship.sees(&["output of migrate"]);
    ship.say("!run antisocial manage clearsessions");
    ship.sees(&["#2", "manage clearsessions", "exit status 0"]);
    ship.sees(&["│ antisocial build-56: manage clearsessions"]);
    ship.say("!run antisocial manage fail 7");
    ship.sees(&["#3", "exit status 7"]);
    let seen = ship.quit().join("\n");
    assert!(!seen.contains(CONTAINER_SECRET), "no secret is shown:\n{seen}");
    let grep = Command::new("grep").args(["-rl", CONTAINER_SECRET]).arg(ship.folder.path().join("data")).output().unwrap();
    assert!(grep.stdout.is_empty(), "no secret is kept: {}", String::from_utf8_lossy(&grep.stdout));
}

#[test]
fn check_tells_of_every_host_and_of_all_problems_at_once() {
    let rig = Rig::fresh();
    let ship = Ship::new(&rig);
    let output = ship.command().arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for host in ["appserver1", "appserver2", "appserver3"] {
        assert!(said.contains(host), "{said}");
    }
    rig.does(&["kill", "1", "3"]);
    let output = ship.command().arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("appserver1") && said.contains("appserver3") && !said.contains("appserver2"), "{said}");
    rig.does(&["start", "1", "3"]);
}

#[test]
fn a_host_that_is_lost_in_the_middle_is_named_and_a_later_deploy_mends_it() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-47");
    ship.sees(&["web@appserver2", "✓ start", "… healthy"]);
    rig.does(&["kill", "2"]);
    ship.sees(&["#2", "STUCK"]);
    ship.sees(&["web@appserver2", "could not be put back"]);
    ship.sees(&["Put back:", "web@appserver1 (build-41)"]);
    assert_eq!(rig.runs("appserver1"), ["web build-41"]);
    assert_eq!(rig.runs("appserver3"), ["beat build-41", "worker build-41"]);
    rig.does(&["start", "2"]);
    ship.deploy(3, "build-42");
    assert_eq!(rig.runs("appserver2"), ["web build-42"]);
    ship.say("!show 2");
    ship.sees(&["#2", "stuck, mended by #3"]);
}

#[test]
fn what_is_typed_never_reaches_a_shell() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start();
    let long = "b".repeat(10_000);
    for tag in [
        "x; touch /tmp/pwned",
        "'x; touch /tmp/pwned'",
        "$(touch /tmp/pwned)",
        "`touch /tmp/pwned`",
        "build-41\u{202e}",
        "../../etc",
        "-rf",
        &long,
    ] {
        ship.say(&format!("!deploy antisocial {tag}"));
        // The sign of a warning, which the echo of what was typed doesn't have.
        let answer = ship.sees(&[" ! "]);
        assert!(!answer.contains('\u{202e}') && answer.len() < 500, "{answer}");
    }
    ship.say("!deploy 'antisocial\u{2028}build-41'");
    ship.say("!run antisocial manage '; touch /tmp/pwned'");
    ship.sees(&["nothing"]);
    ship.deploy(1, "build-41");
    ship.say("!run antisocial manage '; touch /tmp/pwned' $(touch /tmp/pwned)");
    ship.sees(&["#2", "exit status 0"]);
    for host in ["appserver1", "appserver2", "appserver3"] {
        assert_eq!(rig.on(host, "ls /tmp/pwned 2>/dev/null || true"), "");
    }
    assert!(!std::path::Path::new("/tmp/pwned").exists());
}

#[test]
fn a_host_without_space_is_told_before_anything_is_touched() {
    let rig = Rig::fresh();
    let fleet = include_str!("../data/voyage.toml").replace("min_free_mib = 100\n", "min_free_mib = 1000000000\n");
    let mut ship = Ship::with_fleet(&rig, &fleet);
    ship.start().say("!deploy antisocial build-41");
    ship.sees(&["appserver1 has", "MiB free and needs 1000000000"]);
    ship.sees(&["nothing was touched"]);
    assert!(rig.runs("appserver1").is_empty());
}

#[test]
fn the_second_of_two_people_hears_who_holds_the_environment() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-47");
    ship.sees(&["#2", "running"]);
    ship.say("/as carl").say("!deploy antisocial build-42");
    ship.sees(&["#3", "waits for the end of #2 (deploy build-47 by anna, since"]);
    ship.say("/as ben").say("!cancel 2");
    ship.sees(&["ben may not `cancel`"]);
    ship.say("/as carl").say("!cancel");
    ship.sees(&["say which one: #2, #3"]);
    ship.say("!cancel 2");
    ship.sees(&["#2: cancelled by carl"]);
    ship.sees(&["#2", "cancelled by carl", "s"]);
    ship.sees(&["Nothing was switched"]);
    ship.sees(&["#3 antisocial production runs build-42 (was build-41)"]);
    assert_eq!(rig.site(), "build-42");
}

#[test]
fn a_cancel_ends_a_task_that_would_run_for_ever() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-49");
    ship.sees(&["migrate@appserver1", "… ran"]);
    ship.say("!cancel 2");
    ship.sees(&["#2 deploy antisocial production", "cancelled by anna"]);
    ship.sees(&["migrate had begun; what it changed stays changed"]);
    let left = rig.on("appserver1", "docker ps -a --format '{{.Names}}'");
    assert!(!left.contains("migrate"), "{left}");
}

#[test]
fn the_same_webhook_ten_times_is_one_announcement() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start();
    for _ in 0..10 {
        ship.announce("build-41");
    }
    ship.say("!builds antisocial");
    ship.sees(&["builds of `antisocial`"]);
    let seen = ship.quit();
    assert_eq!(seen.iter().filter(|line| line.contains("build-41 of antisocial is ready")).count(), 1, "{seen:#?}");
}

#[test]
fn a_stop_lets_the_running_action_end_and_the_next_start_goes_on() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start().deploy(1, "build-41");
    ship.say("!deploy antisocial build-47");
    ship.sees(&["web@appserver1", "✓ start", "… healthy"]);
    let pid = ship.program().child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(ship.program().child.wait().unwrap().success());
    ship.program = None;
    ship.start();
    ship.sees(&["#2 antisocial production runs build-47"]);
    assert_eq!(rig.site(), "build-47");
}

#[test]
fn history_goes_out_and_in_again_and_the_listener_tells_of_itself() {
    let rig = Rig::fresh();
    let mut ship = Ship::new(&rig);
    ship.start();
    ship.announce("build-41");
    ship.deploy(1, "build-41");
    let get = |path: &str| {
        let output = Command::new("curl").args(["-sS", "-m", "5", &format!("http://{}{path}", ship.listen())]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (health, metrics) = (get("/healthz"), get("/metrics"));
    assert!(health.contains("store") && health.contains("ok"), "{health}");
    assert!(metrics.contains("shipmate_builds_announced_total{") && metrics.contains("shipmate_deployments"), "{metrics}");
    ship.quit();
    let export = |store: &std::path::Path, file: &std::path::Path| {
        assert!(ship.command().env("SHIPMATE_STORE", store).arg("export").arg(file).status().unwrap().success());
        std::fs::read_to_string(file).unwrap()
    };
    let folder = ship.folder.path();
    let first = export(&folder.join("data"), &folder.join("first.jsonl"));
    let import =
        ship.command().env("SHIPMATE_STORE", folder.join("copy")).arg("import").arg(folder.join("first.jsonl")).output().unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    assert_eq!(export(&folder.join("copy"), &folder.join("second.jsonl")), first);
    assert!(first.lines().count() > 30);
}

#[test]
fn services_that_commands_manage_are_stopped_told_their_tag_and_started() {
    let rig = Rig::fresh();
    let mut ship = Ship::with_fleet(&rig, include_str!("../data/commands.toml"));
    ship.start().deploy(1, "build-41");
    assert_eq!(ship.tag_files("appserver1"), "export TAG=build-41");
    assert_eq!(rig.site(), "build-41");
    ship.deploy(2, "build-42");
    assert_eq!(rig.site(), "build-42");
    assert_eq!(ship.tag_files("appserver2"), "export TAG=build-42 export TAG=build-41");
    // build-46 answers, but its /health doesn't.
    ship.say("!deploy antisocial build-46");
    ship.sees(&["#3", "web@appserver1 failed"]);
    ship.sees(&["Put back: web@appserver1 (build-42)"]);
    assert_eq!(ship.tag_files("appserver1"), "export TAG=build-42 export TAG=build-41");
    assert_eq!(rig.site(), "build-42");
    ship.say("!revert antisocial");
    ship.sees(&["#4 antisocial production runs build-41"]);
    assert_eq!(rig.site(), "build-41");
}

#[test]
fn wrong_settings_dont_hide_what_is_wrong_with_the_fleet_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deploy.env"), "SHIPMATE_LISTEN=nowhere\nSHIPMATE_TERMINAL_USER=anna\n").unwrap();
    std::fs::write(folder.path().join("fleet.toml"), "[apps.antisocial]\nimge = \"antisocial\"\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_shipmate")).arg("check").current_dir(folder.path()).env_clear().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("SHIPMATE_LISTEN") && said.contains("unknown key `imge`; did you mean `image`?"), "{said}");
}
