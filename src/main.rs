//! The `shipmate` program; see the library for everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    shipmate::cli::main()
}
