//! A deployment: its events, its state, and the one function that moves it.
//!
//! The state is never stored as truth: it is what [`next`] makes of the events, for the live run, for recovery and for
//! `!show` alike. An undo that fails is a state of its own (`Stuck`), not a log line, and so is waiting: for its turn, for votes,
//! for a person's word after a failure.
//!
//! | file | what |
//! |---|---|
//! | `event` | what can happen |
//! | `failure` | how an action ended |
//! | `state` | what follows from the events |
//! | `next` | the one function that moves it |

mod event;
mod failure;
mod next;
mod state;

pub use event::{Call, Choice, Event, Found, Occasion, Order};
pub use failure::{Failure, FailureKind, Outcome};
pub use next::{IllegalTransition, next};
pub use state::{Cause, DeploymentState, Phase, Rejection, Step, Vote};
