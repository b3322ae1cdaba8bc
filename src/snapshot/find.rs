//! Asks for documents in the order of the `_id` index.
//!
//! `$gt` compares within a type alone, so a collection with `_id`s of several types would be read in part.
//! The bounds of an index scan (`min`, `max`) know the order over all types
//! (<https://www.mongodb.com/docs/manual/reference/method/cursor.min/>). Each reply is a query of its own:
//! no cursor has to be kept alive while the lake is slow or the throttle waits, and none can be lost.

use std::time::Duration;

use bson::raw::{CStr, cstr};
use bson::{RawArrayBuf, RawDocumentBuf, Timestamp, rawdoc};

use super::id::Id;
use crate::archive::position::ClusterTime;

/// What one range holds.
#[derive(Clone, Debug)]
pub(super) struct IdRange {
    /// Its first `_id`; `None`: from the beginning.
    pub(super) from: Option<Id>,
    /// Where it ends.
    pub(super) to: IdEnd,
}

/// Where a range ends.
#[derive(Clone, Debug)]
pub(super) enum IdEnd {
    /// Before this.
    Before(Id),
    /// With this.
    With(Id),
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct How<'a> {
    pub(super) collection: &'a str,
    /// No document is read as it was before this.
    pub(super) read_from: ClusterTime,
    /// How long the server may take.
    pub(super) limit: Duration,
}

type Made<T> = bson::error::Result<T>;

/// The documents of a range behind this one, so many at most.
pub(super) fn documents(
    how: How<'_>,
    range: &IdRange,
    after: Option<&Id>,
    documents: u32,
) -> Made<RawDocumentBuf> {
    let mut conditions = Vec::new();
    let mut command = rawdoc! { "find": how.collection };
    if let Some(after) = after {
        // The bound includes it. If it has gone since, nothing is lost.
        conditions.push(rawdoc! { "_id": after.under(cstr!("$ne"))? });
    }
    if let IdEnd::With(last) = &range.to {
        // Aggregation compares over all types too. A bound would leave the last one out.
        let mut sides = RawArrayBuf::new();
        sides.push("$_id");
        sides.push(last.under(cstr!("$literal"))?);
        conditions.push(rawdoc! { "$expr": { "$lte": sides } });
    }
    if !conditions.is_empty() {
        let conditions: RawArrayBuf = conditions.into_iter().collect();
        command.append(cstr!("filter"), rawdoc! { "$and": conditions });
    }
    if let Some(least) = after.or(range.from.as_ref()) {
        command.append(cstr!("min"), least.document_key()?);
    }
    if let IdEnd::Before(end) = &range.to {
        command.append(cstr!("max"), end.document_key()?);
    }
    close(&mut command, how, 1, documents);
    Ok(command)
}

/// The document with this `_id`.
pub(super) fn document(how: How<'_>, id: &Id) -> Made<RawDocumentBuf> {
    let mut command = rawdoc! { "find": how.collection };
    command.append(cstr!("filter"), id.document_key()?);
    close(&mut command, how, 1, 1);
    Ok(command)
}

/// The greatest `_id`.
pub(super) fn last_id(how: How<'_>) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": how.collection, "projection": { "_id": 1 } };
    close(&mut command, how, -1, 1);
    command
}

/// What all have in common.
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
