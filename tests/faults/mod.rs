//! Exactly once, under every fault. docs/guarantees.md says which promise stands on which of these.

mod azure;
mod azure_away;
mod azure_unknown;
mod checkpoint_store;
mod disk;
mod handover;
mod history;
mod hours;
mod kills;
mod kills_at_requests;
mod kills_at_saves;
mod large_documents;
mod large_events;
mod many_flushes;
mod namespace_events;
mod network;
mod parts;
mod primary;
mod replacements;
mod rivals;
mod server_errors;
mod settings;
mod shared;
mod sigterm;
