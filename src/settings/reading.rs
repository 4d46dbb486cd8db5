//! From variables to checked settings: each value's own grammar, and what is wrong with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};
use tracing_subscriber::EnvFilter;

use super::variables::{Fallback, SECRET_PREFIX, VARIABLES};
use super::{LogFormat, MatrixAccount, MatrixLogin, PREFIX, Settings};
use crate::domain::daily::Daily;
use crate::domain::names::{self, printable};
use crate::nearest::{hint, nearest};
use crate::problem::{Problem, Problems};
use crate::secret::Secret;

/// What the names of the variables about Matrix begin with.
const MATRIX: &str = "SHIPMATE_MATRIX_";

/// A second secret lets the first be changed; a third is a mistake.
const MOST_SECRETS: usize = 2;

/// What is right for something that happens daily.
const WHEN: &str = "it is `never`, `daily`, `daily HH:MM` or `daily HH:MM ZONE`, such as `daily 09:00 Europe/Berlin`";

/// Variables while they are read, and the mistakes in them.
pub(super) struct Reading {
    variables: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Reading {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Reading {
        Reading { variables: variables.into_iter().collect(), problems: Vec::new() }
    }

    /// The settings that the variables make.
    ///
    /// # Errors
    /// All mistakes, by the names of the variables.
    pub(super) fn settings(mut self) -> Result<Settings, Problems> {
        self.refuse_unknown();
        match self.read() {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => {
                self.problems.sort();
                Err(Problems(self.problems))
            }
        }
    }

    fn read(&mut self) -> Option<Settings> {
        let listen = self.value("SHIPMATE_LISTEN", listen);
        let store = self.value("SHIPMATE_STORE", path);
        let fleet = self.value("SHIPMATE_FLEET", path);
        let commands = self.value("SHIPMATE_COMMANDS", path);
        let ssh_config = self.value("SHIPMATE_SSH_CONFIG", path);
        let webhook_secrets = self.webhook_secrets();
        let discord_token = self.value("SHIPMATE_DISCORD_TOKEN", token);
        let discord_api = self.value("SHIPMATE_DISCORD_API", base);
        let matrix = self.matrix();
        let terminal_user = self.terminal_user();
        let prefix = self.value("SHIPMATE_PREFIX", prefix);
        let approve_emoji = self.value("SHIPMATE_APPROVE_EMOJI", emoji);
        let reject_emoji = self.value("SHIPMATE_REJECT_EMOJI", emoji);
        if approve_emoji.is_some() && approve_emoji == reject_emoji {
            self.problem("SHIPMATE_REJECT_EMOJI", "it is the emoji that approves: nobody could vote no");
        }
        let stale_after = self.value("SHIPMATE_STALE_AFTER", keep);
        let drift_every = self.value("SHIPMATE_DRIFT_EVERY", every);
        let output_keep = self.value("SHIPMATE_OUTPUT_KEEP", keep);
        let post_head = self.value("SHIPMATE_POST_HEAD", post_head);
        let log_format =
            self.value("SHIPMATE_LOG_FORMAT", |text| one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]));
        let log_filter = self.value("RUST_LOG", log_filter);
        let environment = self.variables.iter().filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_str())?)));
        Some(Settings {
            listen: listen?,
            store: store?,
            fleet: fleet?,
            commands,
            ssh_config,
            webhook_secrets,
            discord_token,
            discord_api,
            matrix,
            terminal_user: terminal_user?,
            prefix: prefix?,
            approve_emoji: approve_emoji?,
            reject_emoji: reject_emoji?,
            stale_after: stale_after?,
            drift_every: drift_every?,
            output_keep: output_keep?,
            post_head: post_head?,
            log_format: log_format?,
            log_filter: log_filter?,
            environment: environment.collect(),
        })
    }

    /// What `check` makes of a variable, or of its default. `None` without either, or after a mistake.
    fn value<T>(&mut self, name: &str, check: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let fallback = VARIABLES.iter().find(|variable| variable.name == name).map(|variable| variable.fallback);
        let text = match (self.variables.get(name), fallback) {
            (Some(text), _) if text.trim().is_empty() => {
                self.problem(name, "it is empty: give it a value, or leave it out");
                return None;
            }
            (Some(text), _) => text.clone(),
            (None, Some(Fallback::Default(text))) => text.to_owned(),
            (None, _) => return None,
        };
        check(&text).map_err(|complaint| self.problem(name, complaint)).ok()
    }

    fn problem(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(name, text));
    }

    fn terminal_user(&mut self) -> Option<String> {
        let name = "SHIPMATE_TERMINAL_USER";
        if !self.variables.contains_key(name) {
            let user = self.variables.get("USER").filter(|user| account_name(user).is_ok()).cloned();
            if user.is_none() {
                self.problem(name, "USER doesn't say who you are: set this to your name");
            }
            return user;
        }
        self.value(name, account_name)
    }

    /// The account in Matrix: all of it or nothing. `None` also after a mistake.
    fn matrix(&mut self) -> Option<MatrixAccount> {
        let homeserver = self.value("SHIPMATE_MATRIX_HOMESERVER", base);
        let user = self.value("SHIPMATE_MATRIX_USER", matrix_user);
        let password = self.value("SHIPMATE_MATRIX_PASSWORD", whole);
        let token = self.value("SHIPMATE_MATRIX_TOKEN", token);
        let device_name = self.value("SHIPMATE_MATRIX_DEVICE_NAME", device_name);
        let recovery_key = self.value("SHIPMATE_MATRIX_RECOVERY_KEY", whole);
        let is_set = |name: &str| self.variables.contains_key(name);
        let names =
            ["HOMESERVER", "USER", "PASSWORD", "TOKEN", "DEVICE_NAME", "RECOVERY_KEY"].map(|name| format!("{MATRIX}{name}"));
        let set: Vec<&String> = names.iter().filter(|name| is_set(name)).collect();
        let first = set.first()?.to_string();
        let missing: Vec<String> = names[..2].iter().filter(|name| !is_set(name)).cloned().collect();
        let logins = [&names[2], &names[3]].iter().filter(|name| is_set(name)).count();
        for name in missing {
            self.problem(&name, format!("it isn't set, and {first} is: the bot needs both to be in Matrix"));
        }
        match logins {
            0 => self.problem(&names[2], format!("neither it nor {} is set, and {first} is: the bot can't log in", names[3])),
            2 => self.problem(&names[3], format!("{} is set too, and only one counts: take one of them out", names[2])),
            _ => {}
        }
        let login = password.map(MatrixLogin::Password).or(token.map(MatrixLogin::Token));
        Some(MatrixAccount { homeserver: homeserver?, user: user?, login: login?, device_name: device_name?, recovery_key })
    }

    fn webhook_secrets(&mut self) -> BTreeMap<String, Vec<Secret>> {
        let mut secrets = BTreeMap::new();
        for source in crate::builds::names() {
            let name = format!("{SECRET_PREFIX}{}", source.to_ascii_uppercase());
            if let Some(of_source) = self.value(&name, secret_list) {
                secrets.insert(source.to_owned(), of_source);
            }
        }
        secrets
    }

    fn refuse_unknown(&mut self) {
        let is_known = |name: &str| VARIABLES.iter().any(|variable| variable.name == name);
        let unknown: Vec<String> =
            self.variables.keys().filter(|name| name.starts_with(PREFIX) && !is_known(name)).cloned().collect();
        for name in unknown {
            // Without the common beginning, which would make everything near to everything.
            let known = VARIABLES.iter().filter_map(|variable| variable.name.strip_prefix(PREFIX));
            let guess = nearest(name.trim_start_matches(PREFIX), known);
            let hint =
                guess.map_or_else(|| "see deploy.env.example".to_owned(), |guess| format!("did you mean `{PREFIX}{guess}`?"));
            self.problem(&printable(&name, 60), format!("there is no such setting; {hint}"));
        }
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| shown(text, "it is an IP address and a port, such as 127.0.0.1:8080"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with(['~', '$']) {
        Err(shown(text, "nothing is filled in here; write the whole path"))
    } else {
        Ok(PathBuf::from(text))
    }
}

fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("`{}` is none of its words{}", printable(text, 40), hint(text, words.iter().map(|(word, _)| *word))))
}

