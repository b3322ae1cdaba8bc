//! Queries for documents in the order of the `_id` index.
//!
//! `$gt` compares only values of one type, so it would miss documents of a collection whose `_id`s have several types.
//! The bounds of an index scan (`min`, `max`) follow the order across all types
//! (<https://www.mongodb.com/docs/manual/reference/method/cursor.min/>). Each reply is a query of its own: no cursor
//! has to be kept alive while the lake is slow or the rate limit applies, and none can be lost.

use std::time::Duration;

use bson::raw::{CStr, cstr};
use bson::{RawArrayBuf, RawDocumentBuf, Timestamp, rawdoc};

use super::id::Id;
use silt_core::position::ClusterTime;

/// The bounds of one range.
#[derive(Clone, Debug)]
pub(crate) struct IdRange {
    /// The least `_id`; `None` for the beginning of the collection.
    pub(crate) from: Option<Id>,
    /// Where it ends.
    pub(crate) to: IdEnd,
}

/// Where a range ends.
#[derive(Clone, Debug)]
pub(crate) enum IdEnd {
    /// Before this `_id`.
    Before(Id),
    /// With this `_id`, included.
    With(Id),
}

/// What all queries have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'a> {
    pub(crate) collection: &'a str,
    /// No document is read in a state from before this time.
    pub(crate) read_from: ClusterTime,
    /// The server's time limit.
    pub(crate) limit: Duration,
}

type Made<T> = bson::error::Result<T>;

/// At most this many documents of a range, from the one after `after` on. The document that the range ends with is
/// read by [`last`]: the upper bound excludes it, and a filter in place of the bound would make the server read
/// everything that was inserted after it.
pub(crate) fn documents(
    how: How<'_>,
    range: &IdRange,
    after: Option<&Id>,
    documents: u32,
) -> Made<RawDocumentBuf> {
    let mut command = rawdoc! { "find": how.collection };
    if let Some(after) = after {
        // The bound includes it. If it was deleted meanwhile, nothing is lost.
        let other = rawdoc! { "_id": after.under(cstr!("$ne"))? };
        command.append(cstr!("filter"), other);
    }
    if let Some(least) = after.or(range.from.as_ref()) {
        command.append(cstr!("min"), least.document_key()?);
    }
    let (IdEnd::Before(end) | IdEnd::With(end)) = &range.to;
    command.append(cstr!("max"), end.document_key()?);
    close(&mut command, how, 1, documents);
    Ok(command)
}

/// The document that a range ends with, if it is in the range and after `after`.
pub(crate) fn last(
    how: How<'_>,
    range: &IdRange,
    after: Option<&Id>,
    last: &Id,
) -> Made<RawDocumentBuf> {
    let mut conditions = RawArrayBuf::new();
    conditions.push(rawdoc! { "_id": last.under(cstr!("$eq"))? });
    let from = range.from.as_ref().map(|from| (cstr!("$gte"), from));
    if let Some((compare, least)) = after.map(|after| (cstr!("$gt"), after)).or(from) {
        // Aggregation expressions compare across all types too.
        let mut sides = RawArrayBuf::new();
        sides.push("$_id");
        sides.push(least.under(cstr!("$literal"))?);
        let mut comparison = RawDocumentBuf::new();
        comparison.append(compare, sides);
        conditions.push(rawdoc! { "$expr": comparison });
    }
    let mut command = rawdoc! { "find": how.collection, "filter": { "$and": conditions } };
    close(&mut command, how, 1, 1);
    Ok(command)
}

/// The field of the reply to [`order`].
pub(crate) const IS_BEFORE: &str = "isBefore";

/// Asks whether one `_id` is before another. Only the server knows the order across all types, and it rejects bounds
/// that aren't in order. The answer comes with any document; an empty collection gives none.
pub(crate) fn order(how: How<'_>, one: &Id, other: &Id) -> Made<RawDocumentBuf> {
    let mut sides = RawArrayBuf::new();
    sides.push(one.under(cstr!("$literal"))?);
    sides.push(other.under(cstr!("$literal"))?);
    let mut command = rawdoc! {
        "find": how.collection,
        "projection": { "_id": 0, "isBefore": { "$lt": sides } },
    };
    close(&mut command, how, 1, 1);
    Ok(command)
}

/// The greatest `_id`.
pub(crate) fn last_id(how: How<'_>) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": how.collection, "projection": { "_id": 1 } };
    close(&mut command, how, -1, 1);
    command
}

/// Adds what all queries have in common.
fn close(command: &mut RawDocumentBuf, how: How<'_>, direction: i32, documents: u32) {
    let by_id: &CStr = cstr!("_id");
    let mut order = RawDocumentBuf::new();
    order.append(by_id, direction);
    let time = Timestamp {
        time: how.read_from.seconds,
        increment: how.read_from.increment,
    };
    command.append(cstr!("hint"), rawdoc! { "_id": 1 });
    command.append(cstr!("sort"), order);
    command.append(cstr!("limit"), i64::from(documents));
    command.append(cstr!("batchSize"), i64::from(documents));
    command.append(cstr!("singleBatch"), true);
    command.append(
        cstr!("readConcern"),
        rawdoc! { "level": "majority", "afterClusterTime": time },
    );
    let limit_ms = i64::try_from(how.limit.as_millis()).unwrap_or(i64::MAX);
    command.append(cstr!("maxTimeMS"), limit_ms.min(i64::from(i32::MAX)));
}
