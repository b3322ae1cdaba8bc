//! Who has a file open, by inotify (`inotify(7)`).
//!
//! A file is watched from before it is published, so every opening and closing of it is counted.
//! Readers on other machines of a network file system are not seen, nor are mappings of a closed
//! file.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Names a watched file, whatever its path becomes.
pub(super) type Watch = i32;

/// Counts the readers of watched files.
#[derive(Debug)]
pub(super) struct Readers {
    /// `None` where the system has no inotify to give: then every file may be open.
    queue: Option<OwnedFd>,
    open: HashMap<Watch, i64>,
}

impl Readers {
    pub(super) fn new() -> Self {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Self {
            queue,
            open: HashMap::new(),
        }
    }

    /// Watches a file that nobody but the caller knows yet.
    pub(super) fn watch(&mut self, path: &Path) -> Option<Watch> {
        let flags = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
        let watch = inotify::add_watch(self.queue.as_ref()?, path, flags).ok()?;
        self.open.entry(watch).or_insert(0);
        Some(watch)
    }

    /// Whether nobody has the file open. If not, it is given up for good.
    pub(super) fn may_overwrite(&mut self, watch: Option<Watch>) -> bool {
        let Some(watch) = watch else { return false };
        self.count();
        let is_free = self.open.get(&watch) == Some(&0);
        if !is_free {
            self.open.remove(&watch);
            if let Some(queue) = &self.queue {
                // It fails only where the file is gone, and the watch with it.
                let _ = inotify::remove_watch(queue, watch);
            }
        }
        is_free
    }

    fn count(&mut self) {
        let Some(queue) = &self.queue else { return };
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
        let mut reader = inotify::Reader::new(queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    // Events were lost, so no count holds any more.
                    self.open.clear();
                }
                Ok(event) => {
                    let Some(open) = self.open.get_mut(&event.wd()) else {
                        continue;
                    };
                    if event.events().contains(ReadFlags::OPEN) {
                        *open += 1;
                    } else if event.events().contains(ReadFlags::IGNORED) {
                        self.open.remove(&event.wd());
                    } else {
                        *open -= 1;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
