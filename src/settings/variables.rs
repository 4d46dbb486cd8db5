//! Every variable that Shipmate reads: the one table that settings, `deploy.env.example` and the README come from.

/// What counts where a variable isn't set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Default(&'static str),
    /// Nothing; this is what that means.
    Optional(&'static str),
}

/// One variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts without it.
    pub fallback: Fallback,
    /// A value for the example; empty where everyone's is a secret of their own.
    pub example: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

use Fallback::{Default, Optional};

const NO_SOURCE: Fallback = Optional("the source is off");

/// All variables, in the order in which people read of them.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "SHIPMATE_LISTEN",
        fallback: Default("127.0.0.1:8080"),
        example: "127.0.0.1:8080",
        doc: "Where builds come in, and where /healthz and /metrics are: an address and a port.",
    },
    Variable {
        name: "SHIPMATE_STORE",
        fallback: Default("./data"),
        example: "/var/lib/shipmate",
        doc: "The folder of the store: journal, database, output of deployments. It must be on a local disk.",
    },
    Variable {
        name: "SHIPMATE_FLEET",
        fallback: Default("./fleet.toml"),
        example: "/etc/shipmate/fleet.toml",
        doc: "The fleet file: apps, hosts, people.",
    },
    Variable {
        name: "SHIPMATE_COMMANDS",
        fallback: Optional("the built-in ones count"),
        example: "/etc/shipmate/commands",
        doc: "A folder with a TOML file for each chat command, in place of all the built-in ones.",
    },
    Variable {
        name: "SHIPMATE_SSH_CONFIG",
        fallback: Optional("the user's own counts"),
        example: "/etc/shipmate/ssh_config",
        doc: "The ssh_config that says how the hosts are reached.",
    },
    Variable {
        name: "SHIPMATE_DISCORD_TOKEN",
        fallback: Optional("the bot isn't in Discord"),
        example: "",
        doc: "The token of the bot's application in Discord; the fleet file's [[rooms]] say in which channels it is.",
    },
    Variable {
        name: "SHIPMATE_DISCORD_API",
        fallback: Optional("Discord itself is asked"),
        example: "http://127.0.0.1:8090",
        doc: "A proxy that stands in for https://discord.com and minds its rate limits.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_HOMESERVER",
        fallback: Optional("the bot isn't in Matrix"),
        example: "https://matrix.example.org",
        doc: "The address of the homeserver; the fleet file's [[rooms]] say in which rooms the bot is.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_USER",
        fallback: Optional("needed in Matrix"),
        example: "@shipmate:example.org",
        doc: "The full user id of the bot's account.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_PASSWORD",
        fallback: Optional("the token is needed in Matrix"),
        example: "",
        doc: "The account's password, with which the bot logs in once and makes its own device.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_TOKEN",
        fallback: Optional("the password is needed in Matrix"),
        example: "",
        doc: "In place of the password, the access token of a device that was made for the bot alone.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_DEVICE_NAME",
        fallback: Default("Shipmate"),
        example: "Shipmate",
        doc: "What people see of the bot's device in the list of its sessions.",
    },
    Variable {
        name: "SHIPMATE_MATRIX_RECOVERY_KEY",
        fallback: Optional("the keys are in the store alone"),
        example: "",
        doc: "What the first start in Matrix wrote to matrix/recovery-key.txt in the store: it gets the bot's keys back when the store is lost.",
    },
    Variable {
        name: "SHIPMATE_TERMINAL_USER",
        fallback: Default("$USER"),
        example: "anna",
        doc: "Who speaks on the terminal; the fleet file knows them as the account terminal:NAME.",
    },
    Variable { name: "SHIPMATE_PREFIX", fallback: Default("!"), example: "!", doc: "What commands begin with." },
    Variable {
        name: "SHIPMATE_APPROVE_EMOJI",
        fallback: Default("✅"),
        example: "👍",
        doc: "The emoji that approves what waits for votes.",
    },
    Variable {
        name: "SHIPMATE_REJECT_EMOJI",
        fallback: Default("❌"),
        example: "👎",
        doc: "The emoji that rejects what waits for votes, cancels what runs, and reverts what is watched after it ended.",
    },
    Variable {
        name: "SHIPMATE_STALE_AFTER",
        fallback: Default("2 minutes"),
        example: "'5 minutes'",
        doc: "A command that acts and was typed longer ago, while the bot was away, is not run without asking.",
    },
    Variable {
        name: "SHIPMATE_DRIFT_EVERY",
        fallback: Default("5 minutes"),
        example: "'15 minutes'",
        doc: "How often the hosts are compared with the record: a time, or never.",
    },
    Variable {
        name: "SHIPMATE_OUTPUT_KEEP",
        fallback: Default("90 days"),
        example: "'90 days'",
        doc: "How long the output of a deployment's tasks is kept. The journal is kept for ever.",
    },
    Variable {
        name: "SHIPMATE_POST_HEAD",
        fallback: Default("never"),
        example: "'daily 09:00 Europe/Berlin'",
        doc: "When rooms are told the journal's head, for `shipmate audit verify --expect`: daily, daily HH:MM, daily HH:MM ZONE, or never.",
    },
    Variable {
        name: "SHIPMATE_LOG_FORMAT",
        fallback: Default("text"),
        example: "json",
        doc: "How log lines look on standard error: text or json.",
    },
    Variable {
        name: "RUST_LOG",
        fallback: Default("info"),
        example: "info,shipmate=debug",
        doc: "What is logged, as the tracing crates read it.",
    },
    Variable {
        name: "SHIPMATE_ENV",
        fallback: Default("./deploy.env, if it is there"),
        example: "/etc/shipmate/deploy.env",
        doc: "This file itself; it counts in the bot's real environment only. --env-file goes before it.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_GENERIC",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/generic: the key of its signature (Standard Webhooks), or its bearer token.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_JENKINS",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/jenkins: in the Notification plugin's address, as password or as ?token=SECRET.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_GITHUB",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/github: the webhook's secret.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_GITLAB",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/gitlab: the webhook's signing token, or its secret token.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_GITEA",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/gitea: the webhook's secret.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_FORGEJO",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/forgejo: the webhook's secret.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_REGISTRY",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/registry: the bearer token in the headers of the registry's endpoint.",
    },
    Variable {
        name: "SHIPMATE_WEBHOOK_SECRET_DOCKERHUB",
        fallback: NO_SOURCE,
        example: "",
        doc: "POST /builds/dockerhub: in the webhook's address, as ?token=SECRET.",
    },
];

