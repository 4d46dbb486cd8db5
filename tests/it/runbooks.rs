//! Runbook files: the embedded set, and what is said of a folder with mistakes.

use std::fs;
use std::path::Path;

use shipmate::domain::step::{Aim, Step};
use shipmate::runbook::{Catalog, Prefix, Work, usage};

/// Loads a folder with these files; the problems are told without the folder's name.
fn load(files: &[(&str, &str)]) -> Result<Catalog, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in files {
        fs::write(folder.path().join(name), source).unwrap();
    }
    let strip = format!("{}/", folder.path().display());
    Catalog::load(folder.path()).map_err(|problems| problems.to_string().replace(&strip, ""))
}

fn problems(source: &str) -> String {
    load(&[("x.toml", source)]).unwrap_err()
}

#[test]
fn the_embedded_set_is_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("commands");
    assert_eq!(Catalog::builtin().unwrap(), Catalog::load(&folder).unwrap());
}

#[test]
fn the_embedded_set_is_used_like_this() {
    let catalog = Catalog::builtin().unwrap();
    let lines: Vec<String> = catalog.runbooks().map(|runbook| usage(runbook, &Prefix::default())).collect();
    assert_eq!(
        lines,
        [
            "!deploy APP [TAG] [ENVIRONMENT] [--emergency \"WHY\"]",
            "!restart APP [ROLE] [ENVIRONMENT] [--emergency \"WHY\"]",
            "!revert APP [ENVIRONMENT] [TAG] [--emergency \"WHY\"]",
            "!run APP [--env ENVIRONMENT] [--read] COMMAND...",
            "!approvals",
            "!approve [CODE]",
            "!apps",
            "!builds APP",
            "!can PERSON COMMAND APP [ENVIRONMENT]",
            "!cancel [DEPLOYMENT]",
            "!freeze APP [ENVIRONMENT]",
            "!help [COMMAND]",
            "!history APP [N]",
            "!keep [DEPLOYMENT]",
            "!link [CODE]",
            "!lock APP [ENVIRONMENT] [DURATION] REASON",
            "!locks",
            "!logs APP [ROLE] [ENVIRONMENT] [N]",
            "!plan APP [TAG] [ENVIRONMENT]",
            "!queue [APP] [ENVIRONMENT]",
            "!reject [CODE]",
            "!retry [DEPLOYMENT]",
            "!show DEPLOYMENT",
            "!skip [DEPLOYMENT]",
            "!status [APP]",
            "!undo [DEPLOYMENT]",
            "!unlink ACCOUNT",
            "!unlock APP [ENVIRONMENT]",
            "!why DEPLOYMENT",
        ]
    );
}

#[test]
fn the_acting_commands_have_their_steps_and_a_group() {
    let catalog = Catalog::builtin().unwrap();
    let deploy = [Step::Preflight {}, Step::Pull {}, Step::Tasks {}, Step::Switch {}, Step::Record {}, Step::Prune {}];
    let expected = [
        ("deploy", Aim::Build, deploy.to_vec()),
        ("restart", Aim::Current, vec![Step::Preflight {}, Step::Restart {}]),
        ("revert", Aim::Previous, deploy[..5].to_vec()),
        ("run", Aim::Current, vec![Step::Preflight {}, Step::Run {}]),
    ];
    for (name, aim, steps) in expected {
        let runbook = catalog.get(&name.parse().unwrap()).unwrap();
        assert_eq!(runbook.work, Work::Steps { aim, steps }, "{name}");
        assert_eq!(runbook.group.as_ref().unwrap().as_str(), "deployers", "{name}");
    }
}

#[test]
fn a_folder_replaces_the_whole_set_and_other_files_in_it_do_not_matter() {
    let catalog = load(&[("apps.toml", "summary = 'List'\naction = 'apps'\n"), ("README.md", "# Ours\n")]).unwrap();
    assert_eq!(catalog.runbooks().count(), 1);
}

#[test]
fn a_pause_and_a_single_task_are_steps_too() {
    let source = "
        summary = 'Migrate, slowly'
        group = 'deployers'
        aim = 'current'
        argument = [{ name = 'app', type = 'app', help = 'The app' }]
        [[step]]
        do = 'wait'
        span = '1m 30s'
        [[step]]
        do = 'task'
        name = 'migrate'";
    let catalog = load(&[("migrate.toml", source)]).unwrap();
    let Work::Steps { steps, .. } = &catalog.runbooks().next().unwrap().work else { panic!() };
    let wait = Step::Wait { span: shipmate::domain::spec::Millis(90_000) };
    assert_eq!(steps, &[wait, Step::Task { name: "migrate".parse().unwrap() }]);
}

