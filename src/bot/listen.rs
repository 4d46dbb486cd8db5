//! From a chat's events to what is done about them.
//!
//! Each room has a queue, so that what people type there is decided and answered in the order in which they typed it; a
//! cancel overtakes the queue, since it may be about what the queue waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::access::{self, Authorized};
use super::act::Acted;
use super::{Bot, Refusal, act, actions, views};
use crate::chat::{Audience, Became, Chat, ChatError, ChatEvent, Reply, Tone};
use crate::domain::deployment::Occasion;
use crate::domain::message::{Account, Doubt, Message, MessageRef, RoomId};
use crate::domain::names::{DeploymentId, printable};
use crate::domain::notice::Notice;
use crate::domain::policy::Standing;
use crate::runbook::{Builtin, Invocation, Parsed, Work};
use crate::store::{Appended, LedgerError, PhaseName};

/// How many events may wait for the loop, and how many commands in a room's queue.
const QUEUE: usize = 256;

/// How long before the end of the last run what people wrote is looked for.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// The longest reason of an emergency, in characters.
const REASON: usize = 200;

/// How often an answer is tried, with a growing wait in between: half an hour in all.
const ANSWER_TRIES: u32 = 32;

/// How long the answer that names the newest build may take.
const NAME_WITHIN: Duration = Duration::from_secs(5);

/// The longest wait before an answer is tried again.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How listening ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The people of a chat have gone for good. The others can't hold the bot: it lives for those at its terminal.
    Goodbye,
    /// No chat is left, and nobody said goodbye: there is no one at the terminal, and never was.
    Nobody,
}

impl Bot {
    /// Listens to all chats until the people of one have gone or each has ended, and then until the queues are empty.
    pub(super) async fn listen(&self) -> Heard {
        let (to, mut events) = mpsc::channel(QUEUE);
        for chat in &self.chats {
            let (chat, to) = (chat.clone(), to.clone());
            // A chat may have been away for a while when the last run ended.
            let since = self.last_beat.map(|beat| beat - LOOK_BACK);
            let marks = self.ledger.marks(&chat.rooms()).unwrap_or_else(|error| {
                self.fail(&error);
                BTreeMap::new()
            });
            tokio::spawn(self.guarded("a chat's listener", async move {
                if let Err(error) = chat.listen_from(to, marks, since).await {
                    tracing::error!(%error, "a chat can't be listened to");
                }
            }));
        }
        drop(to);
        let mut queues = Queues { bot: self.clone(), rooms: BTreeMap::new(), overtaking: TaskTracker::new() };
        match self.take_up_inbox().await {
            Ok(left) => left.into_iter().for_each(|message| queues.push(message)),
            Err(error) => self.fail(&error),
        }
        let (reactions, decider) = self.decide_reactions();
        let heard = loop {
            let Some(event) = events.recv().await else { break Heard::Nobody };
            match event {
                ChatEvent::Message(message) => self.heard(message, &mut queues).await,
                ChatEvent::Reacted { to: ref at, .. }
                | ChatEvent::Unreacted { to: ref at, .. }
                | ChatEvent::Deleted { message: ref at } => {
                    let at = at.clone();
                    // The loop must stay free for messages.
                    if reactions.try_send(event).is_err() {
                        tracing::warn!(room = %at.room, "too many reactions at once; those at open calls are looked at soon");
                        self.look_soon(&at.room);
                        self.became(&at, Became::Refused).await;
                    }
                }
                ChatEvent::Unreadable { message, author } => self.unreadable(message, author).await,
                ChatEvent::Announced { message, text } => self.announced(&message, &text).await,
                ChatEvent::Connected { room } => self.look_soon(&room),
                ChatEvent::NotRead { room, before } => self.not_read(room, before).await,
                // It waits for the reactions before it. If there is no room for it, a later one counts.
                ChatEvent::UpTo { .. } if !self.stopping.is_cancelled() => drop(reactions.try_send(event)),
                ChatEvent::UpTo { .. } => {}
                ChatEvent::Closed => break Heard::Goodbye,
            }
        };
        // The chats that are left take nothing more.
        drop(events);
        drop(reactions);
        // It is guarded, so it ends in order.
        let _ = decider.await;
        queues.finish().await;
        heard
    }

    /// The commands that a dead run left, but for those that nobody expects any more: people are asked about these.
    async fn take_up_inbox(&self) -> Result<Vec<Message>, LedgerError> {
        let now = self.now();
        let (stale, fresh): (Vec<Message>, Vec<Message>) =
            self.ledger.inbox()?.into_iter().partition(|message| self.is_stale(message, now));
        let mut by_room: BTreeMap<RoomId, Vec<Message>> = BTreeMap::new();
        for message in stale {
            by_room.entry(message.at.room.clone()).or_default().push(message);
        }
        for (room, messages) in by_room {
            self.ledger.tell(Notice::Stale { messages }, Some(room), now).await?;
        }
        Ok(fresh)
    }

