//! One HTTP request to a target, through the SSH connection of its host: it asks what a balancer beside it would ask.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::failure::refused;
use super::router::Endpoint;
use crate::domain::deployment::Failure;

/// What to ask, and which answers are good.
pub struct HttpCheck {
    request: Request<Empty<Bytes>>,
    codes: Vec<(u16, u16)>,
    timeout: Duration,
}

impl HttpCheck {
    /// # Errors
    /// When path, host or headers aren't such.
    pub fn new(
        endpoint: &Endpoint,
        path: &str,
        host: Option<&str>,
        headers: &BTreeMap<String, String>,
        codes: &[(u16, u16)],
        timeout: Duration,
    ) -> Result<HttpCheck, Failure> {
        let mut request = Request::get(path).header(CONNECTION, "close").header(USER_AGENT, "shipmate");
        request = request.header(HOST, host.map_or_else(|| endpoint.to_string(), str::to_owned));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|error| refused(format!("the health check can't be asked: {error}")))?;
        Ok(HttpCheck { request, codes: codes.to_vec(), timeout })
    }

    /// Asks through the socket; `Ok` is a good answer, `Err` anything else, both for people.
    ///
    /// # Errors
    /// The answer that isn't good, or why there is none.
    pub async fn ask(&self, socket: &Path) -> Result<String, String> {
        match timeout(self.timeout, self.exchange(socket)).await {
            Ok(Ok(status)) => {
                let text = status
                    .canonical_reason()
                    .map_or_else(|| status.as_str().to_owned(), |reason| format!("{} {reason}", status.as_str()));
                let good = self.codes.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()));
                if good { Ok(text) } else { Err(text) }
            }
            Ok(Err(why)) => Err(why),
            Err(_elapsed) => Err(format!("no answer within {:.0} s", self.timeout.as_secs_f64())),
        }
    }

    async fn exchange(&self, socket: &Path) -> Result<StatusCode, String> {
        let stream = UnixStream::connect(socket).await.map_err(|error| format!("no way there: {error}"))?;
        let nobody = |_: hyper::Error| "nobody listens".to_owned();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(nobody)?;
        // Ends with this set, when the answer's head is there: its body interests nobody.
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        Ok(sender.send_request(self.request.clone()).await.map_err(nobody)?.status())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    async fn asked(answer: &'static str, codes: &[(u16, u16)]) -> (Result<String, String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        });
        let endpoint = Endpoint { address: "10.0.0.1".into(), port: 8000 };
        let headers = BTreeMap::from([("X-Forwarded-Proto".to_owned(), "https".to_owned())]);
        let check = HttpCheck::new(&endpoint, "/health", Some("www.example.org"), &headers, codes, Duration::from_secs(5)).unwrap();
        (check.ask(&socket).await, server.await.unwrap())
    }

    #[tokio::test]
    async fn the_host_header_and_further_headers_are_sent() {
        let (answer, request) = asked("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[(200, 299)]).await;
        assert_eq!(answer, Ok("200 OK".into()));
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("get /health http/1.1\r\n") && request.contains("host: www.example.org\r\n"), "{request}");
        assert!(request.contains("x-forwarded-proto: https\r\n"), "{request}");
    }

    #[tokio::test]
    async fn only_the_accepted_codes_are_good() {
        assert_eq!(asked("HTTP/1.1 400 Bad Request\r\n\r\n", &[(200, 399)]).await.0, Err("400 Bad Request".into()));
        assert_eq!(asked("HTTP/1.1 301 Moved\r\n\r\n", &[(200, 200), (301, 301)]).await.0, Ok("301 Moved Permanently".into()));
    }

    #[tokio::test]
    async fn a_connection_that_closes_is_no_answer() {
        assert_eq!(asked("", &[(200, 299)]).await.0, Err("nobody listens".into()));
    }
}
