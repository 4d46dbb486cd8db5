//! What settings are read from, and what each mistake is answered with.

use std::io::Write;

use super::variables::SECRET_PREFIX;
use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let user = [("USER", "anna")];
    let all = user.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(all).map_err(|problems| problems.to_string())
}

fn complaint(name: &str, value: &str) -> String {
    read(&[(name, value)]).unwrap_err().replacen(&format!("{name}: "), "", 1)
}

#[test]
fn without_any_setting_the_defaults_count() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((settings.store, settings.fleet), ("./data".into(), "./fleet.toml".into()));
    assert_eq!((settings.commands, settings.ssh_config), (None, None));
    assert!(settings.webhook_secrets.is_empty());
    assert_eq!((settings.terminal_user.as_str(), settings.prefix.as_str()), ("anna", "!"));
    assert_eq!(settings.output_keep, Duration::from_secs(90 * 24 * 3600));
    assert_eq!(settings.post_head, None);
    assert_eq!((settings.log_format, settings.log_filter.as_str()), (LogFormat::Text, "info"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = [
        ("SHIPMATE_LISTEN", "localhost:8080"),
        ("SHIPMATE_DISCORD_TOKEN", "Bot x"),
        ("SHIPMATE_STROE", "x"),
        ("SHIPMATE_FLEET", " "),
    ];
    assert_eq!(
        read(&mistakes).unwrap_err(),
        "SHIPMATE_DISCORD_TOKEN: it is the token alone, without `Bot` before it and without spaces\n\
         SHIPMATE_FLEET: it is empty: give it a value, or leave it out\n\
         SHIPMATE_LISTEN: it can't be \"localhost:8080\": it is an IP address and a port, such as 127.0.0.1:8080\n\
         SHIPMATE_STROE: there is no such setting; did you mean `SHIPMATE_STORE`?"
    );
}

#[test]
fn each_mistake_says_how_it_is_mended() {
    assert_eq!(
        complaint("SHIPMATE_OUTPUT_KEEP", "3 months"),
        "it can't be \"3 months\": it is a time such as `90 days` or `12 hours`"
    );
    assert_eq!(complaint("SHIPMATE_OUTPUT_KEEP", "0s"), "it can't be \"0s\": it is a time such as `90 days` or `12 hours`");
    assert_eq!(complaint("SHIPMATE_LOG_FORMAT", "JSON"), "`JSON` is none of its words; did you mean `json`?");
    assert_eq!(complaint("SHIPMATE_STORE", "~/data"), "it can't be \"~/data\": nothing is filled in here; write the whole path");
    assert_eq!(
        complaint("SHIPMATE_PREFIX", "> "),
        "it can't be \"> \": use 1 to 64 characters without spaces and backticks, and not `>` first"
    );
    assert_eq!(
        complaint("SHIPMATE_DISCORD_API", "discord.com"),
        "it can't be \"discord.com\": it is an address such as http://127.0.0.1:8090"
    );
    assert_eq!(
        complaint("SHIPMATE_TERMINAL_USER", "anna b"),
        "it can't be \"anna b\": a name has up to 64 characters and no spaces"
    );
    assert_eq!(
        complaint("RUST_LOG", "shipmate=loud"),
        "it can't be \"shipmate=loud\": it is a level, or a list such as `info,shipmate=debug`"
    );
    assert_eq!(complaint("SHIPMATE_WEBHOOK_SECRET_TRAVIS", "x"), "there is no such setting; see deploy.env.example");
    assert_eq!(
        Settings::read([]).unwrap_err().to_string(),
        "SHIPMATE_TERMINAL_USER: USER doesn't say who you are: set this to your name"
    );
}

#[test]
fn the_head_is_posted_at_a_time_of_a_zone_or_never() {
    let post_head = |text: &str| read(&[("SHIPMATE_POST_HEAD", text)]).unwrap().post_head;
    let daily = |at: &str, zone: &str| Some(Daily { at: at.parse().unwrap(), zone: jiff::tz::TimeZone::get(zone).unwrap() });
    assert_eq!(post_head("never"), None);
    assert_eq!(post_head("daily"), daily("00:00", "UTC"));
    assert_eq!(post_head("daily 09:30"), daily("09:30", "UTC"));
    assert_eq!(post_head(" daily  9:30 Europe/Berlin "), daily("09:30", "Europe/Berlin"));
    for text in ["weekly", "09:00", "daily 9", "daily 25:00", "daily 09:00:00", "daily 09:00 UTC now", "never ever"] {
        let said = complaint("SHIPMATE_POST_HEAD", text);
        assert!(said.ends_with("such as `daily 09:00 Europe/Berlin`"), "{said}");
    }
    assert_eq!(
        complaint("SHIPMATE_POST_HEAD", "daily 09:00 Mars/Olympus"),
        "it can't be \"daily 09:00 Mars/Olympus\": there is no such time zone; use a name such as `Europe/Berlin` or `UTC`"
    );
}

#[test]
fn a_source_has_one_secret_or_two() {
    let settings = read(&[("SHIPMATE_WEBHOOK_SECRET_GITHUB", "old, new"), ("SHIPMATE_WEBHOOK_SECRET_JENKINS", "one")]).unwrap();
    let exposed = |source: &str| settings.webhook_secrets[source].iter().map(Secret::expose).collect::<Vec<_>>();
    assert_eq!((exposed("github"), exposed("jenkins")), (vec!["old", "new"], vec!["one"]));
    assert_eq!(complaint("SHIPMATE_WEBHOOK_SECRET_GITHUB", ""), "it is empty: give it a value, or leave it out");
    assert_eq!(complaint("SHIPMATE_WEBHOOK_SECRET_GITHUB", "hunter2,"), "a secret is empty: it would let everybody in");
    assert_eq!(
        complaint("SHIPMATE_WEBHOOK_SECRET_GITHUB", "hunter2,b,c"),
        "it holds at most two secrets, with a comma between them"
    );
}

#[test]
fn any_variable_can_be_a_container_s_secret_and_none_is_printed() {
    let settings = read(&[("SECRET_KEY", "hunter2"), ("EMPTY", ""), ("SHIPMATE_WEBHOOK_SECRET_GITEA", "hunter2")]).unwrap();
    assert_eq!(settings.secret("SECRET_KEY").map(|secret| secret.expose().to_owned()).as_deref(), Some("hunter2"));
    assert!(settings.secret("EMPTY").is_none() && settings.secret("NOSUCH").is_none());
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_real_environment_goes_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deploy.env");
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "USER=ben\nSHIPMATE_PREFIX=.\nSHIPMATE_LISTEN=127.0.0.1:1\nA='from the file'").unwrap();
    let process = || [("SHIPMATE_PREFIX", "?"), ("A", "real")].into_iter().map(|(name, value)| (name.into(), value.into()));
    let elsewhere = folder.path().join("nosuch");
    for settings in [
        Settings::gather(process(), Some(&path), &elsewhere),
        Settings::gather(process(), None, &path),
        Settings::gather(process().chain([("SHIPMATE_ENV".into(), path.clone().into())]), None, &elsewhere),
    ] {
        let settings = settings.unwrap();
        assert_eq!((settings.prefix.as_str(), settings.listen.port(), settings.terminal_user.as_str()), ("?", 1, "ben"));
        assert_eq!(settings.secret("A").unwrap().expose(), "real");
    }
    let missing = Settings::gather(process(), Some(&elsewhere), &path).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("{}: it can't be read: No such file or directory", elsewhere.display())), "{missing}");
}

