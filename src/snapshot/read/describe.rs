//! A collection's UUID and type.

use bson::{Bson, doc};
use futures::TryStreamExt as _;
use tracing::debug;

use super::super::{Edges, Target};
use super::request::{bounded, unreadable};
use silt_core::failure::Failure;

/// What the deployment knows of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// Its UUID; `None` if it doesn't exist or the role may not list it.
    pub(crate) uuid: Option<String>,
}

/// Describes a collection. Fails if it is a view or a time series.
pub(crate) async fn describe(edges: &Edges, target: &Target) -> Result<Description, Failure> {
    let origin = &target.origin;
    let database = edges.deployment.client().database(&origin.database);
    let filter = doc! { "name": &origin.collection };
    let command = doc! { "listCollections": 1, "filter": filter };
    let listing = bounded(
        &edges.deployment,
        origin,
        database.run_cursor_command(command),
    )
    .await;
    let mut listing = match listing {
        Ok(listing) => listing,
        Err(failure) if failure.cause == "mongodb_unauthorized" => {
            debug!(collection = %origin, "the role may not list the collection, so its UUID is unknown");
            return Ok(Description::default());
        }
        Err(failure) => return Err(failure),
    };
    let found = bounded(&edges.deployment, origin, listing.try_next()).await?;
    let Some(found) = found else {
        return Ok(Description::default());
    };
    match found.get_str("type") {
        Ok("collection") | Err(_) => {}
        Ok(kind) => return Err(unreadable(origin, &format!("it is a {kind}"))),
    }
    let info = found.get_document("info").ok();
    let uuid = info.and_then(|info| match info.get("uuid") {
        Some(Bson::Binary(uuid)) => uuid.to_uuid().ok(),
        _ => None,
    });
    Ok(Description {
        uuid: uuid.map(|uuid| uuid.to_string()),
    })
}

/// Whether a snapshot belongs to the collection that now has its name. Without a UUID it is assumed to.
pub(crate) fn is_same(uuid: Option<&str>, now: &Description) -> bool {
    match (uuid, &now.uuid) {
        (Some(then), Some(now)) => then == now,
        _ => true,
    }
}
