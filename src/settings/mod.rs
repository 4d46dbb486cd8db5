//! Settings: the bot's environment, and `deploy.env` beneath it, as checked values.
//!
//! Nothing here changes the process's environment: what the file says is laid under it in a view of its own, and the
//! secrets of containers and registries come from that same view.

mod env_file;
mod reading;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::daily::Daily;
use crate::problem::{Problem, Problems};
use crate::secret::Secret;

use reading::Reading;
pub use variables::{Fallback, VARIABLES, Variable, example, markdown};

/// What our own variables begin with.
const PREFIX: &str = "SHIPMATE_";

/// The file that is read when none is named.
const ENV_FILE: &str = "deploy.env";

/// The fleet file when none is named.
const FLEET_FILE: &str = "./fleet.toml";

/// The folder of the store when none is named.
const STORE_FOLDER: &str = "./data";

/// How the bot was told to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where builds come in.
    pub listen: SocketAddr,
    /// The folder of the store.
    pub store: PathBuf,
    /// The fleet file.
    pub fleet: PathBuf,
    /// The folder that replaces the built-in commands.
    pub commands: Option<PathBuf>,
    /// The ssh_config; `None` = the user's own.
    pub ssh_config: Option<PathBuf>,
    /// The secrets of each source of builds that has any.
    pub webhook_secrets: BTreeMap<String, Vec<Secret>>,
    /// The token of the bot in Discord; `None` = it isn't there.
    pub discord_token: Option<Secret>,
    /// What stands in for Discord's own address.
    pub discord_api: Option<String>,
    /// The bot's account in Matrix; `None` = it isn't there.
    pub matrix: Option<MatrixAccount>,
    /// Who speaks on the terminal.
    pub terminal_user: String,
    /// What commands begin with.
    pub prefix: String,
    /// The emoji that approves.
    pub approve_emoji: String,
    /// The emoji that rejects.
    pub reject_emoji: String,
    /// How old a command may be that is run without asking.
    pub stale_after: Duration,
    /// How often the hosts are compared with the record; 0 = never.
    pub drift_every: Duration,
    /// How long output is kept.
    pub output_keep: Duration,
    /// When the rooms are told the journal's head; `None` = never.
    pub post_head: Option<Daily>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a filter that `EnvFilter` has accepted.
    pub log_filter: String,
    /// All variables that have a value, ours or not: containers and registries may name any.
    environment: BTreeMap<String, Secret>,
}

/// The bot's account in Matrix.
#[derive(Debug, Clone)]
pub struct MatrixAccount {
    /// The address of the homeserver.
    pub homeserver: String,
    /// The full user id.
    pub user: String,
    /// How the bot logs in.
    pub login: MatrixLogin,
    /// What its device is called.
    pub device_name: String,
    /// What gets its keys back when the store is lost.
    pub recovery_key: Option<Secret>,
}

/// How the bot logs in to Matrix.
#[derive(Debug, Clone)]
pub enum MatrixLogin {
    /// With the account's password.
    Password(Secret),
    /// With the access token of a device that was made for it.
    Token(Secret),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads the process's environment and the file beneath it: `env_file`, else what SHIPMATE_ENV names, else
    /// `deploy.env` in the working directory, if it is there.
    ///
    /// # Errors
    /// All mistakes, of the file and of the values.
    pub fn load(env_file: Option<&Path>) -> Result<Settings, Problems> {
        Settings::gather(std::env::vars_os(), env_file, Path::new(ENV_FILE))
    }

    fn gather(
        process: impl Iterator<Item = (OsString, OsString)>,
        env_file: Option<&Path>,
        default: &Path,
    ) -> Result<Settings, Problems> {
        let (variables, problems) = variables(process, env_file, default);
        match (Settings::read(variables), problems.is_empty()) {
            (Ok(settings), true) => Ok(settings),
            (Ok(_), false) => Err(Problems(problems)),
            (Err(Problems(more)), _) => Err(Problems(problems.into_iter().chain(more).collect())),
        }
    }

    /// The fleet file and the folder of commands that are meant, however wrong the other settings are: so that all mistakes
    /// of all files can be told at once.
    pub fn files(env_file: Option<&Path>) -> (PathBuf, Option<PathBuf>) {
        let (variables, _) = variables(std::env::vars_os(), env_file, Path::new(ENV_FILE));
        let path = |name: &str| variables.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        (path("SHIPMATE_FLEET").unwrap_or_else(|| PathBuf::from(FLEET_FILE)), path("SHIPMATE_COMMANDS"))
    }

    /// The folder of the store, whatever else is set: for whoever speaks to the bot and needn't know its secrets.
    ///
    /// # Errors
    /// When it isn't in the environment, and the file that may have it can't be read.
    pub fn store_folder(env_file: Option<&Path>) -> Result<PathBuf, Problems> {
        store_folder(variables(std::env::vars_os(), env_file, Path::new(ENV_FILE)))
    }

    /// Reads variables, wherever they are from.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, Problems> {
        Reading::new(variables).settings()
    }

    /// What the chat services must never show.
    pub fn chat_secrets(&self) -> impl Iterator<Item = &Secret> {
        let matrix = self.matrix.iter().flat_map(|account| {
            let (MatrixLogin::Password(login) | MatrixLogin::Token(login)) = &account.login;
            std::iter::once(login).chain(&account.recovery_key)
        });
        self.discord_token.iter().chain(matrix)
    }

    /// The value of any variable: what a container or a registry is given. `None` if it isn't set, or empty.
    pub fn secret(&self, variable: &str) -> Option<Secret> {
        self.environment.get(variable).cloned()
    }
}

fn store_folder((variables, problems): (BTreeMap<String, String>, Vec<Problem>)) -> Result<PathBuf, Problems> {
    match variables.get("SHIPMATE_STORE").filter(|path| !path.is_empty()) {
        Some(path) => Ok(PathBuf::from(path)),
        None if problems.is_empty() => Ok(PathBuf::from(STORE_FOLDER)),
        None => Err(Problems(problems)),
    }
}

/// The process's variables over those of the file, and what is wrong with either.
fn variables(
    process: impl Iterator<Item = (OsString, OsString)>,
    env_file: Option<&Path>,
    default: &Path,
) -> (BTreeMap<String, String>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut own = BTreeMap::new();
    for (name, value) in process {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                own.insert(name, value);
            }
            (Ok(name), Err(_)) if is_ours(&name) => problems.push(Problem::new(name, "its value isn't UTF-8 text")),
            // Not ours, and nothing that a container could be given.
            _ => {}
        }
    }
    let named = env_file.map(Path::to_path_buf).or_else(|| own.get("SHIPMATE_ENV").map(PathBuf::from));
    let path = named.or_else(|| default.exists().then(|| default.to_path_buf()));
    let mut variables = match path.map(|path| read_file(&path)) {
        Some(Ok(variables)) => variables,
        Some(Err(more)) => {
            problems.extend(more);
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    variables.extend(own);
    (variables, problems)
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || VARIABLES.iter().any(|variable| variable.name == name)
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let place = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| vec![Problem::new(&place, format!("it can't be read: {error}"))])?;
    let text = String::from_utf8(bytes).map_err(|_| vec![Problem::new(&place, "it isn't UTF-8 text")])?;
    env_file::parse(&place, &text)
}

#[cfg(test)]
mod tests;
