//! `GET /metrics`: what happened, counted, in the OpenMetrics text format.
//!
//! Whoever makes something happen gets a clone of [`Metrics`] and says so with one verb. Labels are of closed sets (the
//! fleet's names, our own words), never what a stranger sent: each new value costs memory for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::answer::{Answer, Logged};
use crate::domain::build::BuildOutcome;
use crate::domain::deployment::DeploymentState;

/// Deployments take seconds to an hour; in seconds.
const DEPLOYMENT_BUCKETS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// A webhook should take a few milliseconds; in seconds.
const WEBHOOK_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0];

/// All that is counted; a clone is cheap and counts the same things.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    builds: Family<BuildLabels, Counter>,
    deployments: Family<DeploymentLabels, Counter>,
    deployment_seconds: Family<PlaceLabels, Histogram>,
    queue: Family<StateLabels, Gauge>,
    chat_edits: Counter,
    rejections: Family<RejectionLabels, Counter>,
    webhook_seconds: Family<SourceLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    source: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeploymentLabels {
    app: String,
    environment: String,
    purpose: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabels {
    app: String,
    environment: String,
    purpose: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    source: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("shipmate");
        let builds = Family::default();
        registry.register("builds_announced", "Builds that a source announced for the first time", builds.clone());
        let deployments = Family::default();
        registry.register("deployments", "Deployments that ended", deployments.clone());
        let deployment_seconds = Family::new_with_constructor((|| Histogram::new(DEPLOYMENT_BUCKETS)) as fn() -> Histogram);
        registry.register(
            "deployment_duration_seconds",
            "How long deployments took, from start to end",
            deployment_seconds.clone(),
        );
        let queue = Family::default();
        registry.register("deployments_open", "Deployments that run, and that wait for their turn", queue.clone());
        let chat_edits = Counter::default();
        registry.register("chat_edits", "Edits of chat messages", chat_edits.clone());
        let rejections = Family::default();
        registry.register("webhook_rejections", "Webhooks that were not answered with success", rejections.clone());
        let webhook_seconds = Family::new_with_constructor((|| Histogram::new(WEBHOOK_BUCKETS)) as fn() -> Histogram);
        registry.register("webhook_duration_seconds", "From a webhook's header to its answer", webhook_seconds.clone());
        let registry = Arc::new(registry);
        Metrics { registry, builds, deployments, deployment_seconds, queue, chat_edits, rejections, webhook_seconds }
    }

    /// A build became known; a redelivery isn't announced again.
    pub fn build_announced(&self, source: &'static str, outcome: BuildOutcome) {
        let outcome = match outcome {
            BuildOutcome::Succeeded => "succeeded",
            BuildOutcome::Unstable => "unstable",
            BuildOutcome::Failed => "failed",
            BuildOutcome::Cancelled => "cancelled",
        };
        self.builds.get_or_create(&BuildLabels { source, outcome }).inc();
    }

    /// A deployment came to the final phase that it is in.
    pub fn deployment_ended(&self, state: &DeploymentState, now: Timestamp) {
        let plan = &state.plan;
        let place =
            PlaceLabels { app: plan.app.to_string(), environment: plan.environment.to_string(), purpose: plan.purpose.word() };
        self.deployment_seconds.get_or_create(&place).observe(state.elapsed(now).duration().as_secs_f64());
        let PlaceLabels { app, environment, purpose } = place;
        let outcome = state.phase.word();
        self.deployments.get_or_create(&DeploymentLabels { app, environment, purpose, outcome }).inc();
    }

    /// So many deployments run now.
    pub fn deployments_running(&self, count: usize) {
        self.deployments_open("running", count);
    }

    /// So many deployments wait for votes or for their turn.
    pub fn deployments_waiting(&self, count: usize) {
        self.deployments_open("waiting", count);
    }

    fn deployments_open(&self, state: &'static str, count: usize) {
        self.queue.get_or_create(&StateLabels { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A chat message was edited.
    pub fn chat_edited(&self) {
        self.chat_edits.inc();
    }

    /// A webhook was answered.
    pub(super) fn webhook_answered(&self, source: &'static str, status: StatusCode, took: Duration) {
        if !status.is_success() {
            self.rejections.get_or_create(&RejectionLabels { source, status: status.as_u16().into() }).inc();
        }
        self.webhook_seconds.get_or_create(&SourceLabels { source }).observe(took.as_secs_f64());
    }

    /// Everything, as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut shown = String::new();
        text::encode(&mut shown, &self.registry)?;
        Ok(shown)
    }

    pub(super) fn answer(&self) -> Response {
        let Ok(text) = self.text() else {
            return Answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written")
                .route("/metrics")
                .into_response();
        };
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        let mut response = ([(CONTENT_TYPE, kind)], text).into_response();
        response.extensions_mut().insert(Logged { route: "/metrics", why: "" });
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::deployment::{Event, Phase, next};
    use crate::domain::plan::{Plan, Purpose, Release, Revisions};
    use crate::domain::policy::OnFailure;
    use crate::domain::spec::Millis;

    fn ended(phase: Phase, seconds: i64) -> DeploymentState {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let plan = Plan {
            app: "antisocial".parse().unwrap(),
            environment: "production".parse().unwrap(),
            purpose: Purpose::Deploy,
            image: "thraxil/antisocial".parse().unwrap(),
            release: Release { tag: "build-42".parse().unwrap(), digest },
            before: vec![],
            warnings: vec![],
            stages: vec![],
            roles: BTreeMap::new(),
            hosts: BTreeMap::new(),
            on_failure: OnFailure::Undo,
            bake: Millis::default(),
            lock_after: BTreeSet::new(),
            nonce: String::new(),
            revision: Revisions::default(),
        };
        let event = Event::Requested { plan: Box::new(plan), by: "anna".parse().unwrap(), cause: None, order: None, waits: false };
        let state = next(None, Timestamp::UNIX_EPOCH, &event).unwrap();
        DeploymentState { ended_at: Some(Timestamp::from_second(seconds).unwrap()), phase, ..state }
    }

    #[test]
    fn every_verb_shows_in_the_text() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        clone.build_announced("jenkins", BuildOutcome::Failed);
        clone.deployment_ended(&ended(Phase::Succeeded, 14), Timestamp::MAX);
        clone.deployments_running(1);
        clone.deployments_waiting(2);
        clone.chat_edited();
        clone.webhook_answered("github", StatusCode::UNAUTHORIZED, Duration::from_millis(3));
        clone.webhook_answered("github", StatusCode::ACCEPTED, Duration::from_millis(3));
        let text = metrics.text().unwrap();
        let place = r#"app="antisocial",environment="production",purpose="deploy""#;
        for line in [
            r#"shipmate_builds_announced_total{source="jenkins",outcome="failed"} 1"#,
            &format!(r#"shipmate_deployments_total{{{place},outcome="succeeded"}} 1"#),
            &format!(r#"shipmate_deployment_duration_seconds_bucket{{le="10.0",{place}}} 0"#),
            &format!(r#"shipmate_deployment_duration_seconds_bucket{{le="20.0",{place}}} 1"#),
            r#"shipmate_deployments_open{state="running"} 1"#,
            r#"shipmate_deployments_open{state="waiting"} 2"#,
            "shipmate_chat_edits_total 1",
            r#"shipmate_webhook_rejections_total{source="github",status="401"} 1"#,
            r#"shipmate_webhook_duration_seconds_count{source="github"} 2"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
