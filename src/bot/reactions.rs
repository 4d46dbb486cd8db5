//! What an emoji at a message of ours means: a vote, or a command of whoever put it there.
//!
//! Votes are decided one after the other. What takes its time (a command plans, and hosts may hang) is done beside them: a vote
//! that is taken back must never wait for that, or it would count.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::listen::refused;
use super::votes::{Ballot, Given, Voted};
use super::{Bot, Refusal, views};
use crate::chat::{Became, ChatEvent};
use crate::domain::deployment::Found;
use crate::domain::message::{Account, Message, MessageRef};
use crate::domain::names::DeploymentId;
use crate::domain::notice::Notice;
use crate::runbook::Parsed;
use crate::store::{LedgerError, Post, Told};

/// How many reactions may wait to be decided. Those that are dropped at open calls are found by a look at these.
const REACTIONS: usize = 1024;

/// How many errands may be under way; the emojis of more are passed over.
const ERRANDS: usize = 64;

/// What an emoji stands for, beside a vote.
enum Errand {
    /// A command.
    Command(String),
    /// A deployment that ended well isn't well.
    NotWell(DeploymentId),
    /// The old commands that a fact lists are meant.
    RunStale(u64),
}

impl Bot {
    /// Decides about reactions one after the other: a vote and its end must not change places.
    pub(super) fn decide_reactions(&self) -> (mpsc::Sender<ChatEvent>, tokio::task::JoinHandle<()>) {
        let (to, mut events) = mpsc::channel(REACTIONS);
        let bot = self.clone();
        let decide = async move {
            let (errands, room) = (TaskTracker::new(), Arc::new(Semaphore::new(ERRANDS)));
            loop {
                let decided = tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => bot.decide(event, &errands, &room).await,
                        None => break,
                    },
                    () = bot.look.notified() => {
                        // What was told before is decided before.
                        for _ in 0..REACTIONS {
                            let Ok(event) = events.try_recv() else { break };
                            if let Err(error) = bot.decide(event, &errands, &room).await {
                                bot.fail(&error);
                            }
                        }
                        bot.look_now().await
                    }
                };
                if let Err(error) = decided {
                    bot.fail(&error);
                }
            }
            errands.close();
            errands.wait().await;
        };
        (to, tokio::spawn(self.guarded("the reactions", decide)))
    }

    /// Decides about one reaction; errands go on beside.
    async fn decide(&self, event: ChatEvent, errands: &TaskTracker, room: &Arc<Semaphore>) -> Result<(), LedgerError> {
        match event {
            ChatEvent::Reacted { to, author, emoji } => {
                match (self.reacted(&to, &author, &emoji).await?, room.clone().try_acquire_owned()) {
                    (Ok(what), _) => self.became(&to, what).await,
                    (Err(errand), Ok(permit)) => {
                        let (bot, beside) = (self.clone(), self.marks.beside());
                        errands.spawn(self.guarded("an emoji's command", async move {
                            bot.run_errand(errand, &to, &author).await;
                            drop((permit, beside));
                        }));
                    }
                    (Err(_), Err(_)) => {
                        tracing::warn!(room = %to.room, "too many commands by emoji at once; one is passed over");
                        self.became(&to, Became::Refused).await;
                    }
                }
            }
            ChatEvent::Unreacted { to, author, emoji } => {
                self.unreacted(&to, &author, &emoji).await?;
                self.became(&to, Became::Ignored).await;
            }
            ChatEvent::Deleted { message } => self.votes_lost(&message).await?,
            ChatEvent::UpTo { room, mark } => self.marks.up_to(room, mark),
            ChatEvent::Connected { .. }
            | ChatEvent::NotRead { .. }
            | ChatEvent::Message(_)
            | ChatEvent::Unreadable { .. }
            | ChatEvent::Announced { .. }
            | ChatEvent::Closed => {}
        }
        Ok(())
    }

    /// An emoji at one of our messages: what became of it, or what is to be done about it.
    async fn reacted(&self, to: &MessageRef, author: &Account, emoji: &str) -> Result<Result<Became, Errand>, LedgerError> {
        let ballot = self.emojis.ballot(emoji);
        Ok(match (self.post_at(to).await?, ballot) {
            (Some(Post::Votes { seq }), Some(ballot)) => {
                let Some((id, call)) = self.open_call(seq)? else { return Ok(Ok(Became::Ignored)) };
                let voted = self
                    .vote(Given { id, plan: &call.hash, account: author, ballot, found: Found::Live, message: to, doubt: None })
                    .await?;
                Ok(if voted == Voted::Recorded { Became::Answered } else { Became::Refused })
            }
            (Some(Post::Live { id }), Some(Ballot::Reject)) => Err(Errand::Command(format!("cancel {}", id.0))),
            (Some(Post::Live { id } | Post::Closing { id }), _) if choice(emoji).is_some() => {
                Err(Errand::Command(format!("{} {}", choice(emoji).unwrap_or_default(), id.0)))
            }
            // Only what was an emergency wants to be looked at.
            (Some(Post::Closing { id }), Some(Ballot::Approve))
                if self.ledger.state(id)?.is_some_and(|state| state.emergency().is_some()) =>
            {
                Err(Errand::Command(format!("approve {}", id.0)))
            }
            (Some(Post::Closing { id }), Some(Ballot::Reject)) => Err(Errand::NotWell(id)),
            (Some(Post::Told { seq }), Some(Ballot::Approve)) => Err(Errand::RunStale(seq)),
            (
                Some(Post::Votes { .. } | Post::Live { .. } | Post::Closing { .. } | Post::Told { .. } | Post::Build { .. }) | None,
                _,
            ) => Ok(Became::Ignored),
        })
    }

    async fn run_errand(&self, errand: Errand, to: &MessageRef, author: &Account) {
        let done = match errand {
            Errand::Command(line) => {
                let text = self.prefix.typed(&line);
                self.obey_emoji(&Message { at: to.clone(), author: author.clone(), text, received: self.now(), doubt: None }).await
            }
            Errand::NotWell(id) => self.not_well(id, to, author).await.map(|()| Became::Answered),
            Errand::RunStale(seq) => self.run_stale(seq, to, author).await.map(|()| Became::Answered),
        };
        match done {
            Ok(what) => self.became(to, what).await,
            Err(error) => self.fail(&error),
        }
    }

    /// A vote is taken back.
    async fn unreacted(&self, to: &MessageRef, author: &Account, emoji: &str) -> Result<(), LedgerError> {
        if self.emojis.ballot(emoji) == Some(Ballot::Approve)
            && let Some((id, _)) = self.open_call_at(to).await?
        {
            self.withdrawn(id, author, to).await?;
        }
        Ok(())
    }

    /// Does what an emoji stands for, and answers it.
    async fn obey_emoji(&self, message: &Message) -> Result<Became, LedgerError> {
        let Parsed::Invocation(invocation) = self.parse(message) else { return Ok(Became::Ignored) };
        let part = format!("{}:{}", invocation.runbook.name, message.author);
        let (reply, what) = match self.obey(message, *invocation).await {
            Ok((None, what)) => return Ok(what),
            Ok((Some(reply), what)) => (reply, what),
            Err(Refusal::Told(reply)) => {
                let what = refused(&reply);
                (reply, what)
            }
            Err(Refusal::Broken(error)) => return Err(error),
        };
        self.answer(&message.at, &part, &reply).await;
        Ok(what)
    }

    /// Runs the commands that somebody typed while the bot was away, now that they say so.
    async fn run_stale(&self, seq: u64, to: &MessageRef, author: &Account) -> Result<(), LedgerError> {
        let Some((_, Told::Notice { notice: Notice::Stale { messages }, .. })) = self.ledger.told(seq)? else { return Ok(()) };
        let first = self.run_again.lock().unwrap_or_else(PoisonError::into_inner).insert((to.clone(), author.clone()));
        if !first {
            return Ok(());
        }
        for message in messages.into_iter().filter(|message| message.author == *author) {
            let message = Message { received: self.now(), ..message };
            self.obey_emoji(&message).await?;
        }
        Ok(())
    }
}

/// The command that an emoji stands for after a failure.
fn choice(emoji: &str) -> Option<&'static str> {
    match emoji.trim_end_matches('\u{fe0f}') {
        views::RETRY => Some("retry"),
        views::SKIP => Some("skip"),
        views::UNDO => Some("undo"),
        views::KEEP => Some("keep"),
        _ => None,
    }
}
