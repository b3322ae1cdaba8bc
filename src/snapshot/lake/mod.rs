//! What the lake holds of a collection's snapshots: their folders, plans, parts and manifests.

pub(crate) mod contents;
pub(crate) mod parts;
pub(crate) mod small_file;
