//! A lake in Azure Data Lake Storage Gen2, by the Blob API, which serves the same files.
//!
//! An hour file is a block blob: head, chunks and foot are blocks, and `Put Block List` replaces the
//! whole list at once under `If-Match`
//! (<https://learn.microsoft.com/rest/api/storageservices/put-block-list>). So a half-done flush is
//! invisible, and a second writer is refused.

mod classify;
pub mod credential;
mod shared_key;
mod survey;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{Body, ClientOptions, Etag, NoFormat, RequestContent, RetryOptions, Url};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientUploadOptions, BlobContainerClientListBlobsOptions,
    BlockBlobClientCommitBlockListOptions, BlockBlobClientCommitBlockListResultHeaders as _,
    BlockListHeaders as _, BlockListType, BlockLookupList, HttpRange,
};
use azure_storage_blob::{
    BlobClient, BlobContainerClient, BlobContainerClientOptions, BlockBlobClient,
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::sync::mpsc;

use super::{
    Base, Found, Lake, LakeError, LakePath, Listed, Object, Opened, Prepared, Unread, Version,
};
use classify::Target;
pub use credential::Access;
use silt_core::file::addition::Addition;

/// The slowest line on which a large body still gets through: 32 bytes in a millisecond.
const SLOWEST_BYTES_PER_MS: u64 = 32;
/// All block ids of a blob must have one length: a writer's nonce and a counter.
const BLOCK_ID_LEN_BYTES: usize = 12;

/// Where the lake is and how to get in.
#[derive(Clone, Debug)]
pub struct AzureConfig {
    /// URL of the Blob service: `https://account.blob.core.windows.net/`.
    pub endpoint: Url,
    /// The storage account.
    pub account: String,
    /// The file system, which the Blob API calls a container.
    pub filesystem: String,
    /// Folder within it that everything goes below; empty for none.
    pub prefix: String,
    /// The credential.
    pub access: Access,
    /// Longest wait for one request with a small body.
    pub request_limit_ms: u64,
}

/// A lake in Azure.
pub struct AzureLake {
    container: BlobContainerClient,
    filesystem: String,
    prefix: String,
    request_limit_ms: u64,
    /// Two writers' uncommitted blocks share one namespace, so each writer's ids are its own.
    nonce: [u8; 8],
    blocks_staged: AtomicU32,
}

impl fmt::Debug for AzureLake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            filesystem, prefix, ..
        } = self;
        write!(f, "AzureLake({filesystem}/{prefix})")
    }
}

impl AzureLake {
    /// A lake at this place. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The SDK refuses the URL or the credential.
    pub fn new(config: &AzureConfig) -> Result<Self, LakeError> {
        let refused = |error: azure_core::Error| LakeError::Refused {
            reason: error.to_string(),
        };
        let mut url = config.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| LakeError::Refused {
                reason: format!("{} can't be a base", config.endpoint),
            })?
            .pop_if_empty()
            .push(&config.filesystem);
        let mut client_options = ClientOptions {
            // The state machine retries: it looks an unknown outcome up before it tries again.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let mut token_credential = None;
        match &config.access {
            Access::SharedKey(key) => {
                let policy = shared_key::SharedKeyPolicy::new(config.account.clone(), key.clone());
                client_options.per_try_policies.push(Arc::new(policy));
            }
            Access::Sas(query) => url.set_query(Some(query.trim_start_matches('?'))),
            Access::Token(credential) => token_credential = Some(Arc::clone(credential)),
        }
        let options = BlobContainerClientOptions {
            client_options,
            ..Default::default()
        };
        let container =
            BlobContainerClient::new(url, token_credential, Some(options)).map_err(refused)?;
        Ok(Self {
            container,
            filesystem: config.filesystem.clone(),
            prefix: config.prefix.clone(),
            request_limit_ms: config.request_limit_ms,
            nonce: fastrand::u64(..).to_be_bytes(),
            blocks_staged: AtomicU32::new(0),
        })
    }

    fn blob_name(&self, folder: &str, name: &str) -> String {
        let parts = [self.prefix.as_str(), folder, name];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    fn blob(&self, path: &LakePath) -> BlobClient {
        self.container
            .blob_client(&self.blob_name(&path.folder, &path.name))
    }

    fn root(&self) -> Target<'_> {
        Target {
            filesystem: &self.filesystem,
            path: None,
        }
    }

    fn target<'a>(&'a self, path: &'a LakePath) -> Target<'a> {
        Target {
            filesystem: &self.filesystem,
            path: Some(path),
        }
    }

    /// Bounds one request in time and sorts its error.
    async fn bounded<T>(
        &self,
        target: Target<'_>,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<T, LakeError> {
        bounded_by(self.request_limit_ms, target, request).await
    }

