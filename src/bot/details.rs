//! The details of deployments, kept beside their closing messages where a chat has a place for them.
//!
//! What can't be kept is tried again for some minutes, as long as this process lives: `!show` has it for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Bot, actions, views};
use crate::chat::{Chat, ChatError};
use crate::domain::message::MessageRef;
use crate::domain::names::DeploymentId;
use crate::store::LedgerError;

/// How often details are tried to be kept, and how much longer is waited each time.
const TRIES: u32 = 8;
const AGAIN: Duration = Duration::from_secs(15);

/// Keeps the details of the deployments that a room is told of.
pub(super) struct Details {
    bot: Bot,
    chat: Arc<dyn Chat>,
    unkept: Vec<Unkept>,
}

/// Details that are kept later.
struct Unkept {
    id: DeploymentId,
    closing: MessageRef,
    again: Instant,
    tries: u32,
}

impl Details {
    pub fn new(bot: Bot, chat: Arc<dyn Chat>) -> Details {
        Details { bot, chat, unkept: Vec::new() }
    }

    /// Keeps the steps and the output of a deployment beside its closing message, or tries it again later.
    pub async fn keep(&mut self, id: DeploymentId, closing: MessageRef) -> Result<(), LedgerError> {
        self.try_to_keep(Unkept { id, closing, again: Instant::now(), tries: 0 }).await
    }

    /// Tries again what is due.
    pub async fn keep_late(&mut self) -> Result<(), LedgerError> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.unkept).into_iter().partition(|unkept: &Unkept| unkept.again <= now);
        self.unkept = later;
        for unkept in due {
            self.try_to_keep(unkept).await?;
        }
        Ok(())
    }

    async fn try_to_keep(&mut self, unkept: Unkept) -> Result<(), LedgerError> {
        let (room, id) = (&unkept.closing.room, unkept.id);
        let Some(state) = self.bot.ledger.state(id)?.filter(|state| state.started_at.is_some()) else { return Ok(()) };
        let Some(text) = actions::whole(&self.bot, id)? else { return Ok(()) };
        let title = format!("{id} {}", views::headline(&state.plan));
        let file = format!("deployment-{}.txt", id.0);
        match self.bot.within_deadline(self.chat.keep_beside(&unkept.closing, &title, &file, text)).await {
            Ok(()) => {}
            Err(error) if unkept.tries + 1 == TRIES || matches!(error, ChatError::Gone(_)) => {
                tracing::warn!(%room, %id, %error, "the details of a deployment aren't beside its message; `show` has them");
            }
            Err(error) => {
                tracing::info!(%room, %id, %error, "the details of a deployment can't be kept beside its message yet");
                let tries = unkept.tries + 1;
                self.unkept.push(Unkept { tries, again: Instant::now() + AGAIN * tries, ..unkept });
            }
        }
        Ok(())
    }
}
