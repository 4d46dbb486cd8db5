//! What an emoji at a message of ours means: a vote, or a command of whoever put it there.

use std::sync::PoisonError;

use super::listen::refused;
use super::votes::{Ballot, Given, Voted};
use super::{Bot, Refusal, views};
use crate::chat::Became;
use crate::domain::deployment::Found;
use crate::domain::message::{Account, Message, MessageRef};
use crate::domain::notice::Notice;
use crate::runbook::Parsed;
use crate::store::{LedgerError, Post, Told};

impl Bot {
    /// An emoji at one of our messages: a vote, a cancel, or what people want to happen after a failure.
    pub(super) async fn reacted(&self, to: &MessageRef, author: &Account, emoji: &str) -> Result<Became, LedgerError> {
        let ballot = self.emojis.ballot(emoji);
        let line = match (self.post_at(to).await?, ballot) {
            (Some(Post::Votes { seq }), Some(ballot)) => {
                if let Some((id, call)) = self.open_call(seq)? {
                    let voted =
                        self.vote(Given { id, plan: &call.hash, account: author, ballot, found: Found::Live, message: to }).await?;
                    return Ok(if voted == Voted::Recorded { Became::Answered } else { Became::Refused });
                }
                return Ok(Became::Ignored);
            }
            (Some(Post::Live { id }), Some(Ballot::Reject)) => format!("cancel {}", id.0),
            (Some(Post::Live { id } | Post::Closing { id }), _) if choice(emoji).is_some() => {
                format!("{} {}", choice(emoji).unwrap_or_default(), id.0)
            }
            (Some(Post::Closing { id }), Some(Ballot::Approve)) => {
                // Only what was an emergency wants to be looked at.
                if self.ledger.state(id)?.is_none_or(|state| state.emergency().is_none()) {
                    return Ok(Became::Ignored);
                }
                format!("approve {}", id.0)
            }
            (Some(Post::Closing { id }), Some(Ballot::Reject)) => {
                self.not_well(id, to, author).await?;
                return Ok(Became::Answered);
            }
            (Some(Post::Told { seq }), Some(Ballot::Approve)) => {
                self.run_stale(seq, to, author).await?;
                return Ok(Became::Answered);
            }
            (
                Some(Post::Votes { .. } | Post::Live { .. } | Post::Closing { .. } | Post::Told { .. } | Post::Build { .. }) | None,
                _,
            ) => return Ok(Became::Ignored),
        };
        let message = Message { at: to.clone(), author: author.clone(), text: self.prefix.typed(&line), received: self.now() };
        self.obey_emoji(&message).await
    }

    /// A vote is taken back.
    pub(super) async fn unreacted(&self, to: &MessageRef, author: &Account, emoji: &str) -> Result<(), LedgerError> {
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
