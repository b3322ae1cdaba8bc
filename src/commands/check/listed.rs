//! What the deployment lists: databases, collections, and what these are.

use super::grants::Missing;
use super::mongodb::Reached;
use super::row::Row;
use super::words;
use crate::source::SourceError;
use crate::source::preflight::Listing;

/// The collections of a database as far as silt may see them: of these names, or all.
pub(super) async fn listings(
    reached: &Reached,
    database: &str,
    names: Option<&[String]>,
) -> Result<Vec<Listing>, SourceError> {
    match reached.deployment.listings(database, names).await {
        Err(SourceError::Unauthorized { .. }) => {
            reached.deployment.listings_of_own(database, names).await
        }
        other => other,
    }
}

/// A row that says why a database's collections aren't known.
pub(super) fn unlisted(reached: &Reached, database: &str, error: &SourceError) -> Row {
    match error {
        SourceError::Unauthorized { .. } => {
            let found = format!(
                "listCollections on {database} is missing: it isn't known what the collections are"
            );
            Row::warning("list", found).fixed_by(may_list(reached, database))
        }
        other => Row::warning("list", words::of_source(other)),
    }
}

/// How to let silt see what collections are.
pub(super) fn may_list(reached: &Reached, database: &str) -> String {
    let missing = Missing {
        database,
        collection: "",
        actions: &["listCollections"],
        role: "read",
    };
    missing.fix(&reached.account)
}

/// What a listing is that has no change streams, and what to do; `None` if it has.
pub(super) fn without_streams(listing: &Listing) -> Option<(&'static str, &'static str)> {
    match listing.kind.as_str() {
        "view" => Some((
            "a view, which has no changes",
            "name the collections behind it",
        )),
        "timeseries" => Some((
            "a time-series collection, which has no change streams",
            "name an ordinary collection",
        )),
        _ => None,
    }
}
