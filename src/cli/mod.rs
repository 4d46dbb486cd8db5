//! The command line: `shipmate` runs the bot, `check` looks at everything without touching it, `export` and `import` carry
//! the history, `audit` proves it.

mod audit;
mod check;
mod log;
mod run;
mod wiring;

use std::path::PathBuf;
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

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or(Command::Run);
    // A file can be checked anywhere, so no settings are asked for.
    if let Command::Audit(Audit::Verify { file: Some(file), expect }) = &command {
        return audit::verify(file, expect);
    }
    let settings = match Settings::load(arguments.env_file.as_deref()) {
        Ok(settings) => settings,
        Err(problems) => {
            let more = wiring::more_problems(arguments.env_file.as_deref());
            return failed(&format!("{problems}\n{more}"));
        }
    };
    match command {
        Command::Run => run::run(settings),
        Command::Check => check::check(&settings),
        Command::Export { file } => ended(store::export(&settings.store, file.as_deref())),
        Command::Import { file } => ended(store::import(&settings.store, file.as_deref())),
        Command::Audit(Audit::Verify { file: _, expect }) => audit::verify(&settings.store, &expect),
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
