//! Whether each collection can be watched from where its feed stands.

use std::sync::Arc;

use super::grants::Missing;
use super::images::{Lacking, Wanted};
use super::listed::{listings, may_list, unlisted, without_streams};
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::shared::Shared;
use super::standing::{self, Standing};
use super::{ROW_LIMIT, in_time, words};
use crate::checkpoint::{self, Checkpoints, FeedId};
use crate::edges;
use crate::lake::{self, Lake};
use crate::settings::{FeedSettings, Settings};
use crate::source::SourceError;
use crate::source::preflight::Listing;
use silt_core::file::hour_file::HourFile;
use silt_core::handover::Handover;
use silt_core::machine::refuse_older_lake;
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::Stored;

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
        let mut unreachable = None;
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
                        lake,
                        store,
                    };
                    unreachable = shared.check(table).await;
                }
            }
        }
        of_feeds(&feeds, reached, unreachable, table).await;
    } else {
        let names = settings.source.collections.to_string();
        let row = Row::skipped(&names, "MongoDB can't be used");
        table.add(Part::Collections, row);
    }
    table.done(Part::Collections);
}

/// Checks feeds of one collection each, unless there is no use in it.
async fn of_feeds(
    feeds: &[Feed<'_>],
    reached: &Reached,
    mut unreachable: Option<&'static str>,
    table: &Table<'_>,
) {
    let add = |row| table.add(Part::Collections, row);
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
                add(Row::skipped(&feed.origin.name(), *reason));
                continue;
            }
            table.progress(&format!("{}: opens a change stream", feed.origin));
            unreachable = feed.check(listings.as_deref(), table).await;
        }
    }
}

/// Why there is no use in looking at others.
const NO_ANSWER: &str = "the deployment gives no answer";

/// Why there is no use in opening other streams, if there is none.
pub(super) fn unreachable(tried: &Result<(), SourceError>) -> Option<&'static str> {
    let is_gone = matches!(
        tried,
        Err(SourceError::Unanswered { .. } | SourceError::Transient { .. })
    );
    is_gone.then_some(NO_ANSWER)
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
    origin: &'a Namespace,
}

impl Feed<'_> {
    /// Checks one collection. Returns why there is no use in looking at others.
    async fn check(&self, listings: Option<&[Listing]>, table: &Table<'_>) -> Option<&'static str> {
        let add = |row| table.add(Part::Collections, row);
        let what = self.what("stream");
        let listing = self.listing(listings);
        let (row, is_fit) = self.kind(listing);
        let similar = match listing {
            Listed::Missing => self.similar().await,
            Listed::There(_) | Listed::Unknown => None,
        };
        similar.or(row).into_iter().for_each(add);
        if !is_fit {
            add(Row::skipped(&what, "it is no ordinary collection"));
            return None;
        }
        self.images(listing).into_iter().for_each(add);
        let Ok((stored, handover)) = self.stored().await.map_err(add) else {
            add(Row::skipped(&what, "it isn't known where it stands"));
            return None;
        };
        let (newest, tail) = self.newest(stored.as_ref()).await;
        let oldest = self.reached.oplog.map(|window| window.oldest);
        let standing = Standing::of(self.settings, stored, tail, handover, oldest);
        let checkpoint = self.what("checkpoint");
        add(match self.store {
            Some(_) => standing.row(&checkpoint, self.settings, self.reached),
            None => Row::skipped(&checkpoint, "the store can't be used"),
        });
        add(newest);
        let position = match standing.position(self.reached).await {
            Ok(position) => position,
            Err(error) => {
                add(Row::failure(&what, words::of_source(&error)));
                return Some(NO_ANSWER);
            }
        };
        let options = edges::stream_options(self.settings);
        let tried = self
            .reached
            .deployment
            .try_stream(&options, &position)
            .await;
        let unreachable = unreachable(&tried);
        add(self.stream(tried));
        unreachable
    }

    /// Points out that a collection which doesn't exist may be misspelled.
    async fn similar(&self) -> Option<Row> {
        let (database, collection) = (&self.origin.database, &self.origin.collection);
        let deployment = &self.reached.deployment;
        let found = deployment.similar_names(database, [collection.as_str()]);
        let (_, similar) = found.await.ok()?.pop()?;
        let found = format!("doesn't exist, but {similar} does");
        let row = Row::warning(&self.origin.name(), found);
        Some(row.mended_by(format!(
            "if it is misspelled, write {similar} in MONGODB_COLLECTIONS"
        )))
    }

    /// The name of a row.
    fn what(&self, what: &str) -> String {
        format!("{} {what}", self.origin.name())
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
    /// Its checkpoint, and where it takes over from a shared stream.
    async fn stored(&self) -> Result<(Option<Stored>, Option<Handover>), Row> {
        let Some(store) = self.store else {
            return Ok((None, None));
        };
        let watched = &self.settings.watched;
        let found = async {
            let stored = store.load(&FeedId::of(watched)).await?;
            let handover = checkpoint::handover(store.as_ref(), watched, stored.as_ref()).await?;
            Ok((stored, handover))
        };
        found
            .await
            .map_err(|error| Row::failure(&self.what("checkpoint"), words::of_store(&error)))
    }

    /// The newest file, judged as a feed does at its start.
    async fn newest(&self, stored: Option<&Stored>) -> (Row, Option<HourFile>) {
        let what = self.what("newest file");
        let Some(lake) = self.lake else {
            return (Row::skipped(&what, "the lake can't be used"), None);
        };
        let seen = async {
            lake.expect_holds(&lake::tail::longest_path(self.origin))
                .await?;
            lake::tail::load(lake.as_ref(), self.origin).await
        };
        let seen = async { Ok(seen.await) };
        let tail = match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(tail)) => tail.map(|(file, _)| file),
            Ok(Err(error)) => return (super::lake::failure(&what, &error), None),
            Err(silence) => return (Row::failure(&what, silence), None),
        };
        let judged = stored.map_or(Ok(()), |stored| {
            refuse_older_lake(&stored.checkpoint, self.origin, tail.as_ref())
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

    /// What the collection is, and whether it can be watched.
    fn kind(&self, listing: Listed<'_>) -> (Option<Row>, bool) {
        let listing = match listing {
            Listed::Unknown => return (None, true),
            Listed::Missing => {
                let found = "not there yet, which is fine: its feed waits for it";
                return (Some(Row::good(&self.origin.name(), found)), true);
            }
            Listed::There(listing) => listing,
        };
        let Some((kind, mend)) = without_streams(listing) else {
            return (Some(Row::good(&self.origin.name(), "there")), true);
        };
        let row = Row::failure(&self.origin.name(), kind);
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
            Err(SourceError::HistoryLost { message, .. }) => standing::lost(
                &what,
                &format!("the oplog no longer holds where it stands: {message}"),
                self.settings.on_history_lost,
            ),
            Err(error) => Row::failure(&what, words::of_source(&error)),
        }
    }
}
