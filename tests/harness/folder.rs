//! What happens in a folder, by inotify: moments of a local lake at which a test strikes.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::scene::hour_files;
use super::silt::WAIT_LIMIT;

/// A step of a commit, or of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A hidden file was created.
    Created,
    /// Bytes were written to a hidden file.
    Written,
    /// A file took its name.
    Published,
}

/// The names that appear in a folder from now on, however briefly.
pub struct NamesWatch(OwnedFd);

impl NamesWatch {
    pub fn new(folder: &Path) -> Self {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&queue, folder, flags).unwrap();
        Self(queue)
    }

    /// Those so far.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        while let Ok(event) = reader.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
            names.extend(event.file_name().map(|name| name.to_string_lossy().into()));
        }
        names
    }
}

/// What happens in a folder from now on.
pub struct FolderWatch {
    folder: PathBuf,
    queue: OwnedFd,
    steps: VecDeque<Step>,
}

impl FolderWatch {
    pub fn new(lake: &Path, folder: &str) -> Self {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
        let hidden = match folder.strip_prefix("_silt/") {
            // silt's own folders keep their hidden files.
            Some(_) => lake.join(folder),
            None => lake.join("_silt/.hidden").join(folder),
        };
        let folder = lake.join(folder);
        // Before the first commit it doesn't exist.
        std::fs::create_dir_all(&hidden).unwrap();
        for place in [&folder, &hidden] {
            inotify::add_watch(&queue, place, flags).unwrap();
        }
        Self {
            folder,
            queue,
            steps: VecDeque::new(),
        }
    }

    /// Waits for the next such step.
    pub fn wait_for(&mut self, step: Step) {
        let begun = Instant::now();
        loop {
            let next = self.next(begun);
            if next == step {
                return;
            }
            if next == Step::Published && step == Step::Created {
                self.read_files();
            }
        }
    }

    /// Somebody reads the files: a twin that was opened is left alone, so another is created.
    fn read_files(&self) {
        for path in hour_files(&self.folder) {
            // It may be replaced at this moment.
            let _ = std::fs::read(path);
        }
    }

    fn next(&mut self, begun: Instant) -> Step {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            let left = WAIT_LIMIT.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "nothing happens in the folder");
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: 1,
            };
            let mut queue = [PollFd::new(&self.queue, PollFlags::IN)];
            poll(&mut queue, Some(&left)).unwrap();
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_string_lossy());
            let name = name.unwrap_or_default();
            let is_hidden = name.ends_with(".new") || name.ends_with(".twin");
            let events = event.events();
            let is_published = !name.starts_with('.') && events.contains(ReadFlags::MOVED_TO);
            self.steps.extend(if is_published {
                Some(Step::Published)
            } else if is_hidden && events.contains(ReadFlags::CREATE) {
                Some(Step::Created)
            } else if is_hidden && events.contains(ReadFlags::MODIFY) {
                Some(Step::Written)
            } else {
                None
            });
        }
    }
}
