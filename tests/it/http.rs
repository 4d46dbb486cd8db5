//! The listener, over real sockets, with a fake intake behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use shipmate::builds::{self, Notice};
use shipmate::http::{Accepted, App, Condition, Health, HealthReport, Intake, IntakeError, Limits, Metrics, Taken, serve};
use shipmate::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

pub const SECRET: &str = "s3cret-of-the-tests";
/// Secrets of other forms, all valid at once: Standard Webhooks', and one longer than a block of the hash.
pub const MORE_SECRETS: [&str; 2] =
    ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "a-secret-that-is-longer-than-the-sixty-four-bytes-that-are-a-block-of-sha256"];
const SUCCESS: &str = include_str!("../data/builds/generic-success.json");

/// Takes whatever has an app's name; some names make trouble.
#[derive(Default)]
pub struct FakeIntake {
    pub taken: Mutex<Vec<(&'static str, Notice)>>,
    /// The app `slow` has come, and waits for...
    came: Notify,
    /// ...this.
    go_on: Notify,
}

#[async_trait]
impl Intake for FakeIntake {
    async fn take(&self, source: &'static str, notices: Vec<Notice>, _now: Timestamp) -> Result<Taken, IntakeError> {
        let mut taken = Taken::default();
        for notice in notices {
            match notice.project.as_str() {
                "refused" => return Err(IntakeError("the disk is full".to_owned())),
                "slow" => {
                    self.came.notify_one();
                    self.go_on.notified().await;
                }
                _ => {}
            }
            if let (Ok(app), Some(tag)) = (notice.project.parse(), &notice.tag) {
                taken.accepted.push(Accepted { app, tag: tag.parse().unwrap() });
                self.taken.lock().unwrap().push((source, notice));
            } else {
                taken.ignored.push(format!("no [[builds]] rule of fleet.toml matches {source} project `{}`", notice.project));
            }
        }
        Ok(taken)
    }
}

struct FakeHealth(HealthReport);

impl Health for FakeHealth {
    fn report(&self) -> HealthReport {
        self.0.clone()
    }
}

/// A listener on a free port.
pub struct Running {
    pub address: SocketAddr,
    pub intake: Arc<FakeIntake>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Running {
    pub async fn start(limits: Limits, parts: Vec<(&'static str, Condition)>) -> Running {
        let secret = || [SECRET].into_iter().chain(MORE_SECRETS).map(|secret| Secret::new(secret).unwrap()).collect();
        let named = ["generic", "jenkins", "github", "registry", "dockerhub"].map(|name| (name.to_owned(), secret()));
        let intake = Arc::new(FakeIntake::default());
        let app = App {
            sources: builds::all(&BTreeMap::from(named)),
            intake: intake.clone(),
            health: Arc::new(FakeHealth(HealthReport { parts })),
            metrics: Metrics::new(),
            clock: Timestamp::now,
            limits,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, app, async {
            let _ = stopped.await;
        }));
        Running { address, intake, stop: Some(stop), served }
    }

    pub async fn plain() -> Running {
        Running::start(Limits::default(), vec![]).await
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// One request on a connection of its own.
    async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut client = Client::connect(self.address).await;
        client.send(head, body).await;
        client.answer().await.unwrap()
    }

    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.ask(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len()), body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"), b"").await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        Client { stream: TcpStream::connect(address).await.unwrap(), read: vec![] }
    }

    async fn send(&mut self, head: &str, body: &[u8]) {
        self.stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }

    /// The next answer; `None` if the server closes the connection instead.
    async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
                if self.read.len() >= end + 4 + length {
                    let rest = self.read.split_off(end + 4 + length);
                    let body = String::from_utf8(std::mem::replace(&mut self.read, rest)[end + 4..].to_vec()).unwrap();
                    return Some(Answer { status: head[9..12].parse().unwrap(), head, body });
                }
            }
            self.stream.read_buf(&mut self.read).await.ok().filter(|read| *read > 0)?;
        }
    }
}

