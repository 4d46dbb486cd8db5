//! Builds, as they are announced and listed.

use jiff::Timestamp;

use super::{ago, code, line, lines, news, span, table, text};
use crate::chat::{Block, Reply, Tone};
use crate::domain::build::{Build, BuildOutcome};
use crate::domain::names::{AppName, Tag};
use crate::domain::news::News;
use crate::domain::spec::Millis;
use crate::runbook::Prefix;

/// The announcement of a build, with what is new about it.
pub fn announcement(build: &Build, news: &News<Tag>, prefix: &Prefix) -> Reply {
    let (tone, said) = match build.outcome {
        BuildOutcome::Succeeded => (Tone::Good, "is ready"),
        BuildOutcome::Unstable => (Tone::Warning, "is unstable: its tests are not all green"),
        BuildOutcome::Failed => (Tone::Bad, "failed"),
        BuildOutcome::Cancelled => (Tone::Warning, "was cancelled"),
    };
    let mut body: Vec<Block> = lines(origin(build)).collect();
    body.extend(lines(build.url.as_deref().map(text)));
    if build.outcome == BuildOutcome::Succeeded {
        body.push(Block::Line(code(prefix.typed(&format!("deploy {} {}", build.app, build.tag)))));
    }
    let title = format!("{} of {} {said}", build.tag, build.app);
    let title = match (news::of_build(news), build.outcome) {
        (None, _) => title,
        (Some(news), BuildOutcome::Unstable) => format!("{title}, {news}"),
        (Some(news), BuildOutcome::Succeeded | BuildOutcome::Failed | BuildOutcome::Cancelled) => format!("{title}: {news}"),
    };
    Reply { tone, title, body }
}

/// Where a build is from: `main 1a2b3c4d by Anna: Fix the feed (2 min 3 s)`.
fn origin(build: &Build) -> Option<String> {
    let mut said = String::new();
    let mut add = |part: Option<String>| {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            said.push_str(if said.is_empty() { "" } else { " " });
            said.push_str(&part);
        }
    };
    add(build.branch.as_deref().map(text));
    add(build.commit.as_ref().map(|commit| commit.short().to_owned()));
    add(build.author.as_deref().map(|author| format!("by {}", text(author))));
    add(build.message.as_deref().map(|message| format!("“{}”", text(message))));
    add(build.seconds.map(|seconds| format!("({})", span(Millis::seconds(seconds)))));
    (!said.is_empty()).then_some(said)
}

/// The newest builds of an app.
pub fn builds(app: &AppName, builds: &[Build], running: &[String], now: Timestamp) -> Reply {
    if builds.is_empty() {
        let hint = "a build is known once CI has announced it; see the CI recipes of the README";
        return Reply { body: lines([hint]).collect(), ..line(Tone::Info, format!("no build of {app} was announced yet")) };
    }
    let rows = builds.iter().map(|build| {
        let runs = if running.contains(&build.tag.to_string()) { "runs" } else { "" };
        vec![
            build.tag.to_string(),
            build.outcome.to_string(),
            ago(build.at, now),
            runs.to_owned(),
            origin(build).unwrap_or_default(),
        ]
    });
    Reply {
        tone: Tone::Info,
        title: format!("builds of {}", code(app)),
        body: vec![table(&["build", "outcome", "when", "", "from"], rows)],
    }
}
