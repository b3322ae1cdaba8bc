//! Whether each collection can be watched from where its feed stands.

use std::sync::Arc;

use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use crate::archive::frame::Origin;
use crate::archive::machine::{OnHistoryLost, StartAt};
use crate::archive::position::{ClusterTime, Position, Stored};
use crate::checkpoint::{Checkpoints, FeedId};
use crate::edges;
use crate::settings::{FullDocument, Settings};
use crate::source::SourceError;
use crate::source::preflight::Listing;

/// What a change stream of a collection needs.
const ACTIONS: [&str; 2] = ["find", "changeStream"];

/// Checks all collections, one after the other.
pub(super) async fn check(
    settings: &Settings,
    reached: Option<&Reached>,
    store: Option<&Arc<dyn Checkpoints>>,
    table: &Table<'_>,
) {
    let add = |row| table.add(Part::Collections, row);
    let names = &settings.source.collections;
    match reached {
        Some(reached) => {
            let database = &settings.source.database;
            let listings = reached.deployment.listings(database, names).await;
            if let Err(error) = &listings {
                add(unlisted(reached, database, error));
            }
            let listings = listings.ok();
            let mut unreachable = None;
            for name in names {
                let feed = Feed {
                    settings,
                    reached,
                    name,
                };
                if let Some(reason) = &unreachable {
                    add(Row::skipped(name, *reason));
                    continue;
                }
                table.progress(&format!("{database}.{name}: opens a change stream"));
                unreachable = feed.check(listings.as_deref(), store, table).await;
            }
        }
        None => add(Row::skipped(&names.join(", "), "MongoDB can't be used")),
    }
    table.done(Part::Collections);
}

fn unlisted(reached: &Reached, database: &str, error: &SourceError) -> Row {
    let found = match error {
        SourceError::Unauthorized { .. } => {
            format!(
                "listCollections on {database} is missing: it isn't known what the collections are"
            )
        }
        other => other.to_string(),
    };
    Row::warning("list", found).mended_by(grant(reached, "read", database))
}

/// How to give silt's user a role.
pub(super) fn grant(reached: &Reached, role: &str, database: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let role = format!("{{role: {}, db: {}}}", quoted(role), quoted(database));
    match &reached.account.user {
        Some((user, of)) => format!(
            "db.getSiblingDB({}).grantRolesToUser({}, [{role}])",
            quoted(of),
            quoted(user)
        ),
        None => format!("grant silt's user the role {role}"),
    }
}

struct Feed<'a> {
    settings: &'a Settings,
    reached: &'a Reached,
    name: &'a str,
}

