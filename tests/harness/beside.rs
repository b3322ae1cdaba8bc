//! Jobs beside each other.

use std::sync::Mutex;

/// Does jobs side by side, so many at once, each on a thread and a runtime of its own, for waiting for
/// silt blocks. When one has failed, no more are begun.
pub fn side_by_side<J: Send>(
    at_once: usize,
    jobs: impl IntoIterator<Item = J, IntoIter: Send>,
    work: impl AsyncFn(J) + Sync,
) {
    let jobs = Mutex::new(jobs.into_iter());
    let has_failed = std::sync::atomic::AtomicBool::new(false);
    let worker = || {
        let failure = Failure(&has_failed);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        while !failure.was_met() {
            let Some(job) = jobs.lock().unwrap().next() else {
                break;
            };
            runtime.block_on(work(job));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(worker);
        }
    });
}

/// Notes a panic of its thread.
struct Failure<'a>(&'a std::sync::atomic::AtomicBool);

impl Failure<'_> {
    fn was_met(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
