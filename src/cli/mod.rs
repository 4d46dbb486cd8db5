//! The command line: `shipmate` runs the bot, `say` speaks to the one that runs, `check` looks at everything without touching it,
//! `policy test` holds the fleet file to expected answers, `export` and `import` carry the history, `audit` proves it.

mod audit;
mod chats;
mod check;
mod log;
mod policy;
mod run;
mod say;
mod wiring;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::settings::Settings;
use crate::store::{self, Head};

/// Exit status of a bot whose ledger can't be written any more (`EX_SOFTWARE` of sysexits.h): a supervisor should start it again.
const BROKEN: u8 = 70;

/// Shipmate drives deploys from your chat: it tells the room of builds, takes `!deploy`, walks the hosts over SSH, and
/// puts everything back when something fails.
///
/// Settings are environment variables, or lines of `deploy.env`; see deploy.env.example. Apps and hosts are in fleet.toml;
/// see fleet.example.toml.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Where the settings are read from, below the real environment. Default: deploy.env, if it is there
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bot; the default
    Run,
    /// Check settings, fleet, runbooks, then every host: SSH, Docker, disk, what runs. Exit status 1 if anything is wrong
    Check,
    /// Speak to the bot that runs on this machine, and show what it answers
    ///
    /// You speak as the user that you are, whom the fleet file knows as the account local:NAME; the bot is found by its
    /// SHIPMATE_STORE. A deployment is followed to its end. Exit status 1 if the bot refuses, or if the deployment doesn't
    /// succeed.
    Say(say::Say),
    /// Say who may do what, offline
    #[command(subcommand)]
    Policy(Policy),
    /// Write all history as JSON lines
    Export {
        /// The file to write; standard output if none
        file: Option<PathBuf>,
    },
    /// Read history that `export` wrote into an empty store
    Import {
        /// The file to read; standard input if none
        file: Option<PathBuf>,
    },
    /// Prove the history
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Subcommand)]
enum Audit {
    /// Check that every record is what it was and follows the one before it, and name the first that isn't. Exit status 1 if
    /// anything is wrong. It only reads, also while the bot runs
    Verify {
        /// An export, or a copy of a journal; the journal of SHIPMATE_STORE if none
        file: Option<PathBuf>,
        /// A head that a room was told: it must be in this history. Can be given more than once
        #[arg(long, value_name = "SEQ:HASH")]
        expect: Vec<Head>,
    },
}

#[derive(Subcommand)]
enum Policy {
    /// Check a file of expected answers against the fleet file and the commands, for CI. Exit status 1 if one differs
    ///
    /// It needs no secrets and touches no host and no store. FILE is TOML, with an [[expect]] for each expected answer:
    ///
    ///   [[expect]]
    ///   person = "berta"            # or an account, which may be nobody's: account = "discord:1"
    ///                               #   and roles of its chat: roles = ["discord:1234"]
    ///   command = "deploy"
    ///   app = "antisocial"          # left out: the command is about no app
    ///   environment = "production"  # left out: the app's usual one
    ///   at = "2026-12-24T10:00:00+01:00"    # left out: freezes don't count
    ///   allowed = true
    ///   approvals = 1               # left out: however many votes it takes
    #[command(verbatim_doc_comment)]
    Test {
        /// The file of expected answers
        file: PathBuf,
    },
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let env_file = arguments.env_file.as_deref();
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => with_settings(env_file, run::run),
        Command::Check => with_settings(env_file, |settings| check::check(&settings)),
        // Whoever speaks to the bot needn't be able to read its settings.
        Command::Say(said) => say::say(env_file, &said),
        // CI has none of the bot's settings, so what it runs doesn't ask for them.
        Command::Policy(Policy::Test { file }) => policy::test(env_file, &file),
        Command::Export { file } => with_settings(env_file, |settings| ended(store::export(&settings.store, file.as_deref()))),
        Command::Import { file } => with_settings(env_file, |settings| ended(store::import(&settings.store, file.as_deref()))),
        // A file can be checked anywhere, so no settings are asked for.
        Command::Audit(Audit::Verify { file: Some(file), expect }) => audit::verify(&file, &expect),
        Command::Audit(Audit::Verify { file: None, expect }) => {
            with_settings(env_file, |settings| audit::verify(&settings.store, &expect))
        }
    }
}

fn with_settings(env_file: Option<&Path>, work: impl FnOnce(Settings) -> ExitCode) -> ExitCode {
    match Settings::load(env_file) {
        Ok(settings) => work(settings),
        Err(problems) => failed(&format!("{problems}\n{}", wiring::more_problems(env_file))),
    }
}

/// Says on standard error what is wrong.
fn failed(problem: &dyn std::fmt::Display) -> ExitCode {
    for line in problem.to_string().lines() {
        eprintln!("shipmate: {line}");
    }
    ExitCode::FAILURE
}

fn ended<T, E: std::fmt::Display>(result: Result<T, E>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}
