//! How a tag is formed: `build-$number`, `sha-${commit:7}`.

use regex::Captures;

use crate::builds::Notice;
use crate::domain::names::{InvalidName, Tag, printable};
use crate::nearest::hint;

/// The longest part of a tag: the longest tag there is.
const LONGEST: usize = 128;

/// What a template may name, whatever the rule's `project` is.
const NAMES: [&str; 5] = ["number", "commit", "short_commit", "branch", "tag"];

/// A template of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// What a name stands for, cut to so many characters.
    Name(String, Option<usize>),
}

impl Template {
    /// Reads a template; `groups` are the names that the rule's `project` has beside the built-in ones.
    ///
    /// # Errors
    /// What is wrong with it, for the person who wrote it.
    pub(super) fn parse(text: &str, groups: &[&str]) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.to_owned()));
            let (inside, end) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("a `${` has no `}`")?,
                None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
            };
            let (name, length) = inside.split_once(':').map_or((inside, None), |(name, length)| (name, Some(length)));
            let mut known = groups.iter().copied().filter(|name| *name != "app").chain(NAMES);
            let hint = hint(name, known.clone());
            if !known.any(|known| known == name) {
                return Err(format!("nothing is called `${}`{hint}", printable(name, 40)));
            }
            let length = length.map(|length| match length.parse() {
                Ok(length @ 1..=LONGEST) => Ok(length),
                _ => Err(format!("after the `:` stands how many characters are taken, 1 to {LONGEST}")),
            });
            parts.push(Part::Name(name.to_owned(), length.transpose()?));
            rest = end;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        let outside = |part: &Part| matches!(part, Part::Text(text) if text.contains(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c)));
        if parts.is_empty() || parts.iter().any(outside) {
            return Err("a tag has A-Z, a-z, 0-9, `_`, `.` and `-` only, and what a `$name` stands for".to_owned());
        }
        Ok(Template(parts))
    }

    /// The tag of a notice's image.
    ///
    /// # Errors
    /// When the notice doesn't say what it takes, or says what no tag can have.
    pub(super) fn fill(&self, notice: &Notice, captures: &Captures<'_>) -> Result<Tag, String> {
        let mut tag = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => tag.push_str(text),
                Part::Name(name, length) => {
                    let value = value(name, notice, captures).filter(|value| !value.is_empty());
                    let value =
                        value.ok_or_else(|| format!("its tag needs the {name}, and it isn't said; change `tag` in [[builds]]"))?;
                    tag.extend(value.chars().take(length.unwrap_or(usize::MAX)));
                }
            }
        }
        tag.parse().map_err(|error: InvalidName| error.to_string())
    }
}

/// What a name of a template stands for. A group goes before a word of the same name: who wrote it meant it.
fn value(name: &str, notice: &Notice, captures: &Captures<'_>) -> Option<String> {
    if let Some(group) = captures.name(name) {
        return Some(group.as_str().to_owned());
    }
    match name {
        "number" => notice.number.map(|number| number.to_string()),
        "commit" => notice.commit.as_ref().map(ToString::to_string),
        "short_commit" => notice.commit.as_ref().map(|commit| commit.short().to_owned()),
        "branch" => notice.branch.clone(),
        "tag" => notice.tag.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_template_panics(text in "[a-z${}:0-9é-]{0,20}") {
            let _ = Template::parse(&text, &["app", "line"]);
        }
    }
}
