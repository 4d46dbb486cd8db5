//! A line to a homeserver that a test can hold up: what goes over it comes late.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use matrix_sdk::reqwest::{self, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::server::{PATIENCE, Server, backstage, goes_on_backstage};

/// No request is larger.
const LARGEST: usize = 1 << 24;

pub struct Wire {
    /// Where it begins.
    pub url: String,
    line: Arc<Line>,
}

struct Line {
    /// Where it ends.
    to: String,
    http: Client,
    holds_news: watch::Sender<bool>,
    /// How many events the server tells at once of what is past, whatever is asked for.
    page: Mutex<Option<u32>>,
    /// The sessions that have begun on this line, and those that have run out.
    sessions: Mutex<(BTreeSet<String>, BTreeSet<String>)>,
    /// What the server is made to say instead, by what an address has in it.
    says_instead: Mutex<Vec<(&'static str, u16, &'static str)>>,
    /// What one device sends to another, as long as that is kept back.
    kept: Mutex<Option<Vec<reqwest::Request>>>,
}

impl Wire {
    pub async fn to(server: &Server) -> Wire {
        let to = server.url.clone();
        backstage(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let http = Client::builder().no_proxy().timeout(2 * PATIENCE).build().unwrap();
            let line = Arc::new(Line {
                to,
                http,
                holds_news: watch::Sender::new(false),
                page: Mutex::default(),
                sessions: Mutex::default(),
                says_instead: Mutex::default(),
                kept: Mutex::default(),
            });
            let app = Router::new().fallback(carry).with_state(line.clone());
            goes_on_backstage(async move { axum::serve(listener, app).await.unwrap() });
            Wire { url, line }
        })
        .await
    }

    /// Whether what the server tells of rooms is held up.
    pub fn holds_news(&self, holds: bool) {
        self.line.holds_news.send_replace(holds);
    }

    /// From now on what is past is told in pages of so many events.
    pub fn pages_have(&self, events: u32) {
        *self.line.page.lock().unwrap() = Some(events);
    }

    /// All sessions that were used on this line have run out: whoever has one is asked to log in again.
    pub fn ends_sessions(&self) {
        let mut sessions = self.line.sessions.lock().unwrap();
        let used = std::mem::take(&mut sessions.0);
        assert!(!used.is_empty(), "nobody has a session");
        sessions.1.extend(used);
    }

    /// From now on whatever is asked at an address with this in it is answered like this, with an error code of Matrix.
    pub fn says_instead(&self, at: &'static str, status: u16, code: &'static str) {
        self.line.says_instead.lock().unwrap().push((at, status, code));
    }

    /// The server speaks for itself again.
    pub fn is_well(&self) {
        self.line.says_instead.lock().unwrap().clear();
    }

    /// From now on keys don't arrive, and whoever sends them doesn't know it.
    pub fn keeps_keys(&self) {
        self.line.kept.lock().unwrap().get_or_insert_default();
    }

    /// The keys arrive.
    pub async fn gives_keys(&self) {
        let (kept, http) = (self.line.kept.lock().unwrap().take().unwrap(), self.line.http.clone());
        assert!(!kept.is_empty(), "no keys were sent");
        backstage(async move {
            for request in kept {
                http.execute(request).await.unwrap().error_for_status().unwrap();
            }
        })
        .await;
    }
}

/// What a server says to a session that has run out while its device is still known.
fn ran_out() -> Response {
    let said = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Access token has expired","soft_logout":true}"#;
    Response::builder().status(401).header("content-type", "application/json").body(said.into()).unwrap()
}

async fn carry(State(line): State<Arc<Line>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut asked = parts.uri.path_and_query().unwrap().to_string();
    if let (Some(page), true) = (*line.page.lock().unwrap(), asked.contains("/messages?")) {
        asked = asked.replace("limit=100", &format!("limit={page}"));
    }
    if let Some(token) = parts.headers.get("authorization").and_then(|value| value.to_str().ok()) {
        let mut sessions = line.sessions.lock().unwrap();
        if sessions.1.contains(token) {
            return ran_out();
        }
        sessions.0.insert(token.to_owned());
    }
    let body = axum::body::to_bytes(body, LARGEST).await.unwrap();
    let instead = line.says_instead.lock().unwrap().iter().find(|(at, ..)| asked.contains(at)).copied();
    if let Some((_, status, code)) = instead {
        let mut answer = Response::new(Body::from(format!(r#"{{"errcode":"{code}","error":"the test says so"}}"#)));
        *answer.status_mut() = reqwest::StatusCode::from_u16(status).unwrap();
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        return answer;
    }
    let mut onward = line.http.request(parts.method, format!("{}{asked}", line.to)).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    if asked.contains("/sendToDevice/")
        && let Some(kept) = line.kept.lock().unwrap().as_mut()
    {
        kept.push(onward.build().unwrap());
        return Response::new("{}".into());
    }
    let told = match onward.send().await {
        Ok(answer) => {
            let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
            answer.bytes().await.map(|bytes| (status, kind, bytes))
        }
        Err(error) => Err(error),
    };
    if asked.contains("/sync?") {
        line.holds_news.subscribe().wait_for(|holds| !holds).await.unwrap();
    }
    let ended = |value: &axum::http::HeaderValue| value.to_str().is_ok_and(|token| line.sessions.lock().unwrap().1.contains(token));
    if parts.headers.get("authorization").is_some_and(ended) {
        return ran_out();
    }
    let (status, kind, bytes) = told.unwrap_or_else(|_| (reqwest::StatusCode::BAD_GATEWAY, None, Bytes::new()));
    let mut answer = Response::new(Body::from(bytes));
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        answer.headers_mut().insert("content-type", kind);
    }
    answer
}
