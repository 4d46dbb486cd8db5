//! What the bot looks at by itself. What differs from the record is told once, with what to type, and once more when it is over; the
//! journal's head is told once a day.

use std::time::Duration;

use shipmate::domain::daily::Daily;

use super::fleet;
use super::stage::{Room, Stage};
use crate::sample::*;

#[tokio::test(start_paused = true)]
async fn a_difference_is_told_once_and_when_it_is_over() {
    let mut stage = Stage::bare(&fleet("", ""), vec![Room::new("room", "terminal")]);
    stage.habits().drift_every = Duration::from_millis(200);
    stage.start().await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.lose(&name("appserver2"));
    let (_, text) = stage.sees(&["antisocial production is not as recorded: 1 finding", "appserver2"]).await;
    assert!(text.contains("doesn't answer"), "{text}");
    stage.rehearsal.bring_back(&name("appserver2"));
    stage.sees(&["antisocial production is as recorded again"]).await;
    // Told again when it happens again, so it was told once each time.
    stage.rehearsal.lose(&name("appserver1"));
    stage.sees(&["is not as recorded", "appserver1"]).await;
    assert_eq!(stage.room.count(&["is not as recorded"]), 2);
    assert_eq!(stage.room.count(&["is as recorded again"]), 1);
}

#[tokio::test(start_paused = true)]
async fn each_difference_is_told_once_whatever_else_comes_and_goes() {
    let mut stage = Stage::bare(&fleet("", ""), vec![Room::new("room", "terminal")]);
    stage.habits().drift_every = Duration::from_millis(200);
    stage.start().await;
    stage.deploy(1, "build-41").await;
    stage.rehearsal.lose(&name("appserver2"));
    stage.sees(&["not as recorded: 1 finding", "appserver2"]).await;
    stage.rehearsal.lose(&name("appserver1"));
    let (_, second) = stage.sees(&["not as recorded: 1 finding", "appserver1"]).await;
    assert!(!second.contains("appserver2"), "{second}");
    stage.rehearsal.bring_back(&name("appserver1"));
    stage.sees(&["has less that is not as recorded than before"]).await;
    assert_eq!(stage.room.count(&["not as recorded", "appserver2"]), 1);
    stage.rehearsal.bring_back(&name("appserver2"));
    stage.sees(&["is as recorded again"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_journals_head_is_told_once_a_day_whatever_ended_in_between() {
    let mut stage = Stage::bare(&fleet("", ""), vec![Room::new("room", "terminal")]);
    let zone = jiff::tz::TimeZone::UTC;
    stage.habits().post_head = Some(Daily { at: "12:00".parse().unwrap(), zone });
    stage.start().await;
    // It was never told, so it is due at once.
    let (_, first) = stage.sees(&["the journal's head today: "]).await;
    let told = first.split("head today: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(first.contains(&format!("audit verify --expect {told}")), "{first}");
    stage.deploy(1, "build-41").await;
    stage.later(3600).await;
    stage.stop().await;
    stage.start().await;
    stage.deploy(2, "build-42").await;
    assert_eq!(stage.room.count(&["the journal's head today: "]), 1, "it is before noon");
    stage.later(3600).await;
    stage.room.sees_times(2, &["the journal's head today: "]).await;
    stage.deploy(3, "build-43").await;
    stage.later(24 * 3600).await;
    stage.room.sees_times(3, &["the journal's head today: "]).await;
}