    fn next_block_id(&self) -> Vec<u8> {
        let number = self.blocks_staged.fetch_add(1, Ordering::Relaxed);
        let mut id = self.nonce.to_vec();
        id.extend_from_slice(&number.to_be_bytes());
        id
    }

    /// Uploads a block that no reader sees yet.
    async fn stage(
        &self,
        blob: &BlockBlobClient,
        bytes: Bytes,
    ) -> azure_core::Result<Option<Vec<u8>>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let id = self.next_block_id();
        let len_bytes = bytes.len() as u64;
        blob.stage_block(&id, len_bytes, Body::Bytes(bytes).into(), None)
            .await?;
        Ok(Some(id))
    }

    /// Stages what is new, then commits the list of all blocks under the condition.
    async fn commit_blocks(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> azure_core::Result<Option<Version>> {
        let blob = self.blob(path).block_blob_client();
        let old = base.map_or(&[][..], |base| base.version.blocks.as_slice());
        let (kept, old_foot) = split_blocks(old, base);
        let needs_foot = old_foot.is_none();
        let (head, chunk, foot) = futures::try_join!(
            self.stage(&blob, addition.head.clone().into()),
            self.stage(&blob, addition.chunk.clone()),
            self.stage(
                &blob,
                if needs_foot {
                    addition.foot.clone().into()
                } else {
                    Bytes::new()
                }
            ),
        )?;
        let blocks: Vec<Vec<u8>> = head
            .into_iter()
            .chain(kept.iter().cloned())
            .chain(chunk)
            .chain(foot.or(old_foot))
            .collect();
        let list = BlockLookupList {
            latest: Some(blocks.clone()),
            ..BlockLookupList::default()
        };
        let mut options = BlockBlobClientCommitBlockListOptions {
            blob_content_type: Some(content_type(path).to_owned()),
            ..Default::default()
        };
        match base {
            Some(base) => options.if_match = Some(Etag::from(base.version.tag.as_str())),
            None => options.if_none_match = Some(Etag::from("*")),
        }
        let response = blob
            .commit_block_list(list.try_into()?, Some(options))
            .await?;
        let tag = response.etag()?.map(|etag| etag.to_string());
        Ok(tag.map(|tag| Version {
            tag,
            blocks: Arc::new(blocks),
        }))
    }
}

/// Splits a file's blocks into the chunks, which are kept, and the foot.
fn split_blocks<'a>(
    blocks: &'a [Vec<u8>],
    base: Option<Base<'_>>,
) -> (&'a [Vec<u8>], Option<Vec<u8>>) {
    let mut kept = blocks;
    let mut foot = None;
    if base.is_some_and(|base| base.head_len_bytes > 0) {
        kept = kept.split_first().map_or(kept, |(_, rest)| rest);
    }
    if base.is_some_and(|base| base.foot_len_bytes > 0)
        && let Some((last, rest)) = kept.split_last()
    {
        kept = rest;
        foot = Some(last.clone());
    }
    (kept, foot)
}

fn content_type(path: &LakePath) -> &'static str {
    match path.name.rsplit('.').next() {
        Some("gz") => "application/gzip",
        Some("ndjson") => "application/x-ndjson",
        _ => "application/json",
    }
}

/// Bounds requests in time and sorts their error.
async fn bounded_by<T>(
    limit_ms: u64,
    target: Target<'_>,
    request: impl Future<Output = azure_core::Result<T>>,
) -> Result<T, LakeError> {
    match tokio::time::timeout(Duration::from_millis(limit_ms), request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify::classify(target, error)),
        Err(_) => Err(LakeError::TimedOut { limit_ms }),
    }
}

fn no_etag() -> LakeError {
    let reason = "an answer without an ETag".to_owned();
    LakeError::Unavailable {
        reason,
        after_ms: None,
        source: None,
    }
}

