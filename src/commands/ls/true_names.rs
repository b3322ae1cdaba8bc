//! The names of collections whose folders have shortened ones. Every file tells its collection.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::subject::{OfSnapshot, Subject, Whose, subject};
use crate::lake::{FileInfo, Lake, LakeError, LakePath, Walked};
use crate::reading::FileReader;
use crate::snapshot::lake::parts;
use silt_core::file::hour_file::HourFileName;
use silt_core::namespace::names;
use silt_core::reading::Change;

/// The names that are known so far, by folder. `None` if no file in it tells.
#[derive(Debug)]
pub(super) struct TrueNames<'a> {
    lake: &'a dyn Lake,
    known: Mutex<HashMap<String, Option<String>>>,
}

/// A gap record, a plan or a manifest.
#[derive(Deserialize)]
struct Document {
    collection: String,
}

impl<'a> TrueNames<'a> {
    pub(super) fn new(lake: &'a dyn Lake) -> Self {
        let known = Mutex::default();
        Self { lake, known }
    }

    /// Puts the true name in place of a shortened one. If no file tells it, the shortened one stays.
    pub(super) async fn resolve(&self, whose: &mut Whose) -> Result<(), LakeError> {
        let Some(folder) = whose.shortened.take() else {
            return Ok(());
        };
        // Others that ask for the same folder wait for the answer.
        let mut known = self.known.lock().await;
        let name = if let Some(name) = known.get(&folder) {
            name.clone()
        } else {
            let name = self.find(&folder, &whose.collection).await?;
            known.insert(folder, name.clone());
            name
        };
        if let Some(name) = name {
            whose.collection = name;
        }
        Ok(())
    }

    async fn find(&self, folder: &str, shortened: &str) -> Result<Option<String>, LakeError> {
        let mut walked = self.lake.walk(folder);
        while let Some(walked) = walked.try_next().await? {
            let Walked::File(file) = walked else {
                continue;
            };
            let name = match self.name_in(&file, shortened).await {
                // `ls` reports it where it lists the file.
                Err(LakeError::Damaged { .. } | LakeError::Stale { .. }) => None,
                name => name?,
            };
            if name.is_some() {
                return Ok(name);
            }
        }
        Ok(None)
    }

    /// The collection that a file names, provided that its name is shortened to this.
    async fn name_in(&self, file: &FileInfo, shortened: &str) -> Result<Option<String>, LakeError> {
        let is_it = |name: &String| names::encode(name) == shortened;
        let path = &file.path;
        let name = match subject(file) {
            Some(Subject::Hour(_, name)) => return self.name_in_lines(path, name, shortened).await,
            Some(Subject::Snapshot(_, _, OfSnapshot::Part(name))) => {
                let found = parts::scan(self.lake, path, name).await?;
                found.map(|(part, _)| part.collection)
            }
            Some(Subject::Gap(_) | Subject::Closing(..) | Subject::Snapshot(..)) => {
                let object = self.lake.get(path).await?;
                let document = object
                    .and_then(|object| serde_json::from_slice::<Document>(&object.bytes).ok());
                document.map(|document| document.collection)
            }
            Some(Subject::Own) | None => None,
        };
        Ok(name.filter(is_it))
    }

    /// Usually the first line tells. What replaces the collection may name another.
    async fn name_in_lines(
        &self,
        path: &LakePath,
        name: HourFileName,
        shortened: &str,
    ) -> Result<Option<String>, LakeError> {
        let Some(opened) = self.lake.open(path).await? else {
            return Ok(None);
        };
        let mut reader = FileReader::new(self.lake, path.clone(), name.format, None, opened);
        while let Some(block) = reader.next().await? {
            for line in block.lines() {
                let change = Change::parse(line.bytes).map_err(|error| LakeError::Damaged {
                    path: path.to_string(),
                    damage: line.place.damage(&error),
                })?;
                let collection = change.collection.map(std::borrow::Cow::into_owned);
                if let Some(name) = collection.filter(|name| names::encode(name) == shortened) {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }
}
