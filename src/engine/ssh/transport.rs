//! HTTP connections to a forwarded Docker socket, kept for the next request.
//!
//! bollard opens a new one for each request to a unix socket. Over a forward that costs one more round trip to the host
//! for each call of the API, which is half of all waiting on a distant host.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

use super::limits::{API_CALL, KEPT_CONNECTIONS, KEPT_FOR};

/// A client of the engine at the local end of a forward.
///
/// # Errors
/// When bollard can't be set up.
pub fn client(socket: PathBuf) -> Result<Docker, Error> {
    let pool = Arc::new(Pool { socket, idle: Mutex::default() });
    let transport = move |request: BollardRequest| Arc::clone(&pool).send(request);
    Docker::connect_with_custom_transport(transport, Some("http://docker"), API_CALL.as_secs(), API_DEFAULT_VERSION)
}

struct Pool<B> {
    socket: PathBuf,
    idle: Mutex<Vec<Idle<B>>>,
}

struct Idle<B> {
    connection: SendRequest<B>,
    until: Instant,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

impl<B> Pool<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn send(self: Arc<Self>, request: Request<B>) -> Answer {
        Box::pin(async move {
            let mut request = to_origin(request);
            while let Some(mut kept) = self.take() {
                match kept.try_send_request(request).await {
                    Ok(response) => {
                        self.keep(kept);
                        return Ok(response);
                    }
                    // The connection was over before the request left: no harm in sending it by another.
                    Err(mut unsent) => match unsent.take_message() {
                        Some(message) => request = message,
                        None => return Err(unsent.into_error().into()),
                    },
                }
            }
            let (mut fresh, connection) = handshake(TokioIo::new(UnixStream::connect(&self.socket).await?)).await?;
            tokio::spawn(connection.with_upgrades());
            let response = fresh.send_request(request).await?;
            self.keep(fresh);
            Ok(response)
        })
    }

    fn take(&self) -> Option<SendRequest<B>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| !kept.connection.is_closed());
        idle.pop().map(|kept| kept.connection)
    }

    fn put(&self, kept: Idle<B>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_CONNECTIONS {
            idle.push(kept);
        }
    }

    /// It can be used again when the answer's body has been read; a stream is read late, and an upgraded connection never comes back.
    fn keep(self: &Arc<Self>, mut used: SendRequest<B>) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            if used.ready().await.is_err() {
                return;
            }
            let until = Instant::now() + KEPT_FOR;
            match pool.upgrade() {
                Some(pool) => pool.put(Idle { connection: used, until }),
                None => return,
            }
            sleep_until(until).await;
            if let Some(pool) = pool.upgrade() {
                pool.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.until > until);
            }
        });
    }
}

/// A request as it goes over a connection: the address in the header, not in the path.
fn to_origin<B>(request: Request<B>) -> Request<B> {
    let (mut head, body) = request.into_parts();
    if let Some(path) = head.uri.path_and_query() {
        head.uri = Uri::from(path.clone());
    }
    head.headers.insert(HOST, HeaderValue::from_static("docker"));
    Request::from_parts(head, body)
}
