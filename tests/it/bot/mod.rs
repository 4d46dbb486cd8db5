//! The bot in conversation: votes, queue, locks, freezes, what builds start, failures that ask, and a bot that was away. The rooms
//! and the time are the test's, the hosts are rehearsed, everything between is real.

mod after;
mod away;
mod drifting;
mod dying;
mod life;
mod marks;
mod proof;
mod shipped;
mod stage;
mod time;
mod votes;
mod waiting;

/// A fleet with one app; `policy` goes into its production environment, `more` to the end of the file.
fn fleet(policy: &str, more: &str) -> String {
    format!(
        r#"
[people.anna]
accounts = ["terminal:anna"]
groups = ["deployers"]

[people.berta]
accounts = ["terminal:berta", "terminal:berta2"]
groups = ["approvers", "deployers"]

[people.carl]
accounts = ["terminal:carl"]
groups = ["approvers"]

[people.dora]
accounts = ["terminal:dora"]

[people.emil]
accounts = ["terminal:emil"]

[apps.antisocial]
image = "registry.lan:5000/thraxil/antisocial"
default_environment = "production"

[apps.antisocial.environments.production]
{policy}

[[apps.antisocial.environments.production.tasks]]
name = "migrate"
command = ["migrate"]

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1", "appserver2"]
publish = {{ container = 8000, host = [8000, 8001] }}
health = {{ http = "/health", deadline = "1s", interval = "50ms" }}
order = "start-first"
drain = "0s"
{more}
"#
    )
}

/// A policy that asks for so many votes of approvers.
fn votes(n: u32) -> String {
    format!(r#"approval = {{ votes = {n}, groups = ["approvers"], emergency = {{ groups = ["deployers"] }} }}"#)
}

/// A second environment.
const STAGING: &str = r#"
[apps.antisocial.environments.staging.roles.web]
hosts = ["stage1"]
publish = { container = 8000, host = [8000, 8001] }
health = { http = "/health", deadline = "1s", interval = "50ms" }
order = "start-first"
drain = "0s"
"#;
