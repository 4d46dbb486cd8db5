//! Waiting for what comes with a change.

use std::time::Duration;

use tokio::sync::watch;

/// Waits until it is found; it is looked for whenever something has changed. `None` = it took longer than the patience.
pub async fn found<T>(patience: Duration, changed: &watch::Sender<u64>, find: impl Fn() -> Option<T>) -> Option<T> {
    let mut changed = changed.subscribe();
    let wait = async {
        loop {
            changed.borrow_and_update();
            if let Some(found) = find() {
                return found;
            }
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(patience, wait).await.ok()
}
