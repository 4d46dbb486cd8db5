//! Brings the rooms to what they should show, and keeps them there.
//!
//! What a room should show is a pure function of the ledger; this reconciler posts what a room hasn't got, and edits what has
//! changed, at most once a second for a message. A chat that is down is tried again later and then gets the newest state:
//! nothing waits for it, and no final state is lost.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::details::Details;
use super::{Bot, news, views};
use crate::chat::{Audience, Became, Chat, ChatError, Reply};
use crate::domain::deployment::{Event, Phase};
use crate::domain::message::{MessageRef, RoomId};
use crate::domain::names::DeploymentId;
use crate::domain::notice::{About, Notice};
use crate::store::{LedgerError, Post, PostId, Told};

/// The shortest time between two edits of a message.
const EDIT_EVERY: Duration = Duration::from_secs(1);

/// How often a live message is looked at when nothing happens, so that silence shows.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The wait before a chat that failed is tried again; doubles up to the limit.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LIMIT: Duration = Duration::from_secs(60);

/// How long the last states may take to be shown when the bot stops.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// The reconcilers of all rooms.
pub(super) struct Rooms {
    tasks: Vec<JoinHandle<()>>,
    finish: CancellationToken,
}

/// Starts a reconciler for each room.
pub(super) fn spawn(bot: &Bot) -> Rooms {
    let finish = CancellationToken::new();
    let chats = bot.chats.iter().flat_map(|chat| chat.rooms().into_iter().map(move |room| (chat.clone(), room)));
    let tasks = chats
        .map(|(chat, room)| {
            let details = Details::new(bot.clone(), chat.clone());
            let room = Room { bot: bot.clone(), chat, room, shown: BTreeMap::new(), details };
            tokio::spawn(bot.guarded("a room", room.keep(finish.clone())))
        })
        .collect();
    Rooms { tasks, finish }
}

impl Rooms {
    /// Shows the last states and ends.
    pub(super) async fn finish(self) {
        self.finish.cancel();
        for task in self.tasks {
            if timeout(FINISH_WITHIN, task).await.is_err() {
                tracing::warn!("a room didn't get its last state in time; it will after the next start");
            }
        }
    }
}

struct Room {
    bot: Bot,
    chat: Arc<dyn Chat>,
    room: RoomId,
    /// What each live message shows, by the hash of its reply, and since when.
    shown: BTreeMap<PostId, (u64, Instant)>,
    details: Details,
}

/// Why a round was not finished.
enum Trouble {
    Chat(ChatError),
    Ledger(LedgerError),
}

impl From<ChatError> for Trouble {
    fn from(error: ChatError) -> Trouble {
        Trouble::Chat(error)
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Trouble {
        Trouble::Ledger(error)
    }
}

impl Room {
    async fn keep(mut self, finish: CancellationToken) {
        let mut facts = self.bot.ledger.subscribe();
        let mut notes = self.bot.pipeline.outputs().notes();
        let mut retry = RETRY_FIRST;
        let mut in_trouble = false;
        loop {
            facts.borrow_and_update();
            notes.borrow_and_update();
            let last_round = finish.is_cancelled();
            let was_in_trouble = std::mem::replace(&mut in_trouble, false);
            let wait = match self.round(last_round).await {
                // The closing message waited for the live one's last state, which is shown now.
                Ok(Some(_)) if last_round => continue,
                Ok(next_edit) => {
                    retry = RETRY_FIRST;
                    if was_in_trouble {
                        self.bot.room_is(&self.room, None);
                    } else {
                        self.bot.room_may_be_well(&self.room);
                    }
                    next_edit
                }
                Err(Trouble::Ledger(error)) => return self.bot.fail(&error),
                Err(Trouble::Chat(error)) => {
                    in_trouble = true;
                    tracing::warn!(room = %self.room, %error, retry_in = retry.as_secs(), "the room can't be brought up to date");
                    self.bot.room_is(&self.room, Some(error.to_string()));
                    let again = Instant::now() + retry;
                    retry = (retry * 2).min(RETRY_LIMIT);
                    Some(again)
                }
            };
            if last_round {
                return;
            }
            let held_back = wait.is_some();
            tokio::select! {
                biased;
                () = finish.cancelled() => {}
                () = sleep_until(wait.unwrap_or_else(|| Instant::now() + LOOK_EVERY)) => {}
                // A chat that is in trouble isn't asked again before its time.
                changed = facts.changed(), if !in_trouble => if changed.is_err() { return },
                // A held-back edit waits for its time, and then shows the newest word.
                changed = notes.changed(), if !held_back => if changed.is_err() { return },
            }
        }
    }

