//! What every engine promises ([`contract`]), and what the one for real hosts does beyond that.

mod contract;
mod measure;
mod mishaps;
mod reach;
mod registries;
mod remote;
mod scene;
mod services;
mod ssh;
mod world;
