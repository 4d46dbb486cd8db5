//! The domain: pure values and functions, no async, no clock, no IO. Time is an argument.

pub mod build;
pub mod names;