impl Feed<'_> {
    /// Checks one collection. Returns why there is no use in looking at others.
    async fn check(
        &self,
        listings: Option<&[Listing]>,
        store: Option<&Arc<dyn Checkpoints>>,
        table: &Table<'_>,
    ) -> Option<&'static str> {
        let add = |row| table.add(Part::Collections, row);
        let what = |what: &str| format!("{} {what}", self.name);
        let listing = listings.map(|all| all.iter().find(|listing| listing.name == self.name));
        if let Some(listing) = listing {
            let (row, is_fit) = self.kind(listing);
            add(row);
            if !is_fit {
                add(Row::skipped(
                    &what("stream"),
                    "it is no ordinary collection",
                ));
                return None;
            }
            self.images(listing).into_iter().for_each(add);
        }
        let loaded = match store {
            Some(store) => Some(store.load(&self.id()).await),
            None => None,
        };
        let stored = match loaded {
            Some(Ok(stored)) => {
                add(self.checkpoint(stored.as_ref()));
                stored
            }
            Some(Err(error)) => {
                add(Row::failure(&what("checkpoint"), error.to_string()));
                add(Row::skipped(
                    &what("stream"),
                    "it isn't known where it stands",
                ));
                return None;
            }
            None => {
                add(Row::skipped(&what("checkpoint"), "the store can't be used"));
                None
            }
        };
        let position = match self.position(stored).await {
            Ok(position) => position,
            Err(error) => {
                add(Row::failure(&what("stream"), error.to_string()));
                return Some("the deployment gives no answer");
            }
        };
        let options = edges::stream_options(self.settings);
        let origin = Origin {
            database: self.settings.source.database.clone(),
            collection: self.name.to_owned(),
        };
        let tried = self
            .reached
            .deployment
            .try_stream(&origin, &options, &position)
            .await;
        let is_gone = matches!(
            tried,
            Err(SourceError::Unanswered { .. } | SourceError::Passing { .. })
        );
        add(self.stream(tried));
        is_gone.then_some("the deployment gives no answer")
    }

    fn id(&self) -> FeedId {
        FeedId {
            database: self.settings.source.database.clone(),
            collection: self.name.to_owned(),
        }
    }

    /// What the collection is, and whether it can be watched.
    fn kind(&self, listing: Option<&Listing>) -> (Row, bool) {
        let Some(listing) = listing else {
            let found = "not there yet, which is fine: its feed waits for it";
            return (Row::good(self.name, found), true);
        };
        let (kind, mend) = match listing.kind.as_str() {
            "view" => (
                "a view, which has no changes",
                "name the collections behind it",
            ),
            "timeseries" => (
                "a time-series collection, which has no change streams",
                "name an ordinary collection",
            ),
            _ => return (Row::good(self.name, "there"), true),
        };
        let row = Row::failure(self.name, kind);
        (
            row.mended_by(format!("{mend} in MONGODB_COLLECTIONS")),
            false,
        )
    }

    /// Whether it keeps post-images, where that matters.
    fn images(&self, listing: Option<&Listing>) -> Option<Row> {
        let what = format!("{} images", self.name);
        let full_document = self.settings.source.full_document;
        if !matches!(
            full_document,
            FullDocument::WhenAvailable | FullDocument::Required
        ) {
            return None;
        }
        if listing.is_some_and(|listing| listing.keeps_images) {
            return Some(Row::good(&what, "changeStreamPreAndPostImages is enabled"));
        }
        let (database, name) = (&self.settings.source.database, self.name);
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let verb = if listing.is_some() {
            "collMod"
        } else {
            "create"
        };
        let mend = format!(
            "db.getSiblingDB({}).runCommand({{{verb}: {}, changeStreamPreAndPostImages: {{enabled: true}}}})",
            quoted(database),
            quoted(name)
        );
        let found = "changeStreamPreAndPostImages isn't enabled";
        Some(if full_document == FullDocument::Required {
            let found = format!("{found}, so FULL_DOCUMENT=required halts at the first update");
            Row::failure(&what, found).mended_by(mend)
        } else {
            let found = format!("{found}, so updates come without fullDocument");
            Row::warning(&what, found).mended_by(mend)
        })
    }

    /// The checkpoint, or the start that is set, against the oplog.
    fn checkpoint(&self, stored: Option<&Stored>) -> Row {
        let what = format!("{} checkpoint", self.name);
        let (position, found) = match stored {
            Some(stored) => {
                let time = stored.checkpoint.position.cluster_time();
                let age = time.map_or_else(String::new, |time| {
                    format!(", of {time}, {}", age(time, chrono::Utc::now().timestamp()))
                });
                (time, format!("save {}{age}", stored.revision))
            }
            None => match self.settings.start_at {
                StartAt::Now => return Row::good(&what, "none yet: begins with what comes then"),
                StartAt::Time(time) => {
                    (Some(time), format!("none yet: begins at {time} (START_AT)"))
                }
            },
        };
        let oldest = self.reached.oplog.map(|window| window.oldest);
        let (Some(position), Some(oldest)) = (position, oldest) else {
            return Row::good(&what, found);
        };
        if position >= oldest {
            return Row::good(&what, format!("{found}; the oplog holds it"));
        }
        self.lost(
            &what,
            &format!("{found}: the oplog begins later, at {oldest}"),
        )
    }

    fn lost(&self, what: &str, found: &str) -> Row {
        match self.settings.on_history_lost {
            OnHistoryLost::Restart => Row::warning(
                what,
                format!(
                    "{found}; what lies between is lost: silt records the gap and goes on \
                     (ON_HISTORY_LOST=restart)"
                ),
            ),
            OnHistoryLost::Halt => Row::failure(what, found).mended_by(
                "what lies between is lost to change streams; ON_HISTORY_LOST=restart records the gap in the \
                 lake and goes on behind it",
            ),
        }
    }

    async fn position(&self, stored: Option<Stored>) -> Result<Position, SourceError> {
        Ok(match (stored, self.settings.start_at) {
            (Some(stored), _) => stored.checkpoint.position,
            (None, StartAt::Time(time)) => Position::At(time),
            (None, StartAt::Now) => Position::At(self.reached.deployment.cluster_time().await?),
        })
    }

    fn stream(&self, tried: Result<(), SourceError>) -> Row {
        let what = format!("{} stream", self.name);
        let database = &self.settings.source.database;
        match tried {
            Ok(()) => Row::good(&what, "opened and closed"),
            Err(SourceError::Unauthorized { message }) => {
                let account = &self.reached.account;
                let missing: Vec<&str> = ACTIONS
                    .into_iter()
                    .filter(|action| !account.may(action, database, self.name))
                    .collect();
                let found = if missing.is_empty() {
                    format!("a privilege is missing: {message}")
                } else {
                    format!(
                        "{} on {database}.{} {} missing",
                        missing.join(" and "),
                        self.name,
                        if missing.len() == 1 { "is" } else { "are" }
                    )
                };
                Row::failure(&what, found).mended_by(grant(self.reached, "read", database))
            }
            Err(SourceError::HistoryLost { message, .. }) => self.lost(
                &what,
                &format!("the oplog no longer holds where it stands: {message}"),
            ),
            Err(error) => Row::failure(&what, error.to_string()),
        }
    }
}

/// How long ago, for people.
fn age(time: ClusterTime, now_unix_s: i64) -> String {
    let seconds = now_unix_s.saturating_sub(i64::from(time.seconds)).max(0);
    match seconds {
        0..=119 => format!("{seconds} s old"),
        120..=7199 => format!("{} min old", seconds / 60),
        _ => format!("{} h old", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_units_that_fit() {
        let time = ClusterTime {
            seconds: 1_000_000,
            increment: 1,
        };
        for (later, text) in [
            (-5, "0 s old"),
            (119, "119 s old"),
            (120, "2 min old"),
            (7_200, "2 h old"),
        ] {
            assert_eq!(age(time, 1_000_000 + later), text);
        }
    }
}