    fn is_stale(&self, message: &Message, now: Timestamp) -> bool {
        now.duration_since(message.received).unsigned_abs() > self.habits.stale_after
    }

    /// Tells a chat what became of a message or a reaction, once all that belongs to it has been shown.
    pub(super) async fn became(&self, message: &MessageRef, what: Became) {
        if let Some(chat) = self.chat_of(&message.room) {
            chat.became(message, what).await;
        }
    }

    pub(super) fn chat_of(&self, room: &RoomId) -> Option<&Arc<dyn Chat>> {
        self.chats.iter().find(|chat| chat.rooms().contains(room))
    }

    /// Something that can't be read may have been a command: whoever wrote it is told, once.
    async fn unreadable(&self, message: MessageRef, author: Account) {
        match self.ledger.unreadable(message, author, self.now()).await {
            Ok(_) => {}
            Err(error @ LedgerError::Unfit(_)) => tracing::warn!(%error, "a message that can't be read was passed over"),
            Err(error) => self.fail(&error),
        }
    }

    /// Nobody knows what was said there before.
    async fn not_read(&self, room: RoomId, before: Timestamp) {
        if let Err(error) = self.ledger.tell(Notice::NotRead { before }, Some(room), self.now()).await {
            self.fail(&error);
        }
    }

