//! The drift watch: what differs from the record is told once, with what to type, and once more when it is over.

use std::time::Duration;

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
