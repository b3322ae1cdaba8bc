//! Looking the whole lake through, and removing what a look has made.

use std::num::NonZeroU16;
use std::time::Duration;

use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobContainerClientListBlobsOptions, BlobItem, ListBlobsIncludeItem,
    ListBlobsResponse,
};
use futures::TryStreamExt as _;
use tokio::sync::mpsc;

use super::super::{Found, LakeError, LakePath, Unread, Version, expect_own};
use super::AzureLake;
use silt_core::failure::Disposition;

/// A lake may be busy.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// Folders of a file system with hierarchical namespace are listed with this metadata.
const FOLDER_MARK: &str = "hdi_isfolder";

pub(super) async fn walk(
    lake: &AzureLake,
    folder: &str,
    page_files: NonZeroU16,
    found: mpsc::Sender<Vec<Found>>,
) -> Result<Vec<Unread>, LakeError> {
    let whole = lake.blob_name(folder, "");
    let prefix = Some(whole)
        .filter(|whole| !whole.is_empty())
        .map(|whole| format!("{whole}/"));
    let root_len = match lake.prefix.as_str() {
        "" => 0,
        root => root.len() + 1,
    };
    let mut options = BlobContainerClientListBlobsOptions {
        prefix,
        maxresults: Some(page_files.get().into()),
        include: Some(vec![ListBlobsIncludeItem::Metadata]),
        ..Default::default()
    };
    loop {
        let list = page(lake, &options).await?;
        let items = list.blob_items.into_iter();
        let files: Vec<Found> = items.filter_map(|item| file(item, root_len)).collect();
        options.marker = list.next_marker.filter(|marker| !marker.is_empty());
        // Who may list a file system may list all of it.
        if found.send(files).await.is_err() || options.marker.is_none() {
            return Ok(Vec::new());
        }
    }
}

/// One page, tried again where that may help: the others were sent on, so a long listing can't begin anew.
async fn page(
    lake: &AzureLake,
    options: &BlobContainerClientListBlobsOptions<'_>,
) -> Result<ListBlobsResponse, LakeError> {
    let mut tries = 1;
    loop {
        let options = Some(options.clone().into_owned());
        let asked = async {
            let mut pages = lake.container.list_blobs(options)?.into_pages();
            match pages.try_next().await? {
                Some(page) => page.into_model(),
                None => Ok(ListBlobsResponse::default()),
            }
        };
        // Each page has the time of a request.
        let error = match lake.bounded(lake.root(), asked).await {
            Ok(page) => return Ok(page),
            Err(error) => error,
        };
        let Disposition::Retry { after_ms } = error.disposition() else {
            return Err(error);
        };
        if tries == TRIES {
            return Err(error);
        }
        let pause = after_ms.map_or(PAUSE * tries, Duration::from_millis);
        tries += 1;
        tokio::time::sleep(pause).await;
    }
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
