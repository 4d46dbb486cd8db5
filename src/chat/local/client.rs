//! One connection: who it is, what it says, what it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::desk::{ClientId, Desk, Seat};
use super::wire::{self, FromBot};
use crate::chat::ChatEvent;
use crate::chat::input::LineReader;

/// Tells a user's name by the system's number.
pub(super) type Names = Box<dyn Fn(u32) -> Option<String> + Send + Sync>;

/// What all connections share.
pub(super) struct Hall {
    pub desk: Arc<Mutex<Desk>>,
    pub names: Names,
    pub events: mpsc::Sender<ChatEvent>,
    pub now: fn() -> Timestamp,
    pub open: CancellationToken,
}

impl Hall {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(hall: Arc<Hall>, stream: UnixStream) {
    let joined = match name(&hall, &stream).await {
        Ok(name) => hall.desk().join(&name),
        Err(why) => Err(why),
    };
    let Seat { id, lines, dropped } = match joined {
        Ok(seat) => seat,
        Err(why) => return refuse(stream, why),
    };
    let (read, write) = stream.into_split();
    tokio::select! {
        () = hear(&hall, id, read) => {}
        () = tell(write, lines) => {}
        () = dropped.cancelled() => {}
        () = hall.open.cancelled() => {}
    }
    hall.desk().leave(id);
}

/// Whose process is at the other end.
async fn name(hall: &Arc<Hall>, stream: &UnixStream) -> Result<String, String> {
    let uid = stream.peer_cred().map_err(|error| format!("the system doesn't say who you are: {error}"))?.uid();
    let hall = hall.clone();
    // The list of users may be on another machine.
    let asked = tokio::task::spawn_blocking(move || (hall.names)(uid)).await;
    let name = asked.ok().flatten().filter(|name| !name.is_empty());
    name.ok_or_else(|| format!("the user {uid} has no name on the bot's machine, so nobody knows who you are"))
}

/// Tells a client why it isn't served. It has nothing to read yet, so there is room for it; what doesn't fit is lost.
pub(super) fn refuse(stream: UnixStream, why: String) {
    let written = stream.into_std().and_then(|mut stream| {
        use std::io::Write;
        stream.write_all(wire::line(&FromBot::Wrong { why }).as_bytes())
    });
    if let Err(error) = written {
        tracing::debug!(%error, "a client was refused and not told");
    }
}

async fn hear(hall: &Hall, id: ClientId, read: OwnedReadHalf) {
    let mut input = LineReader::new(BufReader::new(read));
    // A connection that can't be read is at its end.
    while let Ok(Some(line)) = input.next().await {
        match hall.events.reserve().await {
            Ok(place) => {
                // With the desk in hand, so that the bot hears messages in the order of their numbers.
                let mut desk = hall.desk();
                if let Some(event) = desk.take(id, &line, (hall.now)()) {
                    place.send(event);
                }
            }
            Err(_) => hall.desk().refuse(id, "the bot is about to end and takes nothing more".to_owned()),
        }
    }
}

async fn tell(mut write: OwnedWriteHalf, mut lines: mpsc::Receiver<Arc<str>>) {
    while let Some(line) = lines.recv().await {
        if write.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