    /// One look at everything; when the next edit that was held back may be made.
    async fn round(&mut self, last_round: bool) -> Result<Option<Instant>, Trouble> {
        let mut next_edit: Option<Instant> = None;
        for (id, post, message) in self.bot.ledger.live(&self.room)? {
            let due = self.shown.get(&id).map(|(_, at)| *at + EDIT_EVERY);
            match due.filter(|due| *due > Instant::now() && !last_round) {
                Some(due) => next_edit = Some(next_edit.map_or(due, |known| known.min(due))),
                None => self.refresh(id, &post, &message).await?,
            }
        }
        for (id, post) in self.bot.ledger.posts_after(&self.room)? {
            if self.closes_what_is_live(&post)? {
                // The live message gets its last state first; the rest waits with it, since posts stay in order.
                let now = Instant::now();
                return Ok(Some(next_edit.unwrap_or(now)));
            }
            match self.render(&post).await? {
                Some(reply) => self.post(id, &post, &reply, &format!("post:{}", id.0)).await?,
                None => self.pass_over(id).await?,
            }
        }
        if !last_round {
            self.details.keep().await?;
        }
        Ok(next_edit)
    }

    /// Something that another room is told.
    async fn pass_over(&self, id: PostId) -> Result<(), Trouble> {
        let nowhere = MessageRef { room: self.room.clone(), id: String::new() };
        Ok(self.bot.ledger.posted(self.room.clone(), id, nowhere, self.bot.now()).await?)
    }

    async fn post(&mut self, id: PostId, post: &Post, reply: &Reply, key: &str) -> Result<(), Trouble> {
        let asked = self.asked_by(post)?;
        let bot = self.bot.clone();
        let posting = match bot.posting.get(&self.room) {
            Some(posting) => Some(posting.lock().await),
            None => None,
        };
        let message = match self.show(asked.as_ref(), reply, key).await {
            Err(ChatError::Refused(why)) => {
                tracing::error!(room = %self.room, %why, "the chat doesn't take a message; its text alone is tried");
                self.show(asked.as_ref(), &views::text_alone(reply), &format!("{key}:text")).await
            }
            shown => shown,
        };
        let message = match message {
            Err(ChatError::Refused(why)) => {
                tracing::error!(room = %self.room, %why, title = reply.title, "the chat doesn't take its text either; the room isn't told");
                return self.pass_over(id).await;
            }
            message => message?,
        };
        if let Post::Closing { id } = post {
            self.details.owe(*id, &message)?;
        }
        let watched = !self.is_over(post)?;
        self.bot.ledger.shown(self.room.clone(), id, message, watched, self.bot.now()).await?;
        drop(posting);
        if matches!(post, Post::Votes { .. }) {
            // It may have been there all along: an earlier life showed it, died before that was recorded, and people voted since.
            self.bot.look_soon(&self.room);
        }
        self.shown.insert(id, (hash(reply), Instant::now()));
        if let (Post::Closing { id }, Some(message)) = (post, &asked) {
            let succeeded = self.bot.ledger.state(*id)?.is_some_and(|state| state.phase == Phase::Succeeded);
            let what = if succeeded { Became::Succeeded } else { Became::Failed };
            self.bot.became(message, what).await;
        }
        Ok(())
    }

    async fn show(&self, to: Option<&MessageRef>, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        let shown = match to {
            Some(message) => self.bot.within_deadline(self.chat.answer(message, Audience::Room, reply, key)).await,
            None => self.bot.within_deadline(self.chat.post(&self.room, reply, key)).await,
        };
        if shown.is_ok() {
            self.bot.room_is(&self.room, None);
        }
        shown
    }

