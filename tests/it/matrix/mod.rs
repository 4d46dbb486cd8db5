//! Matrix: its adapter against a real homeserver, by the contract of all chats and in whole conversations with real clients.

mod adapter;
#[cfg(feature = "discord")]
mod both;
mod conversation;
mod killed;
mod missed;
mod people;
mod server;
mod session;
mod trust;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use matrix_sdk::reqwest::Method;
use serde_json::{Value, json};
use shipmate::chat::Chat;
use shipmate::chat::matrix::{Login, Matrix, PLATFORM, Parts};
use shipmate::domain::message::{Account, MessageRef, RoomId};
use shipmate::secret::Secret;

use self::people::{Device, Person, Shown, edit, reaction, text};
use self::server::{PATIENCE, Server, User, part};
use crate::chat_contract::{Erasers, People, chat_contract};

/// A room with people in it, and the bot.
struct Meeting {
    server: &'static Server,
    room: String,
    encrypted: bool,
    anna: Arc<Person>,
    bert: Arc<Person>,
    bot: User,
    store: tempfile::TempDir,
    matrix: Arc<Matrix>,
    /// The newest message of each person.
    newest: Mutex<BTreeMap<String, String>>,
    /// The reactions of people, by who, where and what.
    reactions: Mutex<BTreeMap<(String, String, String), String>>,
}

fn room_id(room: &str) -> RoomId {
    RoomId(format!("{PLATFORM}{room}"))
}

fn account(id: &str) -> Account {
    Account(format!("{PLATFORM}{id}"))
}

impl Meeting {
    /// In a room of the version that most rooms have by now.
    async fn plain() -> Meeting {
        Meeting::of_all("11", false).await
    }

    /// In a room of the newest version, whose id names no server.
    async fn encrypted() -> Meeting {
        Meeting::of_all("12", true).await
    }

    /// In an encrypted room of any server, with people whom nobody else knows.
    async fn of_strangers(server: &'static Server) -> Meeting {
        let stranger = async |name| Person::of(server, server.user(name).await, &server.url, Device::Signed).await;
        Meeting::with(server, [stranger("anna").await, stranger("bert").await], "12", true).await
    }

    async fn of_all(version: &str, encrypted: bool) -> Meeting {
        let people = [Person::known("anna").await, Person::known("bert").await];
        Meeting::with(Server::main().await, people, version, encrypted).await
    }

    async fn with(server: &'static Server, [anna, bert]: [Arc<Person>; 2], version: &str, encrypted: bool) -> Meeting {
        let bot = server.user("bot").await;
        let room = anna.makes_a_room(version, encrypted, &[&bert.id, &bot.id]).await;
        bert.does(&room, "join", None).await;
        joins(server, &bot, &room).await;
        anna.is_in(&room).await;
        bert.is_in(&room).await;
        let store = tempfile::tempdir().unwrap();
        let matrix = Arc::new(Matrix::new(parts(server, &bot, &bert, &room, &store)).unwrap());
        let (newest, reactions) = (Mutex::default(), Mutex::default());
        Meeting { server, room, encrypted, anna, bert, bot, store, matrix, newest, reactions }
    }

    fn parts(&self) -> Parts {
        parts(self.server, &self.bot, &self.bert, &self.room, &self.store)
    }

    /// The bot ends, and there is a new one with the same store.
    async fn restart(&mut self) {
        self.matrix = Arc::new(Matrix::new(self.parts()).unwrap());
    }

