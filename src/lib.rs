//! silt archives MongoDB change streams into a data lake: every change exactly once, in one valid
//! file per collection and hour.
//!
//! `ARCHITECTURE.md` has the way of the data and the map of the rooms.

mod agenda;
pub mod budget;
pub mod checkpoint;
pub mod clock;
pub mod closing;
pub mod commands;
pub mod edges;
pub mod http;
pub mod lake;
pub mod logging;
pub mod pace;
pub mod processors;
pub mod reading;
pub mod service;
pub mod settings;
mod signals;
pub mod snapshot;
pub mod source;
mod suggest;
pub mod worker;
