//! Shipmate: a chat-ops bot that drives deploys.

pub mod builds;
pub mod domain;
pub mod secret;
