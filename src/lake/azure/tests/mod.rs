//! Unit tests of the Azure lake.

mod error_codes;
