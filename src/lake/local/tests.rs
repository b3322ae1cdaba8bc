//! Writers of an older version that begin to write in the middle of a commit. The lock excludes one that comes
//! at any other moment.

use std::fs::{self, File};
use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::lake::LakeError;

const NAME: &str = "2024-01-15-14.ndjson";

fn addition(chunk: &'static str) -> Addition {
    Addition {
        head: Vec::new(),
        chunk: Bytes::from_static(chunk.as_bytes()),
        foot: Vec::new(),
    }
}

/// A file `a`, to which `b` is appended. An older version does `older` when all is written and not yet published.
fn append(older: impl Fn(&Path)) -> (Result<(), LakeError>, String, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path(), "users", 1);
    let path = folder.file(NAME);
    let mut lock = folder.lock().unwrap();
    let (version, tracked) = folder.create(NAME, &addition("a"), |_| None).unwrap();
    let base = Base {
        version: &version,
        head_len_bytes: 0,
        foot_len_bytes: 0,
    };
    let watch = |_: &Path| {
        older(&path);
        None
    };
    let added = folder.append(NAME, base, &addition("b"), tracked, &mut lock, watch);
    let bytes = fs::read_to_string(&path).unwrap();
    (added.map(|_| ()), bytes, root)
}

/// The lock of an older version.
fn older_lock(path: &Path) -> File {
    let lock = File::create(path.with_file_name(".silt.lock")).unwrap();
    lock.try_lock().unwrap();
    lock
}

fn replace(path: &Path, text: &str) {
    let next = path.with_file_name(".older");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

#[test]
fn a_late_writer_that_was_first_keeps_its_commit() {
    let (added, bytes, _root) = append(|path| {
        let _lock = older_lock(path);
        replace(path, "ax");
    });
    assert!(matches!(added, Err(LakeError::Stale { .. })), "{added:?}");
    assert_eq!(bytes, "ax");
}

#[test]
fn a_commit_waits_for_a_late_writer_and_is_none_if_that_replaces_it() {
    let (added, bytes, _root) = append(|path| {
        let (lock, path) = (older_lock(path), path.to_owned());
        std::thread::spawn(move || {
            // It has looked at the file, and replaces whatever is there a moment later.
            while fs::read_to_string(&path).unwrap() != "ab" {}
            replace(&path, "ax");
            drop(lock);
        });
    });
    assert!(matches!(added, Err(LakeError::Stale { .. })), "{added:?}");
    assert_eq!(bytes, "ax");
}

#[test]
fn a_late_writer_that_finds_the_commit_leaves_it() {
    let (added, bytes, root) = append(|path| drop(older_lock(path)));
    added.unwrap();
    assert_eq!(bytes, "ab");
    assert!(root.path().join("users/.silt.lock").exists());
}
