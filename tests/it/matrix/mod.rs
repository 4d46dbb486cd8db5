//! Matrix: its adapter against a real homeserver, by the contract of all chats and in whole conversations with real clients.

mod adapter;
mod conversation;
mod people;
mod server;

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

use self::people::{Person, Shown, edit, reaction, text};
use self::server::{Server, User, part};
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
        Meeting::with(Server::main().await, "11", false).await
    }

    /// In a room of the newest version, whose id names no server.
    async fn encrypted() -> Meeting {
        Meeting::with(Server::main().await, "12", true).await
    }

    async fn with(server: &'static Server, version: &str, encrypted: bool) -> Meeting {
        let (anna, bert) = (Person::known("anna").await, Person::known("bert").await);
        let bot = server.user("bot").await;
        let room = anna.makes_a_room(version, encrypted, &[&bert.id, &bot.id]).await;
        bert.does(&room, "join", None).await;
        joins(server, &bot, &room).await;
        anna.is_in(&room).await;
        bert.is_in(&room).await;
        let store = tempfile::tempdir().unwrap();
        let matrix = Arc::new(Matrix::new(parts(server, &bot, &room, &store)).unwrap());
        let (newest, reactions) = (Mutex::default(), Mutex::default());
        Meeting { server, room, encrypted, anna, bert, bot, store, matrix, newest, reactions }
    }

    fn parts(&self) -> Parts {
        parts(self.server, &self.bot, &self.room, &self.store)
    }

    /// The bot ends, and there is a new one with the same store.
    async fn restart(&mut self) {
        self.matrix = Arc::new(Matrix::new(self.parts()).unwrap());
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

fn parts(server: &Server, bot: &User, room: &str, store: &tempfile::TempDir) -> Parts {
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
        people: BTreeMap::new(),
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
