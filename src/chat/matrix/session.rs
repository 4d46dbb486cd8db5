//! The bot's session: it logs in once, and its device is the same for life.
//!
//! A device whose keys are lost reads nothing and doesn't know it. So whatever doesn't belong together here is refused, with the
//! way out, before the homeserver is asked for anything that lasts.

use std::path::Path;
use std::time::Duration;

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::config::{RequestConfig, SyncSettings};
use matrix_sdk::encryption::EncryptionSettings;
use matrix_sdk::reqwest::StatusCode;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId, UserId};
use matrix_sdk::store::RoomLoadSettings;
use matrix_sdk::{Client, RoomState, SessionMeta, SessionTokens, SqliteStoreConfig};
use serde_json::{Value, json};

use super::errors::{innermost, of_http, trouble};
use super::folder::{Folder, Kept};
use super::{Login, PLATFORM, Parts, identity, proof};
use crate::domain::message::RoomId;
use crate::secret::Secret;

/// How long the homeserver may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How often a request is tried before it counts as failed; the homeserver's wish to wait is minded.
const TRIES: usize = 3;

/// How many events of a room one answer brings at most; what is more is fetched.
const TIMELINE: u32 = 100;

/// A session that is there.
#[derive(Clone)]
pub(super) struct Session {
    /// What speaks to the homeserver.
    pub client: Client,
}

/// Opens the session, the first time by logging in; with it, what keeps people from trusting the bot's device.
///
/// # Errors
/// With what is wrong, for people.
pub(super) async fn open(parts: &Parts, me: &UserId) -> Result<(Session, Option<String>), String> {
    let folder = Folder::open(&parts.store).map_err(|error| unusable(&parts.store, &error))?;
    let mut kept = folder.session().map_err(|error| unusable(&parts.store, &error))?;
    let place = folder.path().display();
    if kept.is_none()
        && let Some(device) = folder.device().map_err(|error| unusable(&parts.store, &error))?
    {
        if let Login::Password(_) = &parts.login {
            return Err(session_is_gone(&device, &folder));
        }
        // The token is all that is missing of it.
        kept = Some(Kept { user: me.to_string(), device, token: String::new() });
    }
    if let Some(kept) = &kept {
        if kept.user != me.as_str() {
            return Err(format!(
                "{place} has the session of {}, not of {me}: move the folder away, or set the user back",
                kept.user
            ));
        }
        if !folder.has_keys() {
            return Err(format!(
                "{place} has the session of the device {}, but the keys of the device are gone, and without them it reads nothing. Move \
                 {place} away; then the bot logs in as a new device (with SHIPMATE_MATRIX_TOKEN, give it a new one), and with \
                 SHIPMATE_MATRIX_RECOVERY_KEY people trust that like the old one",
                kept.device
            ));
        }
    }
    let first = kept.is_none();
    let session = match (&parts.login, kept) {
        (Login::Token(token), kept) => Some(of_token(parts, me, token, kept, &folder).await?),
        (Login::Password(password), Some(kept)) => Some(renewed(parts, me, password, kept).await?),
        (Login::Password(_), None) => None,
    };
    if first {
        folder.begin_anew().map_err(|error| unusable(&parts.store, &error))?;
    }
    let client = client(parts, &folder).await?;
    match (&parts.login, session) {
        (_, Some(kept)) => {
            restore(&client, &kept).await?;
            folder.keep(&kept).map_err(|error| unusable(&parts.store, &error))?;
        }
        (Login::Password(password), None) => {
            let kept = log_in(&client, parts, me, password).await?;
            folder.keep(&kept).map_err(|error| unusable(&parts.store, &error))?;
            tracing::info!(
                user = kept.user,
                device = kept.device,
                "logged in to Matrix for the first time; the device is kept for life"
            );
        }
        // Both have a session by now.
        (Login::Token(_), None) => return Err("there is no session for the token".to_owned()),
    }
    // What it brings is fetched again by whoever listens; without it no room is known.
    look(&client).await?;
    if join_invited(&client, parts).await {
        look(&client).await?;
    }
    let weakness = identity::secure(&client, parts, &folder).await;
    proof::meet(&client, parts, &folder).await;
    Ok((Session { client }, weakness))
}

/// What the homeserver is asked to tell.
pub(super) fn filter() -> FilterDefinition {
    let mut filter = FilterDefinition::with_lazy_loading();
    filter.room.timeline.limit = Some(TIMELINE.into());
    filter
}

async fn look(client: &Client) -> Result<(), String> {
    let settings = SyncSettings::new().timeout(Duration::ZERO).filter(filter().into());
    client.sync_once(settings).await.map(drop).map_err(|error| trouble(&error))
}

