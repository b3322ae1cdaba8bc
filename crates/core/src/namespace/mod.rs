//! Databases and collections: whose changes, which folder, which of them are watched.

pub mod names;
pub mod origin;
pub mod selection;
