//! People in Matrix: real clients, with devices and keys of their own. What they see is what their clients could read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use matrix_sdk::config::SyncSettings;
use matrix_sdk::encryption::EncryptionSettings;
use matrix_sdk::media::{MediaFormat, MediaRequestParameters};
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::api::client::filter::{FilterDefinition, RoomEventFilter, RoomFilter};
use matrix_sdk::ruma::api::client::uiaa::{AuthData, MatrixUserIdentifier, Password, UserIdentifier};
use matrix_sdk::ruma::events::room::MediaSource;
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use matrix_sdk::sync::SyncResponse;
use matrix_sdk::{Client, Room, RoomState};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::server::{PATIENCE, Server, User, backstage, goes_on_backstage, new_name, part};
use crate::until;

/// Whether the owner of a device has signed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Signed,
    Unsigned,
}

/// Somebody with a client.
pub struct Person {
    pub id: String,
    user: User,
    server: &'static Server,
    token: String,
    client: Client,
    heard: Mutex<BTreeMap<String, Vec<Heard>>>,
    changed: watch::Sender<u64>,
}

/// What a client was told of a room, decrypted.
#[derive(Debug, Clone)]
pub struct Heard {
    pub id: String,
    pub sender: String,
    pub kind: String,
    pub content: Value,
    /// Whether it was encrypted on its way.
    pub encrypted: bool,
    redacts: Option<String>,
}

/// A message as people see it now.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: String,
    /// What it said first; with the relations that it has.
    pub first: Value,
    /// What it says now.
    pub now: Value,
    /// What changed it, in order.
    pub edits: Vec<Value>,
    /// Whether all of it was encrypted on its way.
    pub encrypted: bool,
}

impl Shown {
    pub fn text(&self) -> String {
        self.now["body"].as_str().unwrap_or_default().to_owned()
    }

    pub fn html(&self) -> String {
        self.now["formatted_body"].as_str().unwrap_or_default().to_owned()
    }

    /// The message whose thread it is in.
    pub fn thread(&self) -> Option<&str> {
        let relation = &self.first["m.relates_to"];
        (relation["rel_type"] == "m.thread").then(|| relation["event_id"].as_str().unwrap())
    }

    /// All that was ever sent of it: itself, its newest state, and what changed it.
    pub fn all(&self) -> Vec<&Value> {
        [&self.first, &self.now].into_iter().chain(&self.edits).collect()
    }
}

impl Person {
    /// Somebody whom all tests know by this name.
    pub async fn known(name: &'static str) -> Arc<Person> {
        static KNOWN: tokio::sync::Mutex<BTreeMap<&str, Arc<Person>>> = tokio::sync::Mutex::const_new(BTreeMap::new());
        let mut known = KNOWN.lock().await;
        if let Some(person) = known.get(name) {
            return person.clone();
        }
        let server = Server::main().await;
        let person = Person::of(server, server.user(name).await, &server.url, Device::Signed).await;
        known.insert(name, person.clone());
        person
    }

    /// A new device of a user, behind this address of the server.
    pub async fn of(server: &'static Server, user: User, url: &str, device: Device) -> Arc<Person> {
        let url = url.to_owned();
        let person = backstage(async move {
            let settings = EncryptionSettings { auto_enable_cross_signing: device == Device::Signed, ..Default::default() };
            let client = Client::builder().homeserver_url(url).respect_login_well_known(false).with_encryption_settings(settings);
            let client = client.build().await.unwrap();
            let login = client.matrix_auth().login_username(&user.id, &user.password);
            let told = login.initial_device_display_name("a person's").await.unwrap();
            client.encryption().wait_for_e2ee_initialization_tasks().await;
            client.sync_once(SyncSettings::new().filter(everything().into())).await.unwrap();
            let (heard, changed) = (Mutex::default(), watch::Sender::new(0));
            Arc::new(Person { id: user.id.clone(), user, server, token: told.access_token, client, heard, changed })
        });
        let person = person.await;
        goes_on_backstage(listens(Arc::downgrade(&person)));
        person
    }

    /// Another device of the same user, which they didn't sign.
    pub async fn on_an_unsigned_device(&self) -> Arc<Person> {
        Person::of(self.server, self.user.clone(), &self.server.url, Device::Unsigned).await
    }

