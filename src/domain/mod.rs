//! The domain: pure values and functions, no async, no clock, no IO. Time is an argument.

pub mod build;
pub mod daily;
pub mod deployment;
pub mod freeze;
pub mod message;
pub mod names;
pub mod observed;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod release;
pub mod span;
pub mod spec;
pub mod step;
