//! The store through its front door: what is recorded stays, whatever happens to the process or to the files.

mod agree;
mod audit;
mod builds;
mod contract;
mod damage;
mod deployments;
mod disks;
pub mod fixture;
mod gate;
mod kept;
mod kill;
mod rooms;
mod transfer;
mod trouble;
