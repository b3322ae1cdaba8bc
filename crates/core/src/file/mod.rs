//! Hour files: their names, their bytes, and what a file tells of itself.

pub mod addition;
#[cfg(test)]
mod damage_tests;
pub(crate) mod ending;
pub mod first_change;
pub mod frame;
pub mod hour_file;
pub mod tail;
pub(crate) mod zip;
