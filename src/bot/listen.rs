//! From a chat's events to what is done about them.
//!
//! Each room has a queue, so that what people type there is decided and answered in the order in which they typed it; a
//! cancel overtakes the queue, since it may be about what the queue waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::access::{self, Authorized};
use super::{Bot, Refusal, act, actions, views};
use crate::chat::{ChatEvent, Reply};
use crate::domain::message::{Account, Message, MessageRef, RoomId};
use crate::domain::names::DeploymentId;
use crate::runbook::{Builtin, Invocation, Parsed, Work};
use crate::store::{Appended, LedgerError, Post};

/// How many events may wait for the loop, and how many commands in a room's queue.
const QUEUE: usize = 256;

/// What puts everything back when it is put to a live message.
const CANCEL_EMOJI: &str = "❌";

/// A command that acts and that a dead run left is done only if it is younger: nobody expects it any more.
const TOO_OLD: Duration = Duration::from_secs(600);

/// How often an answer is tried, with a growing wait in between: half an hour in all.
const ANSWER_TRIES: u32 = 32;

/// The longest wait before an answer is tried again.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How listening ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody did something, and then all chats closed.
    Something,
    /// All chats closed before anybody did anything: there is no one at the terminal, and never was.
    Nothing,
}

impl Bot {
    /// Listens to all chats until each of them has closed and the queues are empty.
    pub(super) async fn listen(&self) -> Heard {
        let (to, mut events) = mpsc::channel(QUEUE);
        for chat in &self.chats {
            let (chat, to) = (chat.clone(), to.clone());
            tokio::spawn(self.guarded("a chat's listener", async move {
                if let Err(error) = chat.listen(to).await {
                    tracing::error!(%error, "a chat can't be listened to");
                }
            }));
        }
        drop(to);
        let mut queues = Queues { bot: self.clone(), rooms: BTreeMap::new(), overtaking: TaskTracker::new() };
        match self.ledger.inbox() {
            Ok(left) => left.into_iter().for_each(|message| queues.push(message)),
            Err(error) => self.fail(&error),
        }
        let mut heard = Heard::Nothing;
        while let Some(event) = events.recv().await {
            match event {
                ChatEvent::Message(message) => {
                    heard = Heard::Something;
                    self.heard(message, &mut queues).await;
                }
                ChatEvent::Reacted { to, author, emoji } => {
                    heard = Heard::Something;
                    let bot = self.clone();
                    queues.overtaking.spawn(self.guarded("a reaction", async move { bot.reacted(&to, &author, &emoji).await }));
                }
                ChatEvent::Closed => {}
            }
        }
        queues.finish().await;
        heard
    }

    /// Records a command; anything else that people say is none of our business.
    async fn heard(&self, message: Message, queues: &mut Queues) {
        let is_command = !matches!(self.parse(&message), Parsed::NotACommand);
        if !is_command || self.stopping.is_cancelled() {
            return;
        }
        match self.ledger.heard(message.clone(), message.received).await {
            Ok(Appended::New { .. }) => queues.push(message),
            Ok(Appended::Known { .. } | Appended::Merged { .. }) => {}
            // A message that the ledger can't hold: nothing is broken by that.
            Err(error @ LedgerError::Unfit(_)) => tracing::warn!(%error, "a message was passed over"),
            Err(error) => self.fail(&error),
        }
    }

    fn parse(&self, message: &Message) -> Parsed {
        self.catalog.parse(&message.text, &self.prefix, &*self.fleet)
    }

    /// Does what a message says and answers it.
    async fn handle(&self, message: &Message) -> Result<(), LedgerError> {
        let reply = match self.parse(message) {
            Parsed::NotACommand => None,
            Parsed::Error(error) => Some(views::usage(&error)),
            Parsed::Invocation(invocation) => match self.obey(message, *invocation).await {
                Ok(reply) => reply,
                Err(Refusal::Told(reply)) => Some(reply),
                Err(Refusal::Broken(error)) => return Err(error),
            },
        };
        if let Some(reply) = reply {
            self.answer(&message.at, "answer", &reply).await;
        }
        self.ledger.answered(message.at.clone(), Timestamp::now()).await
    }

    async fn obey(&self, message: &Message, invocation: Invocation) -> Result<Option<Reply>, Refusal> {
        let runbook = invocation.runbook.clone();
        let standing = access::standing_of(&self.fleet, &message.author, &BTreeSet::new());
        let asked: Authorized<Invocation> = access::authorize(&self.fleet, &standing, self.located(invocation)?)
            .map_err(|denied| Refusal::Told(views::denied(&denied)))?;
        if let Work::Builtin(builtin) = &runbook.work {
            return actions::answer(self, *builtin, &asked).await.map(Some);
        }
        if Timestamp::now().duration_since(message.received).unsigned_abs() > TOO_OLD {
            return Err(Refusal::Told(views::too_old(&message.text, message.received, Timestamp::now())));
        }
        if let Some(newest) = act::newest_if_none_named(self, asked.what())? {
            self.answer(&message.at, "newest", &views::newest_named(&newest)).await;
        }
        // The live message is the answer.
        act::act(self, &asked, message.at.clone()).await.map(|_| None)
    }

