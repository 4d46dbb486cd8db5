//! Kills the bot at random moments of real deployments, and counts what was lost: `make chaos`.
//!
//! In each round CI announces a build, a person types a command, something may happen to a host, and the bot gets SIGKILL at a
//! random moment; then it is started again on the same store, and everything must come to its end. What the bot had
//! acknowledged is compared with its exported history, and what that says with what really runs on the rig's hosts.
//!
//! Variables: ROUNDS (200); SEED (a random one), which decides all that is thrown; FIRST (1), the round to begin with: one that went
//! wrong is played again by `make chaos SEED=... FIRST=... ROUNDS=1`.

mod bot;
mod chaos;
mod count;
mod patience;
mod record;
mod rig;
mod round;
mod webhook;

use std::process::ExitCode;
use std::time::Instant;

use chaos::Chaos;
use patience::{End, Patience};

/// What to play.
struct Orders {
    seed: u64,
    first: u64,
    rounds: u64,
}

impl Orders {
    fn read() -> Result<Orders, String> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().map_err(|_| format!("{name} is `{text}`; it must be a number")),
            Err(_) => Ok(default),
        };
        let random = getrandom::u32().map_err(|error| format!("the system has no randomness ({error}); set SEED"))?;
        Ok(Orders { seed: number("SEED", random.into())?, first: number("FIRST", 1)?, rounds: number("ROUNDS", 200)? })
    }
}

fn main() -> ExitCode {
    let begin = Instant::now();
    let orders = match Orders::read() {
        Ok(orders) => orders,
        Err(problem) => {
            eprintln!("chaos: {problem}");
            return ExitCode::from(2);
        }
    };
    println!("seed: {}", orders.seed);
    let patience = match Patience::begin() {
        Ok(patience) => patience,
        Err(error) => {
            eprintln!("chaos: signals can't be heard: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut chaos = match Chaos::begin(orders.seed, &patience) {
        Ok(chaos) => chaos,
        Err(end) => return ended(&end),
    };
    for round in orders.first..orders.first + orders.rounds {
        if let Err(end) = chaos.round(round) {
            println!("{}", chaos.counts);
            print_again(orders.seed, round);
            return ended(&end);
        }
    }
    if let Err(end) = chaos.finish() {
        println!("{}", chaos.counts);
        return ended(&end);
    }
    println!("{}", chaos.counts);
    println!("history: {} facts, unbroken, the same after an import", chaos.record.facts());
    println!("minutes: {:.1}", begin.elapsed().as_secs_f64() / 60.0);
    println!("{}", chaos.counts.row(orders.seed, chaos.record.deployments.len(), begin.elapsed()));
    chaos.counts.bad_rounds().into_iter().for_each(|round| print_again(orders.seed, round));
    if chaos.counts.are_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_again(seed: u64, round: u64) {
    println!("round {round} again: make chaos SEED={seed} FIRST={round} ROUNDS=1");
}

fn ended(end: &End) -> ExitCode {
    eprintln!("chaos: {end}");
    match end {
        End::Interrupted => ExitCode::from(130),
        End::Broken(_) => ExitCode::FAILURE,
    }
}
