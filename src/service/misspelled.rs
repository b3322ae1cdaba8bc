//! Warns of collections that are watched by name and don't exist, but look misspelled.

use tracing::{debug, warn};

use crate::source::Deployment;
use silt_core::namespace::selection::NameSet;

/// Warns once, at start, about names that are probably misspelled. Needs the privilege to list collections.
pub(super) async fn warn_of_names(
    databases: NameSet,
    collections: NameSet,
    deployment: Deployment,
) {
    for database in databases.literal_names() {
        match deployment
            .similar_names(database, collections.literal_names())
            .await
        {
            Ok(pairs) => {
                for (name, existing) in pairs {
                    warn!(
                        "MONGODB_COLLECTIONS: {name} doesn't exist in {database}, but {existing} does; if it is \
                         misspelled, correct it"
                    );
                }
            }
            Err(error) => debug!(%error, database, "can't list collections"),
        }
    }
}
