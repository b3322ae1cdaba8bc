//! The lake as a test reads it while silt is cut off from it.

use std::path::{Path, PathBuf};

use bson::{Bson, Document};
use serde_json::Value;
use silt::lake::azure::AzureLake;
use silt::lake::{Lake as _, LakePath};

use super::scene::Scene;

pub const CHECKPOINTS: &str = "_silt/checkpoints";

/// A folder of a local lake can be made unusable at one blow, and put back: it changes places with a file.
#[derive(Clone, Debug)]
pub struct Exchange {
    folder: PathBuf,
    file: PathBuf,
}

impl Exchange {
    /// `folder` is below the lake's root.
    pub fn of(scene: &Scene, folder: &str) -> Self {
        let file = format!("in the way of {}", folder.replace('/', " "));
        Self {
            folder: scene.lake().join(folder),
            file: scene.folder.path().join(file),
        }
    }

    /// Does it, and undoes it.
    pub fn swap(&self) {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if !self.file.exists() {
            std::fs::write(&self.file, "a file where the folder should be").unwrap();
        }
        renameat_with(CWD, &self.folder, CWD, &self.file, RenameFlags::EXCHANGE).unwrap();
    }

    /// The folder, wherever it is now.
    fn find(&self) -> &Path {
        if self.file.is_dir() {
            &self.file
        } else {
            &self.folder
        }
    }
}

/// Past every fault.
pub enum LakeView {
    Local {
        collection: Exchange,
        checkpoints: Exchange,
    },
    Azurite {
        lake: Box<AzureLake>,
        collection: String,
    },
}

impl LakeView {
    pub fn of(scene: &Scene, collection: &str) -> Self {
        if scene.settings.contains_key("LAKE_URL") {
            Self::Local {
                collection: Exchange::of(scene, collection),
                checkpoints: Exchange::of(scene, CHECKPOINTS),
            }
        } else {
            Self::Azurite {
                lake: Box::new(scene.azurite()),
                collection: collection.to_owned(),
            }
        }
    }

    /// How many changes the collection's files hold, in the formats that aren't compressed.
    pub async fn count(&self) -> usize {
        match self {
            Self::Local { collection, .. } => loop {
                // The folder may change its place between two looks.
                if let Ok(count) = count_in(collection.find()) {
                    return count;
                }
            },
            Self::Azurite { lake, collection } => {
                let mut count = 0;
                for file in lake.list(collection).await.unwrap() {
                    let object = get(lake, collection, &file.path.name).await.unwrap();
                    count += changes_in(&object);
                }
                count
            }
        }
    }

    /// A checkpoint, if it is there and can be read at this moment.
    pub async fn checkpoint(&self, name: &str) -> Option<Document> {
        let bytes = match self {
            Self::Local { checkpoints, .. } => std::fs::read(checkpoints.find().join(name)).ok()?,
            Self::Azurite { lake, .. } => get(lake, CHECKPOINTS, name).await?,
        };
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        match Bson::try_from(json).unwrap() {
            Bson::Document(checkpoint) => Some(checkpoint),
            other => panic!("no checkpoint: {other}"),
        }
    }
}

fn count_in(folder: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    if !folder.exists() {
        return Ok(0);
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with('.') {
            let bytes = std::fs::read(entry.path())?;
            count += changes_in(&bytes);
        }
    }
    Ok(count)
}

/// A count by lines, for a look at every save. Whether the files are valid is for others to see.
fn changes_in(bytes: &[u8]) -> usize {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter(|line| line.starts_with(b"{\"timestamp\":"))
        .count()
}

async fn get(lake: &AzureLake, folder: &str, name: &str) -> Option<Vec<u8>> {
    let path = LakePath {
        folder: folder.to_owned(),
        name: name.to_owned(),
    };
    let object = lake.get(&path).await.unwrap()?;
    Some(object.bytes)
}
