//! The help, generated from the runbooks, so it can't promise what the bot doesn't do.

use super::{Argument, Catalog, Flag, Kind, MAX_COUNT, Prefix, Runbook, Work, usage};
use crate::chat::{Block, Reply, Tone};
use crate::domain::step::{Aim, Step};

/// All commands that the reader may use.
pub fn commands(catalog: &Catalog, prefix: &Prefix, may: impl Fn(&Runbook) -> bool) -> Reply {
    let rows: Vec<Vec<String>> = catalog
        .runbooks()
        .filter(|runbook| may(runbook))
        .map(|runbook| vec![usage(runbook, prefix), runbook.summary.clone()])
        .collect();
    let mut body = vec![Block::Table { header: vec!["command".to_owned(), "what it does".to_owned()], rows }];
    if let Some(help) = catalog.find("help") {
        body.push(Block::Line(format!("`{} COMMAND` explains one.", prefix.typed(help.name.as_str()))));
    }
    Reply { tone: Tone::Info, title: "What I understand".to_owned(), body }
}

/// One command: usage, arguments, who may, what it does step by step.
pub fn command(runbook: &Runbook, prefix: &Prefix) -> Reply {
    let mut body = vec![Block::Line(format!("Usage: `{}`", usage(runbook, prefix)))];
    if !runbook.arguments.is_empty() {
        let rows = runbook.arguments.iter().map(|argument| vec![argument.shown(), argument.help.clone(), form(argument)]).collect();
        body.push(Block::Table { header: ["argument", "meaning", "form"].map(str::to_owned).to_vec(), rows });
    }
    if let Work::Steps { aim, steps } = &runbook.work {
        body.push(Block::Line(format!("{}:", aim_in_words(*aim))));
        body.extend(steps.iter().zip(1..).map(|(step, number)| Block::Line(format!("{number}. {}", step_in_words(step)))));
    }
    body.push(Block::Line(match &runbook.group {
        Some(group) => format!("For people in `{group}`."),
        None => "For everybody in the fleet file.".to_owned(),
    }));
    Reply { tone: Tone::Info, title: format!("{}: {}", prefix.typed(runbook.name.as_str()), runbook.summary), body }
}

fn form(argument: &Argument) -> String {
    match argument.kind {
        Kind::App => "an app of the fleet".to_owned(),
        Kind::Environment => "an environment of the app".to_owned(),
        Kind::Role => "a role of the app".to_owned(),
        Kind::Tag => "a tag, `build-42`".to_owned(),
        Kind::Deployment => "a number, `42` or `#42`".to_owned(),
        Kind::Count => format!("1 to {MAX_COUNT}"),
        Kind::Command => "a command".to_owned(),
        Kind::Duration => "a span of time, `2h` or `3d`".to_owned(),
        Kind::Word => "a word, or several in quotes".to_owned(),
        Kind::Person => "a person of the fleet".to_owned(),
        Kind::Words => "the rest of the line".to_owned(),
        Kind::Text => "the rest of the line".to_owned(),
        Kind::Flag => match Flag::from_word(&argument.name) {
            Some(Flag::Read) | None => "given or not".to_owned(),
        },
    }
}

fn aim_in_words(aim: Aim) -> &'static str {
    match aim {
        Aim::Build => "With the typed tag, or the newest good build",
        Aim::Previous => "With the last release that ended well before the one that runs",
        Aim::Current => "With the release that runs",
    }
}

fn step_in_words(step: &Step) -> String {
    match step {
        Step::Preflight {} => "Make sure that every host answers, has an engine and the space".to_owned(),
        Step::Pull {} => "Bring the image to every host".to_owned(),
        Step::Tasks {} => "Run the environment's tasks, once each, before anything is switched".to_owned(),
        Step::Task { name } => format!("Run the task `{name}` once"),
        Step::Switch {} => "Switch over, role by role and host by host, each healthy before the next".to_owned(),
        Step::Restart {} => "Stop and start, role by role and host by host, each healthy before the next".to_owned(),
        Step::Run {} => "Run the typed command once".to_owned(),
        Step::Record {} => "Write TAG and REVERT".to_owned(),
        Step::Wait { span } => format!("Wait {span}"),
        Step::Prune {} => "Remove what nobody goes back to".to_owned(),
    }
}
