//! The rules of the house, held by reading the source: who may import whom, and what may stand nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `src`, as (path from the root, text without comments and without its `mod tests`).
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    assert!(files.len() > 40, "the walk finds the sources");
    files
}

fn walk(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            // A file of tests belongs to the `mod tests` that names it.
            if !name.ends_with("/tests.rs") && !name.contains("/tests/") {
                files.push((name, product(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
}

/// The text without comments, and without everything from the `mod tests` on, which is the last in a file.
fn product(text: &str) -> String {
    let starts =
        ["mod tests", "pub mod tests", "pub(super) mod tests", "pub(crate) mod tests"].map(|name| format!("#[cfg(test)]\n{name}"));
    let tests = starts.iter().filter_map(|start| text.find(start)).min();
    let text = &text[..tests.unwrap_or(text.len())];
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Fails with every file that has one of `words` and isn't below one of `allowed`.
#[track_caller]
fn only_in(words: &[&str], allowed: &[&str]) {
    let strays: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| !allowed.iter().any(|place| name.starts_with(place)))
        .filter_map(|(name, text)| words.iter().find(|word| text.contains(**word)).map(|word| format!("{name} has `{word}`")))
        .collect();
    assert!(strays.is_empty(), "only {allowed:?} may have this:\n{}", strays.join("\n"));
}

/// Fails with every file below `place` that has one of `words`.
#[track_caller]
fn never_in(place: &str, words: &[&str]) {
    let here: Vec<_> = sources().into_iter().filter(|(name, _)| name.starts_with(place)).collect();
    assert!(!here.is_empty(), "there is something at {place}");
    let strays: Vec<String> = here
        .into_iter()
        .filter_map(|(name, text)| words.iter().find(|word| text.contains(**word)).map(|word| format!("{name} has `{word}`")))
        .collect();
    assert!(strays.is_empty(), "{place} may not have this:\n{}", strays.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let outer = ["engine", "chat", "builds", "store", "pipeline", "bot", "http", "fleet", "runbook", "settings", "cli"];
    let imports: Vec<String> = outer.iter().map(|module| format!("crate::{module}")).collect();
    let mut words: Vec<&str> = imports.iter().map(String::as_str).collect();
    words.extend(["tokio", "async fn", "Timestamp::now", "SystemTime", "Instant::now", "std::fs", "std::net", "std::env"]);
    never_in("src/domain", &words);
}

#[test]
fn each_outside_library_has_one_room() {
    only_in(&["openssh::", "bollard::"], &["src/engine/"]);
    only_in(&["sled::"], &["src/store/"]);
    only_in(&["axum::"], &["src/http/"]);
    only_in(&["serenity::"], &["src/chat/discord"]);
    only_in(&["matrix_sdk::"], &["src/chat/matrix"]);
    only_in(&["clap::"], &["src/cli/"]);
    only_in(&["nix::unistd"], &["src/chat/local"]);
}

/// The names of all that a build with these features depends on.
fn needs(features: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let told = std::process::Command::new(env!("CARGO")).args(tree).args(features).current_dir(root()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let text = String::from_utf8(told.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_build_without_a_chat_has_nothing_that_only_that_chat_needs() {
    let discord = ["serenity"];
    let matrix = ["matrix-sdk", "ruma", "vodozemac", "rusqlite", "libsqlite3-sys"];
    let has = |needed: &BTreeSet<String>, names: &[&str]| names.iter().filter(|name| needed.contains(**name)).count();
    for (features, chats) in [
        (&[] as &[&str], [true, true]),
        (&["--no-default-features"], [false, false]),
        (&["--no-default-features", "--features", "discord"], [true, false]),
        (&["--no-default-features", "--features", "matrix"], [false, true]),
    ] {
        let needed = needs(features);
        assert!(needed.contains("tokio"), "{needed:?}");
        let expected = [if chats[0] { discord.len() } else { 0 }, if chats[1] { matrix.len() } else { 0 }];
        assert_eq!([has(&needed, &discord), has(&needed, &matrix)], expected, "{features:?}");
    }
}

#[test]
fn adapters_know_neither_each_other_nor_those_who_use_them() {
    let users = ["crate::bot", "crate::pipeline", "crate::cli"];
    for adapters in ["src/engine", "src/chat", "src/builds", "src/store", "src/http", "src/fleet", "src/runbook"] {
        never_in(adapters, &users);
    }
    for (place, others) in [
        ("src/engine", ["crate::chat", "crate::builds", "crate::store", "crate::http"]),
        ("src/store", ["crate::chat", "crate::builds", "crate::engine", "crate::http"]),
        ("src/chat", ["crate::store", "crate::builds", "crate::engine", "crate::http"]),
        ("src/builds", ["crate::chat", "crate::store", "crate::engine", "crate::http"]),
    ] {
        never_in(place, &others);
    }
    never_in("src/pipeline", &["crate::bot", "crate::chat", "crate::http", "crate::cli"]);
}

#[test]
fn only_next_moves_a_deployment() {
    only_in(&[".phase = ", "Step::Started {\n", "DeploymentState {\n"], &["src/domain/deployment/"]);
}

#[test]
fn only_access_and_the_lock_make_their_proofs() {
    only_in(&["Authorized {"], &["src/bot/access.rs"]);
    only_in(&["DeployLock {"], &["src/pipeline/lock.rs"]);
}

#[test]
fn only_the_runner_and_the_unwinder_act() {
    // The watch after a deployment only asks: it applies health checks, which change nothing.
    only_in(&["engine.apply(", "engine.undo("], &["src/pipeline/run.rs", "src/pipeline/unwind.rs", "src/pipeline/bake.rs"]);
    let bake = fs::read_to_string(root().join("src/pipeline/bake.rs")).unwrap();
    assert!(bake.matches("Action::").count() == 1 && bake.contains("Action::Healthy {"), "bake.rs applies health checks only");
    // And both write the intent first: the call that acts stands below the one that notes the start.
    for (file, intent, act) in
        [("run.rs", "Event::ActionStarted", "engine.apply("), ("unwind.rs", "Event::UndoStarted", "engine.undo(")]
    {
        let text = fs::read_to_string(root().join("src/pipeline").join(file)).unwrap();
        assert!(text.find(intent).unwrap() < text.find(act).unwrap(), "{file} notes the intent before it acts");
    }
}

#[test]
fn people_read_what_the_views_wrote() {
    // Outside the views a reply is made from parts that views, help or a user-facing error gave.
    for place in [
        "src/bot/rooms.rs",
        "src/bot/listen.rs",
        "src/bot/reactions.rs",
        "src/bot/gate/",
        "src/bot/votes.rs",
        "src/bot/bake.rs",
        "src/bot/drift.rs",
        "src/bot/shown.rs",
    ] {
        never_in(place, &["title: format!", "Block::"]);
    }
}

#[test]
fn nothing_panics_on_purpose_and_tests_stay_in_their_module() {
    only_in(&[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "cfg(test)", "cfg(not(test))"], &[]);
}

#[test]
fn the_time_is_an_argument() {
    // An engine judges the age of what a host made; a store that is set aside has the time in its name.
    only_in(&["Timestamp::now"], &["src/clock.rs", "src/cli/", "src/engine/ssh/", "src/store/recovery.rs"]);
}

#[test]
fn files_are_short_or_say_why_not() {
    for (name, text) in sources() {
        let whole = fs::read_to_string(root().join(&name)).unwrap();
        let docs = whole.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join(" ");
        assert!(!docs.is_empty(), "{name} opens with what it is for");
        let lines = text.lines().count();
        assert!(
            lines <= 420 || docs.contains("long"),
            "{name} has {lines} lines; split it, or say in its module doc why it is long"
        );
    }
}
