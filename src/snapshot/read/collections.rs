//! Lists the collections that a shared stream carries at the moment.

use bson::{Document, doc};
use futures::TryStreamExt as _;

use super::request::bounded;
use crate::source::Deployment;
use silt_core::failure::Failure;
use silt_core::namespace::selection::Selection;
use silt_core::namespace::{Layout, Namespace};

/// Databases that streams never carry.
const INTERNAL_DATABASES: [&str; 3] = ["admin", "config", "local"];
/// Prefix of the server's own collections.
const INTERNAL_PREFIX: &str = "system.";

/// The existing collections that a selection matches, without views, time series and the server's own collections.
///
/// # Errors
///
/// They can't be listed.
pub async fn collections(
    deployment: &Deployment,
    selection: &Selection,
    layout: Layout,
) -> Result<Vec<Namespace>, Failure> {
    let mut origins = Vec::new();
    for database in databases(deployment, selection, layout).await? {
        let whole = Namespace::with_layout(&database, "", layout);
        let command = doc! {
            "listCollections": 1,
            "filter": { "type": "collection" },
            "nameOnly": true,
            "authorizedCollections": true,
        };
        let asking = async {
            let database = deployment.client().database(&whole.database);
            let listing = database.run_cursor_command(command).await?;
            let found: Vec<Document> = listing.try_collect().await?;
            Ok(found)
        };
        let found = bounded(deployment, &whole, asking).await?;
        let names = found.iter().filter_map(|found| found.get_str("name").ok());
        let wanted = names.filter(|name| {
            !name.starts_with(INTERNAL_PREFIX) && selection.matches(&database, name)
        });
        origins.extend(wanted.map(|name| Namespace::with_layout(&database, name, layout)));
    }
    origins.sort();
    Ok(origins)
}

async fn databases(
    deployment: &Deployment,
    selection: &Selection,
    layout: Layout,
) -> Result<Vec<String>, Failure> {
    if let Some(names) = selection.databases.names() {
        return Ok(names.into_iter().map(str::to_owned).collect());
    }
    let all = Namespace::with_layout("", "", layout);
    let asking = deployment.client().list_database_names();
    let names = bounded(deployment, &all, asking).await?;
    let wanted = names.into_iter().filter(|name| {
        !INTERNAL_DATABASES.contains(&name.as_str()) && selection.databases.matches(name)
    });
    Ok(wanted.collect())
}