/// What the bot may be called: its id, the first part of it, and its name.
pub(super) async fn names(client: &Client, me: &UserId) -> Vec<String> {
    let name = client.account().get_display_name().await.ok().flatten();
    [Some(me.to_string()), Some(me.localpart().to_owned()), name].into_iter().flatten().collect()
}

/// Joins the rooms of the fleet file to which the bot is invited, and no others. Whether there was one.
pub(super) async fn join_invited(client: &Client, parts: &Parts) -> bool {
    let mut joined = false;
    for room in client.invited_rooms() {
        let is_ours = |name: &RoomId| name.0.strip_prefix(PLATFORM) == Some(room.room_id().as_str());
        if !parts.rooms.iter().any(is_ours) {
            tracing::debug!(room = %room.room_id(), "an invitation to a room that the fleet file doesn't name is left alone");
            continue;
        }
        match room.join().await {
            Ok(()) => {
                tracing::info!(room = %room.room_id(), "joined the room");
                joined = true;
            }
            Err(error) => tracing::warn!(room = %room.room_id(), error = %trouble(&error), "the room can't be joined"),
        }
    }
    joined
}

/// Whether the bot is in a room, and if not, what to do.
pub(super) fn is_in(client: &Client, room: &matrix_sdk::ruma::RoomId, me: &UserId) -> Result<matrix_sdk::Room, String> {
    let invite = format!("invite {me} to it");
    match client.get_room(room).map(|room| (room.state(), room)) {
        Some((RoomState::Joined, room)) => Ok(room),
        Some((RoomState::Banned, _)) => Err(format!("the bot was banned from the room: lift the ban, and {invite}")),
        Some((RoomState::Left, _)) => Err(format!("the bot isn't in the room any more: {invite}")),
        Some((RoomState::Invited, _)) => Err("the bot is invited to the room and has not joined it yet".to_owned()),
        Some((RoomState::Knocked, _)) | None => Err(format!("the bot isn't in the room: {invite}")),
    }
}

async fn client(parts: &Parts, folder: &Folder) -> Result<Client, String> {
    let key = folder.store_key().map_err(|error| unusable(&parts.store, &error))?;
    let store = SqliteStoreConfig::new(folder.store()).key(Some(&key));
    let builder = Client::builder().sqlite_store_with_config_and_cache_path(store, None::<&Path>);
    built(parts, builder).await
}

/// A client that keeps nothing, for a look.
pub(super) async fn passing(parts: &Parts) -> Result<Client, String> {
    built(parts, Client::builder()).await
}

async fn built(parts: &Parts, builder: matrix_sdk::ClientBuilder) -> Result<Client, String> {
    let client = builder
        .homeserver_url(&parts.homeserver)
        .respect_login_well_known(false)
        .request_config(RequestConfig::new().timeout(ANSWER_WITHIN).retry_limit(TRIES))
        // It is done in the open, see `identity`.
        .with_encryption_settings(EncryptionSettings { auto_enable_cross_signing: false, ..EncryptionSettings::default() })
        .build();
    client.await.map_err(|error| format!("there is no client for Matrix: {}", innermost(&error)))
}

/// The session that a token is of.
async fn of_token(parts: &Parts, me: &UserId, token: &Secret, kept: Option<Kept>, folder: &Folder) -> Result<Kept, String> {
    let passing = passing(parts).await?;
    let (user, device) = whoami(&passing, &parts.homeserver, token).await?;
    if user != me.as_str() {
        return Err(format!("SHIPMATE_MATRIX_TOKEN is {user}'s, not {me}'s"));
    }
    let place = folder.path().display();
    match kept {
        Some(kept) if kept.device != device => Err(format!(
            "SHIPMATE_MATRIX_TOKEN is of the device {device}, and the keys in {place} are those of {}: set the token of that device, or \
             move the folder away to begin anew with this one",
            kept.device
        )),
        // The same device may have got a new token.
        Some(kept) => Ok(Kept { token: token.expose().to_owned(), ..kept }),
        None if has_keys(&passing, &parts.homeserver, token, &user, &device).await? => Err(used_before(&device, folder)),
        None => Ok(Kept { user, device, token: token.expose().to_owned() }),
    }
}

/// A session of the same device that counts: the homeserver may let sessions run out, and wants to see the password again then.
async fn renewed(parts: &Parts, me: &UserId, password: &Secret, kept: Kept) -> Result<Kept, String> {
    let (passing, homeserver) = (passing(parts).await?, &parts.homeserver);
    let whoami = passing.http_client().get(format!("{homeserver}/_matrix/client/v3/account/whoami"));
    let (status, said) = answer(whoami.bearer_auth(&kept.token)).await?;
    if status.as_u16() != 401 || said.get("soft_logout").and_then(Value::as_bool) != Some(true) {
        // What else is wrong is said by whoever needs the session.
        return Ok(kept);
    }
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": me }, "password": password.expose(),
        "device_id": kept.device
    });
    let login = passing.http_client().post(format!("{homeserver}/_matrix/client/v3/login"));
    let (status, said) = answer(login.header("content-type", "application/json").body(body.to_string())).await?;
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    match (text("access_token"), text("device_id")) {
        (Some(token), Some(device)) if device == kept.device => {
            tracing::info!(device, "logged in to Matrix again");
            Ok(Kept { token: token.to_owned(), ..kept })
        }
        _ => Err(format!(
            "the bot's session has run out, and it can't log in again: the homeserver answers {status} {}",
            text("error").unwrap_or_default()
        )),
    }
}

