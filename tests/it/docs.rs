//! The documents say what the code does.

use shipmate::runbook::{Catalog, Prefix, usage};

const README: &str = include_str!("../../README.md");

/// The README's table of commands, as the runbooks make it.
fn commands() -> String {
    let row = |runbook: &std::sync::Arc<shipmate::runbook::Runbook>| {
        let group = runbook.group.as_ref().map_or("everybody".to_owned(), ToString::to_string);
        format!("| `{}` | {} | {group} |\n", usage(runbook, &Prefix::default()), runbook.summary)
    };
    let rows: String = Catalog::builtin().unwrap().runbooks().map(row).collect();
    format!("| command | does | for |\n|---|---|---|\n{rows}")
}

#[track_caller]
fn readme_has(part: &str) {
    let missing = part.lines().find(|line| !README.contains(*line));
    assert!(README.contains(part), "README.md lacks this (first difference: {missing:?}); put it in:\n{part}");
}

#[test]
fn the_readme_lists_the_commands_that_there_are() {
    readme_has(&commands());
}

#[test]
fn the_readme_lists_the_settings_that_there_are() {
    readme_has(&shipmate::settings::markdown());
}

#[test]
fn the_readme_maps_every_folder_of_the_source() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = format!("  {}/ ", entry.file_name().to_str().unwrap());
            assert!(README.contains(&name), "the README's map lacks `{name}`");
        }
    }
}

#[test]
fn the_readme_keeps_its_order() {
    let headings: Vec<&str> = README.lines().filter(|line| line.starts_with("## ")).collect();
    let order = [
        "## See it work",
        "## Test it",
        "## Your own fleet in 20 lines",
        "## Commands",
        "## Settings",
        "## CI recipes",
        "## Architecture",
        "## Figures",
        "## Limits",
        "## Licence",
    ];
    assert_eq!(headings, order);
}

#[test]
fn the_readme_shows_a_fleet_that_is_valid() {
    let start = README.find("```toml\n").unwrap() + "```toml\n".len();
    let fleet = &README[start..start + README[start..].find("```").unwrap()];
    assert!(fleet.lines().filter(|line| !line.is_empty()).count() <= 20, "it is a fleet in 20 lines");
    shipmate::fleet::Fleet::parse("README.md", fleet).unwrap();
}

#[test]
fn nothing_left_over_from_writing_stands_in_the_readme() {
    assert!(!README.contains("put it in:"), "output of this test was pasted");
    for placeholder in ["@TRANSCRIPT@", "@COMMANDS@", "@SETTINGS@", "@RECIPES@", "@ARCHITECTURE@", "@FIGURES@", "@LIMITS@"] {
        assert!(!README.contains(placeholder), "{placeholder} is left");
    }
}
