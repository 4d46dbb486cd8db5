//! The one way in which the domain hashes a value: by its JSON, so that the hash is the same after a restart and on another machine.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a value, in hexadecimal.
pub(super) fn hashed<T: Serialize + ?Sized>(value: &T) -> String {
    // Plain data with string keys only: serialising it can't fail; an empty text would still be a valid input of the hash.
    hex::encode(Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}
