//! Commits by block lists: the head, each chunk and the foot of an hour file are blocks of a block blob, and
//! `Put Block List` replaces the whole list at once under `If-Match`
//! (<https://learn.microsoft.com/rest/api/storageservices/put-block-list>).
//!
//! So an unfinished commit is invisible, and a second writer is refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::http::{Body, Etag};
use azure_storage_blob::BlockBlobClient;
use azure_storage_blob::models::{
    BlockBlobClientCommitBlockListOptions, BlockBlobClientCommitBlockListResultHeaders as _,
    BlockListHeaders as _, BlockListType, BlockLookupList,
};
use bytes::Bytes;

use super::super::{Base, FileState, LakeError, LakePath, Segments, Version, is_hour_file};
use super::{AzureLake, bounded_by, content_type, no_etag};
use silt_core::file::layout::Addition;

/// The most commits of a file: Azure commits up to 50,000 blocks of a blob, of which the head and the foot
/// are two. <https://learn.microsoft.com/azure/storage/blobs/scalability-targets>
pub const COMMITS_PER_FILE_MAX: u32 = 49_998;

/// The slowest connection on which a large body still gets through: 32 bytes in a millisecond.
const SLOWEST_BYTES_PER_MS: u64 = 32;
/// Length of silt's block ids, each a writer's nonce and a counter. All ids of a blob must have one length.
const BLOCK_ID_LEN_BYTES: usize = 12;

/// The ids of a blob's blocks, in order.
type BlockIds = Arc<Vec<Vec<u8>>>;

/// The block lists of the files that this process appends to, so that they needn't be read before each commit.
#[derive(Debug)]
pub(super) struct BlockLists {
    /// Uncommitted blocks of all writers share one namespace, so each writer's ids have a nonce of their own.
    nonce: [u8; 8],
    staged: AtomicU32,
    known: Mutex<HashMap<LakePath, (Version, BlockIds)>>,
}

impl BlockLists {
    pub(super) fn new() -> Self {
        Self {
            nonce: fastrand::u64(..).to_be_bytes(),
            staged: AtomicU32::new(0),
            known: Mutex::default(),
        }
    }

    fn next_id(&self) -> Vec<u8> {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let mut id = self.nonce.to_vec();
        id.extend_from_slice(&number.to_be_bytes());
        id
    }

    fn known(&self, path: &LakePath, version: &Version) -> Option<BlockIds> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, blocks) = known.get(path)?;
        (at == version).then(|| Arc::clone(blocks))
    }

    /// Remembers a file's blocks. Of a folder's hour files only the newest grows, so the others are forgotten.
    fn remember(&self, path: &LakePath, version: &Version, blocks: BlockIds) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if is_hour_file(&path.name) {
            known.retain(|other, _| other.folder != path.folder || !is_hour_file(&other.name));
        }
        known.insert(path.clone(), (version.clone(), blocks));
    }

    pub(super) fn forget(&self, path: &LakePath) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(path);
    }
}

/// A blob as it is, with its blocks.
struct Committed {
    state: FileState,
    blocks: BlockIds,
}

/// The state of a file; `None` if it doesn't exist.
pub(super) async fn open(
    lake: &AzureLake,
    path: &LakePath,
) -> Result<Option<FileState>, LakeError> {
    Ok(committed(lake, path).await?.map(|found| found.state))
}

async fn committed(lake: &AzureLake, path: &LakePath) -> Result<Option<Committed>, LakeError> {
    let blob = lake.blob(path).block_blob_client();
    let request = async {
        let response = blob.get_block_list(BlockListType::Committed, None).await?;
        let (tag, len) = (response.etag()?, response.blob_content_length()?);
        Ok((tag, len, response.into_model()?))
    };
    let (tag, len, list) = match lake.bounded(lake.target(path), request).await {
        Err(LakeError::Stale { .. }) => return Ok(None),
        other => other?,
    };
    let blocks = list.committed_blocks.unwrap_or_default();
    let sizes = blocks
        .iter()
        .map(|block| block.size.and_then(|size| size.try_into().ok()));
    let lens: Vec<u64> = sizes.map(Option::unwrap_or_default).collect();
    let ids: Vec<Vec<u8>> = blocks.into_iter().filter_map(|block| block.name).collect();
    let is_ours = ids.iter().all(|id| id.len() == BLOCK_ID_LEN_BYTES)
        && ids.len() == lens.len()
        && !ids.is_empty();
    let state = FileState {
        version: Version::new(tag.ok_or_else(no_etag)?.as_ref()),
        len_bytes: len
            .and_then(|len| len.try_into().ok())
            .unwrap_or_else(|| lens.iter().sum()),
        segments: if is_ours {
            Segments::Fixed(lens)
        } else {
            Segments::Foreign
        },
    };
    let blocks = Arc::new(ids);
    Ok(Some(Committed { state, blocks }))
}