    /// The message of this room that a post is the answer to: what asked for the deployment, or could not be read.
    fn asked_by(&self, post: &Post) -> Result<Option<MessageRef>, LedgerError> {
        match post {
            Post::Live { id } | Post::Closing { id } => self.cause(*id),
            Post::Told { seq } => Ok(match self.bot.ledger.told(*seq)? {
                Some((_, Told::Notice { notice: Notice::Unreadable { message, .. }, .. })) => Some(message),
                Some(_) | None => None,
            }),
            Post::Build { .. } | Post::Votes { .. } => Ok(None),
        }
    }

    /// The message of this room that asked for a deployment.
    fn cause(&self, id: DeploymentId) -> Result<Option<MessageRef>, LedgerError> {
        let events = self.bot.ledger.events(id)?.into_iter();
        let mut causes = events.filter_map(|(_, event)| if let Event::Requested { cause, .. } = event { cause } else { None });
        Ok(causes.find(|message| message.room == self.room))
    }

    /// Whether a post closes a deployment whose live message hasn't got its last state yet.
    fn closes_what_is_live(&self, post: &Post) -> Result<bool, LedgerError> {
        let Post::Closing { id } = post else { return Ok(false) };
        Ok(self.bot.ledger.live(&self.room)?.iter().any(|(_, live, _)| *live == Post::Live { id: *id }))
    }

    /// Edits a live message if it should show something else by now; settles it when that was its last state.
    async fn refresh(&mut self, id: PostId, post: &Post, message: &MessageRef) -> Result<(), Trouble> {
        let shown = self.shown.get(&id).map(|(shown, _)| *shown);
        if let (None, Post::Closing { id }) = (shown, post) {
            // An earlier life showed it, and perhaps couldn't keep the details.
            self.details.owe(*id, message)?;
        }
        let over = self.is_over(post)?;
        let Some(reply) = self.render(post).await? else {
            // The fleet file doesn't name the room for it any more.
            return Ok(self.bot.ledger.settled(self.room.clone(), id, self.bot.now()).await?);
        };
        let changed = shown != Some(hash(&reply));
        // A closing message has no other state than its last one.
        if changed || over && !matches!(post, Post::Closing { .. }) {
            match self.bot.within_deadline(self.chat.edit(message, &reply, over)).await {
                Ok(()) => {
                    self.bot.room_is(&self.room, None);
                    self.bot.metrics.chat_edited();
                }
                // Someone deleted it, or it is on a terminal that was closed; the closing message still comes.
                Err(ChatError::Gone(_)) if over => {}
                Err(ChatError::Gone(gone)) => return self.gone(id, post, &reply, &gone).await,
                // It goes on in a new one, which can be changed again. A call for votes has to stay where the votes are.
                Err(ChatError::TooOld(old)) if matches!(post, Post::Live { .. }) => {
                    self.post(id, post, &reply, &format!("post:{}:after:{}", id.0, old.id)).await?;
                    let left = views::goes_on_below(&reply);
                    if let Err(error) = self.bot.within_deadline(self.chat.edit(&old, &left, true)).await {
                        tracing::debug!(room = %self.room, %error, "an old live message stays as it is");
                    }
                    return Ok(());
                }
                // It is changed when it may be; the others don't wait for it.
                Err(ChatError::TooOld(_)) => return Ok(()),
                Err(ChatError::Refused(why)) => {
                    tracing::error!(room = %self.room, %why, "the chat doesn't take a change of a message");
                }
                Err(error) => return Err(error.into()),
            }
            self.shown.insert(id, (hash(&reply), Instant::now()));
        }
        if over {
            self.bot.ledger.settled(self.room.clone(), id, self.bot.now()).await?;
            self.shown.remove(&id);
        }
        Ok(())
    }

    /// A message is gone: a call for votes takes the votes with it, anything else is shown again.
    async fn gone(&mut self, id: PostId, post: &Post, reply: &Reply, gone: &MessageRef) -> Result<(), Trouble> {
        if matches!(post, Post::Votes { .. }) && !self.chat.forgets() {
            self.bot.votes_lost(gone).await?;
            return Ok(self.bot.ledger.settled(self.room.clone(), id, self.bot.now()).await?);
        }
        self.post(id, post, reply, &format!("post:{}:after:{}", id.0, gone.id)).await
    }

