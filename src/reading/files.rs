//! Which files hold what is to be read, in their order.

use std::ops::RangeBounds;

use crate::lake::{Lake, LakeError, LakePath, tail};
use silt_core::file::damage::Damage;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::namespace::Namespace;
use silt_core::snapshot::folder::FolderName;
use silt_core::snapshot::part::PartName;

/// The paths and names of a collection's hour files of these hours, oldest first.
///
/// # Errors
///
/// The lake's; [`LakeError::Damaged`] if a part of an hour is missing, or is there twice.
pub async fn hour_files(
    lake: &dyn Lake,
    namespace: &Namespace,
    hours: impl RangeBounds<Hour>,
) -> Result<Vec<(LakePath, HourFileName)>, LakeError> {
    let files = tail::files(lake, namespace).await?.into_iter();
    let named = files.filter_map(|file| {
        let name: HourFileName = file.path.name.parse().ok()?;
        hours.contains(&name.hour).then_some((file.path, name))
    });
    let mut named: Vec<_> = named.collect();
    named.sort_by_key(|(_, name)| name.age_key());
    let mut expected = None;
    for (path, name) in &named {
        let (hour, part) = expected.unwrap_or((name.hour, 1));
        let part = if name.hour == hour { part } else { 1 };
        if name.part != part {
            return Err(misnumbered(path, name, part));
        }
        expected = Some((name.hour, part.saturating_add(1)));
    }
    Ok(named)
}

fn misnumbered(path: &LakePath, name: &HourFileName, expected: u32) -> LakeError {
    let what = if name.part < expected {
        "another file has the same hour and part"
    } else {
        "the part before it is missing"
    };
    LakeError::Damaged {
        path: path.to_string(),
        damage: Damage::Broken(what.to_owned()),
    }
}

/// The parts of a snapshot, by number. A snapshot's ranges number them independently, so numbers may be
/// missing; its manifest says how many parts it has.
///
/// # Errors
///
/// The lake's.
pub async fn parts(
    lake: &dyn Lake,
    namespace: &Namespace,
    snapshot: FolderName,
) -> Result<Vec<PartName>, LakeError> {
    let files = lake.list(&snapshot.path(namespace)).await?;
    let names = files.iter();
    let mut names: Vec<PartName> = names
        .filter_map(|file| file.path.name.parse().ok())
        .collect();
    names.sort_by_key(|name| name.number);
    Ok(names)
}
