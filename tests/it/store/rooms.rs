//! Rooms and the inbox: what waits, what is shown.

use shipmate::domain::message::RoomId;
use shipmate::store::{Appended, Ledger, LedgerError, Post, PostId};

use super::fixture::*;

#[tokio::test]
async fn a_message_is_heard_once_and_waits_until_it_is_answered() {
    let ledger = Ledger::in_memory();
    assert_eq!(ledger.heard(said("1", "!apps"), at(0)).await, Ok(Appended::New { seq: 1 }));
    assert_eq!(ledger.heard(said("2", "!help"), at(0)).await, Ok(Appended::New { seq: 2 }));
    assert_eq!(ledger.heard(said("1", "!apps, edited"), at(0)).await, Ok(Appended::Known { seq: 1 }));
    assert_eq!(ledger.inbox().unwrap(), [said("1", "!apps"), said("2", "!help")]);
    for _ in 0..2 {
        ledger.answered(message("1"), at(0)).await.unwrap();
        ledger.answered(message("never heard"), at(0)).await.unwrap();
    }
    assert_eq!(ledger.head().seq, 3);
    assert_eq!(ledger.inbox().unwrap(), [said("2", "!help")]);
    assert_eq!(ledger.heard(said("1", "!apps"), at(0)).await, Ok(Appended::Known { seq: 1 }));
}

#[tokio::test]
async fn each_room_has_its_own_place_in_the_posts() {
    let ledger = Ledger::in_memory();
    let (one, other) = (RoomId("one".into()), RoomId("one:other".into()));
    ledger.open_room(one.clone(), at(0)).await.unwrap();
    for number in 1..=3 {
        ledger.built(build(number), vec![number.to_string()], at(0)).await.unwrap();
    }
    ledger.open_room(other.clone(), at(0)).await.unwrap();
    ledger.open_room(one.clone(), at(0)).await.unwrap();
    let ids = |room| ledger.posts_after(room).unwrap().into_iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    assert_eq!((ids(&one), ids(&other)), (vec![1, 2, 3], vec![]));
    for post in [2, 1] {
        ledger.posted(one.clone(), PostId(post), message("x"), at(0)).await.unwrap();
    }
    assert_eq!(ids(&one), [3], "an older post doesn't bring the newer ones back");
}

#[tokio::test]
async fn a_live_post_is_edited_until_it_is_settled() {
    let ledger = Ledger::in_memory();
    ledger.open_room(room(), at(0)).await.unwrap();
    let id = request(&ledger, deploy(1, None)).await;
    succeed(&ledger, id).await;
    for (post, _) in ledger.posts_after(&room()).unwrap() {
        ledger.posted(room(), post, message(&format!("shown {}", post.0)), at(0)).await.unwrap();
    }
    assert_eq!(ledger.posts_after(&room()).unwrap(), []);
    assert_eq!(ledger.live(&room()).unwrap(), [(PostId(1), Post::Live { id }, message("shown 1"))]);
    assert_eq!(ledger.live(&RoomId("term".into())).unwrap(), []);
    let head = ledger.head().seq;
    for _ in 0..2 {
        ledger.settled(room(), PostId(1), at(0)).await.unwrap();
    }
    assert_eq!((ledger.live(&room()).unwrap(), ledger.head().seq), (vec![], head + 1));
}

#[tokio::test]
async fn whoever_waits_is_woken_by_each_write() {
    let ledger = Ledger::in_memory();
    let mut facts = ledger.subscribe();
    assert!(!facts.has_changed().unwrap());
    ledger.heard(said("1", "!apps"), at(0)).await.unwrap();
    facts.changed().await.unwrap();
    assert_eq!(*facts.borrow_and_update(), 1);
    ledger.heard(said("1", "!apps"), at(0)).await.unwrap();
    assert!(!facts.has_changed().unwrap());
}

#[tokio::test]
async fn ids_that_dont_fit_a_key_are_refused() {
    let ledger = Ledger::in_memory();
    for id in ["a\0b".to_owned(), "x".repeat(1001)] {
        assert!(matches!(ledger.heard(said(&id, "!apps"), at(0)).await, Err(LedgerError::Unfit(_))));
        assert!(matches!(ledger.open_room(RoomId(id), at(0)).await, Err(LedgerError::Unfit(_))));
    }
    ledger.heard(said(&"x".repeat(1000), &"y".repeat(10_000)), at(0)).await.unwrap();
    assert_eq!(ledger.inbox().unwrap()[0].text.len(), 10_000);
}

#[tokio::test]
async fn how_far_a_room_was_heard_is_kept_and_the_same_is_not_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (RoomId("a".to_owned()), RoomId("b".to_owned()));
    let marks = |marks: &[(&RoomId, &str)]| marks.iter().map(|(room, mark)| ((*room).clone(), (*mark).to_owned())).collect();
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    ledger.heard_up_to(marks(&[(&a, "1"), (&b, "1")]), at(0)).await.unwrap();
    ledger.heard_up_to(marks(&[(&a, "2"), (&b, "1")]), at(1)).await.unwrap();
    ledger.heard_up_to(marks(&[(&a, "2")]), at(2)).await.unwrap();
    assert_eq!(ledger.head().seq, 2);
    let unfit = ledger.heard_up_to(marks(&[(&a, &"x".repeat(1001))]), at(3)).await;
    assert!(matches!(unfit, Err(LedgerError::Unfit(_))), "{unfit:?}");
    drop(ledger);
    let (ledger, _) = Ledger::open(folder.path()).unwrap();
    let nowhere = RoomId("c".to_owned());
    assert_eq!(ledger.marks(&[a.clone(), b.clone(), nowhere]).unwrap(), marks(&[(&a, "2"), (&b, "1")]));
}
