//! From a chat line to an invocation, or to the one line that says why not.

use proptest::prelude::*;
use shipmate::chat::{Block, Reply};
use shipmate::domain::names::{AppName, EnvironmentName, PersonName, RoleName, is_invisible};
use shipmate::runbook::{Catalog, Flag, Invocation, Parsed, Prefix, Vocabulary, help};

struct Fleet;

impl Vocabulary for Fleet {
    fn apps(&self) -> Vec<AppName> {
        ["antisocial", "blog"].iter().map(|name| name.parse().unwrap()).collect()
    }

    fn environments(&self, app: &AppName) -> Vec<EnvironmentName> {
        let names: &[&str] = if app.as_str() == "blog" { &["production"] } else { &["production", "staging"] };
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn roles(&self, _: &AppName, environment: Option<&EnvironmentName>) -> Vec<RoleName> {
        let staging = environment.is_some_and(|environment| environment.as_str() == "staging");
        let names: &[&str] = if staging { &["web", "worker"] } else { &["web", "worker", "beat"] };
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn people(&self) -> Vec<PersonName> {
        ["anna", "berta"].iter().map(|name| name.parse().unwrap()).collect()
    }
}

fn parse(line: &str) -> Parsed {
    Catalog::builtin().unwrap().parse(line, &Prefix::default(), &Fleet)
}

fn good(line: &str) -> Invocation {
    match parse(line) {
        Parsed::Invocation(invocation) => *invocation,
        other => panic!("{line}: {other:?}"),
    }
}

/// The invocation in short: its command, then what was given.
fn short(line: &str) -> String {
    fn part(list: &mut Vec<String>, name: &str, value: Option<impl ToString>) {
        list.extend(value.map(|value| format!("{name}={}", value.to_string())));
    }
    let given = good(line);
    let mut list = vec![given.runbook.name.to_string()];
    part(&mut list, "app", given.app);
    part(&mut list, "environment", given.environment);
    part(&mut list, "role", given.role);
    part(&mut list, "tag", given.tag);
    part(&mut list, "deployment", given.deployment);
    part(&mut list, "count", given.count);
    part(&mut list, "command", given.command);
    part(&mut list, "person", given.person);
    part(&mut list, "text", given.text);
    part(&mut list, "words", Some(given.words).filter(|words| !words.is_empty()).map(|words| format!("{words:?}")));
    list.extend(given.flags.iter().map(|flag| flag.word().to_owned()));
    list.join(" ")
}

fn error(line: &str) -> String {
    match parse(line) {
        Parsed::Error(error) => error.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn each_command_of_the_set_is_understood() {
    for (line, expected) in [
        ("!deploy antisocial", "deploy app=antisocial"),
        ("!deploy antisocial build-42", "deploy app=antisocial tag=build-42"),
        ("!deploy antisocial build-42 staging", "deploy app=antisocial environment=staging tag=build-42"),
        ("!revert antisocial", "revert app=antisocial"),
        ("!revert antisocial staging build-41", "revert app=antisocial environment=staging tag=build-41"),
        ("!plan antisocial build-42 production", "plan app=antisocial environment=production tag=build-42"),
        ("!restart antisocial", "restart app=antisocial"),
        ("!restart antisocial web", "restart app=antisocial role=web"),
        ("!run antisocial manage clearsessions", r#"run app=antisocial words=["manage", "clearsessions"]"#),
        ("!status", "status"),
        ("!status blog", "status app=blog"),
        ("!history antisocial 5", "history app=antisocial count=5"),
        ("!show #42", "show deployment=#42"),
        ("!show 42", "show deployment=#42"),
        ("!builds antisocial", "builds app=antisocial"),
        ("!apps", "apps"),
        ("!logs antisocial", "logs app=antisocial"),
        ("!logs antisocial web staging 50", "logs app=antisocial environment=staging role=web count=50"),
        ("!cancel", "cancel"),
        ("!cancel #7", "cancel deployment=#7"),
        ("!help", "help"),
        ("!help deploy", "help command=deploy"),
        ("!help !deploy", "help command=deploy"),
        ("!can Berta deploy antisocial", "can app=antisocial command=deploy person=berta"),
        ("!can berta !deploy antisocial staging", "can app=antisocial environment=staging command=deploy person=berta"),
    ] {
        assert_eq!(short(line), expected, "{line}");
    }
}

#[test]
fn a_word_that_names_an_environment_of_the_app_is_the_environment_wherever_it_stands() {
    assert_eq!(short("!deploy antisocial staging"), "deploy app=antisocial environment=staging");
    assert_eq!(short("!deploy antisocial staging build-42"), "deploy app=antisocial environment=staging tag=build-42");
    assert_eq!(short("!revert antisocial build-41"), "revert app=antisocial tag=build-41");
    assert_eq!(short("!revert antisocial build-41 staging"), "revert app=antisocial environment=staging tag=build-41");
    // The blog has no staging, so there it can only be a tag.
    assert_eq!(short("!deploy blog staging"), "deploy app=blog tag=staging");
}

#[test]
fn roles_environments_and_numbers_find_their_place() {
    assert_eq!(short("!logs antisocial 50"), "logs app=antisocial count=50");
    assert_eq!(short("!logs antisocial 50 web"), "logs app=antisocial role=web count=50");
    assert_eq!(short("!restart antisocial staging web"), "restart app=antisocial environment=staging role=web");
}

#[test]
fn every_argument_can_be_given_by_its_name() {
    assert_eq!(short("!deploy antisocial --tag staging"), "deploy app=antisocial tag=staging");
    assert_eq!(
        short("!deploy --environment=staging --tag=build-42 antisocial"),
        "deploy app=antisocial environment=staging tag=build-42"
    );
    assert_eq!(short("!deploy --app antisocial build-42"), "deploy app=antisocial tag=build-42");
}

#[test]
fn run_takes_its_options_before_the_command_and_the_rest_as_it_is() {
    assert_eq!(
        short("!run antisocial --read manage check --deploy"),
        r#"run app=antisocial words=["manage", "check", "--deploy"] read"#
    );
    assert_eq!(short("!run --env staging antisocial date"), r#"run app=antisocial environment=staging words=["date"]"#);
    assert_eq!(short("!run antisocial --environment staging date"), r#"run app=antisocial environment=staging words=["date"]"#);
    assert_eq!(short("!run antisocial staging"), r#"run app=antisocial words=["staging"]"#);
    assert_eq!(short("!run antisocial -- --version --read"), r#"run app=antisocial words=["--version", "--read"]"#);
    assert_eq!(
        short("!run antisocial sh -c 'echo \"$HOME\"; ls'"),
        r#"run app=antisocial words=["sh", "-c", "echo \"$HOME\"; ls"]"#
    );
    assert!(good("!run antisocial —read date").flags.contains(&Flag::Read));
}

#[test]
fn case_backticks_and_quotes_are_forgiven_but_tags_keep_their_case() {
    for line in [
        "!DEPLOY Antisocial STAGING",
        "`!deploy antisocial staging`",
        "!deploy `antisocial` \"staging\"",
        "  !deploy  antisocial\tstaging \n",
    ] {
        assert_eq!(short(line), "deploy app=antisocial environment=staging", "{line}");
    }
    assert_eq!(short("!deploy antisocial RC-1"), "deploy app=antisocial tag=RC-1");
}

#[test]
fn errors_are_one_line_with_what_the_nearest_name_and_the_usage() {
    let deploy = "Usage: `!deploy APP [TAG] [ENVIRONMENT] [--emergency \"WHY\"]`";
    for (line, expected) in [
        ("!deplyo antisocial", "no command `deplyo`; did you mean `!deploy`?".to_owned()),
        ("!launch antisocial", "no command `launch`; `!help` lists them".to_owned()),
        ("!deploy antisocal", format!("no app `antisocal`; did you mean `antisocial`? {deploy}")),
        ("!deploy wordpress", format!("no app `wordpress`; there is `antisocial`, `blog`. {deploy}")),
        ("!deploy", format!("APP is missing. {deploy}")),
        ("!deploy antisocial a b c", format!("no environment `b`; there is `production`, `staging`. {deploy}")),
        ("!deploy antisocial a stagin", format!("no environment `stagin`; did you mean `staging`? {deploy}")),
        ("!deploy antisocial a staging c", format!("nothing more is expected at `c`. {deploy}")),
        ("!deploy antisocial --tga x", format!("no option `--tga`; did you mean `--tag`? {deploy}")),
        ("!deploy antisocial --tag", format!("`--tag` needs a value. {deploy}")),
        ("!deploy antisocial a --tag b", format!("`tag` is given twice. {deploy}")),
        ("!deploy antisocial \"build 42", "a quote (\") isn't closed".to_owned()),
        ("!deploy --environment staging", format!("name the app first. {deploy}")),
        ("!restart antisocial wev", "no role or environment `wev`; did you mean `web`? Usage: `!restart APP [ROLE] [ENVIRONMENT] [--emergency \"WHY\"]`".to_owned()),
        ("!restart antisocial beat staging", "no role `beat` in `staging`; there is `web`, `worker`. Usage: `!restart APP [ROLE] [ENVIRONMENT] [--emergency \"WHY\"]`".to_owned()),
        ("!show build-42", "`build-42` is not a deployment: it is a number such as 42 or #42. Usage: `!show DEPLOYMENT`".to_owned()),
        ("!history antisocial 0", "`0` is not a number from 1 to 1000. Usage: `!history APP [N]`".to_owned()),
        ("!run antisocial", "COMMAND is missing. Usage: `!run APP [--env ENVIRONMENT] [--read] COMMAND...`".to_owned()),
        ("!run antisocial ''", "COMMAND is missing. Usage: `!run APP [--env ENVIRONMENT] [--read] COMMAND...`".to_owned()),
        ("!run antisocial --version", "no option `--version`; put `--` before a command that begins with dashes. Usage: `!run APP [--env ENVIRONMENT] [--read] COMMAND...`".to_owned()),
        ("!run antisocial --read=no date", "`--read` takes no value. Usage: `!run APP [--env ENVIRONMENT] [--read] COMMAND...`".to_owned()),
        ("!apps please", "nothing more is expected at `please`. Usage: `!apps`".to_owned()),
        ("!can bert deploy blog", "no person `bert`; did you mean `berta`? Usage: `!can PERSON COMMAND APP [ENVIRONMENT]`".to_owned()),
        ("!can zoe deploy blog", "no person `zoe`; there is `anna`, `berta`. Usage: `!can PERSON COMMAND APP [ENVIRONMENT]`".to_owned()),
        ("!can anna deploy", "APP is missing. Usage: `!can PERSON COMMAND APP [ENVIRONMENT]`".to_owned()),
        ("!help dploy", "no command `dploy`; did you mean `deploy`? Usage: `!help [COMMAND]`".to_owned()),
    ] {
        assert_eq!(error(line), expected, "{line}");
    }
}

#[test]
fn what_could_hurt_is_refused_and_never_echoed_raw() {
    let tag = "is not a tag: use up to 128 of A-Z, a-z, 0-9, `_`, `.`, `-`, and neither `.` nor `-` first. Usage: `!deploy APP [TAG] [ENVIRONMENT] [--emergency \"WHY\"]`";
    for (line, expected) in [
        ("!deploy antisocial 'x; touch pwned'".to_owned(), format!("`x; touch pwned` {tag}")),
        ("!deploy antisocial x; touch pwned".to_owned(), format!("`x;` {tag}")),
        ("!deploy antisocial $(reboot)".to_owned(), format!("`$(reboot)` {tag}")),
        ("!deploy antisocial x`reboot`y".to_owned(), format!("`x'reboot'y` {tag}")),
        ("!deploy antisocial -rf".to_owned(), format!("`-rf` {tag}")),
        (format!("!deploy antisocial {}", "x".repeat(200)), format!("`{}…` {tag}", "x".repeat(40))),
        ("!deploy antisocial build-42\nrm -rf /".to_owned(), "a command is a single line".to_owned()),
        (
            format!("!deploy antisocial {}", "x".repeat(10_000)),
            "a command has at most 2000 characters, and this one has 10018".to_owned(),
        ),
        (
            "!deploy antisocial \u{202e}42-dliub".to_owned(),
            "a command has no control or invisible characters, and this one has U+202E".to_owned(),
        ),
        (
            "!deploy antisocial \x1b[2J".to_owned(),
            "a command has no control or invisible characters, and this one has U+001B".to_owned(),
        ),
    ] {
        assert_eq!(error(&line), expected, "{line:?}");
    }
}

#[test]
fn talk_quotes_and_code_blocks_are_no_commands() {
    for line in [
        "",
        "!",
        "!!",
        "!?",
        "hello",
        "please !deploy antisocial",
        "> !deploy antisocial",
        "```\n!deploy antisocial\n```",
        "! deploy antisocial",
    ] {
        assert_eq!(parse(line), Parsed::NotACommand, "{line}");
    }
}

#[test]
fn a_slash_command_gives_its_values_by_name() {
    let catalog = Catalog::builtin().unwrap();
    let invoke = |command: &str, values: &[(&str, &str)]| {
        let values: Vec<(String, String)> = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        catalog.invoke(command, &values, &"/".parse().unwrap(), &Fleet)
    };
    let run = invoke("run", &[("command", "manage 'a b'"), ("read", "true"), ("env", "staging"), ("app", "antisocial")]).unwrap();
    assert_eq!((run.words, run.flags.len()), (vec!["manage".to_owned(), "a b".to_owned()], 1));
    assert_eq!(run.environment.unwrap().as_str(), "staging");
    assert!(invoke("run", &[("app", "blog"), ("read", "false"), ("command", "date")]).unwrap().flags.is_empty());
    let told = |command: &str, values: &[(&str, &str)]| invoke(command, values).unwrap_err().to_string();
    assert_eq!(
        told("deploy", &[("app", "blogg")]),
        "no app `blogg`; did you mean `blog`? Usage: `/deploy APP [TAG] [ENVIRONMENT] [--emergency \"WHY\"]`"
    );
    assert_eq!(told("deploy", &[]), "APP is missing. Usage: `/deploy APP [TAG] [ENVIRONMENT] [--emergency \"WHY\"]`");
    assert!(told("deploy", &[("app", "blog"), ("tag", "x\ny")]).starts_with("a command has no control or invisible characters"));
}

#[test]
fn help_lists_only_what_the_reader_may_use() {
    let catalog = Catalog::builtin().unwrap();
    let Reply { title, body, .. } = help::commands(&catalog, &Prefix::default(), |runbook| runbook.group.is_none());
    let [Block::Table { rows, .. }, Block::Line(hint)] = body.as_slice() else { panic!("{body:?}") };
    assert_eq!(title, "What I understand");
    assert_eq!(rows[0], ["!approvals", "List what waits for votes"]);
    assert!(rows.iter().all(|row| !row[0].starts_with("!deploy")));
    assert_eq!(hint, "`!help COMMAND` explains one.");
}

#[test]
fn help_explains_a_command_in_words() {
    let catalog = Catalog::builtin().unwrap();
    let reply = help::command(&good("!run antisocial date").runbook, &Prefix::default());
    assert_eq!(reply.title, "!run: Run a command once, in the image that runs");
    let table = Block::Table {
        header: ["argument", "meaning", "form"].map(str::to_owned).to_vec(),
        rows: vec![
            ["APP", "The app", "an app of the fleet"].map(str::to_owned).to_vec(),
            ["[--env ENVIRONMENT]", "Where; left out: the app's usual environment", "an environment of the app"]
                .map(str::to_owned)
                .to_vec(),
            ["[--read]", "It only reads, so it need not wait for a deployment", "given or not"].map(str::to_owned).to_vec(),
            ["COMMAND...", "What to run, with its arguments", "the rest of the line"].map(str::to_owned).to_vec(),
        ],
    };
    let line = |text: &str| Block::Line(text.to_owned());
    assert_eq!(
        reply.body,
        [
            line("Usage: `!run APP [--env ENVIRONMENT] [--read] COMMAND...`"),
            table,
            line("With the release that runs:"),
            line("1. Make sure that every host answers, has an engine and the space"),
            line("2. Run the typed command once"),
            line("For people in `deployers`."),
        ]
    );
    assert!(catalog.runbooks().all(|runbook| !help::command(runbook, &Prefix::default()).body.is_empty()));
}

/// Lines that look like commands more often than chance would have it.
fn lines() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("antisocial".to_owned()),
        Just("blog".to_owned()),
        Just("staging".to_owned()),
        Just("production".to_owned()),
        Just("web".to_owned()),
        Just("beat".to_owned()),
        Just("--env".to_owned()),
        Just("--tag=x".to_owned()),
        Just("--read".to_owned()),
        Just("--".to_owned()),
        Just("#42".to_owned()),
        "[a-z0-9\"'`=-]{0,8}",
        any::<String>(),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "deploy", "revert", "restart", "run", "plan", "logs", "history", "show", "status", "help", "cancel", "can"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    (name, proptest::collection::vec(word, 0..6)).prop_map(|(name, words)| format!("!{name} {}", words.join(" ")))
}

proptest! {
    #[test]
    fn no_line_panics_and_what_comes_out_is_always_valid(line in lines()) {
        match parse(&line) {
            Parsed::NotACommand => {}
            Parsed::Error(error) => {
                let text = error.to_string();
                prop_assert!(!text.contains(|c: char| c.is_control() || is_invisible(c)), "{text:?}");
                prop_assert!(text.matches('`').count() % 2 == 0, "{text:?}");
                prop_assert!(text.chars().count() < 500, "{text:?}");
            }
            Parsed::Invocation(given) => {
                let app = given.app.as_ref();
                prop_assert!(app.is_none_or(|app| Fleet.apps().contains(app)));
                if let Some(environment) = &given.environment {
                    prop_assert!(app.is_some_and(|app| Fleet.environments(app).contains(environment)));
                }
                if let Some(role) = &given.role {
                    prop_assert!(app.is_some_and(|app| Fleet.roles(app, given.environment.as_ref()).contains(role)));
                }
                if let Some(tag) = &given.tag {
                    prop_assert_eq!(tag.as_str().parse(), Ok(tag.clone()));
                }
                prop_assert!(given.person.as_ref().is_none_or(|person| Fleet.people().contains(person)));
                prop_assert!(given.deployment.is_none_or(|deployment| deployment.0 > 0));
                prop_assert!(given.count.is_none_or(|count| (1..=1000).contains(&count)));
                let words = given.words.iter().chain(&given.text);
                prop_assert!(words.clone().all(|word| !word.contains(|c: char| (c.is_control() && c != '\t') || is_invisible(c))));
            }
        }
    }

    #[test]
    fn no_text_at_all_panics(line in any::<String>(), prefix in "[!/.a-z]{1,4}") {
        let _ = Catalog::builtin().unwrap().parse(&line, &prefix.parse().unwrap(), &Fleet);
    }
}
