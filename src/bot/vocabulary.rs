//! The names that people may type, as the fleet file has them.

use crate::domain::names::{AppName, EnvironmentName, PersonName, RoleName};
use crate::fleet::Fleet;
use crate::runbook::Vocabulary;

impl Vocabulary for Fleet {
    fn apps(&self) -> Vec<AppName> {
        self.apps.keys().cloned().collect()
    }

    fn environments(&self, app: &AppName) -> Vec<EnvironmentName> {
        self.apps.get(app).into_iter().flat_map(|app| app.environments.keys().cloned()).collect()
    }

    fn roles(&self, app: &AppName, environment: Option<&EnvironmentName>) -> Vec<RoleName> {
        let environments = self.apps.get(app).into_iter().flat_map(|app| &app.environments);
        let named = environments.filter(|(name, _)| environment.is_none_or(|wanted| wanted == *name));
        let mut roles: Vec<RoleName> = named.flat_map(|(_, spec)| spec.roles.keys().cloned()).collect();
        roles.sort();
        roles.dedup();
        roles
    }

    fn people(&self) -> Vec<PersonName> {
        self.people.keys().cloned().collect()
    }
}
