//! What an injected fault looks like to the feed.

use super::plan::Fault;
use crate::failure::{Disposition, Failure};
use crate::position::ClusterTime;

pub(super) fn failure(disposition: Disposition) -> Failure {
    Failure {
        cause: "of_the_model",
        disposition,
        message: format!("injected: {disposition:?}"),
    }
}

pub(super) fn failure_of(fault: Fault) -> Option<Failure> {
    let disposition = match fault {
        Fault::None => return None,
        Fault::Refused | Fault::Unheard | Fault::Late => Disposition::RETRY,
        Fault::Throttled => Disposition::Retry {
            after_ms: Some(90_000),
        },
        Fault::Stale => Disposition::Reload,
        Fault::Halted => Disposition::Halt,
    };
    Some(failure(disposition))
}

pub(super) fn history_lost(oldest: Option<ClusterTime>) -> Failure {
    Failure {
        cause: "of_the_model",
        disposition: Disposition::HistoryLost { oldest },
        message: "injected: history lost".to_owned(),
    }
}
