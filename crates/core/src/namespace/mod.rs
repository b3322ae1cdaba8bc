//! Databases and collections: their names, their folders, and which of them are watched.

pub mod names;
pub mod origin;
pub mod selection;
