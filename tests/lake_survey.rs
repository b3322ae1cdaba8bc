//! What every lake promises to those who look it through, held against a local folder and Azurite.

use silt::lake::{self, Lake, LakeError, LakePath};

use crate::harness::changes::origin;
use crate::harness::servers::Place;
use crate::lake_conformance::{whole, written};

/// All that a walk finds: paths and lengths, in order, and how many pages they came in.
async fn walked(lake: &dyn Lake, folder: &str, page_files: u16) -> (Vec<(String, u64)>, usize) {
    let (sender, mut pages) = tokio::sync::mpsc::channel(1);
    let walk = lake.walk(folder, page_files.try_into().unwrap(), sender);
    let gather = async {
        let (mut files, mut count) = (Vec::new(), 0);
        while let Some(page) = pages.recv().await {
            count += 1;
            files.extend(
                page.into_iter()
                    .map(|file| (file.path.to_string(), file.len_bytes)),
            );
        }
        files.sort();
        (files, count)
    };
    let (walked, gathered) = tokio::join!(walk, gather);
    walked.unwrap();
    gathered
}

#[tokio::test]
async fn a_walk_finds_every_file_page_by_page() {
    for place in Place::all() {
        let lake = place.open();
        let (sender, _pages) = tokio::sync::mpsc::channel(1);
        let error = lake
            .walk("", 7.try_into().unwrap(), sender)
            .await
            .unwrap_err();
        assert!(matches!(error, LakeError::NoRoot { .. }), "{error}");
        lake.prepare().await.unwrap();
        assert_eq!(walked(lake.as_ref(), "", 7).await.0, []);

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
        let (mut found, pages) = walked(lake.as_ref(), "", 7).await;
        let users = found
            .iter()
            .position(|(path, _)| path.starts_with("users/"));
        found.remove(users.unwrap());
        assert_eq!(
            found, expected,
            "neither hidden files nor folders among them"
        );
        assert!(pages >= 4, "{pages}");

        let (found, _) = walked(lake.as_ref(), "a", 7).await;
        expected.retain(|(path, _)| path.starts_with("a/"));
        assert_eq!(found, expected);
        assert_eq!(walked(lake.as_ref(), "none", 7).await.0, []);
    }
}

#[tokio::test]
async fn a_walk_that_nobody_follows_ends() {
    for place in Place::all() {
        let lake = place.prepared().await;
        for number in 0..5 {
            let path = LakePath {
                folder: "a".into(),
                name: number.to_string(),
            };
            lake.put(&path, None, Vec::new()).await.unwrap();
        }
        let (sender, pages) = tokio::sync::mpsc::channel(1);
        drop(pages);
        lake.walk("", 1.try_into().unwrap(), sender).await.unwrap();
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
