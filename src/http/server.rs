//! The server: connections within bounds, routes, one log line for each request, and a shutdown that finishes what runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Logged};
use super::body::Places;
use super::{App, health, webhook};

/// The largest header, and what a connection buffers of a body at a time.
const BUFFER: usize = 32 * 1024;

/// How long to wait when accepting fails, usually because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all requests share.
pub struct Shared {
    pub app: App,
    pub places: Places,
}

/// Serves until `shutdown` is done; then takes no more, finishes the requests that run, and returns.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) {
    let limits = app.limits;
    let router = router(Arc::new(Shared { app, places: Places::new() }));
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let stopping = CancellationToken::new();
    let accepting = async {
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), limits.read, stopping.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    stopping.cancel();
    // Having all the places means that no connection has one.
    if tokio::time::timeout(limits.drain, places.acquire_many(limits.connections)).await.is_err() {
        tracing::warn!("some requests were still running at the end of the shutdown");
    }
}

async fn connection(stream: TcpStream, router: Router, read: Duration, stopping: CancellationToken) {
    // Answers are small and whole; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(read).max_buf_size(BUFFER);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let (for_builds, for_health, for_metrics) = (shared.clone(), shared.clone(), shared);
    let builds = post(move |request: Request| {
        let shared = for_builds.clone();
        async move { webhook::post(&shared, request).await }
    });
    Router::new()
        .route("/builds/{source}", builds.fallback(|| only("POST", "/builds")))
        .route("/healthz", get(async move || health::answer(for_health.app.health.report())).fallback(|| only("GET", "/healthz")))
        .route("/metrics", get(async move || for_metrics.app.metrics.answer()).fallback(|| only("GET", "/metrics")))
        .fallback(nothing_here)
        .layer(from_fn(log))
}

async fn only(method: &'static str, route: &'static str) -> Response {
    let mut response = Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, format!("use {method}")).route(route).into_response();
    response.headers_mut().insert(http::header::ALLOW, http::HeaderValue::from_static(method));
    response
}

async fn nothing_here() -> Answer {
    Answer::refusal(StatusCode::NOT_FOUND, "here are POST /builds/{source}, GET /healthz and GET /metrics")
}

/// One line for each request. Of what the sender sent it has the method only: a path or a query may hold a secret.
async fn log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let Logged { route, why } = response.extensions().get().copied().unwrap_or_default();
    let (status, ms) = (response.status().as_u16(), started.elapsed().as_secs_f64() * 1000.0);
    // Probes and scrapes come every few seconds for ever.
    if matches!(route, "/healthz" | "/metrics") {
        tracing::debug!(%method, route, status, ms, why, "http");
    } else {
        tracing::info!(%method, route, status, ms, why, "http");
    }
    response
}
