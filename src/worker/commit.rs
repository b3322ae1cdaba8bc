//! One commit: frame, compress, append, log.

use std::time::Instant;

use tracing::info;

use super::{Durations, Edges};
use crate::lake::{self, Base};
use silt_core::failure::{Disposition, Failure};
use silt_core::file::commit;
use silt_core::file::format::Compression;
use silt_core::machine::{Tail, WriteOrder};
use silt_core::namespace::Namespace;

/// A successful commit.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) tail: Tail,
    /// With the frame; compressed if the file is.
    pub(super) uploaded_bytes: u64,
}

/// Makes one commit and logs it.
pub(super) async fn commit(
    edges: &Edges,
    durations: &Durations,
    origin: &Namespace,
    order: &WriteOrder,
) -> Result<Committed, Failure> {
    let begun = Instant::now();
    // The semaphore is never closed.
    let _permit = edges.uploads.acquire().await;
    let encoded = encode(edges, origin, order).await?;
    let path = lake::tail::path(origin, order.name);
    let base = order.base.as_ref().map(|base| Base {
        version: &base.version,
        head_len_bytes: base.file.head_len_bytes,
        foot_len_bytes: base.file.foot_len_bytes,
    });
    let upload_begun = Instant::now();
    let appended = edges.lake.append(&path, base, &encoded.addition).await;
    // Failures count too: a lake that fails slowly should be visible.
    let upload_seconds = upload_begun.elapsed().as_secs_f64();
    durations.upload.observe(upload_seconds);
    let version = appended.map_err(|error| Failure::from(&error))?;
    info!(
        collection = %origin,
        file = %path,
        changes = order.batch.changes,
        bytes = encoded.addition.chunk.len(),
        commit = encoded.file.commits,
        duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        reason = order.reason.as_str(),
        "flushed"
    );
    Ok(Committed {
        uploaded_bytes: encoded.addition.len_bytes(),
        tail: Tail {
            file: encoded.file,
            version,
            is_closed: false,
        },
    })
}

/// Frames and compresses a batch outside the async runtime.
async fn encode(
    edges: &Edges,
    origin: &Namespace,
    order: &WriteOrder,
) -> Result<commit::Commit, Failure> {
    let (origin, order) = (origin.clone(), order.clone());
    let (gzip_level, now_unix_ms) = (edges.gzip_level, edges.clock.now().unix_ms);
    let work = move || {
        commit::commit(
            &origin,
            order.base.as_ref().map(|base| &base.file),
            order.name,
            &order.batch,
            gzip_level,
            now_unix_ms,
        )
    };
    let failed = |error: String| Failure {
        disposition: Disposition::Halt,
        cause: "silt_encoding",
        message: format!("a batch can't be encoded: {error}"),
    };
    if order.name.format.compression == Compression::None {
        // Only head and foot are made.
        return work().map_err(|error| failed(error.to_string()));
    }
    match edges.processors.work(work).await {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(panic) => Err(failed(panic.to_string())),
    }
}
