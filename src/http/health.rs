//! `GET /healthz`: what works and what doesn't, for a monitor and for the person it wakes.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::Answer;

/// Who knows how the parts are. Called for each request, so it only looks at what is known already.
pub trait Health: Send + Sync {
    /// How every part is now.
    fn report(&self) -> HealthReport;
}

/// How the parts are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// Each part (`store`, `hosts`, `chat`) with its condition.
    pub parts: Vec<(&'static str, Condition)>,
}

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Well,
    /// It doesn't, or not wholly; why, in one sentence without secrets: anybody who reaches the listener reads it.
    Degraded(String),
}

/// 200 when all is well, 503 otherwise.
pub fn answer(report: HealthReport) -> Response {
    let well = report.parts.iter().all(|(_, condition)| *condition == Condition::Well);
    let parts = report.parts.into_iter().map(|(part, condition)| {
        let shown = match condition {
            Condition::Well => json!({ "status": "ok" }),
            Condition::Degraded(why) => json!({ "status": "degraded", "why": why }),
        };
        (part.to_owned(), shown)
    });
    let parts = Value::Object(Map::from_iter(parts));
    let (status, word) = if well { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "degraded") };
    Answer::new(status, json!({ "status": word, "parts": parts })).route("/healthz").into_response()
}
