//! What everyone at the socket shares: the messages, who is connected, and who sees which message.
//!
//! Nothing here waits: a line for a client goes into its queue, and a client whose queue is full is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ROOM;
use super::wire::{self, FromBot, PROTOCOL, ToBot};
use crate::chat::board::{Author, Board};
use crate::chat::{Audience, Became, ChatEvent, Reply, emoji, text};
use crate::domain::message::{Account, Message, MessageRef, RoomId};
use crate::domain::names::printable;

/// How many lines may wait for a client that doesn't read; one more, and it is dropped.
pub(super) const WAITING: usize = 256;

/// How many connections one user may have, so that nobody can take all of them.
const OF_ONE_USER: usize = 16;

/// A client, as long as it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

/// The desk's side of a client.
struct Client {
    name: String,
    lines: mpsc::Sender<Arc<str>>,
    dropped: CancellationToken,
}

/// The client's side.
pub(super) struct Seat {
    pub id: ClientId,
    /// What to write to it.
    pub lines: mpsc::Receiver<Arc<str>>,
    /// It is dropped, whatever still waits.
    pub dropped: CancellationToken,
}

/// Reactions to one of the bot's messages that it hasn't dealt with, and the clients that want to know when it has.
#[derive(Default)]
struct Pending {
    reactions: usize,
    clients: BTreeSet<ClientId>,
}

/// What everyone at the socket shares.
pub(super) struct Desk {
    board: Board,
    next: u64,
    clients: BTreeMap<ClientId, Client>,
    /// The messages that only one client sees: what it said, and the answers that are for it.
    private: BTreeMap<u64, ClientId>,
    pending: BTreeMap<u64, Pending>,
}

