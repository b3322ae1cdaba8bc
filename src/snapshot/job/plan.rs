//! Plans a snapshot: its position, ranges and limits.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use tracing::debug;

use super::super::lake::small_file::encode;
use super::super::read::chunk::ids;
use super::super::read::describe::Description;
use super::super::read::id::Id;
use super::super::read::query::{self, How};
use super::super::read::request::{ask, bounded};
use super::super::{Edges, Settings, Target};
use crate::lake::{LakeError, LakePath};
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::snapshot::folder::{FolderName, PLAN};
use silt_core::snapshot::key::Key;
use silt_core::snapshot::plan::{JsonMode, Plan};
use silt_core::time::rfc3339;

/// The least documents for which a range of its own pays.
const DOCUMENTS_PER_RANGE_LEAST: u64 = 1_000;
/// `_id`s that are sampled per range to choose one boundary. All samples together must be less than a twentieth of
/// the collection: otherwise `$sample` scans all of it.
const SAMPLES_PER_RANGE: u64 = 32;

/// Plans a snapshot at the current cluster time.
pub(crate) async fn plan(
    edges: &Edges,
    settings: Settings,
    target: &Target,
    description: Description,
) -> Result<Plan, Failure> {
    // The feed's stream began before, so every later change reaches the lake.
    let position = edges.deployment.cluster_time().await;
    let position = position.map_err(|error| Failure::from(&error))?;
    let (estimated_documents, estimated_bytes) = estimate(edges, target).await?;
    let ranges = ranges(settings.ranges, estimated_documents);
    let boundaries = boundaries(edges, target, ranges).await?;
    let how = How {
        collection: &target.origin.collection,
        read_from: position,
        limit: edges.deployment.request_limit(),
    };
    let greatest = ask(&edges.deployment, &target.origin, query::last_id(how)).await?;
    let greatest = ids(&greatest)?;
    let limits = &target.limits;
    Ok(Plan {
        database: target.origin.database.clone(),
        collection: target.origin.collection.clone(),
        uuid: description.uuid,
        cluster_time: position,
        begun_at: rfc3339(edges.clock.now().unix_ms),
        estimated_documents,
        estimated_bytes,
        boundaries,
        last: greatest.first().map(Id::key).transpose()?,
        change_filters: Some(target.change_filters.clone()),
        format: target.format,
        json_mode: match target.json_mode {
            Mode::Relaxed => JsonMode::Relaxed,
            Mode::Canonical => JsonMode::Canonical,
        },
        chunk_limit_bytes: limits.batch_seal_bytes(),
        file_limit_bytes: limits.file_limit_bytes,
        file_limit_commits: limits.file_limit_commits,
        silt_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Writes a plan into the lake. One of the same second that exists already stays.
pub(crate) async fn put(edges: &Edges, target: &Target, plan: &Plan) -> Result<(), Failure> {
    let path = LakePath {
        folder: FolderName::of(plan.cluster_time).path(&target.origin),
        name: PLAN.name.to_owned(),
    };
    match edges.lake.put(&path, None, encode(plan)?).await {
        Ok(_) | Err(LakeError::Stale { .. }) => Ok(()),
        Err(error) => Err(Failure::from(&error)),
    }
}

/// The estimated number of documents, and their total size if the role may read it.
async fn estimate(edges: &Edges, target: &Target) -> Result<(u64, Option<u64>), Failure> {
    let (deployment, origin) = (&edges.deployment, &target.origin);
    let collection = collection(edges, target);
    let documents = bounded(deployment, origin, collection.estimated_document_count()).await?;
    let stages = [doc! { "$collStats": { "storageStats": {} } }];
    let asking = async {
        let shards: Vec<Document> = collection.aggregate(stages).await?.try_collect().await?;
        Ok(shards)
    };
    // Only the size of the first reply depends on it. The role may not allow it, or the collection not exist.
    let shards = match bounded(deployment, origin, asking).await {
        Ok(shards) => shards,
        Err(failure) => {
            debug!(collection = %origin, error = failure.message, "the collection's size is unknown");
            return Ok((documents, None));
        }
    };
    let sizes = shards.iter().map(|shard| {
        let stats = shard.get_document("storageStats").ok()?;
        let size = stats.get("size")?;
        let size = size.as_i64().or_else(|| size.as_i32().map(i64::from));
        u64::try_from(size?).ok()
    });
    Ok((documents, sizes.sum()))
}

fn collection(edges: &Edges, target: &Target) -> mongodb::Collection<Document> {
    let database = edges.deployment.client().database(&target.origin.database);
    database.collection(&target.origin.collection)
}

/// The number of ranges for this many documents.
fn ranges(wanted: u32, documents: u64) -> u32 {
    let worthwhile = u32::try_from(documents / DOCUMENTS_PER_RANGE_LEAST).unwrap_or(u32::MAX);
    wanted.min(worthwhile).max(1)
}

/// The boundaries between the ranges. The server samples and sorts: only it knows the order across all types.
async fn boundaries(edges: &Edges, target: &Target, ranges: u32) -> Result<Vec<Key>, Failure> {
    if ranges < 2 {
        return Ok(Vec::new());
    }
    let size = i64::try_from(u64::from(ranges) * SAMPLES_PER_RANGE).unwrap_or(i64::MAX);
    let command = bson::rawdoc! {
        "aggregate": target.origin.collection.as_str(),
        "pipeline": [
            { "$sample": { "size": size } },
            // A document may be sampled twice.
            { "$group": { "_id": "$_id" } },
            { "$sort": { "_id": 1 } },
        ],
        "cursor": { "batchSize": size },
    };
    let samples = ask(&edges.deployment, &target.origin, command).await?;
    let mut ids = ids(&samples)?;
    // No document is before MinKey or after MaxKey.
    ids.retain(|id| !id.is_min_key() && !id.is_max_key());
    let at = picked(ids.len(), ranges);
    at.map(|at| ids[at].key()).collect()
}

/// The indexes of the samples, in order, that become boundaries.
fn picked(samples: usize, ranges: u32) -> impl Iterator<Item = usize> {
    let ranges = usize::try_from(ranges).unwrap_or(usize::MAX);
    let mut at: Vec<usize> = (1..ranges)
        .map(|number| number * samples / ranges)
        .filter(|at| *at < samples)
        .collect();
    at.dedup();
    at.into_iter()
}