    /// Makes a new identity, as whoever has the password can.
    pub async fn resets_identity(&self) {
        let (client, user) = (self.client.clone(), self.user.clone());
        backstage(async move {
            let asked = client.encryption().bootstrap_cross_signing(None).await.unwrap_err();
            let mut proof = Password::new(UserIdentifier::Matrix(MatrixUserIdentifier::new(user.id)), user.password);
            proof.session = asked.as_uiaa_response().unwrap().session.clone();
            client.encryption().bootstrap_cross_signing(Some(AuthData::Password(proof))).await.unwrap();
        })
        .await;
    }

    /// Removes the device.
    pub async fn logs_out(&self) {
        self.server.call(&self.token, Method::POST, "/_matrix/client/v3/logout", json!({})).await;
    }

    fn hears(&self, told: &SyncResponse) {
        let mut heard = self.heard.lock().unwrap();
        for (room, update) in &told.rooms.joined {
            for event in &update.timeline.events {
                let raw: Value = event.raw().deserialize_as_unchecked().unwrap();
                let text = |value: &Value| value.as_str().map(str::to_owned);
                heard.entry(room.to_string()).or_default().push(Heard {
                    id: text(&raw["event_id"]).unwrap(),
                    sender: text(&raw["sender"]).unwrap(),
                    kind: text(&raw["type"]).unwrap(),
                    redacts: text(&raw["redacts"]).or_else(|| text(&raw["content"]["redacts"])),
                    content: raw["content"].clone(),
                    encrypted: event.encryption_info().is_some(),
                });
            }
        }
        drop(heard);
        self.changed.send_modify(|n| *n += 1);
    }

    /// All that was told of a room, the oldest first.
    pub fn heard(&self, room: &str) -> Vec<Heard> {
        self.heard.lock().unwrap().get(room).cloned().unwrap_or_default()
    }

