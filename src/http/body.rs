//! Receiving a body within bounds of size, time and memory.
//!
//! Small bodies are free; a large one needs one of a few places. So strangers who open every connection and send large
//! bodies slowly cost 64 MiB, not the 512 MiB that the bounds alone would allow.

use std::sync::Arc;

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;

/// Webhooks are 1 to 30 KiB; above this a body needs a place.
const SMALL: usize = 64 * 1024;

/// How many large bodies are received at a time.
const LARGE_PLACES: usize = 32;

/// How much of a body that is too large is read and thrown away, so that the sender is done sending and reads the answer.
const THROWN_AWAY: usize = 8 * 1024 * 1024;

/// The places for large bodies.
pub struct Places(Arc<Semaphore>);

/// A whole body; a large one keeps its place until it is dropped.
pub struct Received {
    pub bytes: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreceived {
    TooLarge,
    TooSlow,
    /// The sender went away, or its framing is wrong.
    Broken,
}

impl Places {
    pub fn new() -> Places {
        Places(Arc::new(Semaphore::new(LARGE_PLACES)))
    }

    /// Receives the body that follows `headers`.
    pub async fn receive(&self, headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Received, Unreceived> {
        match tokio::time::timeout(limits.read, self.collect(headers, body, limits.body)).await {
            Ok(received) => received,
            Err(_) => Err(Unreceived::TooSlow),
        }
    }

    async fn collect(&self, headers: &HeaderMap, mut body: Body, most: usize) -> Result<Received, Unreceived> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            // Who asks before it sends isn't to be asked to send.
            if !headers.contains_key(EXPECT) {
                throw_away(&mut body).await;
            }
            return Err(Unreceived::TooLarge);
        }
        let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(SMALL));
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unreceived::Broken)?.into_data() else { continue };
            let grown = bytes.len() + data.len();
            if grown > most {
                drop((bytes, place));
                throw_away(&mut body).await;
                return Err(Unreceived::TooLarge);
            }
            if grown > SMALL && place.is_none() {
                place = self.0.clone().acquire_owned().await.ok();
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Received { bytes, _place: place })
    }
}

async fn throw_away(body: &mut Body) {
    let mut left = THROWN_AWAY;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, |data| data.len());
        if length >= left {
            return;
        }
        left -= length;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_for_a_place_and_small_ones_do_not() {
        let places = Places::new();
        let limits = Limits { read: Duration::from_millis(50), ..Limits::default() };
        let receive = async |size: usize| places.receive(&HeaderMap::new(), Body::from(vec![b' '; size]), &limits).await;
        let mut held = vec![];
        for _ in 0..LARGE_PLACES {
            held.push(receive(SMALL + 1).await.ok().unwrap());
        }
        assert_eq!(receive(SMALL + 1).await.err(), Some(Unreceived::TooSlow));
        assert_eq!(receive(SMALL).await.ok().unwrap().bytes.len(), SMALL);
        held.pop();
        assert!(receive(SMALL + 1).await.is_ok());
        assert_eq!(receive(limits.body + 1).await.err(), Some(Unreceived::TooLarge));
    }
}
