//! Credentials of private registries: from the bot's settings, or from the host's own `docker login`.
//!
//! The engine gets them in the header of the one call that needs them, never on a command line. The header is written
//! here and not by bollard: engines read URL-safe base64, bollard writes the other one, and the engine silently takes the
//! credentials for absent when a `~`, `?` or `>` in a password makes a difference.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::Docker;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::json;

use super::command::RemoteCommand;
use super::docker::DockerHost;
use super::failure::refused;
use super::limits::SCRIPT;
use super::link::Link;
use crate::domain::deployment::Failure;
use crate::secret::{Redactor, Secret};

/// How to log in at each registry, by the registry's address as an image names it (`docker.io` for Docker Hub).
pub type Registries = BTreeMap<String, Login>;

/// How to log in at a registry.
#[derive(Debug, Clone)]
pub enum Login {
    /// With these.
    Password {
        /// The user name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// As the host's own docker does: by its `~/.docker/config.json`.
    Host,
}

/// What the engine is given for one registry.
#[derive(Debug, Clone)]
pub struct Credentials {
    registry: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Password { username: String, password: Secret },
    IdentityToken(Secret),
}

impl Credentials {
    fn header(&self) -> Result<HeaderValue, Failure> {
        let address = if self.registry == DOCKER_HUB { DOCKER_HUB_KEY } else { &self.registry };
        let body = match &self.kind {
            Kind::Password { username, password } => {
                json!({"username": username, "password": password.expose(), "serveraddress": address})
            }
            Kind::IdentityToken(token) => json!({"identitytoken": token.expose(), "serveraddress": address}),
        };
        let mut value = HeaderValue::try_from(URL_SAFE.encode(body.to_string())).map_err(|error| refused(error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The credentials for a registry; `None` if none are set.
///
/// # Errors
/// When they are the host's own and can't be read.
pub async fn credentials(
    registries: &Registries,
    registry: &str,
    link: &Link,
    redactor: &Redactor,
) -> Result<Option<Credentials>, Failure> {
    let kind = match registries.get(registry) {
        None => return Ok(None),
        Some(Login::Password { username, password }) => Kind::Password { username: username.clone(), password: password.clone() },
        Some(Login::Host) => {
            let kind = from_host(registry, link).await?;
            match &kind {
                Kind::Password { password: secret, .. } | Kind::IdentityToken(secret) => redactor.learn(secret.expose()),
            }
            kind
        }
    };
    Ok(Some(Credentials { registry: registry.to_owned(), kind }))
}

async fn from_host(registry: &str, link: &Link) -> Result<Kind, Failure> {
    let none = |why: &str| {
        refused(format!(
            "{why} on {}: run `docker login {registry}` there, or set a user name and password in Shipmate's settings",
            link.host()
        ))
    };
    let read = RemoteCommand::script(r#"f="${DOCKER_CONFIG:-$HOME/.docker}/config.json"; [ ! -f "$f" ] || cat -- "$f""#);
    let text = link.ask(&read, SCRIPT).await?;
    let config: Config = serde_json::from_str(if text.trim().is_empty() { "{}" } else { &text })
        .map_err(|_| none("~/.docker/config.json can't be read"))?;
    match config.login(registry) {
        Some(HostLogin::Kind(kind)) => Ok(kind),
        Some(HostLogin::Helper { helper, key }) => {
            let get = RemoteCommand::script(r#"printf %s "$2" | "docker-credential-$1" get"#).arg(helper).arg(key);
            // What a helper prints may hold the secret, so its failure's output isn't passed on.
            let answer = link.ask(&get, SCRIPT).await.map_err(|failure| Failure { output: Vec::new(), ..failure })?;
            let found: Helped =
                serde_json::from_str(&answer).map_err(|_| none("the credential helper knows nothing of the registry"))?;
            found.kind().ok_or_else(|| none("the credential helper has an empty secret"))
        }
        None => Err(none(&format!("there is no login for {registry}"))),
    }
}

/// `~/.docker/config.json`, as far as it matters here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

enum HostLogin {
    Kind(Kind),
    Helper { helper: String, key: String },
}

impl Config {
    /// docker's own order: a helper for this registry, then the helper for all, then what stands in the file.
    fn login(&self, registry: &str) -> Option<HostLogin> {
        let key = if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry };
        let helper = [registry, key].iter().find_map(|name| self.cred_helpers.get(*name)).or(self.creds_store.as_ref());
        if let Some(helper) = helper.filter(|helper| !helper.is_empty()) {
            return Some(HostLogin::Helper { helper: helper.clone(), key: key.to_owned() });
        }
        // Older versions wrote the address as a URL.
        let plain =
            |name: &str| name.trim_start_matches("https://").trim_start_matches("http://").split('/').next().map(str::to_owned);
        let auth =
            self.auths.get(key).or_else(|| self.auths.iter().find(|(name, _)| plain(name) == plain(key)).map(|(_, auth)| auth))?;
        if let Some(token) = auth.identitytoken.as_deref().and_then(Secret::new) {
            return Some(HostLogin::Kind(Kind::IdentityToken(token)));
        }
        let text = String::from_utf8(STANDARD.decode(auth.auth.as_deref()?).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(HostLogin::Kind(Kind::Password {
            username: username.to_owned(),
            password: Secret::new(password.trim_end_matches('\0'))?,
        }))
    }
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Helped {
    fn kind(self) -> Option<Kind> {
        let secret = Secret::new(self.secret)?;
        Some(if self.username == "<token>" {
            Kind::IdentityToken(secret)
        } else {
            Kind::Password { username: self.username, password: secret }
        })
    }
}

impl DockerHost {
    /// The client with these credentials in its header; for calls that need them only.
    ///
    /// # Errors
    /// When they can't be written as a header.
    pub fn authorized(&self, credentials: Option<&Credentials>, deadline: Duration) -> Result<Docker, Failure> {
        let api = self.patient(deadline);
        let Some(credentials) = credentials else { return Ok(api) };
        let header = credentials.header()?;
        Ok(api.with_request_modifier(move |mut request| {
            request.headers_mut().insert("X-Registry-Auth", header.clone());
            request
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(config: &str, registry: &str) -> Option<HostLogin> {
        serde_json::from_str::<Config>(config).unwrap().login(registry)
    }

    fn password(login: Option<HostLogin>) -> (String, String) {
        match login {
            Some(HostLogin::Kind(Kind::Password { username, password })) => (username, password.expose().to_owned()),
            _ => panic!("no password"),
        }
    }

    #[test]
    fn a_login_in_the_file_is_found_by_its_newer_and_older_names() {
        let auth = STANDARD.encode("anna:pa:ss");
        for name in ["reg:5000", "https://reg:5000", "https://reg:5000/v1/"] {
            let config = format!(r#"{{"auths":{{"{name}":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(password(login(&config, "reg:5000")), ("anna".into(), "pa:ss".into()));
            assert!(login(&config, "other:5000").is_none());
        }
        let hub = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#);
        assert_eq!(password(login(&hub, "docker.io")).0, "anna");
    }

    #[test]
    fn a_helper_goes_before_the_file() {
        let config = r#"{"auths":{"reg":{}},"credsStore":"pass","credHelpers":{"ecr.aws":"ecr-login"}}"#;
        let helper = |registry| match login(config, registry) {
            Some(HostLogin::Helper { helper, key }) => (helper, key),
            _ => panic!("no helper"),
        };
        assert_eq!(helper("ecr.aws"), ("ecr-login".into(), "ecr.aws".into()));
        assert_eq!(helper("docker.io"), ("pass".into(), DOCKER_HUB_KEY.into()));
    }

    #[test]
    fn an_empty_file_holds_no_login() {
        assert!(login("{}", "reg").is_none() && login(r#"{"auths":{"reg":{}}}"#, "reg").is_none());
    }

    #[test]
    fn the_header_is_url_safe_and_not_printed() {
        let kind = Kind::Password { username: "u".into(), password: Secret::new("~?>~?>~?>").unwrap() };
        let header = Credentials { registry: "reg".into(), kind }.header().unwrap();
        let text = header.to_str().unwrap().to_owned();
        assert!(!text.contains(['+', '/']) && text.contains(['-', '_']), "{text}");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
