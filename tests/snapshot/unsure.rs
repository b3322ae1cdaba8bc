//! A lake that commits and then reports a timeout.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use silt::lake::{
    Base, FileInfo, FileState, Lake, LakeError, LakeLimits, LakePath, Prepared, SmallFile, Version,
    Walked,
};
use silt_core::file::layout::Addition;

/// Every other commit has an unknown outcome.
#[derive(Debug)]
pub struct Unsure {
    pub lake: Arc<dyn Lake>,
    pub commits: AtomicU32,
}

type Result<T> = std::result::Result<T, LakeError>;

#[async_trait]
impl Lake for Unsure {
    async fn append(
        &self,
        path: &LakePath,
        base: Option<Base<'_>>,
        addition: &Addition,
    ) -> Result<Version> {
        let appended = self.lake.append(path, base, addition).await;
        if self
            .commits
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(2)
        {
            return Err(LakeError::TimedOut { limit_ms: 0 });
        }
        appended
    }

    async fn prepare(&self) -> Result<Prepared> {
        self.lake.prepare().await
    }

    async fn list(&self, folder: &str) -> Result<Vec<FileInfo>> {
        self.lake.list(folder).await
    }

    fn walk<'a>(&'a self, folder: &str) -> BoxStream<'a, Result<Walked>> {
        self.lake.walk(folder)
    }

    fn limits(&self) -> LakeLimits {
        self.lake.limits()
    }

    async fn close(&self, path: &LakePath) {
        self.lake.close(path).await;
    }

    async fn sweep(&self, folder: &str) {
        self.lake.sweep(folder).await;
    }

    async fn expect_holds(&self, path: &LakePath) -> Result<()> {
        self.lake.expect_holds(path).await
    }

    async fn open(&self, path: &LakePath) -> Result<Option<FileState>> {
        self.lake.open(path).await
    }

    async fn read(&self, path: &LakePath, version: &Version, range: Range<u64>) -> Result<Vec<u8>> {
        self.lake.read(path, version, range).await
    }

    async fn get(&self, path: &LakePath) -> Result<Option<SmallFile>> {
        self.lake.get(path).await
    }

    async fn put(
        &self,
        path: &LakePath,
        base: Option<&Version>,
        bytes: Vec<u8>,
    ) -> Result<Version> {
        self.lake.put(path, base, bytes).await
    }

    async fn remove_probe(&self, path: &LakePath, version: &Version) -> Result<()> {
        self.lake.remove_probe(path, version).await
    }
}
