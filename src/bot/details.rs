//! The details of deployments, kept beside their closing messages where a chat has a place for them.
//!
//! What can't be kept is tried again as long as the chat may take it, also after the next start: the closing message isn't settled
//! before. `!show` has it for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Bot, actions, views};
use crate::chat::{Chat, ChatError};
use crate::domain::message::MessageRef;
use crate::domain::names::DeploymentId;
use crate::store::LedgerError;

/// How much longer is waited each time before details are tried to be kept again, and at most.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_LIMIT: Duration = Duration::from_secs(300);

/// Keeps the details of the deployments that a room is told of.
pub(super) struct Details {
    bot: Bot,
    chat: Arc<dyn Chat>,
    owed: BTreeMap<DeploymentId, Owed>,
    /// Those that were owed in this life.
    known: BTreeSet<DeploymentId>,
}

/// Details that aren't kept yet.
struct Owed {
    closing: MessageRef,
    again: Instant,
    tries: u32,
}

impl Details {
    pub fn new(bot: Bot, chat: Arc<dyn Chat>) -> Details {
        Details { bot, chat, owed: BTreeMap::new(), known: BTreeSet::new() }
    }

    /// The details of a deployment belong beside its closing message, unless it never started. They may be there already.
    pub fn owe(&mut self, id: DeploymentId, closing: &MessageRef) -> Result<(), LedgerError> {
        if self.chat.keeps_details()
            && self.known.insert(id)
            && self.bot.ledger.state(id)?.is_some_and(|state| state.started_at.is_some())
        {
            self.owed.insert(id, Owed { closing: closing.clone(), again: Instant::now(), tries: 0 });
        }
        Ok(())
    }

    /// Whether the details of a deployment still have to be kept.
    pub fn are_owed(&self, id: DeploymentId) -> bool {
        self.owed.contains_key(&id)
    }

    /// Keeps the next that is due beside its closing message. What can't be kept is tried again later.
    pub async fn keep(&mut self) -> Result<(), LedgerError> {
        let now = Instant::now();
        // One at a time: the room's messages wait for it.
        let Some(id) = self.owed.iter().find(|(_, owed)| owed.again <= now).map(|(id, _)| *id) else { return Ok(()) };
        if let Some(owed) = self.owed.remove(&id)
            && let Some(still) = self.try_to_keep(id, owed).await?
        {
            self.owed.insert(id, still);
        }
        Ok(())
    }

    /// What is still owed afterwards.
    async fn try_to_keep(&self, id: DeploymentId, owed: Owed) -> Result<Option<Owed>, LedgerError> {
        let room = &owed.closing.room;
        let (Some(state), Some(text)) = (self.bot.ledger.state(id)?, actions::whole(&self.bot, id)?) else { return Ok(None) };
        let title = format!("{id} {}", views::headline(&state.plan));
        let file = format!("deployment-{}.txt", id.0);
        match self.bot.within_deadline(self.chat.keep_beside(&owed.closing, &title, &file, text)).await {
            Ok(()) => Ok(None),
            Err(error @ (ChatError::Gone(_) | ChatError::Refused(_))) => {
                tracing::warn!(%room, %id, %error, "the details of a deployment aren't beside its message; `show` has them");
                Ok(None)
            }
            Err(error) => {
                tracing::info!(%room, %id, %error, "the details of a deployment can't be kept beside its message yet");
                let tries = owed.tries + 1;
                Ok(Some(Owed { tries, again: Instant::now() + (AGAIN * tries).min(AGAIN_LIMIT), ..owed }))
            }
        }
    }
}
