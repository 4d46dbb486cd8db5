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
    /// Writes it every now and then, and how far the chats have come.
    pub(super) async fn beat(self) {
        loop {
            if let Some(file) = &self.heartbeat {
                // Aside first: on a full disk the old one must not be lost for a new one that can't be written.
                let aside = file.with_extension("new");
                let kept = fs::write(&aside, self.now().to_string()).and_then(|()| fs::rename(&aside, file));
                if let Err(error) = kept {
                    tracing::warn!(file = %file.display(), %error, "the time of the last sign of life can't be kept");
                }
            }
            self.keep_marks().await;
            tokio::time::sleep(EVERY).await;
        }
    }
}
