//! `shipmate say`: speaks to the bot that runs on this machine, and shows what it answers.
//!
//! It says a line, prints what belongs to it, and ends when the bot says that this was all; of a deployment its messages, until
//! it is over. What other people do meanwhile isn't shown.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::failed;
use crate::chat::local::socket;
use crate::chat::local::wire::{self, FromBot, PROTOCOL, ToBot};
use crate::chat::news::Told;
use crate::chat::{Audience, Became};
use crate::settings::Settings;

/// How long the bot may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// What `say` says.
#[derive(Args)]
pub(super) struct Say {
    /// What to say, in quotes: '!status'. `-` says each line of standard input, one after the other
    #[arg(required_unless_present_any = ["react", "unreact"])]
    line: Option<String>,
    /// Don't wait for the end of a deployment
    #[arg(long)]
    no_wait: bool,
    /// Put an emoji to a message of the bot instead; `yes` is ✅, `no` is ❌
    #[arg(long, num_args = 2, value_names = ["EMOJI", "MESSAGE"], conflicts_with_all = ["line", "unreact"])]
    react: Vec<String>,
    /// Take an emoji back
    #[arg(long, num_args = 2, value_names = ["EMOJI", "MESSAGE"], conflicts_with = "line")]
    unreact: Vec<String>,
}

/// Up to when a line's answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The bot has said what it makes of it.
    FirstAnswer,
    /// All is over.
    End,
}

/// How what was said ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It was answered, and a deployment ended well or goes on.
    Good,
    /// It was refused, or a deployment was undone or is stuck.
    Bad,
}

/// Why there is no talk, or no more of it.
enum Trouble {
    NoBot(PathBuf),
    NotLetIn(PathBuf),
    NotReached(PathBuf, io::Error),
    Silent(PathBuf),
    OtherVersion { path: PathBuf, theirs: u32 },
    Strange(PathBuf),
    Gone,
    Refused(String),
    Unreadable(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoBot(path) => {
                write!(f, "no bot listens at {}; is it running with the same SHIPMATE_STORE?", path.display())
            }
            Trouble::NotLetIn(path) => write!(
                f,
                "you may not speak to the bot at {}: its folder and its socket are for their owner and their group; become one of them",
                path.display()
            ),
            Trouble::NotReached(path, error) => write!(f, "the bot at {} can't be reached: {error}", path.display()),
            Trouble::Silent(path) => {
                write!(
                    f,
                    "the bot at {} doesn't say hello within {} s; its log may tell why",
                    path.display(),
                    HELLO_WITHIN.as_secs()
                )
            }
            Trouble::OtherVersion { path, theirs } => write!(
                f,
                "the bot at {} speaks version {theirs} of the local chat and this program version {PROTOCOL}; use the bot's own program",
                path.display()
            ),
            Trouble::Strange(path) => {
                write!(f, "what listens at {} doesn't speak as a bot; use the bot's own program", path.display())
            }
            Trouble::Gone => f.write_str(
                "the bot has gone; what it was doing it goes on with when it is back, so look then: `shipmate say '!status'`",
            ),
            Trouble::Refused(why) => f.write_str(why),
            Trouble::Unreadable(error) => write!(f, "standard input can't be read: {error}"),
        }
    }
}

/// Says what the arguments say.
pub(super) fn say(env_file: Option<&Path>, said: &Say) -> ExitCode {
    let store = match Settings::store_folder(env_file) {
        Ok(store) => store,
        Err(problems) => return failed(&problems),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime can't start: {error}")),
    };
    let ended = runtime.block_on(talk(&socket(&store), said));
    // A thread that still reads standard input must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(trouble) => failed(&trouble),
    }
}

async fn talk(path: &Path, said: &Say) -> Result<Verdict, Trouble> {
    let mut bot = Bot::meet(path).await?;
    let until = if said.no_wait { Until::FirstAnswer } else { Until::End };
    match (said.line.as_deref(), said.react.as_slice(), said.unreact.as_slice()) {
        (Some("-"), ..) => bot.say_all(until).await,
        (Some(line), ..) => bot.ask(ToBot::Say { text: line.to_owned() }, until).await,
        (None, [emoji, message], _) => bot.ask(ToBot::React { message: message.clone(), emoji: emoji.clone() }, until).await,
        (None, _, [emoji, message]) => bot.ask(ToBot::Unreact { message: message.clone(), emoji: emoji.clone() }, until).await,
        (None, ..) => Err(Trouble::Refused("say what?".to_owned())),
    }
}

