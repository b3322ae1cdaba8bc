//! What a stream brings, read by the library's reader alone.

mod images;
mod large;
mod refusals;
mod scope;
