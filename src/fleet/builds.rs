//! `[[builds]]`: which app a notice is about, and which tag its image has.
//!
//! What a source says is untrusted. A pattern always has to match the whole text, so `project = 'antisocial'` can't be
//! met by `evil/antisocial-fork`, and pull and merge requests, which anyone may open, count only where a rule names them.

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};

use super::reader::{Table, Value};
use super::template::Template;
use crate::builds::Notice;
use crate::domain::build::{Build, BuildNumber};
use crate::domain::names::{AppName, Tag, printable};
use crate::nearest::{did_you_mean, hint, listed};

/// The longest project, branch or workflow that a pattern is tried on, in bytes.
const LONGEST: usize = 512;

/// How large a compiled pattern may be, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// What a fleet makes of a notice. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildMatch {
    /// It is a build of an app.
    Build(Box<Build>),
    /// No rule knows its project.
    NoRule(String),
    /// A rule knows its project and doesn't want it.
    Filtered(String),
    /// A rule wants it, but no valid tag can be formed.
    Invalid(String),
}

/// One rule.
#[derive(Debug, Clone)]
pub struct BuildRule {
    source: String,
    project: Regex,
    app: Option<AppName>,
    tag: Template,
    branch: Option<Regex>,
    workflow: Option<Regex>,
    triggers: Option<Vec<String>>,
}

/// Reads a rule; `apps` are the names of the file's apps.
pub(super) fn read(value: Value<'_>, apps: &[&str]) -> Option<BuildRule> {
    value.table("build", |table| rule(&table, apps)).flatten()
}

fn rule(table: &Table<'_>, apps: &[&str]) -> Option<BuildRule> {
    let source = table.need("source", &format!("one of {}", listed(crate::builds::names()))).and_then(source);
    let app = table.get("app").map(|value| (value, known_app(value, apps)));
    let given = table.get("project");
    let project = match (given, &app) {
        (Some(value), _) => pattern(value),
        (None, None) => Regex::new("^(?<app>.+)$").ok(),
        (None, Some(_)) => {
            table.problem("`project` is missing: with `app` alone every project of the source would be that app");
            None
        }
    };
    let groups: Vec<&str> = project.iter().flat_map(|project| project.capture_names().flatten()).collect();
    match (given, &app) {
        (Some(value), None) if project.is_some() && !groups.contains(&"app") => {
            value.problem("which app? Let `project` have a group `(?<app>...)`, or add `app = \"NAME\"`");
        }
        (Some(_), Some((value, _))) if groups.contains(&"app") => {
            value.problem("the app comes either from `app` or from the group `(?<app>...)` of `project`, not from both");
        }
        _ => {}
    }
    let tag = match table.get("tag") {
        Some(value) => value.check(|text| Template::parse(text, &groups)),
        None => Template::parse("$tag", &groups).ok(),
    };
    let branch = table.get("branch").and_then(pattern);
    let workflow = table.get("workflow").and_then(pattern);
    let triggers = table.get("triggers").map(|value| {
        let triggers = value.list(|item| item.text().map(str::to_owned));
        if triggers.is_empty() {
            value.problem("`triggers` is empty: no build would count");
        }
        triggers
    });
    let app = match app {
        Some((_, app)) => Some(app?),
        None => None,
    };
    Some(BuildRule { source: source?, project: project?, app, tag: tag?, branch, workflow, triggers })
}

fn source(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    let sources: Vec<&str> = crate::builds::names().collect();
    if !sources.contains(&name) {
        value.problem(format!("no source `{}`{}", printable(name, 40), hint(name, sources)));
    }
    Some(name.to_owned())
}

/// An app; that it is one of `apps` is checked.
pub(super) fn known_app(value: Value<'_>, apps: &[&str]) -> Option<AppName> {
    let name: AppName = value.parse()?;
    if !apps.contains(&name.as_str()) {
        value.problem(format!("no app `{name}`{}", hint(name.as_str(), apps.iter().copied())));
    }
    Some(name)
}

/// A pattern that is looked for in a text.
pub(super) fn searched(value: Value<'_>) -> Option<Regex> {
    value.check(|text| RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map_err(complaint))
}

