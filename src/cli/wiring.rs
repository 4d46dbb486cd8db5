//! Reads the files that the settings name and puts the parts together.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use super::chats;
use crate::engine::Engine;
use crate::engine::ssh::registries::Login;
use crate::engine::ssh::{SshEngine, SshSettings};
use crate::fleet::{self, Fleet};
use crate::problem::Problem;
use crate::runbook::Catalog;
use crate::secret::{Redactor, Secret};
use crate::settings::Settings;

/// What the bot works with, checked as a whole.
pub(super) struct World {
    pub(super) fleet: Arc<Fleet>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) redactor: Redactor,
}

/// All that is wrong with the files, each with how to fix it.
pub(super) struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// What can be read of the fleet file and of the runbooks, and everything that is wrong with them.
pub(super) fn files(fleet: &Path, commands: Option<&Path>) -> (Option<Fleet>, Option<Catalog>, Vec<String>) {
    let mut problems = Vec::new();
    let fleet = Fleet::load(fleet).map_err(|problem| problems.push(problem.to_string())).ok();
    let catalog = commands.map_or_else(Catalog::builtin, Catalog::load);
    let catalog = catalog.map_err(|problem| problems.push(problem.to_string())).ok();
    if let (Some(fleet), Some(catalog)) = (&fleet, &catalog) {
        let known = catalog.runbooks().map(|runbook| runbook.name.as_str());
        problems.extend(fleet.commands_unknown(known).iter().map(ToString::to_string));
    }
    (fleet, catalog, problems)
}

/// Everything that is wrong with the files, when the settings are wrong themselves.
pub(super) fn more_problems(env_file: Option<&Path>) -> Problems {
    let (fleet, commands) = Settings::files(env_file);
    Problems(files(&fleet, commands.as_deref()).2)
}

impl World {
    /// Reads fleet and runbooks; says everything that is wrong with either.
    pub(super) fn read(settings: &Settings) -> Result<World, Problems> {
        let (fleet, catalog, mut problems) = files(&settings.fleet, settings.commands.as_deref());
        let unset = fleet.iter().flat_map(|fleet| fleet.secrets_unset(|variable| settings.secret(variable).is_some()));
        problems.extend(unset.map(|problem| problem.to_string()));
        problems.extend(fleet.iter().flat_map(|fleet| chats::problems(fleet, settings)));
        let redactor = Redactor::default();
        redactor.learn_all(settings.chat_secrets().map(Secret::expose));
        redactor.learn_all(settings.webhook_secrets.values().flatten().map(Secret::expose));
        match (fleet, catalog) {
            (Some(fleet), Some(catalog)) if problems.is_empty() => {
                for Problem { place, line, text, .. } in &fleet.warnings {
                    tracing::warn!("{place}:{}: {text}", line.unwrap_or_default());
                }
                Ok(World { fleet: Arc::new(fleet), catalog: Arc::new(catalog), redactor })
            }
            _ => Err(Problems(problems)),
        }
    }

    /// The engine that reaches the fleet's hosts, with the secrets that it needs and no others.
    pub(super) async fn engine(&self, settings: &Settings) -> io::Result<Arc<dyn Engine>> {
        let needed = self.fleet.secrets_needed().iter().map(|need| &need.variable);
        let secrets = needed.filter_map(|variable| Some((variable.clone(), settings.secret(variable)?))).collect();
        let login = |login: &fleet::Login| match login {
            fleet::Login::Anonymous => None,
            fleet::Login::Host => Some(Login::Host),
            fleet::Login::Variables { username, password } => Some(Login::Password {
                username: settings.secret(username)?.expose().to_owned(),
                password: settings.secret(password)?,
            }),
        };
        let registries = self.fleet.registries.iter().filter_map(|(registry, by)| Some((registry.clone(), login(by)?))).collect();
        let parts = SshSettings {
            ssh_config: settings.ssh_config.clone(),
            control_parent: None,
            secrets,
            registries,
            redactor: self.redactor.clone(),
        };
        Ok(Arc::new(SshEngine::start(parts).await?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_command_that_the_fleet_file_names_is_one_of_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        let source = |command: &str| {
            let people = "[people.anna]\naccounts = [\"local:anna\"]\n[apps.a]\nimage = \"a\"\n";
            let web = "[apps.a.environments.x.roles.web]\nhosts = [\"h\"]\nhealth = { running = \"5s\" }\n";
            format!("{people}{web}[[access.rules]]\npeople = [\"anna\"]\ncommands = [\"revert\", \"{command}\"]")
        };
        fs::write(&file, source("deplyo")).unwrap();
        let said = format!("{}:10: no command `deplyo`; did you mean `deploy`?", file.display());
        assert_eq!(files(&file, None).2, [said]);
        fs::write(&file, source("deploy")).unwrap();
        assert_eq!(files(&file, None).2, [""; 0]);
    }
}