fn bearer() -> String {
    format!("authorization: Bearer {SECRET}\r\n")
}

fn notice(app: &str) -> Vec<u8> {
    json!({"app": app, "tag": "build-42", "outcome": "success"}).to_string().into_bytes()
}

fn hmac(content: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(content);
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn a_signed_build_is_accepted() {
    let server = Running::plain().await;
    let time = Timestamp::now().as_second();
    let signature = STANDARD.encode(hmac(&[format!("msg_1.{time}.").as_bytes(), SUCCESS.as_bytes()].concat()));
    let headers = format!("webhook-id: msg_1\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\n");
    let answer = server.post("/builds/generic", &headers, SUCCESS.as_bytes()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"accepted": [{"app": "antisocial", "tag": "build-42"}]}));
    let taken = server.intake.taken.lock().unwrap();
    assert_eq!(
        taken.iter().map(|(source, notice)| (*source, notice.delivery.as_deref())).collect::<Vec<_>>(),
        [("generic", Some("msg_1"))]
    );
}

#[tokio::test]
async fn githubs_signature_is_checked_on_the_bytes_as_sent() {
    let server = Running::plain().await;
    let body = include_bytes!("../data/builds/github-registry_package-published.json");
    let head = |signature: String| format!("X-GitHub-Event: registry_package\r\nX-Hub-Signature-256: sha256={signature}\r\n");
    let answer = server.post("/builds/github", &head(hex::encode(hmac(body))), body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"ignored": "no [[builds]] rule of fleet.toml matches github project `Codertocat/antisocial`"})
    );
    assert_eq!(server.post("/builds/github", &head(String::new()), body).await.status, 401);
}

#[tokio::test]
async fn whoever_proves_nothing_is_refused() {
    let server = Running::plain().await;
    for path in [
        "/builds/generic",
        "/builds/jenkins",
        "/builds/github",
        "/builds/registry",
        "/builds/dockerhub",
        "/builds/dockerhub?token=x",
    ] {
        let answer = server.post(path, "", SUCCESS.as_bytes()).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: "), "{path}");
    }
    assert!(server.intake.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_other_request_is_told_what_is_wrong() {
    let server = Running::plain().await;
    let answer = server.post("/builds/generic", &bearer(), b"{\"app\":\"a\"").await;
    assert_eq!((answer.status, answer.error().contains("EOF")), (400, true));
    let answer = server.post("/builds/gitlab", "", b"{}").await;
    assert_eq!((answer.status, answer.error().contains("WEBHOOK_SECRET_GITLAB")), (404, true));
    let answer = server.post("/builds/nosuch", "", b"{}").await;
    assert_eq!((answer.status, answer.error().contains("there are: generic, jenkins")), (404, true));
    for path in ["/", "/builds", "/builds/", "/builds/generic/x", "/metrics/x", "/builds%2fgeneric"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.error().contains("POST /builds/{source}")), (404, true), "{path}");
    }
    for (answer, allowed) in [
        (server.get("/builds/generic").await, "POST"),
        (server.post("/healthz", "", b"").await, "GET"),
        (server.post("/metrics", "", b"").await, "GET"),
    ] {
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains(&format!("allow: {allowed}")), "{answer:?}");
        assert_eq!(answer.error(), format!("use {allowed}"));
    }
}

