//! The standard output, without holding up the rest of the process.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::task::JoinHandle;

/// How long the end waits for a line that is being written.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Writes on a thread that may block.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Arc<File>,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl Output {
    pub(super) fn new(stdout: File) -> Self {
        Self {
            stdout: Arc::new(stdout),
            writing: None,
        }
    }

    /// Writes all of it, and waits until that is done.
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let stdout = Arc::clone(&self.stdout);
        let writing = self.writing.insert(tokio::task::spawn_blocking(move || {
            stdout.as_ref().write_all(&bytes)
        }));
        let written = writing.await;
        self.writing = None;
        written.map_err(io::Error::other)?
    }

    /// Lets a write come to its end that was begun, so that no line is cut.
    pub(super) async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            // If nobody reads, nobody misses the rest of the line.
            let _ = tokio::time::timeout(FINISH_LIMIT, writing).await;
        }
    }

    /// Waits until nobody can read the output any more. Only pipes, sockets and terminals tell.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let stdout = Arc::clone(&self.stdout);
        async move {
            let waiting = tokio::task::spawn_blocking(move || wait_until_closed(&stdout));
            if !matches!(waiting.await, Ok(Ok(()))) {
                // It can't be seen, so the next write finds it out.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn wait_until_closed(stdout: &File) -> Result<(), Errno> {
    loop {
        // An error or a hang-up is reported without being asked for.
        match poll(&mut [PollFd::new(stdout, PollFlags::empty())], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
