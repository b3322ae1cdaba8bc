//! Whether a file holds changes of the collection whose folder it is in.

use crate::file::damage::Damage;
use crate::namespace::Namespace;

/// Makes sure that these names, where they are known, are those of this collection.
pub(super) fn expect(
    namespace: &Namespace,
    database: Option<&str>,
    collection: Option<&str>,
) -> Result<(), Damage> {
    let database = database.unwrap_or(&namespace.database);
    let collection = collection.unwrap_or(&namespace.collection);
    // What concerns all databases is in a folder of none.
    let is_database = namespace.database.is_empty() || database == namespace.database;
    if is_database && collection == namespace.collection {
        return Ok(());
    }
    Err(Damage::Foreign {
        found: format!("{database}.{collection}"),
        expected: format!("{}.{}", namespace.database, namespace.collection),
    })
}
