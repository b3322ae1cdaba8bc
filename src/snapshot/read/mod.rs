//! Reads collections from MongoDB in the order of their `_id` index, and encodes documents as lines.

pub(crate) mod chunk;
pub(crate) mod collections;
pub(crate) mod describe;
pub(crate) mod id;
pub(crate) mod line;
pub(crate) mod query;
pub(crate) mod request;