fn account_name(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && printable(text, 64) == text && !text.contains(char::is_whitespace);
    if good { Ok(text.to_owned()) } else { Err(shown(text, "a name has up to 64 characters and no spaces")) }
}

fn prefix(text: &str) -> Result<String, String> {
    let good = text.chars().count() <= 64
        && printable(text, 64) == text
        && !text.contains(|c: char| c.is_whitespace() || c == '`')
        && !text.starts_with('>');
    if good {
        Ok(text.to_owned())
    } else {
        Err(shown(text, "use 1 to 64 characters without spaces and backticks, and not `>` first"))
    }
}

fn keep(text: &str) -> Result<Duration, String> {
    let span = text.parse().ok().and_then(|span: Span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let span = span.and_then(|span| Duration::try_from(span).ok()).filter(|span| !span.is_zero());
    span.ok_or_else(|| shown(text, "it is a time such as `90 days` or `12 hours`"))
}

/// A time of at least a second, or `never`, which is none.
fn every(text: &str) -> Result<Duration, String> {
    if text.trim() == "never" {
        return Ok(Duration::ZERO);
    }
    let enough = keep(text).ok().filter(|span| *span >= Duration::from_secs(1));
    enough.ok_or_else(|| shown(text, "it is a time such as `5 minutes`, at least 1 second, or `never`"))
}

fn emoji(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = text.chars().count() <= 32 && !text.contains(char::is_whitespace) && !text.is_ascii();
    if good { Ok(text.to_owned()) } else { Err(shown(text, "it is one emoji, such as ✅")) }
}

fn post_head(text: &str) -> Result<Option<Daily>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (at, zone) = match words[..] {
        ["never"] => return Ok(None),
        ["daily"] => ("00:00", "UTC"),
        ["daily", at] => (at, "UTC"),
        ["daily", at, zone] => (at, zone),
        _ => return Err(shown(text, WHEN)),
    };
    let at = Time::strptime("%H:%M", at).map_err(|_| shown(text, WHEN))?;
    let no_zone = |_| shown(text, "there is no such time zone; use a name such as `Europe/Berlin` or `UTC`");
    Ok(Some(Daily { at, zone: TimeZone::get(zone).map_err(no_zone)? }))
}

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map_err(|_| shown(text, "it is a level, or a list such as `info,shipmate=debug`"))?;
    Ok(text.to_owned())
}

