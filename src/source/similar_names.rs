//! Finds the collections that misspelled names most likely stand for.

use super::{Deployment, SourceError};
use crate::source::preflight::Listing;
use crate::suggest::closest;

impl Deployment {
    /// For each named collection that doesn't exist, an existing one of this database whose name differs
    /// only in case, or only lacks the database in front: pairs of both names.
    ///
    /// # Errors
    ///
    /// The account may not list collections, or the deployment can't be reached.
    pub async fn similar_names<'a>(
        &self,
        database: &str,
        collections: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<(&'a str, String)>, SourceError> {
        let listings = self.listings_of_own(database, None).await?;
        let pair = |name| Some((name, similar(database, name, &listings)?));
        Ok(collections.into_iter().filter_map(pair).collect())
    }
}

/// The collection that a name which doesn't exist most likely stands for, if a person asks: typing errors count, too.
pub(crate) fn likely_name(
    database: &str,
    collection: &str,
    listings: &[Listing],
) -> Option<String> {
    similar(database, collection, listings).or_else(|| {
        let names = listings.iter().map(|listing| listing.name.as_str());
        closest(collection, names).map(str::to_owned)
    })
}

fn similar(database: &str, collection: &str, listings: &[Listing]) -> Option<String> {
    let names = || listings.iter().map(|listing| listing.name.as_str());
    if names().any(|name| name == collection) {
        return None;
    }
    let lower = collection.to_lowercase();
    let prefix = format!("{}.", database.to_lowercase());
    let without_database = lower.strip_prefix(&prefix);
    let is_similar = |name: &&str| {
        let name = name.to_lowercase();
        name == lower || Some(name.as_str()) == without_database
    };
    names().find(is_similar).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_similar_without_case_and_database() {
        let listing = |name: &str| Listing {
            name: name.to_owned(),
            kind: "collection".to_owned(),
            keeps_images: None,
        };
        let listings = ["users", "Orders", "orders"].map(listing);
        for (name, expected) in [
            ("users", None),
            ("Users", Some("users")),
            ("shop.users", Some("users")),
            ("Shop.Users", Some("users")),
            ("orders", None),
            ("ORDERS", Some("Orders")),
            ("user", None),
            ("other.users", None),
        ] {
            assert_eq!(
                similar("shop", name, &listings).as_deref(),
                expected,
                "{name}"
            );
        }
    }
}
