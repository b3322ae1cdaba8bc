//! Exactly once, under every fault. docs/guarantees.md says which promise stands on which of these.

mod checkpoint_store;
mod history;
mod azure;
mod azure_away;
mod azure_unknown;
mod kills;
mod network;
mod primary;
mod server_errors;
mod kills_at_requests;
mod kills_at_saves;
mod rivals;
mod sigterm;