#[test]
fn the_example_is_what_the_table_says() {
    let there = include_str!("../../deploy.env.example");
    assert!(there == example(), "deploy.env.example should be:\n{}", example());
}

#[test]
fn the_account_in_matrix_is_there_as_a_whole_or_not_at_all() {
    let account = [
        ("SHIPMATE_MATRIX_HOMESERVER", "https://matrix.example.org/"),
        ("SHIPMATE_MATRIX_USER", "@bot:example.org"),
        ("SHIPMATE_MATRIX_PASSWORD", "it is secret"),
        ("USER", "anna"),
    ];
    let read = |without: &str, more: &[(&str, &str)]| {
        let all = account.iter().filter(|(name, _)| *name != without).chain(more);
        Settings::read(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).map_err(|problems| problems.to_string())
    };
    assert!(Settings::read([("USER".to_owned(), "anna".to_owned())]).unwrap().matrix.is_none());
    let settings = read("", &[("SHIPMATE_MATRIX_RECOVERY_KEY", "EsTb 1234")]).unwrap();
    let secrets: Vec<&str> = settings.chat_secrets().map(Secret::expose).collect();
    assert_eq!(secrets, ["it is secret", "EsTb 1234"]);
    let matrix = settings.matrix.unwrap();
    assert_eq!((matrix.homeserver.as_str(), matrix.device_name.as_str()), ("https://matrix.example.org", "Shipmate"));
    for (without, more, complaint) in [
        ("SHIPMATE_MATRIX_USER", ("A", "b"), "SHIPMATE_MATRIX_USER: it isn't set, and SHIPMATE_MATRIX_HOMESERVER is"),
        ("SHIPMATE_MATRIX_PASSWORD", ("A", "b"), "SHIPMATE_MATRIX_PASSWORD: neither it nor SHIPMATE_MATRIX_TOKEN is set"),
        ("", ("SHIPMATE_MATRIX_TOKEN", "syt_x"), "SHIPMATE_MATRIX_TOKEN: SHIPMATE_MATRIX_PASSWORD is set too"),
        (
            "SHIPMATE_MATRIX_USER",
            ("SHIPMATE_MATRIX_USER", "bot"),
            "SHIPMATE_MATRIX_USER: it can't be \"bot\": it is the account's full id",
        ),
    ] {
        let said = read(without, &[more]).unwrap_err();
        assert!(said.starts_with(complaint), "{said}");
    }
}

