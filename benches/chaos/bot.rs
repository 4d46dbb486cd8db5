//! The real program in a folder of its own, with a terminal chat in pipes, and all that its room ever showed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::patience::{End, Outcome, Patience, Waited, broken};
use crate::rig::Rig;

/// The secret of the webhooks.
pub const SECRET: &str = "chaos-webhook-secret";

/// How long a start may take, and an orderly end.
const START: Duration = Duration::from_secs(30);

/// Where the program lives.
pub struct Home {
    folder: PathBuf,
    /// For the sockets of its connections: a killed bot leaves them behind.
    runtime: TempDir,
    ssh_config: String,
    /// Where it listens.
    pub listen: String,
}

impl Home {
    /// An empty folder with a fleet file in it.
    pub fn new(folder: PathBuf, rig: &Rig) -> Outcome<Home> {
        let trouble = |error| End::Broken(format!("{} can't be used: {error}", folder.display()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(trouble)?;
        }
        std::fs::create_dir_all(&folder).map_err(trouble)?;
        let net = rig.variable("RIG_NET");
        let fleet = include_str!("fleet.toml").replace("@NET@", net).replace("@IMAGE@", rig.variable("RIG_IMAGE"));
        std::fs::write(folder.join("fleet.toml"), fleet).map_err(trouble)?;
        let listen = format!("127.0.{net}.252:8080");
        let runtime = tempfile::Builder::new().prefix("chaos-").tempdir().map_err(trouble)?;
        Ok(Home { listen, runtime, ssh_config: rig.variable("RIG_SSH_CONFIG").to_owned(), folder })
    }

    /// A file or folder in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The program on this store, with nothing of our own environment that could change what it does.
    pub fn shipmate(&self, store: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipmate"));
        command.current_dir(&self.folder).env_clear().process_group(0).stdin(Stdio::null());
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("SHIPMATE_LISTEN", &self.listen)
            .env("SHIPMATE_STORE", store)
            .env("SHIPMATE_FLEET", self.at("fleet.toml"))
            .env("SHIPMATE_SSH_CONFIG", &self.ssh_config)
            .env("SHIPMATE_TERMINAL_USER", "anna")
            .env("SHIPMATE_WEBHOOK_SECRET_GENERIC", SECRET);
        command
    }

    /// Where its store is.
    pub fn store(&self) -> PathBuf {
        self.at("data")
    }
}

/// A run of the program.
pub struct Bot {
    child: Child,
    stdin: Option<ChildStdin>,
    ears: Option<JoinHandle<()>>,
}

impl Bot {
    /// Starts it and waits until it listens. Its runs are counted from 0.
    pub fn start(home: &Home, room: &Room, run: usize, patience: &Patience) -> Outcome<Bot> {
        let log = OpenOptions::new().create(true).append(true).open(home.at("log.txt")).map_err(broken("log.txt"))?;
        let mut command = home.shipmate(&home.store());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().map_err(broken("shipmate"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let room = room.clone();
        let ears = stdout.map(|stdout| thread::spawn(move || room.hear(run, stdout)));
        let mut bot = Bot { child, stdin, ears };
        let listens = patience.wait(START, || {
            bot.check()?;
            Ok(TcpStream::connect(&home.listen).is_ok())
        })?;
        match listens {
            Waited::Seen => Ok(bot),
            Waited::InVain => Err(End::Broken(format!("the bot doesn't listen on {} after {} s", home.listen, START.as_secs()))),
        }
    }

    /// Ends the run of chaos if the program ended by itself.
    pub fn check(&mut self) -> Outcome<()> {
        match self.child.try_wait().map_err(broken("shipmate"))? {
            None => Ok(()),
            Some(status) => Err(End::Broken(format!("the bot ended by itself: {status}; see log.txt"))),
        }
    }

    /// Types a line. One that a dying program never reads is lost, as it is in life.
    pub fn say(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// SIGKILL, in the middle of whatever it does. When this returns the room has shown all that it ever will of this run.
    pub fn kill(mut self) -> Outcome<()> {
        self.child.kill().map_err(broken("kill"))?;
        self.child.wait().map_err(broken("kill"))?;
        self.hear_out()
    }

    /// SIGTERM: the bot ends in order.
    pub fn leave(mut self, patience: &Patience) -> Outcome<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(broken("SIGTERM"))?;
        let mut ended = None;
        patience.wait(START, || {
            ended = self.child.try_wait().map_err(broken("shipmate"))?;
            Ok(ended.is_some())
        })?;
        match ended {
            Some(status) if status.success() => self.hear_out(),
            Some(status) => Err(End::Broken(format!("the bot's last run ended badly: {status}; see log.txt"))),
            None => Err(End::Broken(format!("the bot doesn't end within {} s", START.as_secs()))),
        }
    }

    fn hear_out(&mut self) -> Outcome<()> {
        self.ears.take().map_or(Ok(()), JoinHandle::join).map_err(|_| End::Broken("the listener panicked".to_owned()))
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message of the bot, by the run that showed it and its number in that run.
pub type Place = (usize, u64);

/// A message's first line: how it feels, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// The sign before it.
    pub sign: char,
    /// The text.
    pub text: String,
}

/// What a message of the bot showed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its title when it was posted.
    pub first: Title,
    /// Its title as it is now.
    pub last: Title,
}

impl Title {
    /// The deployment that it is about, if it begins with one's number.
    pub fn deployment(&self) -> Option<u64> {
        let digits = self.text.strip_prefix('#')?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    }
}

/// All that the room ever showed, over all runs.
#[derive(Clone)]
pub struct Room(Arc<Mutex<Screen>>);

struct Screen {
    messages: BTreeMap<Place, Shown>,
    transcript: File,
}

impl Room {
    /// A room that has shown nothing, and that writes down what it shows.
    pub fn new(transcript: &Path) -> Outcome<Room> {
        let transcript = File::create(transcript).map_err(broken("the transcript"))?;
        Ok(Room(Arc::new(Mutex::new(Screen { messages: BTreeMap::new(), transcript }))))
    }

    /// The messages of the bot.
    pub fn messages(&self) -> BTreeMap<Place, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).messages.clone()
    }

    fn hear(&self, run: usize, stdout: ChildStdout) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let mut screen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The transcript is for people who look into a failure; the counts don't need it.
            let _ = writeln!(screen.transcript, "{run} {line}");
            if let Some((number, title)) = title(&line) {
                let shown = Shown { first: title.clone(), last: title.clone() };
                screen.messages.entry((run, number)).and_modify(|known| known.last = title).or_insert(shown);
            }
        }
    }
}

/// `m3 ✔ title`; neither what a person says, `m3 <anna> text`, nor a message's further lines, `m3   text`.
fn title(line: &str) -> Option<(u64, Title)> {
    let (number, rest) = line.strip_prefix('m')?.split_once(' ')?;
    let number = number.parse().ok()?;
    let mut chars = rest.chars();
    let sign = chars.next().filter(|sign| !sign.is_whitespace() && *sign != '<')?;
    let text = chars.as_str().strip_prefix(' ')?.to_owned();
    Some((number, Title { sign, text }))
}
