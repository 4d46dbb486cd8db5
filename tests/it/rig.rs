//! The rig from a test's side: real hosts, a real registry and a real balancer.
//!
//! A test either has it for itself, or shares it with others that keep to apps and ports of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What `rig env` prints, once the rig is up.
static VARIABLES: OnceLock<BTreeMap<String, String>> = OnceLock::new();

static TURN: RwLock<()> = RwLock::new(());

/// The rig, up, for the time of one test.
pub struct Rig {
    _turn: Turn,
}

#[expect(dead_code, reason = "guards are held, not read")]
enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    Shared(RwLockReadGuard<'static, ()>),
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rig").join(name)
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// `rig WORDS...`; fails the test if that fails. Host 4 forwards no sockets, and host 5 has a small disk.
#[track_caller]
pub fn rig(words: &[&str]) -> String {
    run(Command::new(script("rig")).args(words).env("RIG_NO_FORWARD_HOST", "4").env("RIG_SMALL_DISK_HOST", "5:100"))
}

impl Rig {
    /// The rig with all hosts up and nothing on them but images, and no other test on it.
    #[track_caller]
    pub fn fresh() -> Rig {
        let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        rig(&["up", "5"]);
        rig(&["reset"]);
        VARIABLES.get_or_init(variables);
        Rig { _turn: Turn::Alone(turn) }
    }

    /// The rig with all hosts up, and other tests on it. They keep to containers, folders and ports of their own.
    #[track_caller]
    pub fn shared() -> Rig {
        if VARIABLES.get().is_none() {
            drop(Rig::fresh());
        }
        Rig { _turn: Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// `rig WORDS...`; fails the test if that fails.
    #[track_caller]
    pub fn does(&self, words: &[&str]) -> String {
        rig(words)
    }

    /// A variable of `rig env`.
    pub fn variable(&self, name: &str) -> &'static str {
        &VARIABLES.get().unwrap()[name]
    }

    /// Runs a shell line on a host and returns what it printed.
    #[track_caller]
    pub fn on(&self, host: &str, line: &str) -> String {
        run(Command::new("ssh").args(["-F", self.variable("RIG_SSH_CONFIG"), host, line]))
    }

    /// What the site answers through the balancer.
    pub fn site(&self) -> String {
        let output =
            Command::new("curl").args(["-sS", "-m", "5", &format!("http://{}/", self.variable("RIG_LB"))]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The tags of the app's running containers on a host, sorted.
    #[track_caller]
    pub fn runs(&self, host: &str) -> Vec<String> {
        let names = self.on(host, "docker ps --format '{{.Label \"shipmate.role\"}} {{.Label \"shipmate.tag\"}}'");
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn variables() -> BTreeMap<String, String> {
    let words = rig(&["env"]);
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.replace('\\', "")));
    words.lines().filter_map(pair).collect()
}
