//! How opening a change stream went.

use super::grants::Missing;
use super::mongodb::Reached;
use super::row::Row;
use super::{start, words};
use crate::source::SourceError;
use silt_core::machine::OnHistoryLost;

/// The privileges that a change stream needs.
const ACTIONS: [&str; 2] = ["find", "changeStream"];

/// Why no other stream is tried.
pub(super) const NO_ANSWER: &str = "the deployment gives no answer";

/// What a stream reads, for the row that says which privileges are missing.
pub(super) struct Reads<'a> {
    /// Empty for all.
    pub database: &'a str,
    /// Empty for all of the database.
    pub collection: &'a str,
    /// Both in words.
    pub text: String,
    /// The built-in role that is enough.
    pub role: &'a str,
}

/// Why it is pointless to try other streams after this one, if it is.
pub(super) fn unreachable(tried: &Result<(), SourceError>) -> Option<&'static str> {
    let is_gone = matches!(
        tried,
        Err(SourceError::Unanswered { .. } | SourceError::Transient { .. })
    );
    is_gone.then_some(NO_ANSWER)
}

/// A row that says how it went.
pub(super) fn row(
    what: &str,
    tried: Result<(), SourceError>,
    reads: &Reads<'_>,
    reached: &Reached,
    on_history_lost: OnHistoryLost,
) -> Row {
    match tried {
        Ok(()) => Row::good(what, "opened and closed"),
        Err(SourceError::Unauthorized { message }) => unauthorized(what, &message, reads, reached),
        Err(SourceError::HistoryLost { message, .. }) => start::lost(
            what,
            &format!("the oplog no longer holds its position: {message}"),
            on_history_lost,
        ),
        Err(error) => Row::failure(what, words::of_source(&error)),
    }
}

fn unauthorized(what: &str, message: &str, reads: &Reads<'_>, reached: &Reached) -> Row {
    let account = &reached.account;
    let missing: Vec<&str> = ACTIONS
        .into_iter()
        .filter(|action| !account.may(action, reads.database, reads.collection))
        .collect();
    let found = if missing.is_empty() {
        format!("a privilege is missing: {message}")
    } else {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        format!("{} on {} {verb} missing", missing.join(" and "), reads.text)
    };
    let missing = Missing {
        database: reads.database,
        collection: reads.collection,
        actions: &missing,
        role: reads.role,
    };
    Row::failure(what, found).fixed_by(missing.fix(account))
}
