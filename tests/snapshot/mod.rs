//! Snapshots against real servers: what is read, what can be rebuilt from it, and what faults leave.

mod ends;
mod faults;
mod ids;
mod needs;
mod old_names;
mod parts;
mod rebuild;
mod rivals;
mod turns;
mod unsure;
mod world;
