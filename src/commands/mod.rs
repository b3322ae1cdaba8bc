//! The commands beside `run`. Each answers with what is to be printed, and main prints it; `watch` is given the
//! standard output by main.

pub mod check;
mod client;
pub mod flush;
pub mod healthcheck;
pub mod ls;
pub mod screen;
pub mod watch;

/// What a command has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// For people, or for machines if they asked.
    pub text: String,
    /// Whether all is well, which is the exit status.
    pub is_good: bool,
}