#[test]
fn the_example_s_lines_are_good_settings() {
    let example = example();
    let commented =
        example.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let uncommented: String =
        commented.map(|line| if line.ends_with('=') { format!("{line}x\n") } else { format!("{line}\n") }).collect();
    let mut variables = env_file::parse("deploy.env.example", &uncommented).unwrap();
    for variable in VARIABLES {
        assert!(variables.contains_key(variable.name), "{}", variable.name);
    }
    // It stands there in place of the password.
    variables.remove("SHIPMATE_MATRIX_TOKEN");
    let settings = Settings::read(variables).unwrap();
    assert_eq!(settings.webhook_secrets.len(), crate::builds::names().count());
    assert!(settings.commands.is_some() && settings.ssh_config.is_some() && settings.secret("REGISTRY_USER").is_some());
}

#[test]
fn every_source_has_its_variable() {
    for source in crate::builds::names() {
        let name = format!("{SECRET_PREFIX}{}", source.to_ascii_uppercase());
        assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name}");
    }
}

#[test]
fn the_readme_s_table_has_a_row_for_each_variable() {
    let table = markdown();
    assert!(table.starts_with("| variable | what it is | default |\n|---|---|---|\n| `SHIPMATE_LISTEN` | Where builds come in, "));
    assert_eq!(table.lines().count(), 2 + VARIABLES.len());
    assert!(table.lines().all(|line| line.matches('|').count() == 4), "{table}");
}

#[test]
fn who_only_needs_the_store_needs_no_other_setting() {
    let folder = |own: &[(&str, &str)], file: Option<&Path>, default: &str| {
        let own = own.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        store_folder(variables(own, file, Path::new(default))).map_err(|problems| problems.to_string())
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "SHIPMATE_STORE=/from/file\nSHIPMATE_LISTEN=nowhere").unwrap();
    let missing = Path::new("/nonexistent/deploy.env");
    assert_eq!(folder(&[], None, "/nonexistent"), Ok("./data".into()));
    assert_eq!(folder(&[], Some(file.path()), "/nonexistent"), Ok("/from/file".into()));
    assert_eq!(folder(&[], None, file.path().to_str().unwrap()), Ok("/from/file".into()));
    assert_eq!(folder(&[("SHIPMATE_STORE", "/own")], Some(missing), "/nonexistent"), Ok("/own".into()));
    let unreadable = folder(&[], Some(missing), "/nonexistent").unwrap_err();
    assert!(unreadable.contains("/nonexistent/deploy.env: it can't be read"), "{unreadable}");
}
