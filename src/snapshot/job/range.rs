//! Reads one range, from the last document that the lake holds to the range's end.

use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, warn};

use super::super::read::chunk::Chunk;
use super::super::read::id::Id;
use super::super::read::request::unmade;
use super::Job;
use super::range_reader::{Gathered, Reading};
use crate::lake::{Base, Version};
use silt_core::backoff::Backoff;
use silt_core::failure::{Disposition, Failure};
use silt_core::file::format::Compression;
use silt_core::file::layout::Commit;
use silt_core::snapshot::part::{self, Documents, Part, PartName};

/// Why a range ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The lake holds all of it.
    Read,
    /// Another instance has finished the snapshot.
    Overtaken,
}

/// The newest part of a range, with the version to append to it.
type Newest = Option<(Part, Version)>;

/// Reads a range (numbered from 0) to its end. Transient failures are retried: what is in memory is dropped, and
/// the lake says where to resume, so no document is archived twice. After `RETRY_ATTEMPTS` failures in a row it gives
/// up, so that other collections get their turn.
pub(crate) async fn run(job: &Job, range: u32) -> Result<Ended, Failure> {
    let first_delay_ms = job.target.limits.retry_delay_ms;
    let mut backoff = Backoff::new(first_delay_ms, fastrand::u64(..));
    loop {
        let failure = match read(job, range, &mut backoff).await {
            Ok(ended) => return Ok(ended),
            Err(failure) => failure,
        };
        match failure.disposition {
            Disposition::Retry { .. } | Disposition::Reload => {}
            Disposition::Halt | Disposition::HistoryLost { .. } | Disposition::Exit => {
                return Err(failure);
            }
        }
        let delay_ms = backoff.failed(failure.disposition);
        if backoff.failures() >= job.target.limits.retry_attempts {
            return Err(failure);
        }
        warn!(
            collection = %job.target.origin,
            range = range + 1,
            error = failure.message,
            delay_ms,
            "snapshot range failed; retrying from what the lake holds"
        );
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}

async fn read(job: &Job, range: u32, backoff: &mut Backoff) -> Result<Ended, Failure> {
    let Some(bounds) = job.plan.bounds(range) else {
        return Ok(Ended::Read);
    };
    let contents = job.folder().contents().await?;
    if contents.is_finished {
        return Ok(Ended::Overtaken);
    }
    let mut newest: Newest = match contents.newest(range, job.plan.ranges()) {
        Some(name) => job.folder().read(name).await?,
        None => None,
    };
    let last = newest.as_ref().map(|(part, _)| Id::from_key(&part.last));
    let mut reading = Reading::new(job, bounds, last.transpose()?)?;
    loop {
        let (Gathered { chunk, memory }, outcome) = reading.gather().await;
        if chunk.documents > 0 {
            reading.reuse(append(job, range, &mut newest, chunk).await?);
            backoff.succeeded();
        }
        drop(memory);
        outcome?;
        if reading.is_over() {
            break;
        }
    }
    if let Some((part, _)) = &newest {
        job.edges.lake.close(&job.path(&part.name)).await;
    }
    debug!(collection = %job.target.origin, range = range + 1, "range finished");
    Ok(Ended::Read)
}

/// Commits a chunk to the range's newest part, or to the next one. Returns the chunk's memory for reuse.
async fn append(
    job: &Job,
    range: u32,
    newest: &mut Newest,
    chunk: Chunk,
) -> Result<Vec<u8>, Failure> {
    let (read_documents, read_bytes) = (u64::from(chunk.documents), chunk.bytes);
    let part = newest.as_ref().map(|(part, _)| part);
    let (name, base) = job.plan.place(range, part);
    let last = chunk.last.as_ref().map(Id::key);
    let lines = Bytes::from(chunk.lines);
    let documents = Documents {
        lines: lines.clone(),
        count: chunk.documents,
        last: last.ok_or_else(|| unmade("no document was read"))??,
    };
    let Commit { addition, file } = encode(job, name, base.cloned(), documents).await?;
    let version = newest.as_ref().map(|(_, version)| version);
    let at = base.zip(version).map(|(part, version)| Base {
        version,
        head_len_bytes: part.extent.head_len_bytes,
        foot_len_bytes: part.extent.foot_len_bytes,
    });
    let path = job.path(&name);
    let appended = job.edges.lake.append(&path, at, &addition).await;
    let version = appended.map_err(|error| Failure::from(&error))?;
    if let Some((old, _)) = newest.as_ref().filter(|(old, _)| old.name != name) {
        job.edges.lake.close(&job.path(&old.name)).await;
    }
    job.note_written(&file);
    job.progress
        .send_modify(|progress| progress.add(read_documents, read_bytes));
    *newest = Some((file, version));
    drop(addition);
    // A request that timed out may still hold the memory.
    Ok(lines.try_into_mut().map(Vec::from).unwrap_or_default())
}

/// Frames and compresses a chunk. Compression runs outside the async runtime.
async fn encode(
    job: &Job,
    name: PartName,
    base: Option<Part>,
    documents: Documents,
) -> Result<Commit<Part>, Failure> {
    let plan = job.plan.clone();
    let (gzip_level, now) = (job.target.gzip_level, job.edges.clock.now());
    let work = move || {
        part::commit(
            &plan,
            base.as_ref(),
            name,
            documents,
            gzip_level,
            now.unix_ms,
        )
    };
    let failed = |error: String| Failure {
        disposition: Disposition::Halt,
        cause: "silt_encoding",
        message: format!("documents can't be encoded: {error}"),
    };
    if name.format.compression == Compression::None {
        // Only head and foot are built.
        return work().map_err(|error| failed(error.to_string()));
    }
    match job.edges.processors.work(work).await {
        Ok(commit) => commit.map_err(|error| failed(error.to_string())),
        Err(panic) => Err(failed(panic.to_string())),
    }
}
