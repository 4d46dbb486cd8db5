//! Homeservers of the rig: real Synapses on loopback, one for the whole run, and a second one for those who stop it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use matrix_sdk::reqwest::{Client, Method};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Where the servers' clients and the people live: they outlast the runtime of a test.
static BACKSTAGE: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

static MAIN: OnceCell<Server> = OnceCell::const_new();
static SECOND: OnceCell<Server> = OnceCell::const_new();

/// Held by the test that the second server is up or down for.
static TURN: Mutex<()> = Mutex::const_new(());

/// How long a server or a client may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Does it where it outlasts the test.
pub async fn backstage<T: Send + 'static>(what: impl Future<Output = T> + Send + 'static) -> T {
    match BACKSTAGE.spawn(what).await {
        Ok(done) => done,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

/// The same, and nobody waits for it.
pub fn goes_on_backstage(what: impl Future<Output = ()> + Send + 'static) {
    drop(BACKSTAGE.spawn(what));
}

/// What no earlier run on the same server has named anything.
pub fn new_name(what: &str) -> String {
    static RUN: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{:x}-{}", *RUN, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A part of a path.
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A homeserver that is up.
pub struct Server {
    name: &'static str,
    pub url: String,
    secret: String,
    http: Client,
    /// The token of an administrator.
    admin: OnceCell<String>,
}

/// A user of it.
#[derive(Debug, Clone)]
pub struct User {
    pub id: String,
    pub password: String,
}

/// The second server, for one test.
pub struct Second {
    pub server: &'static Server,
    _turn: MutexGuard<'static, ()>,
}

impl Second {
    pub async fn new() -> Second {
        let turn = TURN.lock().await;
        let server = SECOND.get_or_init(|| Server::start("second")).await;
        server.starts().await;
        Second { server, _turn: turn }
    }
}

impl Server {
    /// The one for all tests.
    pub async fn main() -> &'static Server {
        MAIN.get_or_init(|| Server::start("main")).await
    }

    async fn start(name: &'static str) -> Server {
        let told = rig(&["matrix", "up", name]).await;
        let variable = |wanted: &str| {
            let found = told.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == wanted);
            found.unwrap_or_else(|| panic!("no {wanted} in {told}")).1.to_owned()
        };
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Server { name, url: variable("RIG_MATRIX"), secret: variable("RIG_MATRIX_SECRET"), http, admin: OnceCell::new() }
    }

    /// It goes away, and keeps what it has.
    pub async fn stops(&self) {
        rig(&["matrix", "stop", self.name]).await;
    }

    /// It is there again.
    pub async fn starts(&self) {
        rig(&["matrix", "up", self.name]).await;
    }

    /// Asks it for something; the status and the answer if it says no.
    pub async fn try_call(&'static self, token: &str, method: Method, path: &str, body: Value) -> Result<Value, (u16, Value)> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if method != Method::GET {
            request = request.body(body.to_string());
        }
        let (status, text) = backstage(async move {
            let answer = request.send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        })
        .await;
        let told = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() { Ok(told) } else { Err((status.as_u16(), told)) }
    }

    /// The same where it has to say yes.
    pub async fn call(&'static self, token: &str, method: Method, path: &str, body: Value) -> Value {
        let told = self.try_call(token, method, path, body).await;
        told.unwrap_or_else(|(status, why)| panic!("{path}: {status} {why}"))
    }

    async fn register(&'static self, name: &str, admin: bool) -> User {
        let path = "/_synapse/admin/v1/register";
        let nonce = self.call("", Method::GET, path, Value::Null).await["nonce"].as_str().unwrap().to_owned();
        let password = format!("pw-{name}");
        let kind = if admin { "admin" } else { "notadmin" };
        let key = PKey::hmac(self.secret.as_bytes()).unwrap();
        let mut signer = Signer::new(MessageDigest::sha1(), &key).unwrap();
        signer.update([&nonce, name, &password, kind].join("\0").as_bytes()).unwrap();
        let mac = hex::encode(signer.sign_to_vec().unwrap());
        let asked =
            json!({"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac, "inhibit_login": true});
        let made = self.call("", Method::POST, path, asked).await;
        User { id: made["user_id"].as_str().unwrap().to_owned(), password }
    }

    /// A new user, who has no device yet.
    pub async fn user(&'static self, what: &str) -> User {
        self.register(&new_name(what), false).await
    }

    async fn admin(&'static self) -> &'static str {
        let token =
            self.admin.get_or_init(|| async { self.token_of_new_device(&self.register(&new_name("admin"), true).await).await.0 });
        token.await
    }

    /// A new device of a user: its token, and its id.
    pub async fn token_of_new_device(&'static self, user: &User) -> (String, String) {
        let asked = json!({
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": user.id}, "password": user.password
        });
        let told = self.call("", Method::POST, "/_matrix/client/v3/login", asked).await;
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        (text("access_token"), text("device_id"))
    }

    /// A token that stands for a user without being of a device.
    pub async fn token_of(&'static self, user: &str) -> String {
        let path = format!("/_synapse/admin/v1/users/{}/login", part(user));
        self.call(self.admin().await, Method::POST, &path, json!({})).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Logs a user out everywhere.
    pub async fn ends_sessions_of(&'static self, user: &User) {
        let (token, _) = self.token_of_new_device(user).await;
        self.call(&token, Method::POST, "/_matrix/client/v3/logout/all", json!({})).await;
    }

    /// From now on a user may send no more than so many messages a second, after a few at once.
    pub async fn limits(&'static self, user: &str, per_second: u32, burst: u32) {
        let path = format!("/_synapse/admin/v1/users/{}/override_ratelimit", part(user));
        let limit = json!({"messages_per_second": per_second, "burst_count": burst});
        self.call(self.admin().await, Method::POST, &path, limit).await;
    }
}

/// `rig WORDS...`; fails the test if that fails. The first time takes a minute: it gets Synapse.
async fn rig(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    tokio::task::spawn_blocking(move || crate::rig::rig(&words.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
}
