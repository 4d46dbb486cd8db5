//! The planner: what a request, a fleet and what the hosts run become.

mod properties;
mod services;
mod switching;
mod tidying;
mod trouble;
