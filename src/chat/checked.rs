//! What was looked at before the first message, and how it is: the lines of `shipmate check` about a chat service.

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What.
    pub what: String,
    /// How it is, or what is wrong and how to mend it.
    pub is: Result<String, String>,
}

impl Checked {
    /// Something and how it is.
    pub fn new(what: impl Into<String>, is: Result<String, String>) -> Checked {
        Checked { what: what.into(), is }
    }
}
