//! Whether each collection can be watched from where its feed stands.

use std::sync::Arc;

use super::grants::Missing;
use super::images::{Lacking, Wanted};
use super::listed::{listings, may_list, unlisted, without_streams};
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::shared::Shared;
use super::{ROW_LIMIT, in_time, words};
use crate::archive::hour_file::HourFile;
use crate::archive::machine::{OnHistoryLost, StartAt, refuse_lake_behind};
use crate::archive::origin::{Layout, Origin};
use crate::archive::position::{ClusterTime, Position, Stored};
use crate::archive::selection::Watched;
use crate::checkpoint::{Checkpoints, FeedId};
use crate::edges;
use crate::lake::{self, Lake};
use crate::settings::{FeedSettings, Settings};
use crate::source::SourceError;
use crate::source::preflight::Listing;

/// What a change stream of a collection needs.
const ACTIONS: [&str; 2] = ["find", "changeStream"];

/// Checks all collections, one after the other.
pub(super) async fn check(
    settings: &Settings,
    reached: Option<&Reached>,
    lake: Option<&Arc<dyn Lake>>,
    store: Option<&Arc<dyn Checkpoints>>,
    table: &Table<'_>,
) {
    if let Some(reached) = reached {
        let mut feeds = Vec::new();
        for feed in &settings.feeds {
            match &feed.watched {
                Watched::Collection(origin) => feeds.push(Feed {
                    settings: feed,
                    reached,
                    lake,
                    store,
                    origin,
                }),
                Watched::Many { selection, layout } => {
                    let shared = Shared {
                        settings: feed,
                        selection,
                        layout: *layout,
                        reached,
                    };
                    shared.check(table).await;
                }
            }
        }
        of_feeds(&feeds, reached, table).await;
    } else {
        let names = settings.source.collections.to_string();
        let row = Row::skipped(&names, "MongoDB can't be used");
        table.add(Part::Collections, row);
    }
    table.done(Part::Collections);
}

async fn of_feeds(feeds: &[Feed<'_>], reached: &Reached, table: &Table<'_>) {
    let add = |row| table.add(Part::Collections, row);
    let mut unreachable = None;
    for of_database in feeds.chunk_by(|one, next| one.origin.database == next.origin.database) {
        let database = &of_database[0].origin.database;
        let names = of_database
            .iter()
            .map(|feed| feed.origin.collection.clone());
        let listings = listings(reached, database, Some(&names.collect::<Vec<_>>())).await;
        if let Err(error) = &listings {
            add(unlisted(reached, database, error));
        }
        let listings = listings.ok();
        for feed in of_database {
            if let Some(reason) = &unreachable {
                add(Row::skipped(&feed.name(), *reason));
                continue;
            }
            table.progress(&format!("{}: opens a change stream", feed.origin));
            unreachable = feed.check(listings.as_deref(), table).await;
        }
    }
}

/// How the deployment lists a collection.
#[derive(Clone, Copy)]
enum Listed<'a> {
    /// silt may not see it.
    Unknown,
    /// It isn't there yet.
    Missing,
    There(&'a Listing),
}

struct Feed<'a> {
    settings: &'a FeedSettings,
    reached: &'a Reached,
    lake: Option<&'a Arc<dyn Lake>>,
    store: Option<&'a Arc<dyn Checkpoints>>,
    origin: &'a Origin,
}

