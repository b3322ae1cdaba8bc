//! Hour files: their names, their bytes, and what can be read back from a file alone.
//!
//! [`layout`] defines head, chunk and foot, which snapshot parts share. [`commit`] applies it to hour files.
//! [`tail_scan`] reads a file's end, and [`hour_file_scan`] makes an [`hour_file::HourFile`] of it.

pub mod commit;
pub mod damage;
#[cfg(test)]
pub(crate) mod damage_prop_tests;
pub mod format;
pub mod gzip;
pub mod hour_file;
pub mod hour_file_scan;
pub mod layout;
pub mod tail_scan;
pub mod version;