/// What the names of the variables begin with that hold the secrets of sources.
pub(super) const SECRET_PREFIX: &str = "SHIPMATE_WEBHOOK_SECRET_";

const HEAD: &str = "\
# Settings of Shipmate. Copy this file to deploy.env and make it readable for the bot alone (chmod 600).
#
# A line is NAME=value. A value with spaces, quotes or backslashes stands in single quotes; a $ is a $. What the bot's
# real environment has goes before this file. No variable is required: each has its default, or says what it means to
# leave it out. `shipmate check` names every mistake.
";

const SECRETS_HEAD: &str = "
# ---- Secrets of the sources of builds --------------------------------------------------------------------------------
# Make one with `openssl rand -hex 32`. Two, with a comma between, count both: that's how a secret is changed
# without losing a build.
";

const TAIL: &str = "
# ---- Values that fleet.toml names ------------------------------------------------------------------------------------
# Whatever stands there as { secret = \"NAME\" }, or as a registry's username and password, gets its value here.
#ANTISOCIAL_SECRET_KEY=
#REGISTRY_USER=
#REGISTRY_PASSWORD=
";

/// The text of `deploy.env.example`.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    let mut in_secrets = false;
    for variable in VARIABLES {
        if variable.name.starts_with(SECRET_PREFIX) && !in_secrets {
            in_secrets = true;
            text.push_str(SECRETS_HEAD);
        }
        text.push_str(&format!("\n# {} ({})\n#{}={}\n", variable.doc, variable.fallback, variable.name, variable.example));
    }
    text + TAIL
}

/// The table of all variables for the README.
pub fn markdown() -> String {
    let rows = VARIABLES.iter().map(|variable| {
        let fallback = match variable.fallback {
            Default(value) => format!("`{value}`"),
            Optional(_) => variable.fallback.to_string(),
        };
        format!("| `{}` | {} | {fallback} |\n", variable.name, variable.doc)
    });
    format!("| variable | what it is | default |\n|---|---|---|\n{}", rows.collect::<String>())
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Default(value) => write!(f, "default: {value}"),
            Optional(meaning) => write!(f, "optional; without it {meaning}"),
        }
    }
}
