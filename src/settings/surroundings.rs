//! The parts of the process that settings are loaded from.

use std::ffi::OsString;
use std::path::Path;

/// What [`load`](super::load()) knows of the process besides its arguments.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The `.env` file that is read, if it exists, unless the command line names another one.
    pub default_env_file: Option<&'a Path>,
    /// Whether the log goes to a terminal.
    pub is_terminal: bool,
    /// The time, in milliseconds since 1970.
    pub now_unix_ms: i64,
}