impl Feed<'_> {
    /// Checks one collection. Returns why there is no use in looking at others.
    async fn check(&self, listings: Option<&[Listing]>, table: &Table<'_>) -> Option<&'static str> {
        let add = |row| table.add(Part::Collections, row);
        let what = self.what("stream");
        let listing = self.listing(listings);
        let (row, is_fit) = self.kind(listing);
        row.into_iter().for_each(add);
        if !is_fit {
            add(Row::skipped(&what, "it is no ordinary collection"));
            return None;
        }
        self.images(listing).into_iter().for_each(add);
        let Ok(stored) = self.stored().await.map_err(add) else {
            add(Row::skipped(&what, "it isn't known where it stands"));
            return None;
        };
        let (newest, tail) = self.newest(stored.as_ref()).await;
        match self.store {
            Some(_) => add(self.checkpoint(stored.as_ref(), tail.as_ref())),
            None => add(Row::skipped(
                &self.what("checkpoint"),
                "the store can't be used",
            )),
        }
        add(newest);
        let position = match self.position(stored, tail).await {
            Ok(position) => position,
            Err(error) => {
                add(Row::failure(&what, words::of_source(&error)));
                return Some("the deployment gives no answer");
            }
        };
        let options = edges::stream_options(self.settings);
        let tried = self
            .reached
            .deployment
            .try_stream(&options, &position)
            .await;
        let is_gone = matches!(
            tried,
            Err(SourceError::Unanswered { .. } | SourceError::Passing { .. })
        );
        add(self.stream(tried));
        is_gone.then_some("the deployment gives no answer")
    }

    /// The collection's name in rows: with its database, if there are several.
    fn name(&self) -> String {
        match self.origin.layout {
            Layout::Collection => self.origin.collection.clone(),
            Layout::DatabaseAndCollection => self.origin.to_string(),
        }
    }

    /// The name of a row.
    fn what(&self, what: &str) -> String {
        format!("{} {what}", self.name())
    }

    fn listing<'l>(&self, listings: Option<&'l [Listing]>) -> Listed<'l> {
        let Some(listings) = listings else {
            return Listed::Unknown;
        };
        let account = &self.reached.account;
        match listings
            .iter()
            .find(|listing| listing.name == self.origin.collection)
        {
            Some(listing) => Listed::There(listing),
            None if account.knows(&self.origin.database, &self.origin.collection) => {
                Listed::Missing
            }
            None => Listed::Unknown,
        }
    }

    /// Its checkpoint, or a row that says why it can't be had.
    async fn stored(&self) -> Result<Option<Stored>, Row> {
        let Some(store) = self.store else {
            return Ok(None);
        };
        let loaded = store.load(&self.id()).await;
        loaded.map_err(|error| Row::failure(&self.what("checkpoint"), words::of_store(&error)))
    }

    /// The newest file, judged as a feed does at its start.
    async fn newest(&self, stored: Option<&Stored>) -> (Row, Option<HourFile>) {
        let what = self.what("newest file");
        let Some(lake) = self.lake else {
            return (Row::skipped(&what, "the lake can't be used"), None);
        };
        let seen = async { Ok(lake::tail::look(lake.as_ref(), self.origin).await) };
        let tail = match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(tail)) => tail,
            Ok(Err(error)) => return (super::lake::failure(&what, &error), None),
            Err(silence) => return (Row::failure(&what, silence), None),
        };
        let judged = stored.map_or(Ok(()), |stored| {
            refuse_lake_behind(&stored.checkpoint, tail.as_ref())
        });
        let row = match (judged, &tail) {
            (Err(halt), _) => Row::failure(&what, halt.message),
            (Ok(()), Some(file)) => {
                let last = file.last.cluster_time;
                Row::good(&what, format!("{}, up to {last}", file.name))
            }
            (Ok(()), None) => Row::good(&what, "none"),
        };
        (row, tail)
    }

    fn id(&self) -> FeedId {
        FeedId {
            database: self.origin.database.clone(),
            collection: self.origin.collection.clone(),
        }
    }

    /// What the collection is, and whether it can be watched.
    fn kind(&self, listing: Listed<'_>) -> (Option<Row>, bool) {
        let listing = match listing {
            Listed::Unknown => return (None, true),
            Listed::Missing => {
                let found = "not there yet, which is fine: its feed waits for it";
                return (Some(Row::good(&self.name(), found)), true);
            }
            Listed::There(listing) => listing,
        };
        let Some((kind, mend)) = without_streams(listing) else {
            return (Some(Row::good(&self.name(), "there")), true);
        };
        let row = Row::failure(&self.name(), kind);
        let row = row.mended_by(format!("{mend} in MONGODB_COLLECTIONS"));
        (Some(row), false)
    }

    /// Whether it keeps images, where that matters.
    fn images(&self, listing: Listed<'_>) -> Option<Row> {
        let what = self.what("images");
        let wanted = Wanted::by(&self.settings.stream).filter(|_| self.reached.keeps_images)?;
        let (keeps_images, exists) = match listing {
            Listed::Unknown => (None, false),
            Listed::Missing => (Some(false), false),
            Listed::There(listing) => (listing.keeps_images, true),
        };
        Some(match keeps_images {
            Some(true) => Row::good(&what, "changeStreamPreAndPostImages is enabled"),
            Some(false) => {
                let origin = self.origin.clone();
                wanted.lacking(&what, &[Lacking { origin, exists }], "")
            }
            None => {
                let database = &self.origin.database;
                let reason = format!("it can't be seen without listCollections on {database}");
                Row::skipped(&what, reason).mended_by(may_list(self.reached, database))
            }
        })
    }

    /// The checkpoint, or the start that is set, against the oplog.
    fn checkpoint(&self, stored: Option<&Stored>, tail: Option<&HourFile>) -> Row {
        let what = self.what("checkpoint");
        let (position, found) = match stored {
            Some(stored) => {
                let time = stored.checkpoint.position.cluster_time();
                let age = time.map_or_else(String::new, |time| {
                    format!(", of {time}, {}", age(time, chrono::Utc::now().timestamp()))
                });
                (time, format!("save {}{age}", stored.revision))
            }
            None if let Some(file) = tail => {
                let found = format!("none yet: begins behind the end of {}", file.name);
                (Some(file.last.cluster_time), found)
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

    async fn position(
        &self,
        stored: Option<Stored>,
        tail: Option<HourFile>,
    ) -> Result<Position, SourceError> {
        Ok(match (stored, tail, self.settings.start_at) {
            (Some(stored), ..) => stored.checkpoint.position,
            (None, Some(file), _) => Position::After(file.last.token),
            (None, None, StartAt::Time(time)) => Position::At(time),
            (None, None, StartAt::Now) => {
                Position::At(self.reached.deployment.cluster_time().await?)
            }
        })
    }

    fn stream(&self, tried: Result<(), SourceError>) -> Row {
        let what = self.what("stream");
        let database = &self.origin.database;
        match tried {
            Ok(()) => Row::good(&what, "opened and closed"),
            Err(SourceError::Unauthorized { message }) => {
                let account = &self.reached.account;
                let missing: Vec<&str> = ACTIONS
                    .into_iter()
                    .filter(|action| !account.may(action, database, &self.origin.collection))
                    .collect();
                let found = if missing.is_empty() {
                    format!("a privilege is missing: {message}")
                } else {
                    format!(
                        "{} on {} {} missing",
                        missing.join(" and "),
                        self.origin,
                        if missing.len() == 1 { "is" } else { "are" }
                    )
                };
                let missing = Missing {
                    database,
                    collection: &self.origin.collection,
                    actions: &missing,
                    role: "read",
                };
                Row::failure(&what, found).mended_by(missing.mend(account))
            }
            Err(SourceError::HistoryLost { message, .. }) => self.lost(
                &what,
                &format!("the oplog no longer holds where it stands: {message}"),
            ),
            Err(error) => Row::failure(&what, words::of_source(&error)),
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