/// The bot at the other end.
struct Bot {
    path: PathBuf,
    heard: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Bot {
    async fn meet(path: &Path) -> Result<Bot, Trouble> {
        let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Trouble::NoBot(path.to_owned()),
            ErrorKind::PermissionDenied => Trouble::NotLetIn(path.to_owned()),
            _ => Trouble::NotReached(path.to_owned(), error),
        })?;
        let (read, write) = stream.into_split();
        let mut bot = Bot { path: path.to_owned(), heard: BufReader::new(read).lines(), write };
        match timeout(HELLO_WITHIN, bot.next()).await {
            Ok(Ok(FromBot::Hello { protocol: PROTOCOL, .. })) => Ok(bot),
            Ok(Ok(FromBot::Hello { protocol, .. })) => Err(Trouble::OtherVersion { path: bot.path, theirs: protocol }),
            Ok(Ok(FromBot::Wrong { why })) => Err(Trouble::Refused(why)),
            Ok(Ok(FromBot::Taken { .. } | FromBot::Shown { .. } | FromBot::Changed { .. } | FromBot::Became { .. })) => {
                Err(Trouble::Strange(bot.path))
            }
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(Trouble::Silent(bot.path)),
        }
    }

    /// The bot's next line. A call that is given up loses nothing.
    async fn next(&mut self) -> Result<FromBot, Trouble> {
        match self.heard.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|_| Trouble::Strange(self.path.clone())),
            Ok(None) | Err(_) => Err(Trouble::Gone),
        }
    }

    /// Says each line of standard input when the one before is dealt with; good if all were.
    async fn say_all(&mut self, until: Until) -> Result<Verdict, Trouble> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut verdict = Verdict::Good;
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line.map_err(Trouble::Unreadable)?,
                // While nothing is asked the bot still tells of others; who doesn't listen is dropped.
                event = self.next() => { event?; continue }
            };
            let Some(line) = line else { return Ok(verdict) };
            if !line.trim().is_empty() && self.ask(ToBot::Say { text: line }, until).await? == Verdict::Bad {
                verdict = Verdict::Bad;
            }
        }
    }

    /// Says or does one thing and shows what comes of it.
    async fn ask(&mut self, what: ToBot, until: Until) -> Result<Verdict, Trouble> {
        self.write.write_all(wire::line(&what).as_bytes()).await.map_err(|_| Trouble::Gone)?;
        let mine = loop {
            match self.next().await? {
                FromBot::Taken { message } => break message,
                FromBot::Wrong { why } => {
                    failed(&why);
                    return Ok(Verdict::Bad);
                }
                FromBot::Hello { .. } | FromBot::Shown { .. } | FromBot::Changed { .. } | FromBot::Became { .. } => {}
            }
        };
        let mut answers = Answers::default();
        loop {
            match self.next().await? {
                FromBot::Shown { message, to: Some(to), whom, lines } if to == mine => answers.shown(message, whom, lines),
                FromBot::Changed { message, lines, last } => answers.changed(&message, lines, last),
                FromBot::Became { message, what } if message == mine => answers.became = Some(what),
                FromBot::Became { .. }
                | FromBot::Hello { .. }
                | FromBot::Taken { .. }
                | FromBot::Wrong { .. }
                | FromBot::Shown { .. } => {}
            }
            if let Some(verdict) = answers.verdict(until) {
                return Ok(verdict);
            }
        }
    }
}

/// What came of one thing so far.
#[derive(Default)]
struct Answers {
    count: usize,
    /// The messages that change, and what was printed of each.
    live: HashMap<String, Told>,
    became: Option<Became>,
}

impl Answers {
    fn shown(&mut self, message: String, whom: Audience, lines: Vec<String>) {
        self.count += 1;
        match whom {
            Audience::Author => lines.iter().for_each(|line| print(format_args!("{line}"))),
            Audience::Room => {
                lines.iter().for_each(|line| print(format_args!("{message} {line}")));
                self.live.entry(message).or_default().all(lines, Timestamp::now());
            }
        }
    }

    fn changed(&mut self, message: &str, lines: Vec<String>, last: bool) {
        if let Some(told) = self.live.get_mut(message) {
            let news = told.news(lines, last, Timestamp::now());
            news.iter().for_each(|line| print(format_args!("{message} {line}")));
        }
    }

    /// How it ended, if all that is waited for has come.
    fn verdict(&self, until: Until) -> Option<Verdict> {
        match self.became? {
            Became::Answered | Became::Succeeded => Some(Verdict::Good),
            Became::Refused | Became::Failed => Some(Verdict::Bad),
            Became::Ignored => {
                failed(&"the bot has nothing to say to that; `!help` lists what it knows");
                Some(Verdict::Bad)
            }
            // The live message says its number.
            Became::Started => (until == Until::FirstAnswer && !self.live.is_empty()).then_some(Verdict::Good),
        }
    }
}

/// Prints a line. Where nobody reads any more the talk still goes on to its end, for the exit status.
fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
