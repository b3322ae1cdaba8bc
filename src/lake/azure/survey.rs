//! Looking the whole lake through, and removing what a look has made.

use std::num::NonZeroU16;

use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobContainerClientListBlobsOptions, BlobItem, ListBlobsIncludeItem,
};
use futures::TryStreamExt as _;
use tokio::sync::mpsc;

use super::super::{Found, LakeError, LakePath, Version, expect_own};
use super::AzureLake;

/// Folders of a file system with hierarchical namespace are listed with this metadata.
const FOLDER_MARK: &str = "hdi_isfolder";

pub(super) async fn walk(
    lake: &AzureLake,
    folder: &str,
    page_files: NonZeroU16,
    found: mpsc::Sender<Vec<Found>>,
) -> Result<(), LakeError> {
    let whole = lake.blob_name(folder, "");
    let prefix = Some(whole)
        .filter(|whole| !whole.is_empty())
        .map(|whole| format!("{whole}/"));
    let root_len = match lake.prefix.as_str() {
        "" => 0,
        root => root.len() + 1,
    };
    let options = BlobContainerClientListBlobsOptions {
        prefix,
        maxresults: Some(page_files.get().into()),
        include: Some(vec![ListBlobsIncludeItem::Metadata]),
        ..Default::default()
    };
    let refused = |error: azure_core::Error| LakeError::Refused {
        reason: error.to_string(),
    };
    let list = lake.container.list_blobs(Some(options)).map_err(refused)?;
    let mut pages = list.into_pages();
    // Each page has the time of a request.
    while let Some(page) = lake.bounded(lake.root(), pages.try_next()).await? {
        let items = async { page.into_model().map(|page| page.blob_items) };
        let items = lake.bounded(lake.root(), items).await?;
        let page: Vec<Found> = items
            .into_iter()
            .filter_map(|item| file(item, root_len))
            .collect();
        if found.send(page).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A listed blob as a file, unless it is the mark of a folder.
fn file(item: BlobItem, root_len: usize) -> Option<Found> {
    let metadata = item.metadata.and_then(|metadata| metadata.values);
    let is_folder = metadata.is_some_and(|values| values.contains_key(FOLDER_MARK));
    let name = item.name?;
    let name = name.get(root_len..)?;
    let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
    let len_bytes = item.properties.and_then(|found| found.content_length);
    (!is_folder).then(|| Found {
        path: LakePath {
            folder: folder.to_owned(),
            name: name.to_owned(),
        },
        len_bytes: len_bytes.unwrap_or(0),
    })
}

pub(super) async fn remove_probe(
    lake: &AzureLake,
    path: &LakePath,
    version: &Version,
) -> Result<(), LakeError> {
    expect_own(path)?;
    let options = BlobClientDeleteOptions {
        if_match: Some(Etag::from(version.tag.as_str())),
        ..Default::default()
    };
    let blob = lake.blob(path);
    let removing = blob.delete(Some(options));
    lake.bounded(lake.target(path), removing).await.map(|_| ())
}
