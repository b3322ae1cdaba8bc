//! Lists blobs, page by page.

use std::future;
use std::time::Duration;

use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, BlobItem, ListBlobsIncludeItem, ListBlobsResponse,
};
use futures::stream::{self, Stream, StreamExt as _};
use futures::{TryStreamExt as _, stream::BoxStream};

use super::super::{FileInfo, LakeError, LakePath, Walked};
use super::AzureLake;
use silt_core::failure::Disposition;

/// A long listing must not start over because one page failed, so each page is retried this often.
const ATTEMPTS_MAX: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Folders of a file system with a hierarchical namespace are listed as blobs with this metadata.
const FOLDER_MARK: &str = "hdi_isfolder";

/// All files below a folder. Whoever may list a file system may list all of it.
pub(super) fn walk<'a>(
    lake: &'a AzureLake,
    folder: &str,
) -> BoxStream<'a, Result<Walked, LakeError>> {
    files(lake, folder, ATTEMPTS_MAX)
        .map_ok(Walked::File)
        .boxed()
}

/// The files directly in a folder. Nothing is retried here: that is the caller's decision.
pub(super) async fn list(lake: &AzureLake, folder: &str) -> Result<Vec<FileInfo>, LakeError> {
    let is_here = |file: &FileInfo| future::ready(file.path.folder == folder);
    files(lake, folder, 1)
        .try_filter(is_here)
        .try_collect()
        .await
}

fn files<'a>(
    lake: &'a AzureLake,
    folder: &str,
    attempts_max: u32,
) -> impl Stream<Item = Result<FileInfo, LakeError>> + use<'a> {
    let whole = lake.blob_name(folder, "");
    let prefix = Some(whole)
        .filter(|whole| !whole.is_empty())
        .map(|whole| format!("{whole}/"));
    let root_len = match lake.prefix.as_str() {
        "" => 0,
        root => root.len() + 1,
    };
    let first = BlobContainerClientListBlobsOptions {
        prefix,
        maxresults: Some(lake.page_files.get().into()),
        include: Some(vec![ListBlobsIncludeItem::Metadata]),
        ..Default::default()
    };
    let pages = stream::try_unfold(Some(first), move |options| async move {
        let Some(mut options) = options else {
            return Ok(None);
        };
        let page = page(lake, &options, attempts_max).await?;
        let items = page.blob_items.into_iter();
        let files: Vec<FileInfo> = items.filter_map(|item| file(item, root_len)).collect();
        options.marker = page.next_marker.filter(|marker| !marker.is_empty());
        let next = options.marker.is_some().then_some(options);
        Ok(Some((stream::iter(files.into_iter().map(Ok)), next)))
    });
    pages.try_flatten()
}

/// One page, within the time of one request.
async fn page(
    lake: &AzureLake,
    options: &BlobContainerClientListBlobsOptions<'_>,
    attempts_max: u32,
) -> Result<ListBlobsResponse, LakeError> {
    let mut attempts = 1;
    loop {
        let options = Some(options.clone().into_owned());
        let request = async {
            let mut pages = lake.container.list_blobs(options)?.into_pages();
            match pages.try_next().await? {
                Some(page) => page.into_model(),
                None => Ok(ListBlobsResponse::default()),
            }
        };
        let error = match lake.bounded(lake.root(), request).await {
            Ok(page) => return Ok(page),
            Err(error) => error,
        };
        let Disposition::Retry { after_ms } = error.disposition() else {
            return Err(error);
        };
        if attempts >= attempts_max {
            return Err(error);
        }
        let delay = after_ms.map_or(RETRY_DELAY * attempts, Duration::from_millis);
        attempts += 1;
        tokio::time::sleep(delay).await;
    }
}

/// A listed blob as a file; `None` for the mark of a folder.
fn file(item: BlobItem, root_len: usize) -> Option<FileInfo> {
    let metadata = item.metadata.and_then(|metadata| metadata.values);
    let is_folder = metadata.is_some_and(|values| values.contains_key(FOLDER_MARK));
    let name = item.name?;
    let name = name.get(root_len..)?;
    let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
    let len_bytes = item
        .properties
        .and_then(|properties| properties.content_length);
    (!is_folder).then(|| FileInfo {
        path: LakePath {
            folder: folder.to_owned(),
            name: name.to_owned(),
        },
        len_bytes: len_bytes.unwrap_or(0),
    })
}
