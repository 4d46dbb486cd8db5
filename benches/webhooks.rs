//! Measures how the bot takes builds: `cargo bench --bench webhooks [-- RATE [SECONDS]]`.
//!
//! The whole bot runs as its own process, with its store on the disk. 64 connections send it signed webhooks, all of them
//! different, each at its time however late the answers before it are. With the last answer the bot is killed, and its store is
//! opened to see whether every build that it acknowledged is there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use shipmate::store::Ledger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant as TokioInstant, sleep_until, timeout};

/// How many connections send.
const CONNECTIONS: usize = 64;

/// How many webhooks a run sends at most: their signatures, made before, hold for five minutes.
const MOST: usize = 200_000;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

const SECRET: &str = "the-secret-of-the-bench";

const FLEET: &str = r#"
[apps.antisocial]
image = "registry.example.org/antisocial"

[apps.antisocial.environments.production.roles.web]
hosts = ["appserver1"]
publish = { container = 8000 }
health = { http = "/" }
"#;

/// What came of one webhook.
struct Sent {
    number: usize,
    status: u16,
    /// From the moment at which it was due.
    took: Duration,
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter(|argument| argument != "--bench").map(|argument| argument.parse().unwrap());
    let (rate, seconds) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(15));
    let count = rate * seconds;
    assert!((1..=MOST).contains(&count), "{count} webhooks are too many, or none: at most {MOST}");

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("one fdatasync of this disk: {}", spread(syncs(folder.path())));
    let (mut bot, address) = start(folder.path());
    let requests: Vec<_> = (0..count).map(request).collect();
    let idle = rss_mib(&bot);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begin = Instant::now();
    let sent = runtime.block_on(send(address, &requests, rate));
    let elapsed = begin.elapsed();
    let busy = rss_mib(&bot);
    bot.kill().unwrap();
    bot.wait().unwrap();

    let acknowledged: Vec<usize> = sent.iter().filter(|sent| sent.status == 202).map(|sent| sent.number).collect();
    println!(
        "{count} signed webhooks by {CONNECTIONS} connections: {:.0} of {rate} a second, {} not answered with 202",
        sent.len() as f64 / elapsed.as_secs_f64(),
        count - acknowledged.len()
    );
    println!("  each {}", spread(sent.iter().map(|sent| sent.took).collect()));
    println!("  resident before {idle:.1} MiB, after {busy:.1} MiB");

    let begin = Instant::now();
    let (ledger, _) = Ledger::open(&folder.path().join("data")).unwrap();
    let opened = begin.elapsed();
    let app = "antisocial".parse().unwrap();
    let lost = acknowledged.iter().filter(|number| ledger.build(&app, &tag(**number).parse().unwrap()).unwrap().is_none()).count();
    let builds = ledger.builds(&app, usize::MAX).unwrap().len();
    println!("killed with the last answer; the store opened again in {opened:.1?}: {builds} builds, {lost} acknowledged ones lost");
    assert!(lost == 0 && builds >= acknowledged.len(), "a build that was acknowledged is lost");
}

/// What the disk alone takes to make a line of the journal durable.
fn syncs(folder: &Path) -> Vec<Duration> {
    let mut file = File::create(folder.join("sync")).unwrap();
    let write = |_| {
        let begin = Instant::now();
        file.write_all(&[b'x'; 600]).unwrap();
        file.sync_data().unwrap();
        begin.elapsed()
    };
    (0..500).map(write).collect()
}

/// Starts the bot, and returns when it listens.
fn start(folder: &Path) -> (Child, SocketAddr) {
    // Free a moment ago, and on an address that nobody else uses.
    let address = std::net::TcpListener::bind("127.0.0.99:0").unwrap().local_addr().unwrap();
    std::fs::write(folder.join("fleet.toml"), FLEET).unwrap();
    let begin = Instant::now();
    let bot = Command::new(env!("CARGO_BIN_EXE_shipmate"))
        .current_dir(folder)
        .env_clear()
        .env("USER", "bench")
        .env("SHIPMATE_LISTEN", address.to_string())
        .env("SHIPMATE_WEBHOOK_SECRET_GENERIC", SECRET)
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("chat")).unwrap())
        .stderr(File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < PATIENCE, "the bot doesn't listen: {}", std::fs::read_to_string(folder.join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("the bot, with an empty store, listens {:.1?} after its start", begin.elapsed());
    (bot, address)
}

fn tag(number: usize) -> String {
    format!("build-{number}")
}

/// A webhook as contrib/notify sends it.
fn request(number: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"app":"antisocial","tag":"{}","outcome":"success","number":{number},"commit":"0123456789abcdef0123456789abcdef01234567","branch":"main","url":"https://ci.example.org/antisocial/{number}","author":"Anna","message":"Make the front page faster","duration":61}}"#,
        tag(number)
    );
    let (id, time) = (format!("msg_{number}"), Timestamp::now().as_second());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let head = format!(
        "POST /builds/generic HTTP/1.1\r\nhost: shipmate\r\ncontent-type: application/json\r\nwebhook-id: {id}\r\n\
         webhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + body.as_str()).into_bytes()
}

async fn send(address: SocketAddr, requests: &[Vec<u8>], rate: usize) -> Vec<Sent> {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    let begin = TokioInstant::now();
    let connections = streams.into_iter().enumerate().map(|(first, mut stream)| async move {
        let mut sent = Vec::new();
        for (number, request) in requests.iter().enumerate().skip(first).step_by(CONNECTIONS) {
            let due = begin + Duration::from_secs_f64(number as f64 / rate as f64);
            sleep_until(due).await;
            // A connection that broke off sends no more; what it hasn't sent counts as not answered.
            let Ok(Some(status)) = timeout(PATIENCE, exchange(&mut stream, request)).await else { break };
            sent.push(Sent { number, status, took: due.elapsed() });
        }
        sent
    });
    futures_util::future::join_all(connections).await.into_iter().flatten().collect()
}

/// The status of the answer; `None` if the connection broke off.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut part).await.ok().filter(|length| *length > 0)?;
        answer.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&answer);
        // The body is one line of JSON, and the head's lines end otherwise.
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.ends_with('\n')
        {
            return head.split(' ').nth(1)?.parse().ok();
        }
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    format!("median {:.1?}, p99 {:.1?}, worst {:.1?}", at(50), at(99), at(100))
}

fn rss_mib(process: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
