//! `shipmate audit verify`: proves that the journal, an export or a copy is unbroken, or names the first record that isn't right.

use std::path::Path;
use std::process::ExitCode;

use super::failed;
use crate::store::{Audited, Head, audit};

/// `path` is a data folder, whose bot may run, or a file.
pub(super) fn verify(path: &Path, expected: &[Head]) -> ExitCode {
    let Audited { head, span, unfinished } = match audit(path, expected) {
        Ok(audited) => audited,
        Err(error) => return failed(&error),
    };
    match span {
        Some((first, newest)) => println!("{} records from {first} to {newest}, an unbroken chain", head.seq),
        None => println!("no records yet"),
    }
    if !expected.is_empty() {
        println!("every expected head is in it ({})", expected.len());
    }
    if unfinished > 0 {
        println!("a last line of {unfinished} bytes has no end and isn't counted: the bot writes it now, or died while it did");
    }
    println!("head {head}");
    ExitCode::SUCCESS
}
