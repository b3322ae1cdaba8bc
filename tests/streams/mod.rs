//! What a stream brings, read by the library's reader alone.

mod scope;
