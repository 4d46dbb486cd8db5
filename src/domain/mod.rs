//! The domain: pure values and functions, no async, no clock, no IO. Time is an argument.

pub mod action;
pub mod ballot;
pub mod build;
pub mod changed;
pub mod daily;
pub mod deployment;
pub mod drift;
pub mod environment_lock;
pub mod freeze;
mod hashed;
pub mod message;
pub mod names;
pub mod news;
pub mod notice;
pub mod observed;
pub mod permission;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod release;
pub mod span;
pub mod spec;
pub mod step;
