//! A lake in Azure Data Lake Storage Gen2, through the Blob API, which serves the same files.

mod blocks;
pub mod credential;
mod error_codes;
mod errors;
mod shared_key;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{ClientOptions, Etag, NoFormat, RequestContent, RetryOptions, Url};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientDownloadOptions, BlobClientUploadOptions,
    BlobContainerClientListBlobsOptions, HttpRange,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use hyper_util::client::proxy::matcher::Matcher;

use super::{
    Base, FileInfo, FileState, Lake, LakeError, LakeLimits, LakePath, Prepared, SmallFile, Version,
    Walked, expect_own,
};
use blocks::BlockLists;
pub use blocks::COMMITS_PER_FILE_MAX;
pub use credential::Access;
use errors::Target;
use silt_core::file::layout::Addition;

/// The most files that Azure returns in one page of a listing.
pub const PAGE_FILES_MAX: NonZeroU16 = NonZeroU16::new(5000).unwrap();

/// The longest name of a blob
/// (<https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>).
const NAME_MAX_CHARACTERS: usize = 1024;

/// Address and credential of a lake.
#[derive(Clone, Debug)]
pub struct AzureConfig {
    /// URL of the Blob service: `https://account.blob.core.windows.net/`.
    pub endpoint: Url,
    /// The storage account.
    pub account: String,
    /// The file system, which the Blob API calls a container.
    pub filesystem: String,
    /// Folder within the file system below which all files go; empty for none.
    pub prefix: String,
    /// The credential.
    pub access: Access,
    /// Timeout of a request with a small body. Large bodies get more.
    pub request_limit_ms: u64,
    /// Files in one page of a listing, at most [`PAGE_FILES_MAX`].
    pub page_files: NonZeroU16,
}

/// A lake in Azure.
pub struct AzureLake {
    container: BlobContainerClient,
    filesystem: String,
    prefix: String,
    request_limit_ms: u64,
    page_files: NonZeroU16,
    block_lists: BlockLists,
    /// The proxy that requests go through, without its password.
    proxy: Option<String>,
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
    /// Opens a lake. No request is sent yet.
    ///
    /// # Errors
    ///
    /// The SDK rejects the URL or the credential.
    pub fn new(config: &AzureConfig) -> Result<Self, LakeError> {
        let refused = |error: azure_core::Error| LakeError::Refused {
            reason: error.to_string(),
        };
        let mut url = config.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| LakeError::Refused {
                reason: format!("{} is not an HTTP URL", config.endpoint),
            })?
            .pop_if_empty()
            .push(&config.filesystem);
        let mut client_options = ClientOptions {
            // The state machine retries: it finds out how an interrupted request ended before it sends another.
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
            page_files: config.page_files,
            block_lists: BlockLists::new(),
            proxy: proxy(&config.endpoint),
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

    /// Fails if Azure takes no name of this length.
    fn expect_name(&self, path: &LakePath) -> Result<(), LakeError> {
        let name = self.blob_name(&path.folder, &path.name);
        let len = name.chars().count();
        if len > NAME_MAX_CHARACTERS {
            return Err(LakeError::Unnameable {
                path: name,
                reason: format!("{len} characters, of which Azure takes {NAME_MAX_CHARACTERS}"),
            });
        }
        Ok(())
    }

    fn root(&self) -> Target<'_> {
        Target {
            filesystem: &self.filesystem,
            path: None,
            proxy: self.proxy.as_deref(),
        }
    }

    fn target<'a>(&'a self, path: &'a LakePath) -> Target<'a> {
        Target {
            filesystem: &self.filesystem,
            path: Some(path),
            proxy: self.proxy.as_deref(),
        }
    }

    /// Applies the timeout to one request and sorts its error.
    async fn bounded<T>(
        &self,
        target: Target<'_>,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<T, LakeError> {
        bounded_by(self.request_limit_ms, target, request).await
    }
}

fn content_type(path: &LakePath) -> &'static str {
    match path.name.rsplit('.').next() {
        Some("gz") => "application/gzip",
        Some("ndjson") => "application/x-ndjson",
        _ => "application/json",
    }
}

