//! Tests against real servers: a mongod replica set, Azurite, the local disk, and the real binary.
//! `make test` starts what they need.
#![allow(
    clippy::pedantic,
    reason = "test code is plain; the library is held to pedantic"
)]
#![allow(clippy::print_stderr, reason = "a failing round says how to replay it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what is not as expected fails the test"
)]

mod harness;

mod canary;
mod check;
mod checkpoint_conformance;
mod checkpoint_cost;
mod closing;
mod command_line;
mod events;
mod extjson_corpus;
mod faults;
mod fidelity;
mod flushes;
mod http;
mod lake_conformance;
mod large_ids;
mod lifecycle;
mod long_names;
mod ls;
mod misspelled;
mod options;
mod outages;
mod output;
mod page;
mod readers;
mod reading;
mod snapshot;
mod streams;
mod tuning;
mod uri_options;
mod watch;