impl Desk {
    pub fn new(room: RoomId, now: Timestamp) -> Desk {
        Desk { board: Board::new(room, now), next: 0, clients: BTreeMap::new(), private: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// Lets a user in, unless they are connected too often.
    pub fn join(&mut self, name: &str) -> Result<Seat, String> {
        if self.clients.values().filter(|client| client.name == name).count() >= OF_ONE_USER {
            return Err(format!("{name} has {OF_ONE_USER} connections already; close one of them"));
        }
        let id = ClientId(self.next);
        self.next += 1;
        let (sender, lines) = mpsc::channel(WAITING);
        let dropped = CancellationToken::new();
        self.clients.insert(id, Client { name: name.to_owned(), lines: sender, dropped: dropped.clone() });
        self.send(id, &FromBot::Hello { protocol: PROTOCOL, account: account(name).0 });
        Ok(Seat { id, lines, dropped })
    }

    pub fn leave(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// Takes a line of a client; what the bot has to know of it.
    pub fn take(&mut self, id: ClientId, line: &str, now: Timestamp) -> Option<ChatEvent> {
        let name = self.clients.get(&id)?.name.clone();
        let taken = match serde_json::from_str(line) {
            Ok(ToBot::Say { text }) => self.say(id, name, text.trim(), now),
            Ok(ToBot::React { message, emoji }) => self.react(id, &name, &message, &emoji),
            Ok(ToBot::Unreact { message, emoji }) => self.unreact(id, &name, &message, &emoji),
            Err(error) => Err(format!("this is no line of version {PROTOCOL}: {error}")),
        };
        match taken {
            Ok(event) => event,
            Err(why) => {
                self.refuse(id, why);
                None
            }
        }
    }

    /// Tells a client that its line was not taken.
    pub fn refuse(&mut self, id: ClientId, why: String) {
        self.send(id, &FromBot::Wrong { why });
    }

    fn say(&mut self, id: ClientId, name: String, text: &str, now: Timestamp) -> Result<Option<ChatEvent>, String> {
        if text.is_empty() {
            return Err("there is nothing in it".to_owned());
        }
        let number = self.add(Author::Person { name: name.clone(), text: text.to_owned() });
        self.private.insert(number, id);
        self.send(id, &FromBot::Taken { message: self.board.name(number) });
        let at = self.board.reference(number);
        Ok(Some(ChatEvent::Message(Message { at, author: account(&name), text: text.to_owned(), received: now, doubt: None })))
    }

    fn react(&mut self, id: ClientId, name: &str, message: &str, emoji: &str) -> Result<Option<ChatEvent>, String> {
        let (number, emoji) = (self.named(message)?, emoji::read(emoji)?);
        let new = self.board.get_mut(number).map_or(Ok(false), |entry| entry.react(Some(name), &emoji))?;
        self.send(id, &FromBot::Taken { message: self.board.name(number) });
        if !new {
            // The bot hears of nothing, so it is told here that all is as it was asked for.
            self.send(id, &FromBot::Became { message: self.board.name(number), what: Became::Answered });
            return Ok(None);
        }
        self.awaits(id, number);
        Ok(Some(ChatEvent::Reacted { to: self.board.reference(number), author: account(name), emoji }))
    }

    fn unreact(&mut self, id: ClientId, name: &str, message: &str, emoji: &str) -> Result<Option<ChatEvent>, String> {
        let (number, emoji) = (self.named(message)?, emoji::read(emoji)?);
        if !self.board.get_mut(number).is_some_and(|entry| entry.unreact(Some(name), &emoji)) {
            return Err(format!("you have no {emoji} there"));
        }
        self.send(id, &FromBot::Taken { message: self.board.name(number) });
        self.awaits(id, number);
        Ok(Some(ChatEvent::Unreacted { to: self.board.reference(number), author: account(name), emoji }))
    }

    /// The message that a client means; reactions are for the bot's.
    fn named(&self, name: &str) -> Result<u64, String> {
        let number = self.board.named(name).filter(|number| self.is_ours(*number));
        number.ok_or_else(|| {
            let name = printable(&name.replace('`', "'"), 40);
            format!("the bot has no message `{name}`; it forgets them when it starts anew")
        })
    }

    fn is_ours(&self, number: u64) -> bool {
        self.board.get(number).is_some_and(|entry| matches!(entry.author, Author::Bot(_)))
    }

    /// The client waits for what becomes of a reaction.
    fn awaits(&mut self, id: ClientId, number: u64) {
        let pending = self.pending.entry(number).or_default();
        pending.reactions += 1;
        pending.clients.insert(id);
        self.changed(number, false);
    }

    /// The bot says something, unless it said it already. `to` is what it belongs to.
    pub fn post(&mut self, to: Option<&MessageRef>, whom: Audience, reply: &Reply, key: &str) -> MessageRef {
        if let Some(number) = self.board.with_key(key) {
            return self.board.reference(number);
        }
        let to = to.and_then(|to| self.board.find(to));
        let number = self.add(Author::Bot(reply.clone()));
        self.board.posted(key, number);
        let client = to.and_then(|to| self.private.get(&to).copied());
        if let (Audience::Author, Some(client)) = (whom, client) {
            self.private.insert(number, client);
        }
        let (message, to) = (self.board.name(number), to.map(|to| self.board.name(to)));
        self.tell(number, &FromBot::Shown { message, to, whom, lines: self.lines(number) });
        self.board.reference(number)
    }

    /// The bot changes a message of its own. `None` = it has no such message.
    pub fn edit(&mut self, message: &MessageRef, reply: &Reply, last: bool) -> Option<()> {
        let number = self.board.find(message)?;
        match &mut self.board.get_mut(number)?.author {
            Author::Bot(shown) => *shown = reply.clone(),
            Author::Person { .. } => return None,
        }
        self.changed(number, last);
        Some(())
    }

    /// The bot reacts.
    pub fn react_ourselves(&mut self, message: &MessageRef, emoji: &str) -> Option<()> {
        let number = self.board.find(message)?;
        if self.board.get_mut(number)?.react(None, &text::clean(emoji)) == Ok(true) && self.is_ours(number) {
            self.changed(number, false);
        }
        Some(())
    }

    pub fn reactions(&self, message: &MessageRef) -> Option<Vec<(Account, String)>> {
        let entry = self.board.get(self.board.find(message)?)?;
        Some(entry.reactions.iter().filter_map(|(who, emoji)| Some((account(who.as_deref()?), emoji.clone()))).collect())
    }

    /// The bot is done with a message of a person, or with one of the reactions to its own.
    pub fn became(&mut self, message: &MessageRef, what: Became) {
        let Some(number) = self.board.find(message) else { return };
        let told = FromBot::Became { message: self.board.name(number), what };
        if !self.is_ours(number) {
            return self.tell(number, &told);
        }
        let Some(pending) = self.pending.get_mut(&number) else { return };
        pending.reactions = pending.reactions.saturating_sub(1);
        // Which of them it was isn't said, so all wait for the last one: then nobody goes before their answer was shown.
        if pending.reactions == 0 {
            let clients = self.pending.remove(&number).unwrap_or_default().clients;
            clients.into_iter().for_each(|client| self.send(client, &told));
        }
    }

    fn add(&mut self, author: Author) -> u64 {
        let number = self.board.next();
        for forgotten in self.board.add(author) {
            self.private.remove(&forgotten);
            self.pending.remove(&forgotten);
        }
        number
    }

    /// A message of the bot as people see it.
    fn lines(&self, number: u64) -> Vec<String> {
        let Some(entry) = self.board.get(number) else { return Vec::new() };
        let Author::Bot(reply) = &entry.author else { return Vec::new() };
        let reactions = entry.reaction_line().map(|reactions| format!("  {reactions}"));
        text::lines(reply, "", None).into_iter().map(|line| line.text).chain(reactions).collect()
    }

    fn changed(&mut self, number: u64, last: bool) {
        let (message, lines) = (self.board.name(number), self.lines(number));
        self.tell(number, &FromBot::Changed { message, lines, last });
    }

    /// Tells something about a message to whoever sees it.
    fn tell(&mut self, number: u64, event: &FromBot) {
        let line: Arc<str> = wire::line(event).into();
        match self.private.get(&number) {
            Some(client) => self.send_line(*client, &line),
            None => {
                let everybody: Vec<ClientId> = self.clients.keys().copied().collect();
                everybody.into_iter().for_each(|client| self.send_line(client, &line));
            }
        }
    }

    fn send(&mut self, id: ClientId, event: &FromBot) {
        self.send_line(id, &wire::line(event).into());
    }

    fn send_line(&mut self, id: ClientId, line: &Arc<str>) {
        let full = self.clients.get(&id).is_some_and(|client| client.lines.try_send(line.clone()).is_err());
        if let Some(client) = full.then(|| self.clients.remove(&id)).flatten() {
            tracing::warn!(user = client.name, "a client of the local chat doesn't read; it is dropped");
            client.dropped.cancel();
        }
    }
}

/// The account of a user.
fn account(name: &str) -> Account {
    Account(format!("{ROOM}:{name}"))
}
