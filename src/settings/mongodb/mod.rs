//! What the settings ask of MongoDB: where it is, which changes it sends, and what it does to them first.

pub(in crate::settings) mod operations;
pub(in crate::settings) mod pipeline;
pub(in crate::settings) mod uri;
