//! Listing and removal on every lake: a local folder and Azurite.

use futures::TryStreamExt as _;
use silt::lake::{self, Lake, LakeError, LakePath, Walked};

use super::{whole, written};
use crate::harness::changes::origin;
use crate::harness::servers::Place;

/// All files that a walk finds, in order, with their lengths.
async fn walked(lake: &dyn Lake, folder: &str) -> Vec<(String, u64)> {
    let walked: Vec<Walked> = lake.walk(folder).try_collect().await.unwrap();
    let files = walked.into_iter().map(|walked| match walked {
        Walked::File(file) => (file.path.to_string(), file.len_bytes),
        Walked::Unreadable(folder) => panic!("{folder:?}"),
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_walk_finds_every_file_over_several_pages() {
    for place in Place::all() {
        let lake = place.open();
        let error = lake.walk("").try_next().await.unwrap_err();
        assert!(matches!(error, LakeError::NoRoot { .. }), "{error}");
        lake.prepare().await.unwrap();
        assert_eq!(walked(lake.as_ref(), "").await, []);

        let mut expected = Vec::new();
        for number in 0..23 {
            let folder = ["a", "a/_gaps", "ab", "_silt/checkpoints", "größe %25"][number % 5];
            let path = LakePath {
                folder: folder.to_owned(),
                name: format!("{number}.json"),
            };
            lake.put(&path, None, vec![b'x'; number]).await.unwrap();
            expected.push((path.to_string(), number as u64));
        }
        written(lake.as_ref(), "users", "json", 3).await;
        expected.sort();
        let mut found = walked(lake.as_ref(), "").await;
        let users = found
            .iter()
            .position(|(path, _)| path.starts_with("users/"));
        found.remove(users.unwrap());
        assert_eq!(
            found, expected,
            "neither hidden files nor folders among them"
        );

        let found = walked(lake.as_ref(), "a").await;
        expected.retain(|(path, _)| path.starts_with("a/"));
        assert_eq!(found, expected);
        assert_eq!(walked(lake.as_ref(), "none").await, []);
    }
}

#[tokio::test]
async fn a_walk_can_be_dropped_after_its_first_file() {
    for place in Place::all() {
        let lake = place.prepared().await;
        for number in 0..5 {
            let path = LakePath {
                folder: "a".into(),
                name: number.to_string(),
            };
            lake.put(&path, None, Vec::new()).await.unwrap();
        }
        let first = lake.walk("").try_next().await.unwrap();
        assert!(matches!(first, Some(Walked::File(_))), "{first:?}");
    }
}

#[tokio::test]
async fn only_a_probe_in_its_known_state_is_removed() {
    for place in Place::all() {
        let lake = place.prepared().await;
        let path = LakePath {
            folder: "_silt/check".into(),
            name: "probe.json".into(),
        };
        let first = lake.put(&path, None, b"one".to_vec()).await.unwrap();
        let second = lake
            .put(&path, Some(&first), b"two!".to_vec())
            .await
            .unwrap();
        let error = lake.remove_probe(&path, &first).await.unwrap_err();
        assert!(matches!(error, LakeError::Stale { .. }), "{error}");
        assert_eq!(whole(lake.as_ref(), &path).await, b"two!");
        lake.remove_probe(&path, &second).await.unwrap();
        assert!(lake.get(&path).await.unwrap().is_none());
        let error = lake.remove_probe(&path, &second).await.unwrap_err();
        assert!(matches!(error, LakeError::Stale { .. }), "{error}");

        let (file, version) = written(lake.as_ref(), "users", "json", 3).await;
        let hour_file = lake::tail::path(&origin("users"), file.name);
        for folder in ["users", "_silt/../users", "_silty", ""] {
            let path = LakePath {
                folder: folder.into(),
                ..hour_file.clone()
            };
            let error = lake.remove_probe(&path, &version).await.unwrap_err();
            assert!(matches!(error, LakeError::Refused { .. }), "{error}");
        }
        assert!(!whole(lake.as_ref(), &hour_file).await.is_empty());
    }
}