/// Complaints about it never show it.
fn token(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.starts_with("Bot ") || text.contains(char::is_whitespace) {
        return Err("it is the token alone, without `Bot` before it and without spaces".to_owned());
    }
    Secret::new(text).ok_or_else(|| "it is empty".to_owned())
}

/// A secret that may have spaces inside.
fn whole(text: &str) -> Result<Secret, String> {
    Secret::new(text.trim()).ok_or_else(|| "it is empty".to_owned())
}

fn matrix_user(text: &str) -> Result<String, String> {
    let good = names::is_matrix_user(text);
    if good { Ok(text.to_owned()) } else { Err(shown(text, "it is the account's full id, such as @shipmate:example.org")) }
}

fn device_name(text: &str) -> Result<String, String> {
    if printable(text, 100) == text { Ok(text.to_owned()) } else { Err(shown(text, "a name has up to 100 visible characters")) }
}

/// The beginning of an address that paths are put to.
fn base(text: &str) -> Result<String, String> {
    let address = text.parse::<http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    let no = || shown(text, "it is an address such as http://127.0.0.1:8090");
    address.map(|_| text.trim_end_matches('/').to_owned()).ok_or_else(no)
}

/// Complaints about secrets never show them.
fn secret_list(text: &str) -> Result<Vec<Secret>, String> {
    let secrets: Option<Vec<Secret>> = text.split(',').map(|part| Secret::new(part.trim())).collect();
    match secrets {
        None => Err("a secret is empty: it would let everybody in".to_owned()),
        Some(secrets) if secrets.len() > MOST_SECRETS => Err("it holds at most two secrets, with a comma between them".to_owned()),
        Some(secrets) => Ok(secrets),
    }
}

fn shown(text: &str, complaint: &str) -> String {
    format!("it can't be \"{}\": {complaint}", printable(text, 60))
}
