//! An answer: a status and one JSON object, plus what the log may say of it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// How long a sender should wait before it comes again. Committing takes milliseconds; what lasts longer needs a person.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    pub logged: Logged,
}

/// What the log says of a request. Nothing in it comes from the sender, so no secret can get there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logged {
    pub route: &'static str,
    pub why: &'static str,
}

impl Answer {
    pub fn new(status: StatusCode, body: Value) -> Answer {
        Answer { status, body, logged: Logged::default() }
    }

    /// A refusal; `reason` is for the sender.
    pub fn refusal(status: StatusCode, reason: impl Into<String>) -> Answer {
        Answer::new(status, json!({ "error": reason.into() }))
    }

    pub fn route(mut self, route: &'static str) -> Answer {
        self.logged.route = route;
        self
    }

    pub fn why(mut self, why: &'static str) -> Answer {
        self.logged.why = why;
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(format!("{}\n", self.body)));
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self.logged);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Webhook")),
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, RETRY_SECONDS),
            // The rest of the body is still under way, and nobody will read it.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"))
            }
            _ => None,
        };
        response
    }
}