#[async_trait]
impl Lake for AzureLake {
    async fn prepare(&self) -> Result<Prepared, LakeError> {
        let options = BlobContainerClientListBlobsOptions {
            maxresults: Some(1),
            prefix: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
            ..Default::default()
        };
        let look = async {
            let mut pages = self.container.list_blobs(Some(options))?.into_pages();
            pages.try_next().await.map(|_| ())
        };
        match self.bounded(self.root(), look).await {
            Ok(()) => Ok(Prepared::Found),
            Err(LakeError::NoRoot { .. }) => {
                let create = async { self.container.create(None).await.map(|_| ()) };
                match self.bounded(self.root(), create).await {
                    Ok(()) => Ok(Prepared::Created),
                    // Another silt was quicker.
                    Err(LakeError::Stale { .. }) => Ok(Prepared::Found),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>, LakeError> {
        let prefix = format!("{}/", self.blob_name(folder, ""));
        let options = BlobContainerClientListBlobsOptions {
            prefix: Some(prefix.clone()),
            ..Default::default()
        };
        let mut files = Vec::new();
        let list = async {
            let mut pages = self.container.list_blobs(Some(options))?.into_pages();
            while let Some(page) = pages.try_next().await? {
                for item in page.into_model()?.blob_items {
                    let len_bytes = item.properties.and_then(|found| found.content_length);
                    let name = item.name.unwrap_or_default();
                    // What lies deeper is no file of this folder.
                    if let Some(name) = name
                        .strip_prefix(&prefix)
                        .filter(|name| !name.contains('/'))
                    {
                        files.push(Listed {
                            name: name.to_owned(),
                            len_bytes: len_bytes.unwrap_or(0),
                        });
                    }
                }
            }
            Ok(())
        };
        self.bounded(self.root(), list).await?;
        Ok(files)
    }

    async fn walk(
        &self,
        folder: &str,
        page_files: NonZeroU16,
        pages: mpsc::Sender<Vec<Found>>,
    ) -> Result<Vec<Unread>, LakeError> {
        survey::walk(self, folder, page_files, pages).await
    }

    async fn open(&self, path: &LakePath) -> Result<Option<Opened>, LakeError> {
        let blob = self.blob(path).block_blob_client();
        let look = async {
            let response = blob.get_block_list(BlockListType::Committed, None).await?;
            let (tag, len) = (response.etag()?, response.blob_content_length()?);
            Ok((tag, len, response.into_model()?))
        };
        let (tag, len, list) = match self.bounded(self.target(path), look).await {
            Err(LakeError::Stale { .. }) => return Ok(None),
            other => other?,
        };
        let tag = tag.ok_or_else(no_etag)?.to_string();
        let blocks = list.committed_blocks.unwrap_or_default();
        // A file from another tool: readable, but nothing that our blocks can join.
        let is_ours = blocks.iter().all(|block| {
            block
                .name
                .as_ref()
                .is_some_and(|id| id.len() == BLOCK_ID_LEN_BYTES)
        });
        let lens = blocks
            .iter()
            .map(|block| block.size.and_then(|size| size.try_into().ok()));
        let lens: Vec<u64> = lens.map(Option::unwrap_or_default).collect();
        Ok(Some(Opened {
            len_bytes: len
                .and_then(|len| len.try_into().ok())
                .unwrap_or_else(|| lens.iter().sum()),
            block_lens_bytes: Some(if is_ours { lens } else { Vec::new() }),
            version: Version {
                tag,
                blocks: Arc::new(blocks.into_iter().filter_map(|block| block.name).collect()),
            },
        }))
    }

    async fn read(
        &self,
        path: &LakePath,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Vec<u8>, LakeError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let options = BlobClientDownloadOptions {
            range: Some(HttpRange::new(range.start, range.end - range.start)),
            if_match: Some(Etag::from(version.tag.as_str())),
            ..Default::default()
        };
        let blob = self.blob(path);
        let download = async {
            let response = blob.download(Some(options)).await?;
            response.body.collect().await.map(|bytes| bytes.to_vec())
        };
        self.bounded(self.target(path), download).await
    }

    async fn append(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> Result<Version, LakeError> {
        // Blocks are staged at once, then the list is committed.
        let limit_ms =
            2 * self.request_limit_ms + addition.chunk.len() as u64 / SLOWEST_BYTES_PER_MS;
        let committing = self.commit_blocks(path, base, addition);
        let version = bounded_by(limit_ms, self.target(path), committing).await?;
        version.ok_or_else(no_etag)
    }

    async fn get(&self, path: &LakePath) -> Result<Option<Object>, LakeError> {
        let blob = self.blob(path);
        let download = async {
            let response = blob.download(None).await?;
            let tag = response.properties.etag.clone();
            Ok((tag, response.body.collect().await?.to_vec()))
        };
        match self.bounded(self.target(path), download).await {
            Ok((tag, bytes)) => {
                let tag = tag.ok_or_else(no_etag)?.to_string();
                Ok(Some(Object {
                    bytes,
                    version: Version {
                        tag,
                        blocks: Arc::default(),
                    },
                }))
            }
            Err(LakeError::Stale { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(
        &self,
        path: &LakePath,
        base: Option<&Version>,
        bytes: Vec<u8>,
    ) -> Result<Version, LakeError> {
        let mut options = BlobClientUploadOptions {
            blob_content_type: Some(content_type(path).to_owned()),
            ..Default::default()
        };
        match base {
            Some(version) => options.if_match = Some(Etag::from(version.tag.as_str())),
            None => options.if_none_match = Some(Etag::from("*")),
        }
        let blob = self.blob(path);
        let upload = blob.upload(RequestContent::<_, NoFormat>::from(bytes), Some(options));
        let result = self.bounded(self.target(path), upload).await?;
        let tag = result.etag.ok_or_else(no_etag)?.to_string();
        Ok(Version {
            tag,
            blocks: Arc::default(),
        })
    }

    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError> {
        survey::remove_probe(self, path, version).await
    }
}
