//! What was missed in the channels, and the order of what comes.
//!
//! Discord doesn't tell strictly in order, so a message waits a moment for what was written before it. Missed ones are passed on
//! page by page as they are fetched: a long gap takes time and no memory, and clicks are heard in between. Where that breaks off
//! it goes on later; what people write meanwhile waits for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use serenity::all::{ChannelId, GetMessages, Message as Said, MessageId};
use tokio::time::{Instant, timeout};

use super::super::PAGE;
use super::super::rest::trouble;
use super::super::room::Room;
use super::super::snowflake::written_at;
use super::{ANSWER_WITHIN, Ears};
use crate::chat::ChatEvent;

/// How long to wait before missed messages are fetched again.
const FETCH_AGAIN: Duration = Duration::from_secs(15);

/// How many pages of a channel are fetched before anything else is heard.
const PAGES: usize = 5;

/// How long what people write waits for what was written before it and is told after it.
const ORDER_WITHIN: Duration = Duration::from_millis(200);

impl Ears<'_> {
    /// Tells of the rooms that are there, and fetches what was missed in them; when it goes on with that.
    pub(super) async fn catch_up(&mut self) -> Option<Instant> {
        self.reacted.clear();
        let mut again: Option<Instant> = None;
        let behind: Vec<_> = self.rooms.iter().filter(|(_, room)| room.is_behind()).map(|(channel, _)| *channel).collect();
        for channel in behind {
            let Some((name, goes_on)) = self.rooms.get(&channel).map(|room| (room.name.clone(), room.is_being_fetched())) else {
                continue;
            };
            // What is written from here on comes by itself.
            let begin = self.page(channel).await;
            if !goes_on {
                self.pass(ChatEvent::Connected { room: name.clone() }).await;
            }
            if let Some((begin, oldest)) = self.rooms.get(&channel).and_then(|room| room.not_read) {
                // Nothing may have been written in all that time.
                match self.first_after(channel, begin).await {
                    Ok(first) => {
                        if let Some(room) = self.rooms.get_mut(&channel) {
                            room.not_read = None;
                        }
                        if first.is_some_and(|first| first < oldest) {
                            self.pass(ChatEvent::NotRead { room: name.clone(), before: written_at(oldest) }).await;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(room = %name, error = %trouble(&error), "it can't be told whether more was missed")
                    }
                }
            }
            let fetched = match begin {
                Ok(page) => self.pass_missed(channel, page).await,
                Err(error) => Err(error),
            };
            let due = match fetched {
                Ok(all) => {
                    self.discord.room_is(&name, None);
                    (!all).then(Instant::now)
                }
                Err(error) => {
                    let why = format!("what people wrote meanwhile can't be fetched, it is tried again: {}", trouble(&error));
                    self.discord.room_is(&name, Some(why));
                    Some(Instant::now() + FETCH_AGAIN)
                }
            };
            again = again.into_iter().chain(due).min();
            self.pass_held(None).await;
        }
        again
    }

    /// The next messages of a channel that may have been missed.
    async fn page(&self, channel: ChannelId) -> serenity::Result<Vec<Said>> {
        let page = GetMessages::new().limit(PAGE);
        self.fetch(channel, self.rooms.get(&channel).map_or(page, |room| page.after(room.missed_after()))).await
    }

    /// The first message after one.
    async fn first_after(&self, channel: ChannelId, after: MessageId) -> serenity::Result<Option<MessageId>> {
        let page = self.fetch(channel, GetMessages::new().limit(1).after(after)).await?;
        Ok(page.first().map(|said| said.id))
    }

    async fn fetch(&self, channel: ChannelId, which: GetMessages) -> serenity::Result<Vec<Said>> {
        // It is tried again later, and what happens is heard meanwhile.
        if self.discord.access.pause.end().is_some() {
            return Err(serenity::Error::Other("too much was asked, and nothing is asked for a while"));
        }
        let page = timeout(ANSWER_WITHIN, channel.messages(&self.discord.http, which)).await;
        page.map_err(|_| serenity::Error::Other("no answer in time"))?
    }

    /// Passes on what was missed in a channel, a page and some after it, the oldest first. Whether that was all.
    async fn pass_missed(&mut self, channel: ChannelId, mut page: Vec<Said>) -> serenity::Result<bool> {
        for pages in 1.. {
            let full = page.len() == usize::from(PAGE);
            let sorted: BTreeMap<MessageId, Said> = page.into_iter().map(|said| (said.id, said)).collect();
            let newest = sorted.keys().next_back().copied();
            for (id, said) in sorted {
                // One that was changed since says what nobody sent; what was heard when it was sent counts as it was.
                let heard = self.held.get_mut(&channel).and_then(|held| held.remove(&id)).map(|(_, said)| said);
                if let Some(said) = heard.or_else(|| said.edited_timestamp.is_none().then_some(said)) {
                    self.said(said).await;
                }
            }
            let Some(room) = self.rooms.get_mut(&channel) else { break };
            let goes_on = newest.is_some_and(|newest| room.is_fetched_to(newest));
            if !full || !goes_on {
                room.is_up_to_date();
                break;
            }
            if pages == PAGES {
                return Ok(false);
            }
            page = self.page(channel).await?;
        }
        Ok(true)
    }

    /// When the next of what waits for its order only has waited long enough.
    pub(super) fn order_at(&self) -> Option<Instant> {
        let first = |(channel, held): (&ChannelId, &BTreeMap<MessageId, (Instant, Said)>)| {
            let waits = self.rooms.get(channel).is_some_and(Room::holds);
            held.first_key_value().filter(|_| !waits).map(|(_, (told, _))| *told + ORDER_WITHIN)
        };
        self.held.iter().filter_map(first).min()
    }

    /// Passes on what has waited long enough, in order; all of a channel where something happens that may be about it.
    pub(super) async fn pass_held(&mut self, all_of: Option<ChannelId>) {
        let channels: Vec<ChannelId> =
            self.held.keys().copied().filter(|channel| all_of.is_none_or(|all| all == *channel)).collect();
        for channel in channels {
            if self.rooms.get(&channel).is_some_and(Room::holds) {
                continue;
            }
            // Whatever was written after one that still waits, waits too.
            while let Some(mut first) = self.held.get_mut(&channel).and_then(BTreeMap::first_entry) {
                if all_of.is_none() && first.get_mut().0.elapsed() < ORDER_WITHIN {
                    break;
                }
                let (_, said) = first.remove();
                self.said(said).await;
            }
        }
        let marks: Vec<_> = self.rooms.values_mut().filter_map(|room| Some((room.up_to()?, room.name.clone()))).collect();
        for (newest, room) in marks {
            self.pass(ChatEvent::UpTo { room, mark: newest.to_string() }).await;
        }
    }
}
