//! `deploy.env`: lines of `NAME=value`, as dotenvy reads them, with two differences.
//!
//! A `$` is a `$`: dotenv's own way, to fill in other variables, would silently change a password that holds one, and
//! systemd's and Docker's readers of such files don't do it either. And a mistake is told with its line, but never quoted.

use std::collections::BTreeMap;

use crate::problem::Problem;

/// Stands for `$` while dotenvy reads; it means nothing to anybody.
const DOLLAR: &str = "\u{e000}";

/// The variables of a file's text; `place` is what people call the file.
///
/// # Errors
/// All mistakes of the text.
pub(super) fn parse(place: &str, text: &str) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let text = text.trim_start_matches('\u{feff}').replace("\\$", DOLLAR).replace('$', DOLLAR);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut variables: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some((length, read)) = logical_line(&lines[at..]) else {
            let text = "this is no `NAME=value`; a value with spaces, quotes or backslashes stands in single quotes";
            problems.push(Problem::new(place, text).at_line(at + 1));
            at += 1;
            continue;
        };
        if let Some((name, value)) = read
            && let Some((other, _)) = variables.insert(name.clone(), (at + 1, value.replace(DOLLAR, "$")))
        {
            problems.push(Problem::new(place, format!("`{name}` stands in line {other} already")).at_line(at + 1));
        }
        at += length;
    }
    if problems.is_empty() { Ok(variables.into_iter().map(|(name, (_, value))| (name, value)).collect()) } else { Err(problems) }
}

/// The first variable of `lines` and how many of them it takes: more than one when a quoted value goes on. `None` when it can't be read.
fn logical_line(lines: &[&str]) -> Option<(usize, Option<(String, String)>)> {
    // A quote that is never closed would try all the rest of the file for each line; no secret is that long.
    const LONGEST: usize = 200;
    (1..=lines.len().min(LONGEST)).find_map(|length| {
        let read: Result<Vec<_>, _> = dotenvy::from_read_iter(lines[..length].concat().as_bytes()).collect();
        let mut read = read.ok()?;
        (read.len() <= 1).then(|| (length, read.pop()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse("deploy.env", text).unwrap().into_iter().collect()
    }

    fn problems(text: &str) -> Vec<String> {
        parse("deploy.env", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_comments_quotes_and_exports_are_read() {
        let text = "\u{feff}# a comment\n\nA=1\n  export B = 'two words'  # why\r\nC=\"three\nlines\\n\"\nD=a#b\nE=";
        let expected = [("A", "1"), ("B", "two words"), ("C", "three\nlines\n"), ("D", "a#b"), ("E", "")];
        assert_eq!(read(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_dollar_is_a_dollar() {
        for value in ["pa$$word", "'pa$$word'", "\"pa$$word\"", "\"pa\\$$word\""] {
            assert_eq!(read(&format!("A={value}")), [("A".to_owned(), "pa$$word".to_owned())], "{value}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_lines_and_without_what_stands_there() {
        let no = "this is no `NAME=value`; a value with spaces, quotes or backslashes stands in single quotes";
        assert_eq!(
            problems("A=1\nPASSWORD=hunter 2\nB='open\nC=3\nA=2\n=x\n"),
            [
                format!("deploy.env:2: {no}"),
                format!("deploy.env:3: {no}"),
                "deploy.env:5: `A` stands in line 1 already".to_owned(),
                format!("deploy.env:6: {no}")
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-C=$'\"#\\\\\n {}é]{0,60}") {
            let _ = parse("deploy.env", &text);
        }

        #[test]
        fn any_line_in_single_quotes_is_kept(value in "[^'\\\\\r\n\u{e000}]{0,60}") {
            prop_assert_eq!(read(&format!("A='{value}'\nB=1")), vec![("A".to_owned(), value), ("B".to_owned(), "1".to_owned())]);
        }
    }
}
