//! Votes: from an emoji or a typed word to a fact about the deployment that people were asked about.
//!
//! A vote is judged when it is given, so that whoever gave it in vain is told, and counted again at the start. After a gap the
//! emojis at each open call are compared with what is recorded: what came in meanwhile counts as found then.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Bot, access, views};
use crate::chat::{ChatError, Reply};
use crate::domain::ballot::{Uncounted, may_vote};
use crate::domain::deployment::{Call, DeploymentState, Event, Found, Phase};
use crate::domain::message::{Account, Doubt, MessageRef, RoomId};
use crate::domain::names::{DeploymentId, PersonName};
use crate::domain::plan::PlanHash;
use crate::domain::policy::{Standing, Strength};
use crate::runbook::{Builtin, Invocation, Work};
use crate::store::{LedgerError, Post};

/// How long a look at a room's calls may take before whoever waits for it goes on.
const LOOK_WITHIN: Duration = Duration::from_secs(40);

/// How long a chat that doesn't tell its emojis holds up what people approved.
const BLIND_FOR: SignedDuration = SignedDuration::from_mins(2);

/// A vote as it was given.
pub(super) struct Given<'a> {
    /// The deployment.
    pub id: DeploymentId,
    /// The plan that people were shown.
    pub plan: &'a PlanHash,
    /// By which account.
    pub account: &'a Account,
    /// Yes or no.
    pub ballot: Ballot,
    /// How.
    pub found: Found,
    /// The message that the emoji is at, or that was typed.
    pub message: &'a MessageRef,
    /// Why nobody can be sure whose it is.
    pub doubt: Option<Doubt>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ballot {
    /// ✅
    Approve,
    /// ❌
    Reject,
}

/// What became of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voted {
    /// It is recorded.
    Recorded,
    /// It was recorded before.
    Known,
    /// It doesn't count, and whoever gave it is told.
    NotCounted(Uncounted),
    /// Nobody is asked any more.
    Over,
}

impl Bot {
    /// Takes a vote.
    pub(super) async fn vote(&self, given: Given<'_>) -> Result<Voted, LedgerError> {
        let Some(state) = self.ledger.state(given.id)? else { return Ok(Voted::Over) };
        let Phase::AwaitingApproval(call) = &state.phase else { return Ok(Voted::Over) };
        let standing = self.standing(given.account).await?;
        let Some(person) = standing.person.clone() else {
            return self.not_counted(&given, Uncounted::Stranger).await;
        };
        let judged = match self.approval_of(&state) {
            Some(policy) => may_vote(policy, &state.by, &person, &standing.groups),
            // The policy asks for no votes any more; a no still stops it.
            None => Ok(()),
        };
        let judged = judged.and_then(|()| self.may_say(&given, &state, &standing));
        let judged = match (given.ballot, judged) {
            // Counted at the start, when the chat tells the roles again.
            (Ballot::Approve, Err(Uncounted::NotAnApprover)) if standing.unsure => Ok(()),
            (Ballot::Approve | Ballot::Reject, judged) => judged,
        };
        match (given.ballot, judged) {
            // Whoever asked may always take it back.
            (Ballot::Reject, Err(Uncounted::Requester)) => self.record(given.id, Event::CancelAsked { by: person }).await,
            (_, Err(why)) => self.not_counted(&given, why).await,
            (Ballot::Reject, Ok(())) => {
                let plan = Some(given.plan.clone());
                let event = Event::VotedDown { by: person, account: given.account.clone(), found: given.found, plan };
                self.record(given.id, event).await
            }
            (Ballot::Approve, Ok(())) => self.approve(&given, &state, call, person).await,
        }
    }

    /// What the rules say of the command that an emoji stands for. Whoever asked may always take it back.
    fn may_say(&self, given: &Given<'_>, state: &DeploymentState, standing: &Standing) -> Result<(), Uncounted> {
        let builtin = match given.ballot {
            Ballot::Approve => Builtin::Approve,
            Ballot::Reject => Builtin::Reject,
        };
        let Some(runbook) = self.catalog.runbooks().find(|runbook| runbook.work == Work::Builtin(builtin)) else { return Ok(()) };
        let (app, environment) = (Some(state.plan.app.clone()), Some(state.plan.environment.clone()));
        let asked = Invocation { app, environment, ..Invocation::bare(runbook.clone()) };
        access::may_have(&self.fleet, standing, &asked).map(drop).map_err(|_| Uncounted::NotAnApprover)
    }