#[test]
fn all_problems_of_all_files_are_told_at_once_with_line_and_nearest_name() {
    let deploy = "\
sumary = 'Bring it'
group = 'De ployers'
aim = 'biuld'

[[argument]]
name = 'app'
type = 'ap'
help = 'The app'

[[argument]]
name = 'Tag'
type = 'tag'
optional = 'yes'

[[step]]
do = 'swich'

[[step]]
do = 'task'

[[step]]
do = 'wait'
span = 5
";
    let told =
        load(&[("deploy.toml", deploy), ("Broken Name.toml", "summary = 'x'\naction = 'hepl'\n"), ("not.toml", "summary =")]);
    assert_eq!(
        told.unwrap_err(),
        "\
Broken Name.toml: the file's name is the command's: use up to 32 of a-z, 0-9, `-`, `_`, a letter first
Broken Name.toml:2: unknown action `hepl`; did you mean `help`?
deploy.toml: `summary` is missing
deploy.toml:1: unknown key of a runbook `sumary`; did you mean `summary`?
deploy.toml:2: `De ployers` is not a group name: use up to 63 of a-z, 0-9, `_`, `.`, `-`, a letter or digit first
deploy.toml:3: unknown aim `biuld`; did you mean `build`?
deploy.toml:7: unknown type `ap`; did you mean `app`?
deploy.toml:10: `help` is missing
deploy.toml:11: an argument's name has up to 32 of a-z, 0-9, `-`, a letter first
deploy.toml:13: `optional` is `true` or `false`
deploy.toml:16: unknown step `swich`; did you mean `switch`?
deploy.toml:18: `name` is missing
deploy.toml:23: `span` is a text, in quotes
not.toml:1: not TOML: string values must be quoted, expected literal string"
    );
}

#[test]
fn action_and_steps_exclude_each_other() {
    let app = "argument = [{ name = 'app', type = 'app', help = 'The app' }]";
    assert_eq!(
        problems("summary = 'x'\naction = 'apps'\n[[step]]\ndo = 'pull'"),
        "x.toml:2: a runbook has either an `action` or an `aim` with steps, not both"
    );
    assert_eq!(problems("summary = 'x'"), "x.toml: nothing to do: give an `action`, or an `aim` and at least one `[[step]]`");
    assert_eq!(problems("summary = 'x'\naim = 'build'"), "x.toml:2: an `aim` needs at least one `[[step]]`");
    assert_eq!(
        problems(&format!("summary = 'x'\n{app}\n[[step]]\ndo = 'pull'")),
        "x.toml: steps need an `aim`: `build`, `previous` or `current`"
    );
}

#[test]
fn a_key_below_the_first_table_is_told_where_it_belongs() {
    let told =
        problems("summary = 'x'\n[[argument]]\nname = 'app'\ntype = 'app'\nhelp = 'x'\naim = 'build'\n[[step]]\ndo = 'pull'");
    assert_eq!(told, "x.toml: steps need an `aim`: `build`, `previous` or `current`\nx.toml:6: `aim` belongs above the first `[[`");
}

#[test]
fn arguments_that_could_not_be_told_apart_are_refused() {
    let arguments = |list: &[(&str, &str)]| {
        let tables: String = list.iter().map(|(n, t)| format!("[[argument]]\nname = '{n}'\ntype = '{t}'\nhelp = 'x'\n")).collect();
        problems(&format!("summary = 'x'\ngroup = 'g'\naim = 'current'\n{tables}[[step]]\ndo = 'run'\n"))
    };
    assert_eq!(arguments(&[("app", "app"), ("app", "words")]), "x.toml: two arguments are called `app`");
    assert_eq!(arguments(&[("app", "app"), ("b", "app"), ("c", "words")]), "x.toml: two arguments are of type `app`");
    assert_eq!(
        arguments(&[("app", "app"), ("c", "words"), ("role", "role")]),
        "x.toml: `c` takes the rest of the line, so it has to be the last argument"
    );
    assert_eq!(
        arguments(&[("role", "role"), ("app", "app"), ("c", "words")]),
        "x.toml: `role` needs an argument of type `app` before it"
    );
    assert_eq!(arguments(&[("app", "app"), ("force", "flag"), ("c", "words")]), "x.toml:9: unknown flag `force`; there is `read`");
}

#[test]
fn an_argument_that_nobody_would_heed_is_refused_and_one_that_is_needed_demanded() {
    assert_eq!(
        problems("summary = 'x'\naction = 'show'\nargument = [{ name = 'app', type = 'app', help = 'x' }]"),
        "x.toml: the action `show` has no use for `app`, an argument of type `app`\n\
         x.toml: the action `show` needs an argument of type `deployment` that isn't optional"
    );
    assert_eq!(
        problems("summary = 'x'\ngroup = 'g'\naim = 'current'\n[[step]]\ndo = 'run'"),
        "x.toml: a runbook with these steps needs an argument of type `app` that isn't optional\n\
         x.toml: a runbook with these steps needs an argument of type `words` that isn't optional"
    );
}

#[test]
fn a_command_that_acts_must_say_for_whom_it_is() {
    let source = "summary = 'x'\naim = 'build'\nargument = [{ name = 'app', type = 'app', help = 'x' }]\n[[step]]\ndo = 'pull'";
    assert_eq!(problems(source), "x.toml: a command that acts on hosts needs a `group`: who may use it");
}

#[test]
fn a_folder_without_commands_or_without_existence_is_told() {
    assert!(load(&[]).unwrap_err().ends_with(": no commands here: it takes one NAME.toml for each"));
    let told = Catalog::load(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(told.starts_with("/nowhere/at/all: can't be read: "), "{told}");
}
