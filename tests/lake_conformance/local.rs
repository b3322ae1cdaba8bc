//! What is special to a local lake.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use futures::TryStreamExt as _;

use super::*;
use silt::lake::local::LocalLake;
use silt_core::machine::Tail;

#[tokio::test]
async fn a_slow_reader_sees_the_file_that_it_opened() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let origin = origin("users");
    let (mut file, mut version) = written(&lake, "users", "json", 4).await;
    let path = lake::tail::path(&origin, file.name);
    let on_disk = folder.path().join(path.to_string());
    let mut readers = Vec::new();
    for number in 4..14 {
        let mut reader = fs::File::open(&on_disk).unwrap();
        // A fast reader besides the slow one: the kernel merges equal events of the two.
        fs::read(&on_disk).unwrap();
        let mut beginning = vec![0; 700];
        reader.read_exact(&mut beginning).unwrap();
        readers.push((number, reader, beginning));
        (file, version) = append_next(&lake, "users", (&file, &version), number)
            .await
            .unwrap();
    }
    for (commits, mut reader, mut bytes) in readers {
        reader.read_to_end(&mut bytes).unwrap();
        let expected: Vec<u32> = (0..commits * 3).collect();
        assert_eq!(numbers(&bytes, file.name.format), expected);
    }
}

#[tokio::test]
async fn without_readers_a_commit_reuses_the_twin() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let origin = origin("users");
    let (mut file, mut version) = written(&lake, "users", "json", 3).await;
    let path = lake::tail::path(&origin, file.name);
    let mut inodes = std::collections::BTreeSet::new();
    for number in 3..20 {
        (file, version) = append_next(&lake, "users", (&file, &version), number)
            .await
            .unwrap();
        let metadata = fs::metadata(folder.path().join(path.to_string())).unwrap();
        inodes.insert(metadata.ino());
    }
    assert_eq!(
        inodes.len(),
        2,
        "two files take turns, so no commit copies the whole"
    );
}

#[tokio::test]
async fn another_process_that_sweeps_or_is_killed_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let origin = origin("users");
    let (mut file, mut version) = written(&lake, "users", "json", 4).await;
    let path = lake::tail::path(&origin, file.name);
    for number in 4..8 {
        let hidden = hidden(&folder, "users").join(".2024-01-15-14.json.twin");
        if number % 2 == 0 {
            LocalLake::new(folder.path().to_owned())
                .sweep("users")
                .await;
        }
        fs::write(hidden, "half a copy").unwrap();
        // A twin that was swept is noticed at the latest when it is exchanged.
        let appended = append_next(&lake, "users", (&file, &version), number).await;
        (file, version) = match appended {
            Ok(state) => state,
            Err(_) => append_next(&lake, "users", (&file, &version), number)
                .await
                .unwrap(),
        };
        let bytes = whole(&lake, &path).await;
        let expected: Vec<u32> = (0..number * 3 + 3).collect();
        assert_eq!(numbers(&bytes, file.name.format), expected);
    }
}

#[tokio::test]
async fn leftovers_of_a_killed_process_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    written(&lake, "users", "json", 3).await;
    let (users, hidden) = (folder.path().join("users"), hidden(&folder, "users"));
    assert_eq!(names(&users), ["2024-01-15-14.json"]);
    assert_eq!(names(&hidden).len(), 2, "a lock and a twin");
    // Older versions left theirs in the folder itself.
    for place in [&users, &hidden] {
        fs::write(place.join(".2024-01-15-13.json.twin"), "leftover").unwrap();
        fs::write(place.join(".2024-01-15-13.json.new"), "leftover").unwrap();
        fs::write(place.join(".silt.lock"), "").unwrap();
    }
    // A new process, after the old one was killed.
    LocalLake::new(folder.path().to_owned())
        .sweep("users")
        .await;
    drop(lake);
    assert_eq!(names(&users), ["2024-01-15-14.json"]);
    assert_eq!(names(&hidden), [".silt.lock"]);
}

