//! The promises of the trait `Lake`, tested on every lake: a local folder and Azurite.

mod azure;
mod listing;
mod local;

use std::sync::Arc;

use silt::lake::{self, Base, Lake, LakeError, LakePath, Prepared, Version};
use silt_core::file::gzip::GzipLevel;
use silt_core::file::hour_file::HourFile;
use silt_core::machine::Tail;

use crate::harness::changes::{commit, name, numbers, origin};
use crate::harness::servers::Place;

const EXTENSIONS: [&str; 4] = ["json", "json.gz", "ndjson", "ndjson.gz"];

fn base<'a>(file: &HourFile, version: &'a Version) -> Base<'a> {
    let HourFile {
        head_len_bytes,
        foot_len_bytes,
        ..
    } = *file;
    Base {
        version,
        head_len_bytes,
        foot_len_bytes,
    }
}

pub(crate) async fn whole(lake: &dyn Lake, path: &LakePath) -> Vec<u8> {
    lake.get(path).await.unwrap().unwrap().bytes
}

/// Writes this many commits of three changes each, and returns the file and its version.
pub(crate) async fn written(
    lake: &dyn Lake,
    collection: &str,
    extension: &str,
    commits: u32,
) -> (HourFile, Version) {
    let origin = origin(collection);
    let mut state: Option<(HourFile, Version)> = None;
    for number in 0..commits {
        let known = state.as_ref().map(|(file, _)| file);
        let commit = commit(&origin, known, name(extension), number * 3..number * 3 + 3);
        let path = lake::tail::path(&origin, commit.file.name);
        let base = state.as_ref().map(|(file, version)| base(file, version));
        let version = lake.append(&path, base, &commit.addition).await.unwrap();
        state = Some((commit.file, version));
    }
    state.unwrap()
}

/// Appends the `number`th commit of three changes to a file in this state.
async fn append_next(
    lake: &dyn Lake,
    collection: &str,
    (file, version): (&HourFile, &Version),
    number: u32,
) -> Result<(HourFile, Version), LakeError> {
    let origin = origin(collection);
    let commit = commit(&origin, Some(file), file.name, number * 3..number * 3 + 3);
    let path = lake::tail::path(&origin, file.name);
    let version = lake
        .append(&path, Some(base(file, version)), &commit.addition)
        .await?;
    Ok((commit.file, version))
}

#[tokio::test]
async fn the_root_is_created_once() {
    for place in Place::all() {
        let lake = place.open();
        let error = lake.list("users").await.unwrap_err();
        assert!(matches!(error, LakeError::NoRoot { .. }), "{error}");
        assert_eq!(lake.prepare().await.unwrap(), Prepared::Created);
        assert_eq!(lake.prepare().await.unwrap(), Prepared::Existed);
        assert_eq!(lake.list("users").await.unwrap(), []);
    }
}

#[tokio::test]
async fn only_azure_limits_the_commits_of_a_file() {
    for place in Place::all() {
        let expected = match place {
            Place::Local(_) => None,
            Place::Azurite { .. } => Some(49_998),
        };
        assert_eq!(place.open().limits().commits_per_file, expected);
    }
}

#[tokio::test]
async fn after_every_commit_the_file_is_valid_and_has_its_tail() {
    for place in Place::all() {
        let lake = place.prepared().await;
        for extension in EXTENSIONS {
            let origin = origin(&format!("users of {extension}"));
            let mut state: Option<(HourFile, Version)> = None;
            for number in 0..12 {
                let known = state.as_ref().map(|(file, _)| file);
                let commit = commit(&origin, known, name(extension), number * 3..number * 3 + 3);
                let path = lake::tail::path(&origin, commit.file.name);
                let base = state.as_ref().map(|(file, version)| base(file, version));
                let version = lake.append(&path, base, &commit.addition).await.unwrap();

                let bytes = whole(lake.as_ref(), &path).await;
                assert_eq!(bytes.len() as u64, commit.file.len_bytes);
                let expected: Vec<u32> = (0..number * 3 + 3).collect();
                assert_eq!(numbers(&bytes, commit.file.name.format), expected);

                let Tail {
                    file: seen,
                    version: seen_version,
                    is_closed,
                } = lake::tail::load(lake.as_ref(), &origin)
                    .await
                    .unwrap()
                    .unwrap();
                assert!(!is_closed);
                assert_eq!(seen.last, commit.file.last);
                assert_eq!(seen.len_bytes, commit.file.len_bytes);
                assert_eq!(seen_version, version);
                // The next append may build on what was read back or on what the writer knows.
                state = Some(if number % 2 == 0 {
                    (seen, seen_version)
                } else {
                    (commit.file, version)
                });
            }
        }
    }
}

