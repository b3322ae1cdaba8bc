//! Finds out whether another process has opened a file, with inotify (`inotify(7)`).
//!
//! A watch begins before the file is published, and silt keeps the handle that it created the file with, so
//! every open is a reader's. Opens and closes can't be counted against each other, since the kernel merges
//! equal events: a file that was opened once counts as being read from then on. Readers on other machines that
//! share a network file system are not seen.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Watches one file, under whatever path, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    id: i32,
    released: Released,
}

/// Watches that were dropped and are still to be removed from the inotify queue.
type Released = Arc<Mutex<Vec<i32>>>;

impl Drop for Watch {
    fn drop(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        released.push(self.id);
    }
}

/// Records which of the watched files were opened.
#[derive(Debug)]
pub(super) struct OpenWatches {
    /// `None` if the system provides no inotify instance: then any file may be open.
    queue: Option<OwnedFd>,
    was_opened: HashMap<i32, bool>,
    released: Released,
}

impl OpenWatches {
    pub(super) fn new() -> Self {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Self {
            queue,
            was_opened: HashMap::new(),
            released: Released::default(),
        }
    }

    /// Watches a file that no other process can know yet.
    pub(super) fn watch(&mut self, path: &Path) -> Option<Watch> {
        let queue = self.queue.as_ref()?;
        let id = inotify::add_watch(queue, path, WatchFlags::OPEN).ok()?;
        self.was_opened.insert(id, false);
        let released = Arc::clone(&self.released);
        Some(Watch { id, released })
    }

    /// Whether the file is known not to have been opened.
    pub(super) fn may_overwrite(&mut self, watch: Option<&Watch>) -> bool {
        self.release();
        self.take_events();
        watch.is_some_and(|watch| self.was_opened.get(&watch.id) == Some(&false))
    }

    fn release(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        for id in released.drain(..) {
            self.was_opened.remove(&id);
            if let Some(queue) = &self.queue {
                // It fails only if the file is gone, and the watch with it.
                let _ = inotify::remove_watch(queue, id);
            }
        }
    }

    fn take_events(&mut self) {
        let Some(queue) = &self.queue else { return };
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
        let mut reader = inotify::Reader::new(queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    // Events were lost, so any file may have been opened.
                    self.was_opened.clear();
                }
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    self.was_opened.remove(&event.wd());
                }
                Ok(event) => {
                    if let Some(was_opened) = self.was_opened.get_mut(&event.wd()) {
                        *was_opened = true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
