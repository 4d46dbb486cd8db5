//! Messages: who said what, where.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A place where people and the bot talk: `terminal`, `discord:1234`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomId(pub String);

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who speaks, by the platform's own id: `terminal:anna`, `discord:81384788765712384`. Never a display name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Account(pub String);

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message of the bot or of a person, by the platform's own id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    /// Where it is.
    pub room: RoomId,
    /// The platform's id of it, unique in the room.
    pub id: String,
}

/// Something that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where and which.
    pub at: MessageRef,
    /// Who.
    pub author: Account,
    /// What.
    pub text: String,
    /// When it was received.
    pub received: Timestamp,
    /// Why its author isn't proven by cryptography, on a platform where that can be; `None` = it is, or the platform has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// Why nobody can be sure who wrote a message: the service that carried it could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// It wasn't encrypted.
    NotEncrypted,
    /// Its author never said that the device is theirs.
    UnsignedDevice,
    /// Its author's identity isn't the one that was known and verified before.
    ChangedIdentity,
    /// It can't be told which device of its author sent it.
    UnknownDevice,
    /// The service didn't tell, when the message came, what would prove it.
    Unchecked,
}
