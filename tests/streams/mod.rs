//! What a stream brings, read by the library's reader alone.

mod large;
mod scope;
