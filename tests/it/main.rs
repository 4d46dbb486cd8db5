//! Shipmate through its front doors, in one binary.

// Helpers outside of test functions fail a test by panicking too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod bot;
mod changed;
mod chat_contract;
mod commands;
mod console;
mod deployment;
#[cfg(feature = "discord")]
mod discord;
mod disk;
mod docs;
mod drift;
mod engine;
mod http;
mod local;
#[cfg(feature = "matrix")]
mod matrix;
mod news;
mod notify;
mod pipeline;
mod planner;
#[cfg(any(feature = "discord", feature = "matrix"))]
mod play;
mod policy;
mod random;
mod rehearsal;
mod rig;
mod runbooks;
mod sample;
mod say;
mod store;
mod until;
mod voyage;