    /// Whether a post shows its last state, and nobody can answer to it any more.
    fn is_over(&self, post: &Post) -> Result<bool, LedgerError> {
        let ledger = &self.bot.ledger;
        Ok(match post {
            Post::Live { id } => ledger.state(*id)?.is_none_or(|state| state.phase.is_final()),
            Post::Votes { seq } => self.bot.open_call(*seq)?.is_none(),
            Post::Closing { id } => {
                let is_answered = ledger.state(*id)?.is_none_or(|state| !self.bot.may_be_answered(*id, &state));
                is_answered && !self.details.are_owed(*id)
            }
            Post::Told { seq } => !self.bot.asks(*seq)?,
            Post::Build { .. } => true,
        })
    }

    /// Whether this room is told of what a post is about: the fleet file may name other apps for it. Whoever asked here sees here
    /// what comes of it.
    fn is_told(&self, post: &Post) -> Result<bool, LedgerError> {
        let (ledger, fleet) = (&self.bot.ledger, &self.bot.fleet);
        if !fleet.rooms.contains_key(&self.room) {
            return Ok(true);
        }
        let about = match post {
            Post::Build { seq } => ledger.build_at(*seq)?.map_or(About::All, |build| About::App(build.app)),
            Post::Live { id } | Post::Closing { id } => About::Deployment(*id),
            Post::Votes { seq } => ledger.call(*seq)?.map_or(About::All, |(id, _)| About::Deployment(id)),
            Post::Told { seq } => match ledger.told(*seq)? {
                Some((_, Told::Locked { app, .. } | Told::Unlocked { app, .. })) => About::App(app),
                Some((_, Told::NotCounted { id, .. })) => About::Deployment(id),
                Some((_, Told::Notice { notice, .. })) => notice.about(),
                None => About::All,
            },
        };
        Ok(match about {
            About::All => true,
            About::App(app) => fleet.tells(&self.room, &app),
            About::Deployment(id) => match ledger.state(id)? {
                Some(state) => fleet.tells(&self.room, &state.plan.app) || self.cause(id)?.is_some(),
                None => true,
            },
        })
    }

    /// What a post shows; `None` if this room isn't told.
    async fn render(&self, post: &Post) -> Result<Option<Reply>, LedgerError> {
        let bot = &self.bot;
        if !self.is_told(post)? {
            return Ok(None);
        }
        let reply = match post {
            Post::Build { seq } => match bot.ledger.build_at(*seq)? {
                Some(build) => Some(views::announcement(&build, &news::of_build(&bot.ledger, *seq, &build)?, &bot.prefix)),
                None => None,
            },
            Post::Live { id } => {
                let notes = bot.pipeline.outputs().notes().borrow().clone();
                let state = bot.ledger.state(*id)?;
                let live = |state| (views::live(*id, &state, &notes, &bot.prefix, bot.now()), state);
                state.map(live).map(|(live, state)| bot.linked(live, &self.room, *id, &state)).transpose()?
            }
            Post::Closing { id } => match bot.ledger.state(*id)? {
                Some(state) => {
                    let closing = views::closing(*id, &state, Some(&bot.news_of(*id, &state)?), &bot.prefix);
                    Some(bot.linked(closing, &self.room, *id, &state)?)
                }
                None => None,
            },
            Post::Votes { seq } => bot.call_shown(&self.room, *seq).await?,
            Post::Told { seq } => match bot.ledger.told(*seq)? {
                Some((_, Told::Notice { only: Some(room), .. } | Told::NotCounted { only: room, .. })) if room != self.room => {
                    return Ok(None);
                }
                Some((at, told)) => Some(views::told(&told, at, &bot.emojis, &bot.prefix)),
                None => None,
            },
        };
        Ok(Some(reply.unwrap_or_else(|| views::line(crate::chat::Tone::Info, "this was lost from the store"))))
    }
}

fn hash(reply: &Reply) -> u64 {
    let mut hasher = DefaultHasher::new();
    reply.hash(&mut hasher);
    hasher.finish()
}
