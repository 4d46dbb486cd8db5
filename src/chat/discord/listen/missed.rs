//! What was missed in the channels, and the order of what comes.
//!
//! Missed messages are passed on page by page as they are fetched, so a long gap takes time and no memory. Where that breaks off it
//! goes on later; what people write meanwhile waits for a while.

use std::collections::BTreeMap;

use serenity::all::{ChannelId, GetMessages, Message as Said, MessageId};
use tokio::time::timeout;

use super::super::PAGE;
use super::super::rest::trouble;
use super::super::room::Room;
use super::{ANSWER_WITHIN, Ears};
use crate::chat::ChatEvent;

impl Ears<'_> {
    /// Tells of the rooms that are there, and fetches what was missed in them.
    pub(super) async fn catch_up(&mut self) -> Result<(), ()> {
        self.reacted.clear();
        let mut all = Ok(());
        let behind: Vec<_> = self.rooms.iter().filter(|(_, room)| room.is_behind()).map(|(channel, _)| *channel).collect();
        for channel in behind {
            let Some(name) = self.rooms.get(&channel).map(|room| room.name.clone()) else { continue };
            // What is written from here on comes by itself.
            let begin = self.page(channel).await;
            self.pass(ChatEvent::Connected { room: name.clone() }).await;
            let fetched = match begin {
                Ok(page) => self.pass_missed(channel, page).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &fetched {
                let why = format!("what people wrote meanwhile can't be fetched, it is tried again: {}", trouble(error));
                self.discord.room_is(&name, Some(why));
                all = Err(());
            } else {
                self.discord.room_is(&name, None);
            }
            self.pass_held().await;
        }
        all
    }

    /// The next messages of a channel that may have been missed.
    async fn page(&self, channel: ChannelId) -> serenity::Result<Vec<Said>> {
        let page = GetMessages::new().limit(PAGE);
        let page = self.rooms.get(&channel).map_or(page, |room| page.after(room.missed_after()));
        let page = timeout(ANSWER_WITHIN, channel.messages(&self.discord.http, page)).await;
        page.map_err(|_| serenity::Error::Other("no answer in time"))?
    }

    /// Passes on what was missed in a channel, a page and all after it, the oldest first.
    async fn pass_missed(&mut self, channel: ChannelId, mut page: Vec<Said>) -> serenity::Result<()> {
        loop {
            let full = page.len() == usize::from(PAGE);
            let sorted: BTreeMap<MessageId, Said> = page.into_iter().map(|said| (said.id, said)).collect();
            let newest = sorted.keys().next_back().copied();
            for (id, said) in sorted {
                // One that was changed since says what nobody sent; what was heard when it was sent counts as it was.
                let heard = self.held.get_mut(&channel).and_then(|held| held.remove(&id));
                if let Some(said) = heard.or_else(|| said.edited_timestamp.is_none().then_some(said)) {
                    self.said(said).await;
                }
            }
            let Some(room) = self.rooms.get_mut(&channel) else { return Ok(()) };
            let goes_on = newest.is_some_and(|newest| room.is_fetched_to(newest));
            if !full || !goes_on {
                room.is_up_to_date();
                return Ok(());
            }
            page = self.page(channel).await?;
        }
    }

    /// Passes on what has waited long enough, in order.
    pub(super) async fn pass_held(&mut self) {
        let waits = |channel: &ChannelId| self.rooms.get(channel).is_some_and(Room::holds);
        let (wait, pass) = std::mem::take(&mut self.held).into_iter().partition(|(channel, _)| waits(channel));
        self.held = wait;
        let pass: BTreeMap<ChannelId, BTreeMap<MessageId, Said>> = pass;
        for said in pass.into_values().flat_map(BTreeMap::into_values) {
            self.said(said).await;
        }
    }
}
