//! `POST /builds/{source}`: receive, prove, read, take, answer.

use std::time::Instant;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::answer::Answer;
use super::body::Unreceived;
use super::server::Shared;
use super::{IntakeError, Taken};
use crate::builds::{self, BuildSource, Notice, Reading, Rejection, Webhook};
use crate::domain::names::printable;

/// Answers a webhook, and counts it.
pub async fn post(shared: &Shared, request: Request) -> Response {
    let started = Instant::now();
    let name = request.uri().path().strip_prefix("/builds/").unwrap_or_default();
    let source = shared.app.sources.iter().find(|source| source.name() == name);
    // An unknown name is the sender's text, which may be a secret in the wrong place: it gets neither a label nor a log line.
    let (label, answer) = match source {
        Some(source) => (source.name(), answer(shared, source.as_ref(), request).await),
        None => ("unknown", no_source(name)),
    };
    shared.app.metrics.webhook_answered(label, answer.status, started.elapsed());
    answer.route(label).into_response()
}

async fn answer(shared: &Shared, source: &dyn BuildSource, request: Request) -> Answer {
    let now = (shared.app.clock)();
    let (parts, body) = request.into_parts();
    let body = match shared.places.receive(&parts.headers, body, &shared.app.limits).await {
        Ok(body) => body,
        Err(why) => return unreceived(why, shared),
    };
    match source.read(&Webhook { headers: &parts.headers, query: parts.uri.query(), body: &body.bytes, now }) {
        Ok(Reading::Builds(notices)) => {
            drop(body);
            take(shared, source.name(), notices, now).await
        }
        Ok(Reading::NoBuild(why)) => Answer::new(StatusCode::OK, json!({ "ignored": why })).why("no build"),
        Err(Rejection::Unauthorized(why)) => Answer::refusal(StatusCode::UNAUTHORIZED, why).why(why),
        Err(Rejection::Malformed(why)) => Answer::refusal(StatusCode::BAD_REQUEST, why).why("malformed"),
    }
}

async fn take(shared: &Shared, source: &'static str, notices: Vec<Notice>, now: jiff::Timestamp) -> Answer {
    match shared.app.intake.take(source, notices, now).await {
        Ok(taken) => took(taken),
        Err(IntakeError(why)) => {
            tracing::error!(source, why, "the intake refuses builds");
            Answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "the store takes no builds now; send it again")
                .why("the intake refuses")
        }
    }
}

fn took(taken: Taken) -> Answer {
    let mut reasons = taken.ignored;
    reasons.dedup();
    let ignored = reasons.join("; ");
    match (taken.accepted.is_empty(), ignored.is_empty()) {
        (true, _) => Answer::new(StatusCode::OK, json!({ "ignored": ignored })).why("not ours"),
        (false, true) => Answer::new(StatusCode::ACCEPTED, json!({ "accepted": taken.accepted })),
        (false, false) => Answer::new(StatusCode::ACCEPTED, json!({ "accepted": taken.accepted, "ignored": ignored })),
    }
}

fn no_source(name: &str) -> Answer {
    let refusal = match builds::names().find(|known| *known == name) {
        Some(known) => {
            let variable = builds::secret_variable(known);
            format!("the source `{known}` has no secret here: set {variable} in deploy.env, and the same secret at the sender")
        }
        None => {
            let known: Vec<&str> = builds::names().collect();
            format!("there is no source `{}`; there are: {}", printable(name, 40), known.join(", "))
        }
    };
    Answer::refusal(StatusCode::NOT_FOUND, refusal).why("no such source, or no secret for it")
}

fn unreceived(why: Unreceived, shared: &Shared) -> Answer {
    let limits = &shared.app.limits;
    match why {
        Unreceived::TooLarge => {
            let most = limits.body;
            Answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes")).why("too large")
        }
        Unreceived::TooSlow => {
            let most = limits.read.as_secs_f64();
            Answer::refusal(StatusCode::REQUEST_TIMEOUT, format!("the body didn't come in within {most} s")).why("too slow")
        }
        Unreceived::Broken => Answer::refusal(StatusCode::BAD_REQUEST, "the body broke off").why("the body broke off"),
    }
}