    async fn approve(
        &self,
        given: &Given<'_>,
        state: &DeploymentState,
        call: &Call,
        person: PersonName,
    ) -> Result<Voted, LedgerError> {
        if call.strength == Strength::Typed && given.found != Found::Typed {
            return self.not_counted(given, Uncounted::TooWeak).await;
        }
        if let (Strength::Typed, Some(doubt)) = (call.strength, given.doubt) {
            return self.not_counted(given, Uncounted::Unproven(doubt)).await;
        }
        if let Some(vote) = state.votes.get(&person) {
            let same = vote.account == *given.account;
            return if same { Ok(Voted::Known) } else { self.not_counted(given, Uncounted::Again).await };
        }
        let message = (given.found != Found::Typed).then(|| given.message.clone());
        let (account, plan) = (given.account.clone(), Some(given.plan.clone()));
        let event = Event::Approved { by: person, account, found: given.found, message, plan };
        self.record(given.id, event).await
    }

    async fn record(&self, id: DeploymentId, event: Event) -> Result<Voted, LedgerError> {
        match self.ledger.deployment(id, event, self.now()).await {
            Ok(_) => Ok(Voted::Recorded),
            Err(LedgerError::Illegal(_) | LedgerError::NoSuchDeployment(_)) => Ok(Voted::Over),
            Err(error) => Err(error),
        }
    }

    /// Records a vote in vain; whoever gave it is told once.
    async fn not_counted(&self, given: &Given<'_>, why: Uncounted) -> Result<Voted, LedgerError> {
        let event = Event::NotCounted { account: given.account.clone(), why, message: given.message.clone() };
        self.record(given.id, event).await?;
        Ok(Voted::NotCounted(why))
    }

    /// A vote was taken back.
    pub(super) async fn withdrawn(&self, id: DeploymentId, account: &Account, message: &MessageRef) -> Result<(), LedgerError> {
        let Some(state) = self.ledger.state(id)? else { return Ok(()) };
        let of_emoji = state.votes.iter().find(|(_, vote)| {
            // Whoever typed it and takes their emoji away means that too.
            vote.account == *account && vote.message.as_ref().is_none_or(|given| given == message)
        });
        if let Some((person, _)) = of_emoji {
            self.record(id, Event::ApprovalWithdrawn { by: person.clone() }).await?;
        }
        Ok(())
    }

    /// The message that people vote on is gone.
    pub(super) async fn votes_lost(&self, message: &MessageRef) -> Result<(), LedgerError> {
        if let Some((id, _)) = self.open_call_at(message).await? {
            self.record(id, Event::VotesLost { message: message.clone() }).await?;
        }
        Ok(())
    }

    /// The deployment that a message calls people to vote on, if they still are.
    pub(super) async fn open_call_at(&self, message: &MessageRef) -> Result<Option<(DeploymentId, Call)>, LedgerError> {
        match self.post_at(message).await? {
            Some(Post::Votes { seq }) => self.open_call(seq),
            Some(Post::Live { .. } | Post::Build { .. } | Post::Closing { .. } | Post::Told { .. }) | None => Ok(None),
        }
    }

    /// The call of a fact, if people are still asked by it.
    pub(super) fn open_call(&self, seq: u64) -> Result<Option<(DeploymentId, Call)>, LedgerError> {
        let Some((id, call)) = self.ledger.call(seq)? else { return Ok(None) };
        let open = self.ledger.state(id)?.is_some_and(|state| matches!(&state.phase, Phase::AwaitingApproval(now) if *now == call));
        Ok(open.then_some((id, call)))
    }

    /// What a message of ours shows, as long as people may answer to it.
    pub(super) async fn post_at(&self, message: &MessageRef) -> Result<Option<Post>, LedgerError> {
        if let Some(post) = self.recorded_at(message)? {
            return Ok(Some(post));
        }
        // It may be so new that it isn't recorded yet.
        if let Some(posting) = self.posting.get(&message.room) {
            drop(posting.lock().await);
        }
        self.recorded_at(message)
    }

    fn recorded_at(&self, message: &MessageRef) -> Result<Option<Post>, LedgerError> {
        let shown = self.ledger.live(&message.room)?.into_iter();
        Ok(shown.filter(|(_, _, shows)| shows == message).map(|(_, post, _)| post).next())
    }

