//! Builds that CI announces: the fleet file's rules make them ours, the ledger makes them durable and known once.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::builds::Notice;
use crate::domain::build::Build;
use crate::fleet::{BuildMatch, Fleet};
use crate::http::{Accepted, Intake, IntakeError, Metrics, Taken};
use crate::store::{Appended, Ledger};

/// Takes builds from the listener.
pub struct BuildIntake {
    /// Whose apps they are of.
    pub fleet: Arc<Fleet>,
    /// Where they are kept.
    pub ledger: Ledger,
    /// Where they are counted.
    pub metrics: Metrics,
}

#[async_trait]
impl Intake for BuildIntake {
    async fn take(&self, source: &'static str, notices: Vec<Notice>, now: Timestamp) -> Result<Taken, IntakeError> {
        let mut taken = Taken::default();
        for notice in notices {
            let build = match self.fleet.build(source, &notice, now) {
                BuildMatch::Build(build) => build,
                BuildMatch::NoRule(why) | BuildMatch::Filtered(why) | BuildMatch::Invalid(why) => {
                    taken.ignored.push(why);
                    continue;
                }
            };
            let (app, tag, outcome) = (build.app.clone(), build.tag.clone(), build.outcome);
            let keys = keys(source, notice.delivery.as_deref(), &build);
            let automatic = self.fleet.automatic(&build);
            match self.ledger.built_for(*build, keys, automatic, now).await {
                Ok(Appended::New { .. }) => self.metrics.build_announced(source, outcome),
                Ok(Appended::Known { .. } | Appended::Merged { .. }) => {}
                Err(error) => return Err(IntakeError(error.to_string())),
            }
            taken.accepted.push(Accepted { app, tag });
        }
        Ok(taken)
    }
}

/// By what the same announcement is recognised when it comes again: the delivery's id, and what it says. One delivery may
/// hold several builds, so its id counts together with the build.
fn keys(source: &str, delivery: Option<&str>, build: &Build) -> Vec<String> {
    let what = format!("{}:{}", build.app, build.tag);
    let digest = build.digest.as_ref().map_or("-", |digest| digest.as_str());
    let said = format!("build:{what}:{digest}:{}", build.outcome);
    delivery.map(|id| format!("delivery:{source}:{id}:{what}")).into_iter().chain([said]).collect()
}
