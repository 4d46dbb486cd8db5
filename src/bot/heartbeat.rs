//! The file that says when the bot was last alive, so that the next start can say how long it was away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::Bot;

/// How often it is written: how wrong the time may be that is said.
const EVERY: Duration = Duration::from_secs(10);

/// When the last run was alive for the last time, if that is known.
pub(super) fn last_beat(file: Option<&Path>) -> Option<Timestamp> {
    fs::read_to_string(file?).ok()?.trim().parse().ok()
}

impl Bot {
    /// Writes it every now and then.
    pub(super) async fn beat(self) {
        let Some(file) = self.heartbeat.clone() else { return };
        loop {
            if let Err(error) = fs::write(&file, self.now().to_string()) {
                tracing::warn!(file = %file.display(), %error, "the time of the last sign of life can't be kept");
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
