//! The environment variables of a container: from files on the host, from the fleet file, and from the bot's own secrets.
//!
//! The files are read as data. Neither `$VAR` nor `$(command)` in them is expanded: dotenvy, the obvious reader, would
//! put the *bot's* variables there, and a password may well have a `$` in it.

use std::collections::BTreeMap;

use super::failure::{missing, refused};
use crate::domain::deployment::Failure;
use crate::domain::spec::{ContainerSpec, EnvValue};
use crate::secret::{Redactor, Secret};

/// What the placeholders of a container stand for.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// The address that it is reached at.
    pub address: &'a str,
    /// The port on the host, if it is known before the container is made.
    pub port: Option<String>,
    /// The host.
    pub host: &'a str,
    /// The role.
    pub role: &'a str,
}

/// `text` with each `{name}` of `values` replaced, in one pass: what was put in isn't looked at again. Other braces stay.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = values.iter().find_map(|(name, value)| Some((value, after.strip_prefix(name)?.strip_prefix('}')?)));
        match known {
            Some((value, behind)) => {
                filled.push_str(value);
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

/// The variables as the engine takes them, `KEY=value`: those of the files first, in their order, then those of the spec, which win.
///
/// # Errors
/// When a secret isn't set, or a placeholder isn't known.
pub fn variables(
    spec: &ContainerSpec,
    files: Vec<(String, String)>,
    places: &Places<'_>,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Vec<String>, Failure> {
    let mut all: BTreeMap<String, String> = files.into_iter().collect();
    for (name, value) in &spec.env {
        let value = match value {
            EnvValue::Secret(variable) => match secrets.get(variable) {
                Some(secret) => secret.expose().to_owned(),
                None => {
                    return Err(missing(format!(
                        "`{name}` of {} is a secret, but the bot's environment has no {variable}: set it there",
                        places.role
                    )));
                }
            },
            EnvValue::Text(text) => {
                if places.port.is_none() && text.contains("{port}") {
                    return Err(refused(format!(
                        "`{name}` of {} needs {{port}}, but its port on the host isn't fixed",
                        places.role
                    )));
                }
                let port = places.port.as_deref().unwrap_or_default();
                fill(text, &[("address", places.address), ("port", port), ("host", places.host), ("role", places.role)])
            }
        };
        all.insert(name.clone(), value);
    }
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Teaches the redactor the values of a file, but for those that are no secrets and stand everywhere: names that Shipmate
/// itself uses (`public`), truth values and small numbers.
pub fn learn(redactor: &Redactor, values: &[(String, String)], public: &[&str]) {
    let plain = |value: &str| {
        let word = value.to_ascii_lowercase();
        ["true", "false", "none", "null"].contains(&word.as_str())
            || (value.len() < 6 && value.parse::<f64>().is_ok())
            || public.contains(&value)
    };
    redactor.learn_all(values.iter().map(|(_, value)| value.as_str()).filter(|value| !plain(value)));
}

/// Reads `KEY=value` lines, with or without `export` and quotes, as files in /etc/default and env-files have them.
///
/// A quoted value may span lines and has its escapes resolved; an unquoted one is taken as it stands, up to the end of
/// the line or a ` #`.
///
/// # Errors
/// The line that isn't such a line. It doesn't quote the line, which may hold a secret.
pub fn parse_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(pairs);
        }
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let wrong = |what: &str| format!("line {number} {what}");
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        if line.starts_with('#') {
            rest = after;
            continue;
        }
        let assignment = line.strip_prefix("export ").map_or(line, str::trim_start);
        let Some((name, value)) = assignment.split_once('=') else {
            // `export KEY` alone exports what was set before.
            if line.starts_with("export ") && is_name(assignment.trim_end()) {
                rest = after;
                continue;
            }
            return Err(wrong("is not KEY=value"));
        };
        if !is_name(name) {
            return Err(wrong("has no name of a variable before the `=`"));
        }
        let start = text.len() - rest.len() + (line.len() - value.len());
        let (value, behind) = read_value(&text[start..]).ok_or_else(|| wrong("has a quote without an end"))?;
        let (tail, after) = behind.split_once('\n').unwrap_or((behind, ""));
        if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
            return Err(wrong("has text behind its value: quote the value"));
        }
        pairs.push((name.to_owned(), value));
        rest = after;
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value at the start of `text`, and what is behind it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let line = text.split('\n').next().unwrap_or_default();
    let plain = line.split_once(" #").map_or(line, |(value, _)| value).trim_end();
    if !plain.starts_with(['"', '\'']) {
        return Some((plain.to_owned(), &text[plain.len()..]));
    }
    let mut value = String::new();
    let mut rest = text;
    // 'a'"b" is one value, as in a shell.
    while let Some(quote) = rest.chars().next().filter(|c| ['"', '\''].contains(c)) {
        let mut chars = rest.char_indices().skip(1);
        loop {
            match chars.next()? {
                (at, c) if c == quote => {
                    rest = &rest[at + 1..];
                    break;
                }
                (_, '\\') if quote == '"' => match chars.next()?.1 {
                    '\n' => (),
                    c @ ('"' | '\\' | '$' | '`') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                (_, c) => value.push(c),
            }
        }
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse_file(text).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_file_of_etc_default_is_read_as_its_shell_would() {
        let text = "# comment\nexport IMAGE=\"reg:5000/app\"\nexport OPTS=\"--network host \\\n   --rm -e A=\\\"b\\\"\"\n\nEMPTY=\nexport IMAGE\nSINGLE='it is $HOME' # why\n";
        assert_eq!(
            parsed(text),
            [
                pair("IMAGE", "reg:5000/app"),
                pair("OPTS", "--network host    --rm -e A=\"b\""),
                pair("EMPTY", ""),
                pair("SINGLE", "it is $HOME")
            ]
        );
    }

    #[test]
    fn an_env_file_is_read_as_docker_would() {
        assert_eq!(
            parsed("A=two words\r\nB=C:\\x=y\nC=pa$$w'ord"),
            [pair("A", "two words"), pair("B", "C:\\x=y"), pair("C", "pa$$w'ord")]
        );
    }

    #[test]
    fn nothing_is_expanded() {
        assert_eq!(parsed("A=$PATH\nB=\"${HOME}$(id)\""), [pair("A", "$PATH"), pair("B", "${HOME}$(id)")]);
    }

    #[test]
    fn a_line_that_is_none_is_named_but_not_quoted() {
        for (text, line) in [("A=1\nhunter2", 2), ("A=1\n1B=hunter2", 2), ("A=\"hunter2", 1), ("\n\nA=\"b\" hunter2", 3)] {
            let error = parse_file(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line} ")) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let values = [("address", "{port}"), ("port", "8000")];
        assert_eq!(fill("{address}:{port} {json: {x}} {", &values), "{port}:8000 {json: {x}} {");
    }

    fn places(port: Option<&str>) -> Places<'static> {
        Places { address: "10.0.0.1", port: port.map(str::to_owned), host: "appserver1", role: "web" }
    }

    #[test]
    fn the_spec_wins_over_files_and_secrets_get_their_values() {
        let spec = ContainerSpec {
            env: BTreeMap::from([
                ("BIND".to_owned(), EnvValue::Text("{address}:{port}".to_owned())),
                ("KEY".to_owned(), EnvValue::Secret("APP_KEY".to_owned())),
            ]),
            ..ContainerSpec::default()
        };
        let secrets = BTreeMap::from([("APP_KEY".to_owned(), Secret::new("s3cret").unwrap())]);
        let files = vec![pair("KEY", "from the file"), pair("OTHER", "kept")];
        assert_eq!(
            variables(&spec, files, &places(Some("8000")), &secrets).unwrap(),
            ["BIND=10.0.0.1:8000", "KEY=s3cret", "OTHER=kept"]
        );
        let unset = variables(&spec, Vec::new(), &places(Some("8000")), &BTreeMap::new()).unwrap_err();
        assert!(unset.message.contains("APP_KEY"), "{unset:?}");
        let unknown = variables(&spec, Vec::new(), &places(None), &secrets).unwrap_err();
        assert!(unknown.message.contains("{port}"), "{unknown:?}");
    }

    #[test]
    fn public_values_of_a_file_are_not_masked() {
        let redactor = Redactor::default();
        let file = parsed("A=true\nB=8000\nC=antisocial\nD=hunter22");
        learn(&redactor, &file, &["antisocial"]);
        assert_eq!(redactor.redact("true 8000 antisocial hunter22"), "true 8000 antisocial ***");
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back(value in "[^\0\r]{0,30}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
            prop_assert_eq!(parsed(&format!("A=\"{quoted}\"\nB=1")), [pair("A", &value), pair("B", "1")]);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[^\0]{0,60}") {
            let _no_panic = parse_file(&text);
        }
    }
}