    /// The same, with the app and the environment of the deployment that it is about: rules may be for these only.
    fn located(&self, invocation: Invocation) -> Result<Invocation, LedgerError> {
        let running: Vec<DeploymentId> = self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let deployment = match (invocation.deployment, &invocation.runbook.work, running.as_slice()) {
            // A cancel that names none means the only one; from here on it is that one, whatever starts meanwhile.
            (None, Work::Builtin(Builtin::Cancel), [only]) => Some(*only),
            (named, _, _) => named,
        };
        let Some(summary) = deployment.map(|id| self.ledger.summary(id)).transpose()?.flatten() else {
            return Ok(invocation);
        };
        let (app, environment) = (Some(summary.app), Some(summary.environment));
        Ok(Invocation { app, environment, deployment, ..invocation })
    }

    /// Shows one of the replies to a message, in its room. While the chat is down it is tried again; deployments don't wait for it.
    pub(super) async fn answer(&self, to: &MessageRef, part: &str, reply: &Reply) {
        let Some(chat) = self.chats.iter().find(|chat| chat.rooms().contains(&to.room)) else { return };
        let key = format!("{part}:{}:{}", to.room, to.id);
        let mut wait = Duration::from_secs(1);
        for _ in 0..ANSWER_TRIES {
            let trouble = self.within_deadline(chat.post(&to.room, reply, &key)).await.err();
            self.room_is(&to.room, trouble.as_ref().map(ToString::to_string));
            let Some(error) = trouble else { return };
            tracing::warn!(room = %to.room, %error, "an answer could not be shown");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(ANSWER_WAIT),
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// ❌ at a live message cancels the deployment, for those who may cancel.
    async fn reacted(&self, to: &MessageRef, author: &Account, emoji: &str) {
        if emoji != CANCEL_EMOJI {
            return;
        }
        let live = match self.ledger.live(&to.room) {
            Ok(live) => live,
            Err(error) => return self.fail(&error),
        };
        let of_message = |(_, post, message)| match post {
            Post::Live { id } if message == *to => Some(id),
            Post::Live { .. } | Post::Build { .. } | Post::Closing { .. } => None,
        };
        let Some(id) = live.into_iter().find_map(of_message) else { return };
        let line = self.prefix.typed(&format!("cancel {}", id.0));
        let message = Message { at: to.clone(), author: author.clone(), text: line, received: Timestamp::now() };
        let Parsed::Invocation(invocation) = self.parse(&message) else { return };
        match self.obey(&message, *invocation).await {
            Ok(None) => {}
            Ok(Some(reply)) | Err(Refusal::Told(reply)) => self.answer(to, &format!("cancel:{author}"), &reply).await,
            Err(Refusal::Broken(error)) => self.fail(&error),
        }
    }
}

/// Whether a command must not wait for those before it.
fn overtakes(parsed: &Parsed) -> bool {
    matches!(parsed, Parsed::Invocation(invocation) if matches!(invocation.runbook.work, Work::Builtin(Builtin::Cancel)))
}

/// The queues of all rooms.
struct Queues {
    bot: Bot,
    rooms: BTreeMap<RoomId, (mpsc::Sender<Message>, tokio::task::JoinHandle<()>)>,
    /// What doesn't wait in a queue.
    overtaking: TaskTracker,
}

impl Queues {
    /// Never waits: the loop that calls it must stay free for a cancel.
    fn push(&mut self, message: Message) {
        let bot = self.bot.clone();
        if overtakes(&bot.parse(&message)) {
            self.overtaking.spawn(self.bot.guarded("a cancel", async move { bot.deal_with(&message).await }));
            return;
        }
        let room = message.at.room.clone();
        let (queue, _) = self.rooms.entry(room).or_insert_with(|| {
            let (queue, mut waiting) = mpsc::channel::<Message>(QUEUE);
            let worker = bot.clone();
            let work = async move {
                while let Some(message) = waiting.recv().await {
                    // When the bot stops it stays in the inbox.
                    if !worker.stopping.is_cancelled() {
                        worker.deal_with(&message).await;
                    }
                }
            };
            (queue, tokio::spawn(bot.guarded("a room's queue", work)))
        });
        if let Err(mpsc::error::TrySendError::Full(message)) = queue.try_send(message) {
            let refuse = async move {
                bot.answer(&message.at, "answer", &views::too_many()).await;
                if let Err(error) = bot.ledger.answered(message.at.clone(), Timestamp::now()).await {
                    bot.fail(&error);
                }
            };
            self.overtaking.spawn(self.bot.guarded("a refusal", refuse));
        }
    }

    async fn finish(self) {
        for (_, (queue, worker)) in self.rooms {
            drop(queue);
            // It is guarded, so it ends in order.
            let _ = worker.await;
        }
        self.overtaking.close();
        self.overtaking.wait().await;
    }
}

impl Bot {
    async fn deal_with(&self, message: &Message) {
        if let Err(error) = self.handle(message).await {
            self.fail(&error);
        }
    }
}
