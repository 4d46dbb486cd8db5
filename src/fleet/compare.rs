//! `compare`: the page that shows the commits between two, as code hosts have it.

use super::values::placeholders;
use crate::domain::names::CommitSha;

/// The longest address.
const LONGEST: usize = 1000;

/// The address of such a page, with `{from}` and `{to}` in place of the commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare(String);

impl Compare {
    pub(super) fn new(text: &str) -> Result<Compare, &'static str> {
        let mut names: Vec<&str> = placeholders(text).collect();
        names.sort_unstable();
        let filled = text.replace("{from}", "").replace("{to}", "");
        let is_address = (filled.starts_with("https://") || filled.starts_with("http://"))
            && text.len() <= LONGEST
            && filled.chars().all(|c| c.is_ascii_graphic() && !"<>\"`{}|\\^".contains(c));
        match (names.as_slice(), is_address) {
            (["from", "to"], true) => Ok(Compare(text.to_owned())),
            _ => Err(
                "it is the address of a page with {from} and {to} once each, as https://github.com/example/app/compare/{from}...{to}",
            ),
        }
    }

    /// The page that shows what is in `to` and not in `from`.
    pub fn page(&self, from: &CommitSha, to: &CommitSha) -> String {
        self.0.replace("{from}", from.as_str()).replace("{to}", to.as_str())
    }
}
