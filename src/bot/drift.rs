//! The drift watch: every few minutes the hosts are compared with the record, and rooms are told once of what differs.
//!
//! An environment in which something is under way is left alone: there the hosts differ from the record on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Bot, views};
use crate::domain::drift::{Drift, drift, fingerprint};
use crate::domain::notice::Notice;
use crate::domain::plan::{Release, Target};
use crate::domain::spec::EnvironmentSpec;
use crate::store::{LedgerError, PhaseName};

/// When all hosts are looked at for the first time after the start.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// How often the hosts are looked at for `/healthz` when nobody wants them compared.
const LOOK_EVERY: Duration = Duration::from_secs(300);

impl Bot {
    /// Looks at all hosts every now and then: `/healthz` knows of one that went away, and rooms of one that drifted.
    pub(super) async fn watch_hosts(self) {
        let (every, compares) = match self.habits.drift_every {
            Duration::ZERO => (LOOK_EVERY, false),
            every => (every, true),
        };
        let mut wait = FIRST_LOOK.min(every);
        loop {
            tokio::time::sleep(wait).await;
            wait = every;
            for spec in self.fleet.environments() {
                let looked = match compares {
                    true => self.compare(spec).await,
                    false => {
                        self.observe(spec).await;
                        Ok(())
                    }
                };
                if let Err(error) = looked {
                    return self.fail(&error);
                }
            }
            self.engine.rest().await;
        }
    }

    /// Whether something is under way in an environment; the newest deployment tells whether something was meanwhile.
    fn quiet(&self, spec: &EnvironmentSpec) -> Result<Option<u64>, LedgerError> {
        let held = self.ledger.lock(&spec.app, &spec.environment)?.is_some_and(|holder| holder.phase != PhaseName::Stuck);
        let newest = self.ledger.history(&spec.app, Some(&spec.environment), 1, None)?;
        Ok((!held).then(|| newest.first().map_or(0, |newest| newest.id.0)))
    }

    async fn compare(&self, spec: &EnvironmentSpec) -> Result<(), LedgerError> {
        let before = self.quiet(spec)?;
        let observed = self.observe(spec).await;
        if before.is_none() || self.quiet(spec)? != before {
            return Ok(());
        }
        let records: BTreeMap<Target, Release> = self
            .ledger
            .records(&spec.app, &spec.environment)?
            .into_iter()
            .map(|(target, record)| (target, record.wanted().clone()))
            .collect();
        if records.is_empty() {
            // Nothing was ever deployed there, so nothing is expected.
            return Ok(());
        }
        let found = drift(spec, &records, &observed);
        let told = self.ledger.drift_told(&spec.app, &spec.environment)?;
        let (app, environment) = (spec.app.clone(), spec.environment.clone());
        let notice = match (found.is_empty(), told) {
            (true, None) => return Ok(()),
            (true, Some(_)) => Notice::DriftOver { app, environment },
            (false, told) => {
                let fingerprint = fingerprint(&found);
                if told.as_ref() == Some(&fingerprint) {
                    return Ok(());
                }
                let told = told.unwrap_or_default();
                let is_new = |drift: &&Drift| !told.split(' ').any(|known| known == drift.fingerprint());
                let new: Vec<Drift> = found.iter().filter(is_new).cloned().collect();
                let lines = views::drift_lines(&app, &environment, &new, &self.prefix);
                Notice::Drift { app, environment, lines, fingerprint }
            }
        };
        self.ledger.tell(notice, None, self.now()).await
    }
}
