//! Reads which hours of a collection have files, and which are closed.

use std::collections::HashMap;

use crate::lake::{self, Lake, LakeError, LakePath, closing_records};
use silt_core::closing::plan::Survey;
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::namespace::Namespace;

/// A collection's hours, and where their files are.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub survey: Survey,
    paths: HashMap<HourFileName, LakePath>,
}

impl Surveyed {
    /// Lists the lake.
    pub async fn of(lake: &dyn Lake, namespace: &Namespace) -> Result<Self, LakeError> {
        let files = lake::tail::files(lake, namespace).await?.into_iter();
        let named = files.filter_map(|file| {
            let name: HourFileName = file.path.name.parse().ok()?;
            Some((name, file.path))
        });
        let paths: HashMap<_, _> = named.collect();
        let closed = closing_records::closed_hours(lake, namespace).await?;
        Ok(Self {
            survey: Survey::new(paths.keys().copied(), closed),
            paths,
        })
    }

    /// The files of an hour, in order.
    pub fn files(
        &self,
        namespace: &Namespace,
        hour: Hour,
    ) -> Result<Vec<(LakePath, HourFileName)>, LakeError> {
        let damaged = |damage: Damage| LakeError::Damaged {
            path: format!("{}/{hour}", namespace.folder()),
            damage,
        };
        let parts = self.survey.parts(hour).map_err(damaged)?;
        let located = parts.iter().filter_map(|name| {
            let path = self.paths.get(name)?;
            Some((path.clone(), *name))
        });
        Ok(located.collect())
    }
}
