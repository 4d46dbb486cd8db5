//! How far what people said in the rooms is dealt with, so that the next life goes on from there.
//!
//! A chat tells a mark after everything that is before it, and the bot takes it through the same queues. What is done beside these
//! (an emoji's command) is what a mark waits for: it counts once all that began before it is over. Marks are recorded now and
//! then, not with each event: what comes twice after a crash is known by then, or harmless.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Bot;
use crate::domain::message::RoomId;
use crate::store::LedgerError;

/// The newest mark of each room.
type ByRoom = BTreeMap<RoomId, String>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Told by the chats.
    told: ByRoom,
    /// The ones before, and what they wait for.
    waiting: Option<(Weak<()>, ByRoom)>,
    /// Held by whatever goes on beside and began since.
    beside: Arc<()>,
    /// Those up to which all is dealt with, and that isn't recorded yet.
    done: ByRoom,
}

impl Marks {
    /// To be held by whatever goes on beside, until it is dealt with.
    pub(super) fn beside(&self) -> Arc<()> {
        self.state(|state| state.beside.clone())
    }

    /// All before this mark is dealt with, or goes on beside.
    pub(super) fn up_to(&self, room: RoomId, mark: String) {
        self.state(|state| {
            state.told.insert(room, mark);
            state.settle();
        });
    }

    /// The marks up to which all is dealt with; each is told once.
    fn done(&self) -> ByRoom {
        self.state(|state| {
            state.settle();
            std::mem::take(&mut state.done)
        })
    }

    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn settle(&mut self) {
        if let Some((_, marks)) = self.waiting.take_if(|(beside, _)| beside.strong_count() == 0) {
            self.done.extend(marks);
        }
        if self.waiting.is_none() && !self.told.is_empty() {
            let beside = Arc::downgrade(&std::mem::take(&mut self.beside));
            let marks = std::mem::take(&mut self.told);
            if beside.strong_count() == 0 {
                self.done.extend(marks);
            } else {
                self.waiting = Some((beside, marks));
            }
        }
    }
}

impl Bot {
    /// Records how far all is dealt with.
    pub(super) async fn keep_marks(&self) {
        let marks = self.marks.done();
        if marks.is_empty() {
            return;
        }
        match self.ledger.heard_up_to(marks, self.now()).await {
            Ok(()) => {}
            Err(error @ LedgerError::Unfit(_)) => tracing::warn!(%error, "how far a chat has come can't be kept"),
            Err(error) => self.fail(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId(name.to_owned())
    }

    #[test]
    fn a_mark_waits_for_what_began_before_it_and_for_nothing_else() {
        let marks = Marks::default();
        marks.up_to(room("a"), "1".to_owned());
        assert_eq!(marks.done(), [(room("a"), "1".to_owned())].into());
        let before = marks.beside();
        marks.up_to(room("a"), "2".to_owned());
        let after = marks.beside();
        assert_eq!(marks.done(), ByRoom::new());
        marks.up_to(room("a"), "3".to_owned());
        marks.up_to(room("b"), "4".to_owned());
        drop(before);
        assert_eq!(marks.done(), [(room("a"), "2".to_owned())].into());
        drop(after);
        assert_eq!(marks.done(), [(room("a"), "3".to_owned()), (room("b"), "4".to_owned())].into());
        assert_eq!(marks.done(), ByRoom::new());
    }
}
