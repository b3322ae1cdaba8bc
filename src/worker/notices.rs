//! The machine's notices as log lines.

use tracing::{debug, error, info, warn};

use silt_core::machine::{Notice, Trouble};
use silt_core::position::Position;

/// Says what the machine wants said.
#[allow(clippy::too_many_lines, reason = "one short arm a notice")]
pub(super) fn tell(collection: &str, is_one_of_many: bool, notice: &Notice) {
    match notice {
        Notice::Watching(position) => info!(collection, from = describe(position), "watching"),
        Notice::StartsAt {
            position,
            from_tail: false,
        } => {
            info!(
                collection,
                at = describe(position),
                "starts without a checkpoint"
            );
        }
        Notice::StartsAt {
            position,
            from_tail: true,
        } => {
            let after = describe(position);
            info!(
                collection,
                after, "has no checkpoint: goes on from the end of its newest file"
            );
        }
        Notice::TakingOver(handover) => {
            info!(
                collection,
                at = %handover.at,
                from = handover.from,
                "another stream carried its collections: goes on from that time, and passes over what the \
                 lake holds"
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
                "the stream's filters differ from the checkpoint's: opens it at the checkpoint's time, and \
                 passes over what the lake holds. What other filters left out before is not made up for; \
                 if the change wasn't meant, set the old ones again"
            );
        }
        Notice::StreamChanged {
            stored, current, ..
        } => {
            warn!(
                collection,
                stored,
                current,
                "the stream's filters differ from the checkpoint's, whose token tells no time: goes on with \
                 it. If the server refuses it, set the old filters again, or delete the checkpoint"
            );
        }
        // Each of hundreds of collections passes something over after a crash.
        Notice::OverlapFound if is_one_of_many => {
            debug!(collection, "the lake is ahead of the checkpoint");
        }
        Notice::OverlapPassed { skipped } if is_one_of_many => {
            debug!(collection, skipped, "has passed what the lake already held");
        }
        Notice::OverlapFound => {
            info!(
                collection,
                "the lake is ahead of the checkpoint: what it holds is passed over"
            );
        }
        Notice::OverlapPassed { skipped } => {
            info!(collection, skipped, "has passed what the lake already held");
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
                "failed, tries again"
            );
        }
        Notice::FlushFailing { message, changes } => {
            error!(
                collection,
                error = message,
                changes,
                "flushes fail: the changes are held in memory and tried on"
            );
        }
        Notice::Halted(message) => {
            error!(
                collection,
                error = message,
                "halted: needs a person, tried again every minute"
            );
        }
        Notice::HistoryLost(message) => {
            error!(
                collection,
                error = message,
                "history lost: records the gap in the lake and goes on behind it"
            );
        }
        Notice::Restarted(gap) => {
            let (gap, record) = (gap.to_string(), gap.file_name());
            warn!(
                collection,
                gap, record, "has recorded the gap and goes on behind it"
            );
        }
        Notice::LargeEventRecorded(event) => {
            let (event, record) = (event.to_string(), event.file_name());
            warn!(
                collection,
                event,
                record,
                "has recorded a change that is too large to be sent and goes on behind it"
            );
        }
        Notice::Recovered(trouble) => {
            let Trouble {
                message, failures, ..
            } = trouble;
            info!(collection, was = message, failures, "works again");
        }
        Notice::CommitConfirmed(name) => {
            info!(collection, file = %name, "a flush without an answer had been committed");
        }
        Notice::Reloading(why) => {
            warn!(
                collection,
                why, "steps back to the checkpoint and the lake's end"
            );
        }
    }
}

fn describe(position: &Position) -> String {
    match position {
        Position::At(time) => time.to_string(),
        Position::After(token) => token.as_extended_json().to_owned(),
    }
}