    /// Has the room's open calls looked at, by the one that decides about all reactions: another would race with it.
    pub(super) fn look_soon(&self, room: &RoomId) {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).entry(room.clone()).or_default();
        self.look.notify_one();
    }

    /// The same, and waits for it: whether the chat told all emojis.
    async fn look_first(&self, room: &RoomId) -> bool {
        let (done, looked) = oneshot::channel();
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).entry(room.clone()).or_default().push(done);
        self.look.notify_one();
        matches!(timeout(LOOK_WITHIN, looked).await, Ok(Ok(true)))
    }

    /// Looks at a deployment's call everywhere, before the votes there count for a start: one may have been taken back while nobody
    /// listened. Whether it may start; a chat that doesn't answer holds it up for a while only.
    pub(super) async fn calls_are_seen(&self, id: DeploymentId) -> Result<bool, LedgerError> {
        let mut all = true;
        for room in self.chats.iter().flat_map(|chat| chat.rooms()) {
            let calls = self.ledger.live(&room)?.into_iter().filter_map(|(_, post, _)| match post {
                Post::Votes { seq } => Some(seq),
                Post::Live { .. } | Post::Build { .. } | Post::Closing { .. } | Post::Told { .. } => None,
            });
            for seq in calls {
                if self.open_call(seq)?.is_some_and(|(of, _)| of == id) {
                    all &= self.look_first(&room).await;
                }
            }
        }
        let mut blind = self.blind.lock().unwrap_or_else(PoisonError::into_inner);
        if all {
            blind.remove(&id);
            return Ok(true);
        }
        let since = *blind.entry(id).or_insert_with(|| self.now());
        let enough = self.now().duration_since(since) >= BLIND_FOR;
        if enough {
            blind.remove(&id);
            tracing::warn!(%id, "a chat doesn't tell the votes; those that are recorded count");
        }
        Ok(enough)
    }

    /// Looks at the open calls of all rooms that were to be looked at soon.
    pub(super) async fn look_now(&self) -> Result<(), LedgerError> {
        let rooms = std::mem::take(&mut *self.unseen.lock().unwrap_or_else(PoisonError::into_inner));
        for (room, waiting) in rooms {
            let all = self.look_back(&room).await?;
            for done in waiting {
                // Whoever waited may have given up.
                let _ = done.send(all);
            }
        }
        Ok(())
    }

    /// Compares the emojis at a room's open calls with what is recorded. Whether the chat told them all.
    async fn look_back(&self, room: &RoomId) -> Result<bool, LedgerError> {
        let Some(chat) = self.chat_of(room) else { return Ok(true) };
        let mut all = true;
        for (_, post, message) in self.ledger.live(room)? {
            let Post::Votes { seq } = post else { continue };
            let Some((id, call)) = self.open_call(seq)? else { continue };
            let emojis = match self.within_deadline(chat.reactions(&message)).await {
                Ok(emojis) => emojis,
                Err(ChatError::Gone(_)) if chat.forgets() => continue,
                Err(ChatError::Gone(_)) => {
                    self.votes_lost(&message).await?;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%room, %error, "the votes that came in meanwhile can't be read; they are at the next look");
                    all = false;
                    continue;
                }
            };
            self.catch_up(id, &call.hash, &message, &emojis).await?;
        }
        Ok(all)
    }

    async fn catch_up(
        &self,
        id: DeploymentId,
        plan: &PlanHash,
        message: &MessageRef,
        emojis: &[(Account, String)],
    ) -> Result<(), LedgerError> {
        let Some(state) = self.ledger.state(id)? else { return Ok(()) };
        let there: BTreeSet<&Account> = emojis
            .iter()
            .filter(|(_, emoji)| self.emojis.ballot(emoji) == Some(Ballot::Approve))
            .map(|(account, _)| account)
            .collect();
        let gone = state.votes.values().filter(|vote| vote.message.as_ref() == Some(message) && !there.contains(&vote.account));
        for vote in gone {
            self.withdrawn(id, &vote.account, message).await?;
        }
        // A no wins over any number of approvals.
        let ballots = emojis.iter().filter_map(|(account, emoji)| Some((self.emojis.ballot(emoji)?, account)));
        let (no, yes): (Vec<_>, Vec<_>) = ballots.partition(|(ballot, _)| *ballot == Ballot::Reject);
        for (ballot, account) in no.into_iter().chain(yes) {
            self.vote(Given { id, plan, account, ballot, found: Found::AfterReconnect, message, doubt: None }).await?;
        }
        Ok(())
    }

    /// The answer to a typed vote.
    pub(super) fn voted(&self, id: DeploymentId, voted: &Voted) -> Result<Reply, LedgerError> {
        Ok(match self.ledger.state(id)? {
            Some(state) => views::voted(id, &state, voted, &self.prefix),
            None => views::no_such_deployment(id),
        })
    }
}

/// The emojis that people vote with.
#[derive(Debug, Clone)]
pub struct Emojis {
    /// Approves.
    pub approve: String,
    /// Rejects, cancels, and puts back.
    pub reject: String,
}

impl Default for Emojis {
    fn default() -> Emojis {
        Emojis { approve: "✅".to_owned(), reject: "❌".to_owned() }
    }
}

impl Emojis {
    pub(super) fn ballot(&self, emoji: &str) -> Option<Ballot> {
        // Adapters leave out variation selectors; whoever writes the settings may have typed one.
        let bare = |text: &str| text.replace('\u{fe0f}', "");
        match bare(emoji) {
            emoji if emoji == bare(&self.approve) => Some(Ballot::Approve),
            emoji if emoji == bare(&self.reject) => Some(Ballot::Reject),
            _ => None,
        }
    }
}
