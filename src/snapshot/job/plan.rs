//! Makes the plan of a snapshot.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use tracing::debug;

use super::super::lake::small_file::pretty;
use super::super::read::chunk::ids;
use super::super::read::describe::Description;
use super::super::read::id::Id;
use super::super::read::query::{self, How};
use super::super::read::request::{ask, bounded};
use super::super::{Edges, Settings, Target};
use crate::lake::{LakeError, LakePath};
use silt_core::extjson::Mode;
use silt_core::failure::Failure;
use silt_core::file::frame::rfc3339;
use silt_core::snapshot::folder::{FolderName, PLAN};
use silt_core::snapshot::key::Key;
use silt_core::snapshot::plan::{JsonMode, Plan};

/// A collection with fewer documents is one range.
const DOCUMENTS_PER_RANGE_LEAST: u64 = 1_000;
/// Of so many `_id`s in a range's length one becomes a boundary. All of them together must be less than a
/// twentieth of the collection, or else the server reads it all.
const SAMPLES_PER_RANGE: u64 = 32;

/// Plans a snapshot from this moment on.
pub(crate) async fn plan(
    edges: &Edges,
    settings: Settings,
    target: &Target,
    description: Description,
) -> Result<Plan, Failure> {
    // The feed was watching before: every change from here on comes to the lake.
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

/// Puts a plan into the lake. There may be one already, of the same second: it stays.
pub(crate) async fn put(edges: &Edges, target: &Target, plan: &Plan) -> Result<(), Failure> {
    let path = LakePath {
        folder: FolderName::of(plan.cluster_time).path(&target.origin),
        name: PLAN.to_owned(),
    };
    match edges.lake.put(&path, None, pretty(plan)?).await {
        Ok(_) | Err(LakeError::Stale { .. }) => Ok(()),
        Err(error) => Err(Failure::from(&error)),
    }
}

/// About how many documents there are, and how long they are.
async fn estimate(edges: &Edges, target: &Target) -> Result<(u64, Option<u64>), Failure> {
    let (deployment, origin) = (&edges.deployment, &target.origin);
    let collection = collection(edges, target);
    let documents = bounded(deployment, origin, collection.estimated_document_count()).await?;
    let stages = [doc! { "$collStats": { "storageStats": {} } }];
    let asking = async {
        let shards: Vec<Document> = collection.aggregate(stages).await?.try_collect().await?;
        Ok(shards)
    };
    // Nothing hangs on it but the first reply's size: a role may not see it, a collection may not be there.
    let shards = match bounded(deployment, origin, asking).await {
        Ok(shards) => shards,
        Err(failure) => {
            debug!(collection = %origin, error = failure.message, "its size can't be seen");
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

/// Into how many ranges so many documents are split.
fn ranges(wanted: u32, documents: u64) -> u32 {
    let sensible = u32::try_from(documents / DOCUMENTS_PER_RANGE_LEAST).unwrap_or(u32::MAX);
    wanted.min(sensible).max(1)
}

/// Where the ranges meet. The server samples and sorts: it alone knows the order over all types.
async fn boundaries(edges: &Edges, target: &Target, ranges: u32) -> Result<Vec<Key>, Failure> {
    if ranges < 2 {
        return Ok(Vec::new());
    }
    let size = i64::try_from(u64::from(ranges) * SAMPLES_PER_RANGE).unwrap_or(i64::MAX);
    let command = bson::rawdoc! {
        "aggregate": target.origin.collection.as_str(),
        "pipeline": [
            { "$sample": { "size": size } },
            // The same document may be drawn twice.
            { "$group": { "_id": "$_id" } },
            { "$sort": { "_id": 1 } },
        ],
        "cursor": { "batchSize": size },
    };
    let samples = ask(&edges.deployment, &target.origin, command).await?;
    let mut ids = ids(&samples)?;
    // Nothing lies before the one or behind the other.
    ids.retain(|id| !id.is_min_key() && !id.is_max_key());
    let at = picked(ids.len(), ranges);
    at.map(|at| ids[at].key()).collect()
}

/// Which of so many samples, in order, split them into so many ranges.
fn picked(samples: usize, ranges: u32) -> impl Iterator<Item = usize> {
    let ranges = usize::try_from(ranges).unwrap_or(usize::MAX);
    let mut at: Vec<usize> = (1..ranges)
        .map(|number| number * samples / ranges)
        .filter(|at| *at < samples)
        .collect();
    at.dedup();
    at.into_iter()
}