    /// Waits until people's clients know a device of the bot that they can trust.
    async fn the_bot_is_there(&self) {
        let wait = async {
            while self.anna.trusted_devices_of(&self.bot.id).await == 0 {
                tokio::time::sleep(PATIENCE / 300).await;
                self.anna.looks_up(&self.bot.id).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the bot never has a device that it signed");
    }

    /// Somebody new joins, with a client behind an address.
    async fn joined_by(&self, who: &str, url: &str) -> Arc<Person> {
        let person = Person::of(self.server, self.server.user(who).await, url, Device::Signed).await;
        self.anna.does(&self.room, "invite", Some(&person.id)).await;
        person.does(&self.room, "join", None).await;
        person.is_in(&self.room).await;
        person
    }

    fn person(&self, who: &str) -> &Arc<Person> {
        match who {
            "anna" => &self.anna,
            "bert" => &self.bert,
            other => panic!("there is no {other}"),
        }
    }

    /// A person sends a message; its id.
    async fn send(&self, who: &str, content: Value) -> String {
        let person = self.person(who);
        if self.encrypted {
            person.looks_up(&self.bot.id).await;
        }
        let sent = person.sends(&self.room, "m.room.message", content).await;
        self.newest.lock().unwrap().insert(who.to_owned(), sent.clone());
        sent
    }

    /// The bot's messages that aren't beside others, the oldest first.
    fn shown(&self) -> Vec<Shown> {
        self.anna.sees_of(&self.room, &self.bot.id).into_iter().filter(|shown| shown.thread().is_none()).collect()
    }

    /// The bot's messages beside one.
    fn beside(&self, event: &str) -> Vec<Shown> {
        self.anna.sees_of(&self.room, &self.bot.id).into_iter().filter(|shown| shown.thread() == Some(event)).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.shown().iter().map(Shown::text).collect()
    }

    /// The newest of the bot's messages that says all of this.
    async fn sees(&self, words: &[&str]) -> Shown {
        let has = |shown: &Shown| words.iter().all(|word| shown.text().contains(word));
        self.anna.until(&format!("{words:?} among {:#?}", self.texts()), |_| self.shown().into_iter().rev().find(has)).await
    }

    fn message(&self, event: &str) -> MessageRef {
        MessageRef { room: room_id(&self.room), id: event.to_owned() }
    }
}

/// The bot takes an invitation before it first lives.
async fn joins(server: &'static Server, bot: &User, room: &str) {
    let token = server.token_of(&bot.id).await;
    server.call(&token, Method::POST, &format!("/_matrix/client/v3/rooms/{}/join", part(room)), json!({})).await;
}

/// Whether somebody is in a room, as a person there sees it.
async fn membership(room: &str, seen_by: &Person, of: &str) -> String {
    let told = seen_by.asks(&format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", part(room), part(of))).await;
    told["membership"].as_str().unwrap().to_owned()
}

fn parts(server: &Server, bot: &User, called: &Person, room: &str, store: &tempfile::TempDir) -> Parts {
    Parts {
        homeserver: server.url.clone(),
        user: bot.id.clone(),
        login: Login::Password(Secret::new(&bot.password).unwrap()),
        device_name: "Shipmate".to_owned(),
        recovery_key: None,
        store: store.path().to_owned(),
        rooms: vec![room_id(room)],
        announcing: Default::default(),
        prefix: "!".to_owned(),
        people: [("bert".parse().unwrap(), vec![called.id.clone()])].into(),
        now: Timestamp::now,
    }
}

#[async_trait]
impl People for Meeting {
    fn chat(&self) -> Arc<dyn Chat> {
        self.matrix.clone()
    }

    fn room(&self) -> RoomId {
        room_id(&self.room)
    }

    fn account(&self, who: &str) -> Account {
        account(&self.person(who).id)
    }

    async fn say(&self, who: &str, words: &str) {
        self.send(who, text(words)).await;
    }

    async fn edit(&self, who: &str, words: &str) {
        let newest = self.newest.lock().unwrap()[who].clone();
        self.person(who).sends(&self.room, "m.room.message", edit(&newest, words)).await;
    }

    async fn react(&self, who: &str, to: &MessageRef, emoji: &str) {
        let given = self.person(who).sends(&self.room, "m.reaction", reaction(&to.id, emoji)).await;
        self.reactions.lock().unwrap().insert((who.to_owned(), to.id.clone(), emoji.to_owned()), given);
    }

    async fn unreact(&self, who: &str, to: &MessageRef, emoji: &str) {
        let given = self.reactions.lock().unwrap().remove(&(who.to_owned(), to.id.clone(), emoji.to_owned())).unwrap();
        self.person(who).redacts(&self.room, &given).await;
    }

    async fn seen(&self) -> Vec<String> {
        self.shown().iter().map(|shown| format!("{}\n{}", shown.text(), shown.html())).collect()
    }
}

#[async_trait]
impl Erasers for Meeting {
    async fn delete(&self, who: &str, message: &MessageRef) {
        self.person(who).redacts(&self.room, &message.id).await;
    }
}

mod plain {
    use super::*;

    chat_contract!(Meeting::plain(), erasers);
}

mod encrypted {
    use super::*;

    chat_contract!(Meeting::encrypted(), erasers);
}
