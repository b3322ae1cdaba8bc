//! Runs CPU-bound work, encoding and compression, outside the async runtime.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// Limits such work to all processors but one. The last one is left to the readers: when a reader can't send its next
/// request, the server idles.
#[derive(Clone, Debug)]
pub struct Processors {
    free: Arc<Semaphore>,
}

impl Processors {
    /// The processors that this process may use.
    #[must_use]
    pub fn all() -> Self {
        Self::new(available_parallelism().map_or(1, usize::from))
    }

    fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count.saturating_sub(1).max(1))),
        }
    }

    /// Runs `work` when a processor is free. It runs to completion even if the caller stops waiting.
    ///
    /// # Errors
    ///
    /// The work panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // The semaphore is never closed; without a permit the work would merely not be bounded.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let work = move || {
            let _permit = permit;
            work()
        };
        spawn_blocking(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn one_of_several_processors_is_left_free() {
        for (count, expected) in [(1, 1), (2, 1), (3, 2)] {
            let processors = Processors::new(count);
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            // Each waits until the expected number of them runs concurrently.
            let barrier = Arc::new(std::sync::Barrier::new(expected));
            let works = (0..expected * 6).map(|_| {
                let (now, most, barrier) = (now.clone(), most.clone(), barrier.clone());
                processors.work(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    barrier.wait();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            });
            for done in join_all(works).await {
                done.unwrap();
            }
            assert_eq!(most.load(Ordering::SeqCst), expected);
        }
    }
}
