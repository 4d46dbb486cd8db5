//! The clock, as an argument: what waits for hours in earnest must not take hours in a test.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time. A cheap clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's own.
    pub fn system() -> Clock {
        Clock::new(Timestamp::now)
    }

    /// Another one.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