/// The blocks of a file in this state.
async fn blocks(
    lake: &AzureLake,
    path: &LakePath,
    version: &Version,
) -> Result<BlockIds, LakeError> {
    if let Some(blocks) = lake.block_lists.known(path, version) {
        return Ok(blocks);
    }
    match committed(lake, path).await? {
        Some(found) if found.state.version == *version => match found.state.segments {
            // Its content would be lost: it is in no block that a list could name.
            Segments::Foreign => Err(LakeError::Blocked {
                path: path.to_string(),
                reason: "its blocks are not silt's".to_owned(),
                remedy: "move the file out of the lake",
            }),
            Segments::Arbitrary | Segments::Fixed(_) => Ok(found.blocks),
        },
        _ => Err(LakeError::Stale {
            path: path.to_string(),
        }),
    }
}

/// Commits an addition.
pub(super) async fn append(
    lake: &AzureLake,
    path: &LakePath,
    base: Option<Base<'_>>,
    addition: &Addition,
) -> Result<Version, LakeError> {
    let old = match base {
        Some(base) => blocks(lake, path, base.version).await?,
        None => BlockIds::default(),
    };
    // Blocks are staged concurrently, then the list is committed.
    let limit_ms = 2 * lake.request_limit_ms + addition.chunk.len() as u64 / SLOWEST_BYTES_PER_MS;
    let request = commit(lake, path, base, &old, addition);
    let (tag, blocks) = bounded_by(limit_ms, lake.target(path), request).await?;
    let version = Version::new(&tag.ok_or_else(no_etag)?);
    lake.block_lists.remember(path, &version, Arc::new(blocks));
    Ok(version)
}

/// Stages the new blocks, then commits the list of all blocks under the condition. Returns the `ETag` and the
/// list.
async fn commit(
    lake: &AzureLake,
    path: &LakePath,
    base: Option<Base<'_>>,
    old: &[Vec<u8>],
    addition: &Addition,
) -> azure_core::Result<(Option<String>, Vec<Vec<u8>>)> {
    let blob = lake.blob(path).block_blob_client();
    let (kept, old_foot) = split_blocks(old, base);
    let foot = if old_foot.is_none() {
        addition.foot.clone().into()
    } else {
        Bytes::new()
    };
    let (head, chunk, foot) = futures::try_join!(
        stage(lake, &blob, addition.head.clone().into()),
        stage(lake, &blob, addition.chunk.clone()),
        stage(lake, &blob, foot),
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
        Some(base) => options.if_match = Some(Etag::from(base.version.as_str())),
        None => options.if_none_match = Some(Etag::from("*")),
    }
    let response = blob
        .commit_block_list(list.try_into()?, Some(options))
        .await?;
    let tag = response.etag()?.map(|etag| etag.to_string());
    Ok((tag, blocks))
}

/// Uploads a block, which no reader sees yet. Returns its id, or `None` if there is nothing to upload.
async fn stage(
    lake: &AzureLake,
    blob: &BlockBlobClient,
    bytes: Bytes,
) -> azure_core::Result<Option<Vec<u8>>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = lake.block_lists.next_id();
    let len_bytes = bytes.len() as u64;
    blob.stage_block(&id, len_bytes, Body::Bytes(bytes).into(), None)
        .await?;
    Ok(Some(id))
}

/// Splits a file's blocks into the chunks, which are kept, and the foot. The head is left out.
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
