//! The names of a snapshot's folder, plan and manifest.

use chrono::{DateTime, NaiveDateTime};

use crate::namespace::Namespace;
use crate::position::ClusterTime;

/// The plan. It is there before anything is read.
pub const PLAN: FileNames = FileNames {
    name: "_plan.json",
    former: "plan.json",
};
/// The manifest. Only a finished snapshot has one.
pub const MANIFEST: FileNames = FileNames {
    name: "_manifest.json",
    former: "manifest.json",
};

const PREFIX: &str = "snapshot-";
const TIME: &str = "%Y-%m-%d-%H-%M-%S";

/// The names of a snapshot's plan or manifest.
///
/// Spark skips names that begin with an underscore. Older versions wrote names without it, and Spark took the files for
/// documents.
#[derive(Clone, Copy, Debug)]
pub struct FileNames {
    /// The name under which it is written.
    pub name: &'static str,
    /// The name that older versions wrote. It is read as well.
    pub former: &'static str,
}

impl FileNames {
    /// Both names, the current one first.
    #[must_use]
    pub fn names(self) -> [&'static str; 2] {
        [self.name, self.former]
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        self.names().contains(&name)
    }
}

/// The name of a snapshot's folder, `snapshot-YYYY-MM-DD-HH-MM-SS`: the second of its position, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName {
    seconds: u32,
}

impl FolderName {
    /// The folder of a snapshot with this position.
    #[must_use]
    pub fn of(position: ClusterTime) -> Self {
        Self {
            seconds: position.seconds,
        }
    }

    /// Reads a name. `None` if it isn't that of a snapshot's folder.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let time = NaiveDateTime::parse_from_str(name.strip_prefix(PREFIX)?, TIME).ok()?;
        let seconds = u32::try_from(time.and_utc().timestamp()).ok()?;
        let parsed = Self { seconds };
        // chrono accepts missing padding; names don't.
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Its path below the lake's root.
    #[must_use]
    pub fn path(self, origin: &Namespace) -> String {
        format!("{}/{self}", origin.folder())
    }

    /// The second of its position.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.seconds
    }
}

impl std::fmt::Display for FolderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = DateTime::from_timestamp(i64::from(self.seconds), 0).unwrap_or_default();
        write!(f, "{PREFIX}{}", time.format(TIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_and_manifest_are_known_by_both_of_their_names() {
        for (file, names) in [
            (PLAN, ["_plan.json", "plan.json"]),
            (MANIFEST, ["_manifest.json", "manifest.json"]),
        ] {
            assert!(names.into_iter().all(|name| file.is(name)));
            assert_eq!(file.name, names[0]);
        }
        assert!(!PLAN.is(MANIFEST.name) && !MANIFEST.is("__manifest.json"));
    }

    #[test]
    fn names_round_trip_or_are_refused() {
        for seconds in [0, 1_705_328_123, u32::MAX] {
            let folder = FolderName { seconds };
            assert_eq!(FolderName::parse(&folder.to_string()), Some(folder));
        }
        let origin = Namespace::new("mydb", "a/b");
        let position = ClusterTime {
            seconds: 1_705_328_123,
            increment: 7,
        };
        let path = FolderName::of(position).path(&origin);
        assert_eq!(path, "a%2Fb/snapshot-2024-01-15-14-15-23");
        for other in [
            "snapshot-2024-1-15-14-15-23",
            "snapshot-2024-01-15-14-15",
            "snapshot-",
            "_gaps",
            "snapshot-2024-01-15-14-15-23 ",
        ] {
            assert_eq!(FolderName::parse(other), None, "{other}");
        }
    }
}