/// Older versions lock a file in the folder itself.
#[tokio::test]
async fn a_writer_of_an_older_version_is_excluded() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let state = written(&lake, "users", "json", 2).await;
    let older_path = folder.path().join("users/.silt.lock");
    let older = fs::File::create(&older_path).unwrap();
    older.lock().unwrap();
    for is_swept in [false, true] {
        if is_swept {
            lake.sweep("users").await;
        }
        let error = append_next(&lake, "users", (&state.0, &state.1), 2)
            .await
            .unwrap_err();
        assert!(matches!(error, LakeError::Locked { .. }), "{error}");
    }
    assert!(older_path.exists(), "its writer needs it");
    older.unlock().unwrap();
    let state = append_next(&lake, "users", (&state.0, &state.1), 2)
        .await
        .unwrap();
    lake.sweep("users").await;
    assert_eq!(names(&folder.path().join("users")), ["2024-01-15-14.json"]);
    // One that opened its lock file before it was removed may lock it only now.
    older.lock().unwrap();
    let error = append_next(&lake, "users", (&state.0, &state.1), 3)
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::Locked { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_on_a_file_system_of_its_own_keeps_its_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |folder: &tempfile::TempDir| fs::metadata(folder.path()).unwrap().dev();
    assert_ne!(device(&folder), device(&other));
    std::os::unix::fs::symlink(other.path(), folder.path().join("users")).unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let (file, version) = written(&lake, "users", "json", 3).await;
    // Another process, which finds out for itself.
    let second = LocalLake::new(folder.path().to_owned());
    append_next(&second, "users", (&file, &version), 3)
        .await
        .unwrap();
    let error = append_next(&lake, "users", (&file, &version), 4)
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::Stale { .. }), "{error}");
    drop((lake, second));
    LocalLake::new(folder.path().to_owned())
        .sweep("users")
        .await;
    assert_eq!(names(other.path()), [".silt.lock", "2024-01-15-14.json"]);
    assert_eq!(names(&hidden(&folder, "users")), [".silt.lock"]);
}

/// Where the lake keeps the hidden files of a folder.
fn hidden(lake: &tempfile::TempDir, folder: &str) -> std::path::PathBuf {
    lake.path().join("_silt/.hidden").join(folder)
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_missing_root_is_named_and_works_again_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    let lake = LocalLake::new(root.clone());
    lake.prepare().await.unwrap();
    let (file, version) = written(&lake, "users", "json", 2).await;
    let path = lake::tail::path(&origin("users"), file.name);
    let commit = commit(&origin("users"), Some(&file), file.name, 6..9);
    fs::rename(&root, folder.path().join("away")).unwrap();
    let error = lake
        .append(&path, Some(base(&file, &version)), &commit.addition)
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::NoRoot { .. }), "{error}");
    fs::rename(folder.path().join("away"), &root).unwrap();
    lake.append(&path, Some(base(&file, &version)), &commit.addition)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_truncated_file_is_not_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let (file, _) = written(&lake, "users", "json", 2).await;
    let path = folder.path().join("users").join(file.name.to_string());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let error = lake::tail::load(&lake, &origin("users")).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

/// Parts of a snapshot grow concurrently in one folder.
#[tokio::test]
async fn files_that_grow_concurrently_keep_their_twins_until_they_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let parts = ["part-00001.json", "part-00002.json"];
    let path = |part: &str| LakePath {
        folder: "users/snapshot".to_owned(),
        name: part.to_owned(),
    };
    let mut inodes = [const { Vec::new() }; 2];
    let mut states: [Option<(HourFile, Version)>; 2] = [None, None];
    for number in 0..6 {
        for (which, part) in parts.iter().enumerate() {
            let known = states[which].take();
            let file = known.as_ref().map(|(file, _)| file);
            let numbers = number * 3..number * 3 + 3;
            let commit = commit(&origin("users"), file, name("json"), numbers);
            let base = known.as_ref().map(|(file, version)| base(file, version));
            let appended = lake.append(&path(part), base, &commit.addition).await;
            states[which] = Some((commit.file, appended.unwrap()));
            let seen = fs::metadata(folder.path().join(path(part).to_string()));
            inodes[which].push(seen.unwrap().ino());
        }
    }
    for inodes in &inodes {
        // From the second commit on two inodes alternate: only new bytes were copied.
        assert!(
            inodes.windows(3).all(|three| three[0] == three[2]),
            "{inodes:?}"
        );
    }
    let twins = || {
        let names = names(&hidden(&folder, "users/snapshot"));
        names.iter().filter(|name| name.ends_with(".twin")).count()
    };
    assert_eq!(twins(), 2);
    lake.close(&path(parts[0])).await;
    assert_eq!(twins(), 1);
    lake.close(&path(parts[0])).await;
    drop(lake);
    assert_eq!(twins(), 0);
}

/// `silt check` and `silt ls` must leave the hidden files of a running silt alone.
#[tokio::test]
async fn listing_leaves_hidden_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    let (file, _) = written(&lake, "users", "json", 3).await;
    let older = folder.path().join("users/.other.twin");
    let hidden = hidden(&folder, "users").join(".other.twin");
    fs::write(&hidden, "of another process").unwrap();
    fs::write(&older, "of another process, of an older version").unwrap();
    let reader = LocalLake::new(folder.path().to_owned());
    assert_eq!(reader.list("users").await.unwrap().len(), 1);
    reader.walk("").try_next().await.unwrap().unwrap();
    let Tail { file: seen, .. } = lake::tail::load(&reader, &origin("users"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.last, file.last);
    assert!(hidden.exists() && older.exists());
    reader.sweep("users").await;
    assert!(!hidden.exists() && !older.exists());
}