    /// Waits until the client knows it.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&Person) -> Option<T>) -> T {
        let found = until::found(PATIENCE, &self.changed, || found(self)).await;
        found.unwrap_or_else(|| panic!("{} never sees {what}; there is:\n{:#?}", self.id, self.heard.lock().unwrap()))
    }

    /// The messages of somebody, also those in threads, the oldest first.
    pub fn sees_of(&self, room: &str, sender: &str) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        for heard in self.heard(room) {
            let relation = &heard.content["m.relates_to"];
            if let Some(gone) = &heard.redacts {
                shown.retain(|shown| shown.id != *gone);
            } else if heard.sender != sender || heard.kind != "m.room.message" {
            } else if relation["rel_type"] == "m.replace" {
                if let Some(changed) = shown.iter_mut().find(|shown| relation["event_id"] == shown.id) {
                    changed.now = heard.content["m.new_content"].clone();
                    changed.encrypted &= heard.encrypted;
                    changed.edits.push(heard.content);
                }
            } else {
                let (first, now) = (heard.content.clone(), heard.content);
                shown.push(Shown { id: heard.id, first, now, edits: Vec::new(), encrypted: heard.encrypted });
            }
        }
        shown
    }

    fn room(&self, room: &str) -> Option<Room> {
        self.client.get_room(&OwnedRoomId::try_from(room).unwrap())
    }

    /// Waits until the client knows that it is in a room.
    pub async fn is_in(&self, room: &str) {
        self.until(room, |person| person.room(room).filter(|room| room.state() == RoomState::Joined)).await;
    }

    /// Asks the server anew which devices a user has.
    pub async fn looks_up(&self, user: &str) {
        let (client, user) = (self.client.clone(), OwnedUserId::try_from(user).unwrap());
        backstage(async move { drop(client.encryption().request_user_identity(&user).await.unwrap()) }).await;
    }

    /// How many devices of a user that it knows were signed by them.
    pub async fn trusted_devices_of(&self, user: &str) -> usize {
        let (client, user) = (self.client.clone(), OwnedUserId::try_from(user).unwrap());
        let devices = backstage(async move { client.encryption().get_user_devices(&user).await.unwrap() }).await;
        devices.devices().filter(|device| device.is_cross_signed_by_owner()).count()
    }

    /// The text of a file that a message has.
    pub async fn opens(&self, content: &Value) -> String {
        let source = match &content["file"] {
            Value::Null => MediaSource::Plain(serde_json::from_value(content["url"].clone()).unwrap()),
            file => MediaSource::Encrypted(serde_json::from_value(file.clone()).unwrap()),
        };
        let (client, wanted) = (self.client.clone(), MediaRequestParameters { source, format: MediaFormat::File });
        let bytes = backstage(async move { client.media().get_media_content(&wanted, false).await.unwrap() }).await;
        String::from_utf8(bytes).unwrap()
    }

    /// Sends an event, encrypted if the room is; its id.
    pub async fn sends(&self, room: &str, kind: &'static str, content: Value) -> String {
        let room = self.room(room).unwrap();
        backstage(async move { room.send_raw(kind, content).await.unwrap().response.event_id.to_string() }).await
    }

    /// Sends an event as it is, also where others encrypt; its id.
    pub async fn sends_openly(&self, room: &str, kind: &str, content: Value) -> String {
        let path = format!("/_matrix/client/v3/rooms/{}/send/{kind}/{}", part(room), new_name("sent"));
        self.server.call(&self.token, Method::PUT, &path, content).await["event_id"].as_str().unwrap().to_owned()
    }

    /// Removes an event.
    pub async fn redacts(&self, room: &str, event: &str) {
        let path = format!("/_matrix/client/v3/rooms/{}/redact/{}/{}", part(room), part(event), new_name("sent"));
        self.server.call(&self.token, Method::PUT, &path, json!({})).await;
    }

    /// Asks the server for something.
    pub async fn asks(&self, path: &str) -> Value {
        self.server.call(&self.token, Method::GET, path, Value::Null).await
    }

    /// Changes the state of a room.
    pub async fn sets(&self, room: &str, kind: &str, content: Value) {
        let path = format!("/_matrix/client/v3/rooms/{}/state/{kind}", part(room));
        self.server.call(&self.token, Method::PUT, &path, content).await;
    }

    /// `invite`s or `kick`s somebody, or `join`s.
    pub async fn does(&self, room: &str, what: &str, whom: Option<&str>) {
        let path = format!("/_matrix/client/v3/rooms/{}/{what}", part(room));
        let body = whom.map_or_else(|| json!({}), |whom| json!({"user_id": whom}));
        self.server.call(&self.token, Method::POST, &path, body).await;
    }

    /// Makes a room, of a version, for those who are invited.
    pub async fn makes_a_room(&self, version: &str, encrypted: bool, invited: &[&str]) -> String {
        let encryption = json!({"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}});
        let state = if encrypted { vec![encryption] } else { Vec::new() };
        let asked = json!({"preset": "private_chat", "room_version": version, "invite": invited, "initial_state": state});
        let made = self.server.call(&self.token, Method::POST, "/_matrix/client/v3/createRoom", asked).await;
        made["room_id"].as_str().unwrap().to_owned()
    }
}

/// A person hears what happens, as long as anybody knows them.
async fn listens(person: Weak<Person>) {
    let settings = SyncSettings::new().timeout(PATIENCE / 3).filter(everything().into());
    while let Some(person) = person.upgrade() {
        match person.client.sync_once(settings.clone()).await {
            Ok(told) => person.hears(&told),
            Err(_) => tokio::time::sleep(PATIENCE / 100).await,
        }
    }
}

/// All that happens in the rooms, whatever happened at once.
fn everything() -> FilterDefinition {
    let mut timeline = RoomEventFilter::empty();
    timeline.limit = Some(1000u32.into());
    let mut room = RoomFilter::empty();
    room.timeline = timeline;
    let mut all = FilterDefinition::empty();
    all.room = room;
    all
}

/// A message that is only text.
pub fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

/// What changes a message.
pub fn edit(event: &str, body: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": format!("* {body}"), "m.new_content": text(body),
        "m.relates_to": {"rel_type": "m.replace", "event_id": event}
    })
}

/// An emoji at a message.
pub fn reaction(event: &str, emoji: &str) -> Value {
    json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": emoji}})
}
