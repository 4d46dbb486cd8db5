//! `health`: when a role counts as healthy.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::reader::{Table, Value};
use super::values::{some_time, status_codes};
use crate::domain::spec::{HealthCheck, Millis};

const ADVICE: &str = "write { http = \"/health\" }, { docker = true } for the image's own HEALTHCHECK, or { running = \"5s\" }";

/// The keys beside the kind of check: the first is for HTTP and Docker, the others are for HTTP.
const DETAILS: [&str; 6] = ["deadline", "host", "headers", "codes", "interval", "timeout"];

/// What can be asked of a role.
#[derive(Clone, Copy)]
pub(super) struct Checkable {
    /// It has a port. True as well where the port is wrong, which was reported then.
    pub(super) port: bool,
    /// Shipmate makes its containers.
    pub(super) container: bool,
}

/// Reads `health` of a role.
pub(super) fn read(role: &Table<'_>, what: Checkable) -> Option<HealthCheck> {
    let value = role.need("health", ADVICE)?;
    value.table("health", |table| check(value, &table, what)).flatten()
}

fn check(value: Value<'_>, table: &Table<'_>, what: Checkable) -> Option<HealthCheck> {
    let deadline = table.or("deadline", Millis::seconds(60), some_time);
    let host = table.get("host").and_then(header_value);
    let headers = table.or("headers", BTreeMap::new(), headers);
    let codes = table.or("codes", vec![(200, 399)], status_codes);
    let interval = table.or("interval", Millis(500), some_time);
    let timeout = table.or("timeout", Millis::seconds(5), some_time);
    match (table.get("http"), table.get("docker"), table.get("running")) {
        (Some(http), None, None) => {
            if !what.port {
                value.problem(
                    "an HTTP check needs a port: give the role `publish = { container = 8000 }`, or its `service` a `port`",
                );
            }
            let path = http.check(path)?;
            Some(HealthCheck::Http { path, host, headers, codes, deadline, interval, timeout })
        }
        (None, Some(docker), None) => {
            refuse(table, &DETAILS[1..], "docker");
            if !what.container {
                value.problem("a role managed by commands has no container whose health could be asked: use `http` or `running`");
            }
            if !docker.truth()? {
                docker.problem(format!("`docker` can only be true; else {ADVICE}"));
            }
            Some(HealthCheck::Docker { deadline })
        }
        (None, None, Some(running)) => {
            refuse(table, &DETAILS, "running");
            Some(HealthCheck::Running { after: some_time(running)? })
        }
        _ => {
            value.problem(format!("`health` is one check: {ADVICE}"));
            None
        }
    }
}

fn refuse(table: &Table<'_>, details: &[&'static str], kind: &str) {
    for detail in details.iter().filter_map(|key| table.get(key)) {
        detail.problem(format!("`{}` means nothing beside `{kind}`", detail.key));
    }
}

fn path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("it is the path of an address, such as `/health`")
    }
}

fn header_value(value: Value<'_>) -> Option<String> {
    value.check(|text| match HeaderValue::from_str(text) {
        Ok(valid) if valid.to_str().is_ok() && !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("it is the value of an HTTP header, in ASCII"),
    })
}

fn headers(value: Value<'_>) -> Option<BTreeMap<String, String>> {
    let header = |entry: Value<'_>| {
        match HeaderName::from_bytes(entry.key.as_bytes()) {
            Ok(name) if name == http::header::HOST => entry.problem("the Host header has its own key, `host`"),
            Ok(_) => {}
            Err(_) => entry.problem(format!("`{}` is no name of an HTTP header", entry.key)),
        }
        Some((entry.key.to_owned(), header_value(entry)?))
    };
    Some(value.entries()?.into_iter().filter_map(header).collect())
}
