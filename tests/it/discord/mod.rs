//! Discord: its adapter against a Discord of our own, by the contract of all chats and in a whole conversation.

mod adapter;
mod conversation;
pub mod fake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use shipmate::chat::Chat;
use shipmate::chat::discord::{Discord, Parts};
use shipmate::domain::message::{Account, MessageRef, RoomId};
use shipmate::secret::Secret;

use self::fake::{CHANNEL, Fake};
use crate::chat_contract::{Erasers, People, chat_contract};

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(Duration::from_secs(10)).build()
}

pub fn parts(fake: &Fake) -> Parts {
    Parts {
        token: Secret::new("the-token".to_owned()).unwrap(),
        rooms: vec![room()],
        announcing: Default::default(),
        prefix: "!".to_owned(),
        api: Some(fake.api()),
        client: Arc::new(client),
        people: [("carl".parse().unwrap(), vec![101])].into(),
        menu: None,
        now: Timestamp::now,
    }
}

pub fn room() -> RoomId {
    RoomId(format!("discord:{CHANNEL}"))
}

/// A server with one channel, and the bot in it.
struct Server {
    fake: Fake,
    discord: Arc<Discord>,
}

impl Server {
    async fn new() -> Server {
        let fake = Fake::start().await;
        let discord = Arc::new(Discord::new(parts(&fake)).unwrap());
        Server { fake, discord }
    }
}

fn number(message: &MessageRef) -> u64 {
    message.id.parse().unwrap()
}

#[async_trait]
impl People for Server {
    fn chat(&self) -> Arc<dyn Chat> {
        self.discord.clone()
    }

    fn room(&self) -> RoomId {
        room()
    }

    fn account(&self, who: &str) -> Account {
        Account(format!("discord:{}", self.fake.user(who)))
    }

    async fn say(&self, who: &str, text: &str) {
        self.fake.say(who, text);
    }

    async fn edit(&self, who: &str, text: &str) {
        let newest = self.fake.newest_of(who);
        self.fake.rewrite(newest, text);
    }

    async fn react(&self, who: &str, to: &MessageRef, emoji: &str) {
        self.fake.put_reaction(who, number(to), emoji);
    }

    async fn unreact(&self, who: &str, to: &MessageRef, emoji: &str) {
        self.fake.take_reaction(who, number(to), emoji);
    }

    async fn seen(&self) -> Vec<String> {
        self.fake.texts()
    }

    async fn deliver_again(&self) {
        self.fake.repeat(3);
    }
}

#[async_trait]
impl Erasers for Server {
    async fn delete(&self, _: &str, message: &MessageRef) {
        self.fake.delete(number(message));
    }
}

mod contract {
    use super::*;

    chat_contract!(Server::new(), erasers);
}
