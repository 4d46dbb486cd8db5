//! CI: announces a build by a signed webhook, and knows whether the bot took it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::bot::SECRET;
use crate::patience::{Outcome, broken};
use crate::rig::exchange;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the bot answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 202: it will not be forgotten.
    Taken,
    /// Something else.
    Refused(String),
    /// Nothing: CI has to send it again.
    None,
}

/// A build that CI announces; the same again when it is sent again.
#[derive(Clone)]
pub struct Webhook {
    /// Where to.
    pub listen: String,
    /// The build's tag.
    pub tag: String,
    /// The build's outcome.
    pub outcome: &'static str,
    /// The build's number.
    pub number: u64,
}

impl Webhook {
    /// Sends it.
    pub fn send(&self) -> Outcome<Answer> {
        let Webhook { listen, tag, outcome, number } = self;
        let body = format!(
            r#"{{"app":"antisocial","tag":"{tag}","outcome":"{outcome}","commit":"{number:040x}","author":"Anna","number":{number}}}"#
        );
        let (id, time) = (format!("delivery-{tag}"), Timestamp::now().as_second());
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).map_err(broken("the webhook's signature"))?;
        mac.update(format!("{id}.{time}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let request = format!(
            "POST /builds/generic HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nwebhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\n\r\n{body}",
            body.len()
        );
        // Whatever goes wrong on the way, the sender only knows that nobody answered.
        let answer = exchange(listen, request.as_bytes(), DEADLINE).unwrap_or_default();
        Ok(match answer.lines().next() {
            None => Answer::None,
            Some(status) if status.contains(" 202 ") => Answer::Taken,
            Some(_) => Answer::Refused(answer),
        })
    }
}
