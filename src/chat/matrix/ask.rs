//! What the bot asks about people: whose emojis are at a message, and how much power somebody has.

use std::collections::BTreeSet;

use matrix_sdk::Room;
use matrix_sdk::room::{IncludeRelations, RelationsOptions};
use matrix_sdk::ruma::api::Direction;
use matrix_sdk::ruma::events::reaction::OriginalSyncReactionEvent;
use matrix_sdk::ruma::events::relation::RelationType;
use matrix_sdk::ruma::events::room::power_levels::UserPowerLevel;
use matrix_sdk::ruma::events::{AnySyncMessageLikeEvent, AnySyncTimelineEvent, SyncMessageLikeEvent, TimelineEventType};
use matrix_sdk::ruma::{OwnedEventId, OwnedUserId};

use super::errors::{about, unavailable};
use super::memory::Reaction;
use super::{Matrix, PLATFORM, account, read};
use crate::chat::ChatError;
use crate::domain::message::{Account, MessageRef};

/// How many reactions the homeserver tells at once.
const PAGE: u32 = 100;

/// How many pages are asked for at most: more would be somebody who floods us.
const PAGES: usize = 50;

/// The most power that a role is about.
const MOST_POWER: i64 = 100;

impl Matrix {
    /// Which people have which emoji at a message now.
    pub(super) async fn emojis(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        let (room, id) = self.place(message).await?;
        // It is asked for seldom, and whoever asks acts on it.
        self.look_at(&room, &id, message).await?;
        let mut found = BTreeSet::new();
        let mut from = None;
        for _ in 0..PAGES {
            let include = IncludeRelations::RelationsOfTypeAndEventType(RelationType::Annotation, TimelineEventType::Reaction);
            let options = RelationsOptions {
                from: from.clone(),
                dir: Direction::Backward,
                limit: Some(PAGE.into()),
                include_relations: include,
                recurse: false,
            };
            let page = room.relations(id.clone(), options).await.map_err(|error| about(message, &error))?;
            for event in &page.chunk {
                let Ok(AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::Reaction(SyncMessageLikeEvent::Original(event)))) =
                    event.raw().deserialize()
                else {
                    continue;
                };
                if let Some((event, reaction)) = self.reaction(message, &event) {
                    found.insert((reaction.author.clone(), reaction.emoji.clone()));
                    self.remembered(|memory| memory.react(event, reaction));
                }
            }
            match page.next_batch_token {
                Some(next) if from.as_ref() != Some(&next) => from = Some(next),
                _ => break,
            }
        }
        Ok(found.into_iter().collect())
    }

    /// A reaction of a person to a message; `None` = it is nobody's who is heard.
    pub(super) fn reaction(&self, to: &MessageRef, event: &OriginalSyncReactionEvent) -> Option<(OwnedEventId, Reaction)> {
        if !self.hears(&event.sender) {
            return None;
        }
        let emoji = read::plain(&event.content.relates_to.key);
        Some((event.event_id.clone(), Reaction { to: to.clone(), author: account(&event.sender), emoji }))
    }

    /// The roles that an account's power gives it: `matrix:power:50` is had by whoever has at least that in every room of the bot.
    pub(super) async fn powers(&self, of: &Account) -> Result<BTreeSet<String>, ChatError> {
        let user = of.0.strip_prefix(PLATFORM).and_then(|user| OwnedUserId::try_from(user).ok());
        let Some(user) = user else { return Ok(BTreeSet::new()) };
        if let Some(why) = self.deaf() {
            return Err(ChatError::Unavailable(why));
        }
        let mut least = MOST_POWER;
        for name in self.room_names() {
            least = least.min(power(&self.room(name).await?, &user).await?);
        }
        Ok((1..=least).map(|power| format!("{PLATFORM}power:{power}")).collect())
    }
}

async fn power(room: &Room, user: &matrix_sdk::ruma::UserId) -> Result<i64, ChatError> {
    Ok(match room.get_user_power_level(user).await.map_err(|error| unavailable(&error))? {
        UserPowerLevel::Infinite => MOST_POWER,
        UserPowerLevel::Int(level) => level.into(),
        _ => 0,
    })
}
