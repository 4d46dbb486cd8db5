//! A secret: a text that no `Debug`, log line or error shows.

use std::fmt;

use subtle::ConstantTimeEq;

/// A password, token or key. Prints as `***`; compare it with [`Secret::matches`] only.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// `None` for an empty text: an empty secret protects nothing, so it can't exist.
    pub fn new(text: impl Into<String>) -> Option<Secret> {
        let text = text.into();
        (!text.is_empty()).then_some(Secret(text))
    }

    /// The secret itself, for the one place that sends or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret; takes the same time wherever they differ.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