    /// A webhook's message announces a build, if it says so. Nobody signed it, so it is never deployed by itself.
    async fn announced(&self, message: &MessageRef, text: &str) {
        let now = self.now();
        let Some(build) = self.fleet.announced(&message.room, text, now) else { return };
        let outcome = build.outcome;
        match self.ledger.build(&build.app, &build.tag) {
            // A signed word of the same build is worth more, whatever this one says.
            Ok(Some(known)) if known.source != build.source => {
                tracing::info!(room = %message.room, tag = %build.tag, "a build that is known already was announced in a chat");
                return;
            }
            Ok(_) => {}
            Err(error) => return self.fail(&error),
        }
        match self.ledger.built(build, vec![format!("said:{}:{}", message.room, message.id)], now).await {
            Ok(Appended::New { .. }) => self.metrics.build_announced("chat", outcome),
            Ok(Appended::Known { .. } | Appended::Merged { .. }) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Records a command; anything else that people say is none of our business.
    async fn heard(&self, message: Message, queues: &mut Queues) {
        if self.stopping.is_cancelled() {
            return;
        }
        if matches!(self.parse(&message), Parsed::NotACommand) {
            return self.became(&message.at, Became::Ignored).await;
        }
        match self.ledger.heard(message.clone(), message.received).await {
            Ok(Appended::New { .. }) => queues.push(message),
            Ok(Appended::Known { .. } | Appended::Merged { .. }) => {}
            // A message that the ledger can't hold: nothing is broken by that.
            Err(error @ LedgerError::Unfit(_)) => {
                tracing::warn!(%error, "a message was passed over");
                self.became(&message.at, Became::Ignored).await;
            }
            Err(error) => self.fail(&error),
        }
    }

    pub(super) fn parse(&self, message: &Message) -> Parsed {
        self.catalog.parse(&message.text, &self.prefix, &*self.fleet)
    }

    /// Does what a message says and answers it.
    async fn handle(&self, message: &Message) -> Result<(), LedgerError> {
        let (reply, what) = match self.parse(message) {
            Parsed::NotACommand => (None, Became::Ignored),
            Parsed::Error(error) => (Some(views::usage(&error)), Became::Refused),
            Parsed::Invocation(invocation) => match self.obey(message, *invocation).await {
                Ok((reply, what)) => (reply, what),
                Err(Refusal::Told(reply)) => {
                    let what = refused(&reply);
                    (Some(reply), what)
                }
                Err(Refusal::Broken(error)) => return Err(error),
            },
        };
        if let Some(reply) = reply {
            self.answer(&message.at, "answer", &reply).await;
        }
        self.ledger.answered(message.at.clone(), self.now()).await?;
        self.became(&message.at, what).await;
        Ok(())
    }

    /// Does what a command says: the answer if it has one of its own, and what became of it.
    pub(super) async fn obey(&self, message: &Message, invocation: Invocation) -> Result<(Option<Reply>, Became), Refusal> {
        let runbook = invocation.runbook.clone();
        let standing = self.standing(&message.author).await?;
        let asked: Authorized<Invocation> = access::authorize(&self.fleet, &standing, self.located(invocation)?)
            .map_err(|denied| Refusal::Told(views::denied(&denied)))?;
        let now = self.now();
        if runbook.work.acts() && self.is_stale(message, now) {
            let messages = vec![message.clone()];
            self.ledger.tell(Notice::Stale { messages }, Some(message.at.room.clone()), now).await?;
            return Ok((None, Became::Refused));
        }
        if let Work::Builtin(builtin) = &runbook.work {
            return Ok((actions::answer(self, *builtin, &asked, message).await?, Became::Answered));
        }
        if let Some(newest) = act::newest_if_none_named(self, asked.what())? {
            // A chat that is down must not hold up a deployment, which names the build too.
            let named = views::newest_named(&newest);
            let naming = self.answer(&message.at, "newest", &named);
            if tokio::time::timeout(NAME_WITHIN, naming).await.is_err() {
                tracing::warn!(room = %message.at.room, "the newest build couldn't be named before it starts");
            }
        }
        let occasion = self.occasion(&standing, asked.what(), message.doubt)?;
        match act::act(self, &asked, Some(message.at.clone()), occasion).await? {
            // The live message is the answer.
            Acted::Started => Ok((None, Became::Started)),
            Acted::Waits(id) => Ok((self.waits(id)?, Became::Started)),
        }
    }

    /// The answer to a command that waits: for votes the call for them is all that people need.
    fn waits(&self, id: DeploymentId) -> Result<Option<Reply>, Refusal> {
        let Some(state) = self.ledger.state(id)? else { return Ok(None) };
        let holder = self.ledger.lock(&state.plan.app, &state.plan.environment)?;
        let held = holder.as_ref().filter(|holder| holder.phase != PhaseName::Stuck);
        if held.is_none() && self.approval_of(&state).is_some() {
            return Ok(None);
        }
        Ok(Some(views::queued(id, &state, held, self.now())))
    }

    /// Whether a command is an emergency, for those whom the policy lets.
    fn occasion(&self, standing: &Standing, asked: &Invocation, doubt: Option<Doubt>) -> Result<Occasion, Refusal> {
        let Some(reason) = &asked.word else { return Ok(Occasion::Person) };
        let spec = self.environment(asked)?;
        if !access::may_hurry(&spec.policy, standing) {
            return Err(Refusal::Told(views::no_emergency(spec)));
        }
        if let (true, Some(doubt)) = (spec.policy.wants_proof(), doubt) {
            return Err(Refusal::Told(views::unproven_emergency(doubt)));
        }
        Ok(Occasion::Emergency { reason: printable(reason, REASON) })
    }

    /// The same, with the app and the environment of the deployment that it is about: rules may be for these only. One that names
    /// none means the only one that it can be about; from here on it is that one, whatever starts meanwhile.
    fn located(&self, invocation: Invocation) -> Result<Invocation, LedgerError> {
        let meant = match (invocation.deployment, &invocation.runbook.work) {
            (Some(id), _) => Some(id),
            (None, Work::Builtin(Builtin::Cancel)) => only(&actions::cancellable(self)?),
            (None, Work::Builtin(Builtin::Retry | Builtin::Skip | Builtin::Undo | Builtin::Keep)) => only(&actions::asking(self)?),
            (None, _) => None,
        };
        let Some(summary) = meant.map(|id| self.ledger.summary(id)).transpose()?.flatten() else {
            return Ok(invocation);
        };
        let (app, environment) = (Some(summary.app), Some(summary.environment));
        Ok(Invocation { app, environment, deployment: meant, ..invocation })
    }

    /// Shows one of the replies to a message, in its room. While the chat is down it is tried again; deployments don't wait for it.
    pub(super) async fn answer(&self, to: &MessageRef, part: &str, reply: &Reply) {
        let Some(chat) = self.chat_of(&to.room) else { return };
        let key = format!("{part}:{}:{}", to.room, to.id);
        let mut wait = Duration::from_secs(1);
        for _ in 0..ANSWER_TRIES {
            let trouble = self.within_deadline(chat.answer(to, Audience::Author, reply, &key)).await.err();
            self.room_is(&to.room, trouble.as_ref().map(ToString::to_string));
            let Some(error) = trouble else { return };
            // Whoever asked has taken the question away.
            if matches!(error, ChatError::Gone(_)) {
                return;
            }
            tracing::warn!(room = %to.room, %error, "an answer could not be shown");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(ANSWER_WAIT),
                () = self.stopping.cancelled() => return,
            }
        }
    }
}

fn only(ids: &[DeploymentId]) -> Option<DeploymentId> {
    if let [only] = ids { Some(*only) } else { None }
}

/// What a refusal is to whoever asked: that there is nothing to do is as good as done.
pub(super) fn refused(reply: &Reply) -> Became {
    match reply.tone {
        Tone::Good => Became::Answered,
        Tone::Info | Tone::Busy | Tone::Warning | Tone::Bad => Became::Refused,
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
                match bot.ledger.answered(message.at.clone(), bot.now()).await {
                    Ok(()) => bot.became(&message.at, Became::Refused).await,
                    Err(error) => bot.fail(&error),
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