#[tokio::test]
async fn events_that_are_no_builds_are_answered_well() {
    let server = Running::plain().await;
    let started = include_bytes!("../data/builds/jenkins-started.json");
    let answer = server.post(&format!("/builds/jenkins?token={SECRET}"), "", started).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["ignored"].as_str().unwrap().starts_with("phase STARTED"));
    let answer = server.post("/builds/registry", &bearer(), b"no JSON at all").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn what_the_store_refuses_is_to_be_sent_again() {
    let server = Running::plain().await;
    let answer = server.post("/builds/generic", &bearer(), &notice("refused")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 30"));
    assert!(!answer.body.contains("disk"), "the cause is for the log only: {answer:?}");
}

#[tokio::test]
async fn a_large_body_is_refused_however_it_comes() {
    let server = Running::plain().await;
    let large = vec![b' '; 1024 * 1024 + 1];
    // Whole and unasked: the sender is read to the end, so that it gets the answer.
    let answer = server.post("/builds/generic", &bearer(), &large).await;
    assert_eq!((answer.status, answer.error().contains("1048576 bytes")), (413, true));
    // Announced, and sent only when asked for: it is never asked for.
    let head =
        format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", large.len());
    let answer = server.ask(&head, b"").await;
    assert_eq!(answer.status, 413);
    // In chunks, of unknown length.
    let chunked = format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\n{}transfer-encoding: chunked\r\n\r\n", bearer());
    let chunks = [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(server.ask(&chunked, &chunks).await.status, 413);
    // The largest that is allowed.
    let mut allowed = notice("antisocial");
    allowed.resize(1024 * 1024, b' ');
    assert_eq!(server.post("/builds/generic", &bearer(), &allowed).await.status, 202);
}

fn hasty() -> Limits {
    Limits { read: Duration::from_millis(200), ..Limits::default() }
}

#[tokio::test]
async fn a_slow_body_and_a_slow_header_are_cut_off() {
    let server = Running::start(hasty(), vec![]).await;
    let begun = Instant::now();
    let head = format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\n{}content-length: 100\r\n\r\n", bearer());
    let answer = server.ask(&head, b"{").await;
    assert_eq!(answer.status, 408);
    assert!(answer.head.contains("connection: close"));
    let mut client = Client::connect(server.address).await;
    client.send("POST /builds/generic HTTP/1.1\r\nho", b"").await;
    assert!(client.answer().await.is_none());
    // Drops of a body don't prolong it.
    let mut client = Client::connect(server.address).await;
    client.send(&head, b"").await;
    for _ in 0..10 {
        let _ = client.stream.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(client.answer().await.map(|answer| answer.status), Some(408));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_idles_briefly() {
    let server = Running::start(hasty(), vec![]).await;
    let mut client = Client::connect(server.address).await;
    let body = notice("antisocial");
    let head = format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\n{}content-length: {}\r\n\r\n", bearer(), body.len());
    for _ in 0..3 {
        client.send(&head, &body).await;
        assert_eq!(client.answer().await.unwrap().status, 202);
    }
    assert!(client.answer().await.is_none(), "an idle connection is closed");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let server = Running::start(Limits { connections: 2, ..Limits::default() }, vec![]).await;
    let mut first = Client::connect(server.address).await;
    let mut second = Client::connect(server.address).await;
    for client in [&mut first, &mut second] {
        client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"").await;
        client.answer().await.unwrap();
    }
    let mut third = Client::connect(server.address).await;
    third.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"").await;
    assert!(tokio::time::timeout(Duration::from_millis(100), third.answer()).await.is_err());
    drop(second);
    assert_eq!(third.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn the_shutdown_finishes_what_runs_and_takes_no_more() {
    let mut server = Running::plain().await;
    let (mut idle, mut busy) = (Client::connect(server.address).await, Client::connect(server.address).await);
    let body = notice("slow");
    busy.send(&format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\n{}content-length: {}\r\n\r\n", bearer(), body.len()), &body)
        .await;
    server.intake.came.notified().await;
    server.stop();
    assert!(idle.answer().await.is_none());
    server.intake.go_on.notify_one();
    assert_eq!(busy.answer().await.unwrap().status, 202);
    assert!(busy.answer().await.is_none());
    tokio::time::timeout(Duration::from_secs(2), server.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.intake.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_ever() {
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let mut server = Running::start(limits, vec![]).await;
    let mut stuck = Client::connect(server.address).await;
    let head =
        format!("POST /builds/generic HTTP/1.1\r\nhost: x\r\n{}expect: 100-continue\r\ncontent-length: 10\r\n\r\n", bearer());
    stuck.send(&head, b"").await;
    assert_eq!(stuck.answer().await.unwrap().status, 100, "it waits for the body");
    server.stop();
    tokio::time::timeout(Duration::from_secs(2), server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn health_says_what_is_degraded_and_why() {
    let well = Running::start(Limits::default(), vec![("store", Condition::Well), ("chat", Condition::Well)]).await;
    let answer = well.get("/healthz").await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (200, json!("ok")));
    let why = "appserver2 can't be reached since 12:03";
    let parts = vec![("store", Condition::Well), ("hosts", Condition::Degraded(why.to_owned()))];
    let answer = Running::start(Limits::default(), parts).await.get("/healthz").await;
    assert_eq!(answer.status, 503);
    let expected = json!({"store": {"status": "ok"}, "hosts": {"status": "degraded", "why": why}});
    assert_eq!(answer.json(), json!({"status": "degraded", "parts": expected}));
}

#[tokio::test]
async fn metrics_count_webhooks_without_the_senders_words() {
    let server = Running::plain().await;
    server.post("/builds/generic", "", b"{}").await;
    server.post("/builds/generic", &bearer(), &notice("antisocial")).await;
    server.post("/builds/made-up-by-a-stranger", "", b"{}").await;
    let answer = server.get("/metrics").await;
    assert!(answer.head.contains("application/openmetrics-text"));
    for line in [
        r#"shipmate_webhook_rejections_total{source="generic",status="401"} 1"#,
        r#"shipmate_webhook_rejections_total{source="unknown",status="404"} 1"#,
        r#"shipmate_webhook_duration_seconds_count{source="generic"} 2"#,
    ] {
        assert!(answer.body.contains(line), "{line} is not in\n{}", answer.body);
    }
    assert!(!answer.body.contains("stranger"));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_one_line_a_request_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let server = Running::plain().await;
    let body = include_bytes!("../data/builds/jenkins-finalized.json");
    server.post(&format!("/builds/jenkins?token={SECRET}"), "", body).await;
    server.post(&format!("/builds/dockerhub?token={SECRET}"), "", b"{\"planted\":\"planted-body\"").await;
    server.post(&format!("/builds/{SECRET}"), "", b"{}").await;
    server.post(&format!("/{SECRET}"), &bearer(), b"{}").await;
    server.post("/builds/generic", &bearer(), &notice("planted-body")[..30]).await;
    drop(guard);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("shipmate::http")).count(), 5, "{log}");
    for planted in [SECRET, "hunter2", "planted-body"] {
        assert!(!log.contains(planted), "{planted} is in\n{log}");
    }
}

/// Not a measurement for the README, which comes from the bench; it shows that the listener itself isn't what is slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a load test; run it in release mode"]
async fn sixty_four_connections_are_served_fast() {
    let server = Running::plain().await;
    let begun = Instant::now();
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let address = server.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let body = include_bytes!("../data/builds/github-registry_package-published.json");
                let signature = hex::encode(hmac(body));
                let headers = format!("X-GitHub-Event: registry_package\r\nX-Hub-Signature-256: sha256={signature}\r\n");
                let head = format!("POST /builds/github HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
                let mut slowest = Duration::ZERO;
                for _ in 0..500 {
                    let sent = Instant::now();
                    client.send(&head, body).await;
                    assert_eq!(client.answer().await.unwrap().status, 200);
                    slowest = slowest.max(sent.elapsed());
                }
                slowest
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for client in clients {
        slowest = slowest.max(client.await.unwrap());
    }
    let rate = 64.0 * 500.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} requests a second, the slowest took {slowest:?}");
    assert!(rate > 1000.0, "{rate}");
}