/// Applies a timeout to requests and sorts their error.
async fn bounded_by<T>(
    limit_ms: u64,
    target: Target<'_>,
    request: impl Future<Output = azure_core::Result<T>>,
) -> Result<T, LakeError> {
    match tokio::time::timeout(Duration::from_millis(limit_ms), request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(errors::classify(target, error)),
        Err(_) => Err(LakeError::TimedOut { limit_ms }),
    }
}

/// The proxy that the HTTP client uses for this address, which it takes from the environment, without its
/// password.
fn proxy(endpoint: &Url) -> Option<String> {
    let endpoint = endpoint.as_str().parse().ok()?;
    let intercept = Matcher::from_env().intercept(&endpoint)?;
    let uri = intercept.uri();
    Some(format!(
        "{}://{}",
        uri.scheme_str().unwrap_or("http"),
        uri.host()?.to_owned() + &uri.port().map_or(String::new(), |port| format!(":{port}"))
    ))
}

fn no_etag() -> LakeError {
    let reason = "a response without an ETag".to_owned();
    LakeError::Unavailable {
        reason,
        after_ms: None,
        source: None,
    }
}

#[async_trait]
impl Lake for AzureLake {
    fn limits(&self) -> LakeLimits {
        LakeLimits {
            commits_per_file: Some(COMMITS_PER_FILE_MAX),
        }
    }

    async fn prepare(&self) -> Result<Prepared, LakeError> {
        let options = BlobContainerClientListBlobsOptions {
            maxresults: Some(1),
            prefix: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
            ..Default::default()
        };
        let list = async {
            let mut pages = self.container.list_blobs(Some(options))?.into_pages();
            pages.try_next().await.map(|_| ())
        };
        match self.bounded(self.root(), list).await {
            Ok(()) => Ok(Prepared::Existed),
            Err(LakeError::NoRoot { .. }) => {
                let create = async { self.container.create(None).await.map(|_| ()) };
                match self.bounded(self.root(), create).await {
                    Ok(()) => Ok(Prepared::Created),
                    // Another silt was faster.
                    Err(LakeError::Stale { .. }) => Ok(Prepared::Existed),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<FileInfo>, LakeError> {
        walk::list(self, folder).await
    }

    fn walk<'a>(&'a self, folder: &str) -> BoxStream<'a, Result<Walked, LakeError>> {
        walk::walk(self, folder)
    }

    async fn expect_holds(&self, path: &LakePath) -> Result<(), LakeError> {
        self.expect_name(path)
    }

    async fn open(&self, path: &LakePath) -> Result<Option<FileState>, LakeError> {
        blocks::open(self, path).await
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
            if_match: Some(Etag::from(version.as_str())),
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
        self.expect_name(path)?;
        blocks::append(self, path, base, addition).await
    }

    async fn close(&self, path: &LakePath) {
        self.block_lists.forget(path);
    }

    async fn get(&self, path: &LakePath) -> Result<Option<SmallFile>, LakeError> {
        let blob = self.blob(path);
        let download = async {
            let response = blob.download(None).await?;
            let tag = response.properties.etag.clone();
            Ok((tag, response.body.collect().await?.to_vec()))
        };
        match self.bounded(self.target(path), download).await {
            Ok((tag, bytes)) => {
                let tag = tag.ok_or_else(no_etag)?.to_string();
                let version = Version::new(&tag);
                Ok(Some(SmallFile { bytes, version }))
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
        self.expect_name(path)?;
        let mut options = BlobClientUploadOptions {
            blob_content_type: Some(content_type(path).to_owned()),
            ..Default::default()
        };
        match base {
            Some(version) => options.if_match = Some(Etag::from(version.as_str())),
            None => options.if_none_match = Some(Etag::from("*")),
        }
        let blob = self.blob(path);
        let upload = blob.upload(RequestContent::<_, NoFormat>::from(bytes), Some(options));
        let result = self.bounded(self.target(path), upload).await?;
        let tag = result.etag.ok_or_else(no_etag)?.to_string();
        Ok(Version::new(&tag))
    }

    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<(), LakeError> {
        expect_own(path)?;
        let options = BlobClientDeleteOptions {
            if_match: Some(Etag::from(version.as_str())),
            ..Default::default()
        };
        let blob = self.blob(path);
        let request = blob.delete(Some(options));
        self.bounded(self.target(path), request).await.map(|_| ())
    }
}