#[tokio::test]
async fn a_stale_writer_is_refused_and_does_no_harm() {
    for place in Place::all() {
        let (first, second) = (place.prepared().await, place.open());
        for extension in EXTENSIONS {
            let collection = format!("c-{extension}");
            let origin = origin(&collection);
            let (file, version) = written(first.as_ref(), &collection, extension, 3).await;
            let path = lake::tail::path(&origin, file.name);

            let ours = commit(&origin, Some(&file), file.name, 9..12);
            let theirs = commit(&origin, Some(&file), file.name, 9..10);
            let at = base(&file, &version);
            second
                .append(&path, Some(at), &theirs.addition)
                .await
                .unwrap();
            let error = first
                .append(&path, Some(at), &ours.addition)
                .await
                .unwrap_err();
            assert!(matches!(error, LakeError::Stale { .. }), "{error}");
            let again = commit(&origin, None, file.name, 0..3);
            let error = first
                .append(&path, None, &again.addition)
                .await
                .unwrap_err();
            assert!(matches!(error, LakeError::Stale { .. }), "{error}");

            let bytes = whole(first.as_ref(), &path).await;
            assert_eq!(
                numbers(&bytes, file.name.format),
                (0..10).collect::<Vec<_>>()
            );
            let error = first.read(&path, &version, 0..4).await.unwrap_err();
            assert!(matches!(error, LakeError::Stale { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn of_concurrent_writers_one_wins() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let (file, version) = written(lake.as_ref(), "users", "json.gz", 1).await;
        let mut writers = Vec::new();
        for number in 0..8 {
            let lake: Arc<dyn Lake> = place.open();
            let (file, version) = (file.clone(), version.clone());
            writers.push(tokio::spawn(async move {
                let origin = origin("users");
                let commit = commit(&origin, Some(&file), file.name, 3..4 + number);
                let path = lake::tail::path(&origin, file.name);
                lake.append(&path, Some(base(&file, &version)), &commit.addition)
                    .await
                    .map(|_| 4 + number)
            }));
        }
        let mut winners = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                Ok(end) => winners.push(end),
                Err(LakeError::Stale { .. } | LakeError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let bytes = whole(
            lake.as_ref(),
            &lake::tail::path(&origin("users"), file.name),
        )
        .await;
        assert_eq!(
            numbers(&bytes, file.name.format),
            (0..winners[0]).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn the_newest_part_is_the_tail_whatever_its_format() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let origin = origin("users");
        assert!(
            lake::tail::load(lake.as_ref(), &origin)
                .await
                .unwrap()
                .is_none()
        );
        written(lake.as_ref(), "users", "json", 2).await;
        let newer = name("part2.ndjson.gz");
        let commit = commit(&origin, None, newer, 6..7);
        lake.append(&lake::tail::path(&origin, newer), None, &commit.addition)
            .await
            .unwrap();
        let Tail { file, .. } = lake::tail::load(lake.as_ref(), &origin)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((file.name, file.last), (newer, commit.file.last));
    }
}

#[tokio::test]
async fn a_head_that_grows_moves_the_body() {
    for place in Place::all() {
        let lake = place.prepared().await;
        for extension in ["json", "json.gz"] {
            let origin = origin(extension);
            let (mut file, version) = written(lake.as_ref(), extension, extension, 2).await;
            let path = lake::tail::path(&origin, file.name);
            let long = format!("{{\"_data\":\"{}\"}}", "7".repeat(3000));
            let mut batch = crate::harness::changes::batch(6..7, file.name.format);
            batch.last.token.replace_canonical(&long);
            let commit = silt_core::file::commit::commit(
                &origin,
                Some(&file),
                file.name,
                &batch.into(),
                GzipLevel::default(),
                0,
            )
            .unwrap();
            assert!(commit.file.head_len_bytes > file.head_len_bytes);
            let version = lake
                .append(&path, Some(base(&file, &version)), &commit.addition)
                .await
                .unwrap();
            file = commit.file;
            let next = self::commit(&origin, Some(&file), file.name, 7..9);
            lake.append(&path, Some(base(&file, &version)), &next.addition)
                .await
                .unwrap();
            let bytes = whole(lake.as_ref(), &path).await;
            assert_eq!(
                numbers(&bytes, file.name.format),
                (0..9).collect::<Vec<_>>()
            );
        }
    }
}

/// Earlier versions named folders in full, for which Azure has room.
#[tokio::test]
async fn files_in_a_folder_with_a_long_name_are_the_collections() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let origin = origin(&"/".repeat(100));
        let folder = "%2F".repeat(100);
        if matches!(place, Place::Local(_)) {
            assert!(
                lake::tail::load(lake.as_ref(), &origin)
                    .await
                    .unwrap()
                    .is_none()
            );
            continue;
        }
        let first = commit(&origin, None, name("json"), 0..3);
        let path = LakePath {
            folder,
            name: first.file.name.to_string(),
        };
        lake.append(&path, None, &first.addition).await.unwrap();
        let Tail { file: tail, .. } = lake::tail::load(lake.as_ref(), &origin)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(tail.last, first.file.last);
        assert_eq!(
            tail.commits,
            u32::MAX,
            "the next changes go to the next part"
        );

        let second = commit(&origin, None, name("part2.json"), 3..6);
        let path = lake::tail::path(&origin, second.file.name);
        assert!(path.folder.len() < 255);
        lake.append(&path, None, &second.addition).await.unwrap();
        let Tail { file: tail, .. } = lake::tail::load(lake.as_ref(), &origin)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((tail.name, tail.commits), (second.file.name, 1));
        let hours = ..;
        let files = silt::reading::hour_files(lake.as_ref(), &origin, hours)
            .await
            .unwrap();
        let names: Vec<_> = files.iter().map(|(_, name)| *name).collect();
        assert_eq!(names, [first.file.name, second.file.name]);
    }
}

#[tokio::test]
async fn unusual_collection_names_have_folders_of_their_own() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let names = [
            "a/b",
            "a%2Fb",
            "ä ö+ü",
            "..",
            "q?x=1&y#z",
            "_silt",
            "tab\tend.",
            "'\"<>|*",
        ];
        for collection in names {
            written(lake.as_ref(), collection, "json", 2).await;
        }
        for collection in names {
            let Tail { file, .. } = lake::tail::load(lake.as_ref(), &origin(collection))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(file.changes, 6, "{collection}");
        }
    }
}

#[tokio::test]
async fn a_file_of_another_origin_is_refused() {
    for place in Place::all() {
        let lake = place.prepared().await;
        written(lake.as_ref(), "users", "json", 1).await;
        let mut other = origin("users");
        other.database = "theirs".to_owned();
        let error = lake::tail::load(lake.as_ref(), &other).await.unwrap_err();
        assert!(error.to_string().contains("mydb.users"), "{error}");
    }
}

#[tokio::test]
async fn small_files_are_compared_and_set() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let path = LakePath {
            folder: "_silt/checkpoints".into(),
            name: "a.b.json".into(),
        };
        assert!(lake.get(&path).await.unwrap().is_none());
        let first = lake.put(&path, None, b"one".to_vec()).await.unwrap();
        let error = lake.put(&path, None, b"other".to_vec()).await.unwrap_err();
        assert!(matches!(error, LakeError::Stale { .. }), "{error}");
        lake.put(&path, Some(&first), b"three".to_vec())
            .await
            .unwrap();
        let error = lake
            .put(&path, Some(&first), b"four".to_vec())
            .await
            .unwrap_err();
        assert!(matches!(error, LakeError::Stale { .. }), "{error}");
        let object = lake.get(&path).await.unwrap().unwrap();
        assert_eq!(object.bytes, b"three");
        lake.put(&path, Some(&object.version), b"five".to_vec())
            .await
            .unwrap();
        assert_eq!(
            lake.list("_silt").await.unwrap(),
            [],
            "what lies deeper is not listed"
        );
    }
}

#[tokio::test]
async fn writers_of_one_process_take_turns_in_a_folder() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let mut writers = Vec::new();
        for number in 0..8 {
            let lake = Arc::clone(&lake);
            writers.push(tokio::spawn(async move {
                let (folder, name) = ("_silt/checkpoints".into(), format!("{number}.json"));
                lake.put(&LakePath { folder, name }, None, b"{}".to_vec())
                    .await
            }));
        }
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
    }
}
