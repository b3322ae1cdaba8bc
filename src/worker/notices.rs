//! Logs the machine's notices.

use tracing::{debug, error, info, warn};

use silt_core::machine::{Notice, Trouble};
use silt_core::position::Position;

/// Logs a notice about a collection.
#[allow(clippy::too_many_lines, reason = "one short arm for each notice")]
pub(super) fn log(collection: &str, is_one_of_many: bool, notice: &Notice) {
    match notice {
        Notice::Watching(position) => info!(collection, from = describe(position), "watching"),
        Notice::StartsAt {
            position,
            from_tail: false,
        } => {
            info!(
                collection,
                at = describe(position),
                "starting without a checkpoint"
            );
        }
        Notice::StartsAt {
            position,
            from_tail: true,
        } => {
            let after = describe(position);
            info!(
                collection,
                after, "no checkpoint: continuing from the tail of the newest file"
            );
        }
        Notice::TakingOver(handover) => {
            info!(
                collection,
                at = %handover.at,
                from = handover.from,
                "another stream carried its collections: continuing from that time and skipping what the lake \
                 holds"
            );
        }
        Notice::StreamChanged {
            stored,
            current,
            at: Some(at),
        } => {
            warn!(
                collection,
                stored,
                current,
                %at,
                "the stream's filters differ from the checkpoint's: opening it at the checkpoint's time and \
                 skipping what the lake holds. Changes that the old filters left out stay out; if the new \
                 filters aren't intended, restore the old ones"
            );
        }
        Notice::StreamChanged {
            stored, current, ..
        } => {
            warn!(
                collection,
                stored,
                current,
                "the stream's filters differ from the checkpoint's, whose token contains no time: resuming with \
                 it. If the server refuses it, restore the old filters, or delete the checkpoint"
            );
        }
        // After a crash, hundreds of collections may skip something.
        Notice::OverlapFound if is_one_of_many => {
            debug!(collection, "the lake is ahead of the checkpoint");
        }
        Notice::OverlapPassed { skipped } if is_one_of_many => {
            debug!(collection, skipped, "caught up with the lake");
        }
        Notice::OverlapFound => {
            info!(
                collection,
                "the lake is ahead of the checkpoint: skipping what it holds"
            );
        }
        Notice::OverlapPassed { skipped } => {
            info!(collection, skipped, "caught up with the lake");
        }
        Notice::Retrying {
            message,
            failures,
            delay_ms,
        } => {
            warn!(
                collection,
                error = message,
                failures,
                delay_ms,
                "failed, retrying"
            );
        }
        Notice::FlushFailing { message, changes } => {
            error!(
                collection,
                error = message,
                changes,
                "flushes fail: changes are kept in memory and retried"
            );
        }
        Notice::Halted(message) => {
            error!(
                collection,
                error = message,
                "halted: manual action required; retrying every minute"
            );
        }
        Notice::HistoryLost(message) => {
            error!(
                collection,
                error = message,
                "history lost: recording the gap in the lake and continuing after it"
            );
        }
        Notice::Restarted(gap) => {
            let (gap, record) = (gap.to_string(), gap.file_name());
            warn!(
                collection,
                gap, record, "recorded the gap, continuing after it"
            );
        }
        Notice::LargeEventRecorded(event) => {
            let (event, record) = (event.to_string(), event.file_name());
            warn!(
                collection,
                event, record, "recorded a change that is too large to send, continuing after it"
            );
        }
        Notice::Recovered(trouble) => {
            let Trouble {
                message, failures, ..
            } = trouble;
            info!(collection, was = message, failures, "recovered");
        }
        Notice::CommitConfirmed(name) => {
            info!(collection, file = %name, "a flush that failed turned out to be committed");
        }
        Notice::Reloading(why) => {
            warn!(collection, why, "reloading checkpoint and tail");
        }
    }
}

fn describe(position: &Position) -> String {
    match position {
        Position::At(time) => time.to_string(),
        Position::After(token) => token.as_extended_json().to_owned(),
    }
}