/// What is wrong with a pattern: the last line says it, the others draw it.
fn complaint(error: regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn pattern(value: Value<'_>) -> Option<Regex> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
    value.check(|text| {
        // Alone first: the complaint is then about what was written.
        compile(text).map_err(complaint)?;
        compile(&format!("^(?:{text})$")).map_err(complaint)
    })
}

/// The rules of a file, and the one that goes without saying: what `generic` says is in our words already.
pub(super) fn with_default(mut rules: Vec<BuildRule>) -> Vec<BuildRule> {
    if rules.iter().all(|rule| rule.source != "generic")
        && let (Ok(project), Ok(tag)) = (Regex::new("^(?<app>.+)$"), Template::parse("$tag", &[]))
    {
        let source = "generic".to_owned();
        rules.push(BuildRule { source, project, app: None, tag, branch: None, workflow: None, triggers: None });
    }
    rules
}

/// What `rules` make of a notice. The first rule that wants it decides.
pub(super) fn read_notice<'a>(
    rules: &[BuildRule],
    known: impl Fn(&str) -> Option<AppName>,
    apps: impl IntoIterator<Item = &'a str>,
    source: &str,
    notice: &Notice,
    at: Timestamp,
) -> BuildMatch {
    let shown = printable(&notice.project, 80);
    if notice.project.len() > LONGEST {
        return BuildMatch::NoRule(format!("the name of the project `{shown}` is too long"));
    }
    let mut filtered = None;
    let mut unknown_app = None;
    for rule in rules.iter().filter(|rule| rule.source == source) {
        let Some(captures) = rule.project.captures(&notice.project) else { continue };
        let name = rule.app.as_ref().map_or_else(|| captures.name("app").map_or("", |app| app.as_str()), AppName::as_str);
        let Some(app) = known(name) else {
            unknown_app.get_or_insert_with(|| name.to_owned());
            continue;
        };
        if let Some(reason) = rule.refuses(notice) {
            filtered.get_or_insert(reason);
            continue;
        }
        return match rule.tag.fill(notice, &captures) {
            Ok(tag) => BuildMatch::Build(Box::new(build(app, tag, source, notice, at))),
            Err(reason) => BuildMatch::Invalid(format!("a build of {app} by the project `{shown}` of {source}: {reason}")),
        };
    }
    match (filtered, unknown_app) {
        (Some(reason), _) => BuildMatch::Filtered(format!("the project `{shown}` of {source}: {reason}")),
        (None, Some(app)) => {
            let hint = did_you_mean(&app, apps);
            let app = printable(&app, 40);
            BuildMatch::NoRule(format!(
                "the project `{shown}` of {source} would be the app `{app}`, which the fleet doesn't have{hint}"
            ))
        }
        (None, None) => BuildMatch::NoRule(format!("no rule of [[builds]] is about the project `{shown}` of {source}")),
    }
}

fn build(app: AppName, tag: Tag, source: &str, notice: &Notice, at: Timestamp) -> Build {
    let line = |text: &Option<String>, limit| text.as_ref().map(|text| printable(text, limit)).filter(|text| !text.is_empty());
    let web = |url: &String| {
        url.len() <= 2000
            && (url.starts_with("https://") || url.starts_with("http://"))
            && *url == printable(url, 2000)
            && !url.contains(' ')
    };
    let pipeline = || {
        let words = [Some(source), Some(notice.project.as_str()), notice.workflow.as_deref()];
        printable(&words.into_iter().flatten().collect::<Vec<_>>().join(" "), 2 * LONGEST)
    };
    Build {
        app,
        tag,
        outcome: notice.outcome,
        number: notice.number.map(|number| BuildNumber { pipeline: pipeline(), number }),
        digest: notice.digest.clone(),
        commit: notice.commit.clone(),
        branch: line(&notice.branch, 200),
        url: notice.url.clone().filter(web),
        author: line(&notice.author, 100),
        message: line(&notice.message, 200),
        seconds: notice.seconds,
        source: source.to_owned(),
        at,
    }
}

impl BuildRule {
    /// Why it doesn't want a notice of its project, if it doesn't.
    fn refuses(&self, notice: &Notice) -> Option<String> {
        match (&self.triggers, notice.trigger.as_deref()) {
            (None, None) => {}
            (None, Some(trigger)) if !is_proposal(trigger) => {}
            (None, Some(trigger)) => {
                return Some(format!("builds for a `{}` don't count unless the rule's `triggers` say so", printable(trigger, 40)));
            }
            (Some(triggers), Some(trigger)) if triggers.iter().any(|known| known == trigger) => {}
            (Some(triggers), trigger) => return Some(unwanted("trigger", trigger, &listed(triggers.iter().map(String::as_str)))),
        }
        let refuses = |wanted: &Option<Regex>, what, given: Option<&str>| {
            let wanted = wanted.as_ref()?;
            let good = given.is_some_and(|text| text.len() <= LONGEST && wanted.is_match(text));
            // Shown without the anchors that were put around it.
            let shown = wanted.as_str().strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(wanted.as_str());
            (!good).then(|| unwanted(what, given, &format!("`{shown}`")))
        };
        refuses(&self.branch, "branch", notice.branch.as_deref())
            .or_else(|| refuses(&self.workflow, "workflow", notice.workflow.as_deref()))
    }
}

/// `pull_request`, `pull_request_target`, `merge_request_event`: what the services call a change that someone proposes.
fn is_proposal(trigger: &str) -> bool {
    trigger.contains("pull_request") || trigger.contains("merge_request")
}

fn unwanted(what: &str, given: Option<&str>, wanted: &str) -> String {
    match given {
        Some(given) => format!("the rule wants the {what} {wanted}, not `{}`", printable(given, 80)),
        None => format!("the rule wants the {what} {wanted}, and it isn't said"),
    }
}

#[cfg(test)]
mod tests;