/// Whose a token is, and of which device.
pub(super) async fn whoami(client: &Client, homeserver: &str, token: &Secret) -> Result<(String, String), String> {
    let url = format!("{homeserver}/_matrix/client/v3/account/whoami");
    let said = asked(client.http_client().get(url).bearer_auth(token.expose())).await?;
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text("user_id"), text("device_id")) {
        (Some(user), Some(device)) => Ok((user, device)),
        _ => Err("SHIPMATE_MATRIX_TOKEN is of no device: log in to get one".to_owned()),
    }
}

/// Keys whose session is gone.
pub(super) fn session_is_gone(device: &str, folder: &Folder) -> String {
    let place = folder.path().display();
    format!(
        "{place} has the keys of the device {device}, but its session (session.json) is gone. Bring that file back, or move {place} away; \
         then the bot logs in as a new device, and with SHIPMATE_MATRIX_RECOVERY_KEY people trust that like the old one"
    )
}

/// A token of a device whose keys are elsewhere.
pub(super) fn used_before(device: &str, folder: &Folder) -> String {
    format!(
        "the device {device} of SHIPMATE_MATRIX_TOKEN was used before, and its keys aren't in {}: it would read nothing. Bring the folder \
         back, or log in anew and set the new device's token",
        folder.path().display()
    )
}

/// Whether the homeserver has keys of a device.
pub(super) async fn has_keys(client: &Client, homeserver: &str, token: &Secret, user: &str, device: &str) -> Result<bool, String> {
    let url = format!("{homeserver}/_matrix/client/v3/keys/query");
    let body = json!({ "device_keys": { user: [device] } }).to_string();
    let request = client.http_client().post(url).bearer_auth(token.expose()).header("content-type", "application/json").body(body);
    let said = asked(request).await?;
    Ok(said.get("device_keys").and_then(|all| all.get(user)?.get(device)).is_some())
}

/// What the homeserver answers to a request, as JSON.
pub(super) async fn asked(request: matrix_sdk::reqwest::RequestBuilder) -> Result<Value, String> {
    let (status, said) = answer(request).await?;
    match said {
        _ if status.as_u16() == 401 => {
            Err("the homeserver doesn't accept SHIPMATE_MATRIX_TOKEN: set a token that counts".to_owned())
        }
        said if status.is_success() && !said.is_null() => Ok(said),
        _ => Err(format!("the homeserver answers {status}: is SHIPMATE_MATRIX_HOMESERVER right?")),
    }
}

/// How the homeserver answers a request, and what it says; nothing if that is no JSON.
async fn answer(request: matrix_sdk::reqwest::RequestBuilder) -> Result<(StatusCode, Value), String> {
    let lost = |error: matrix_sdk::reqwest::Error| of_http(&error.into());
    let answer = request.timeout(ANSWER_WITHIN).send().await.map_err(lost)?;
    let status = answer.status();
    let text = answer.text().await.map_err(lost)?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

/// Logs in with the password, as a new device.
pub(super) async fn log_in(client: &Client, parts: &Parts, me: &UserId, password: &Secret) -> Result<Kept, String> {
    let auth = client.matrix_auth();
    let login = auth.login_username(me.as_str(), password.expose()).initial_device_display_name(&parts.device_name);
    let said = login.send().await.map_err(|error| format!("the bot can't log in: {}", trouble(&error)))?;
    if said.user_id != me {
        return Err(format!("the homeserver says that the bot is {}, not {me}: set SHIPMATE_MATRIX_USER to that", said.user_id));
    }
    Ok(Kept { user: said.user_id.to_string(), device: said.device_id.to_string(), token: said.access_token })
}

/// Goes on with a session.
pub(super) async fn restore(client: &Client, kept: &Kept) -> Result<(), String> {
    let user_id = OwnedUserId::try_from(kept.user.as_str()).map_err(|_| format!("`{}` is no user id", kept.user))?;
    let session = MatrixSession {
        meta: SessionMeta { user_id, device_id: OwnedDeviceId::from(kept.device.as_str()) },
        tokens: SessionTokens { access_token: kept.token.clone(), refresh_token: None },
    };
    client.matrix_auth().restore_session(session, RoomLoadSettings::default()).await.map_err(|error| trouble(&error))
}

fn unusable(folder: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", folder.display())
}
