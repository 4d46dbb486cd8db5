//! Shipmate: a chat-ops bot that drives deploys.

pub mod bot;
pub mod builds;
pub mod chat;
pub mod cli;
pub mod domain;
pub mod engine;
pub mod fleet;
pub mod http;
pub mod nearest;
pub mod pipeline;
pub mod problem;
pub mod runbook;
pub mod secret;
pub mod settings;
pub mod store;
