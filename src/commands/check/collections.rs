//! Whether each collection can be watched from the position of its feed.

use std::sync::Arc;

use super::images::{Lacking, Wanted};
use super::listed::{listings, may_list, unlisted, without_streams};
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::shared::Shared;
use super::start::{self, Start};
use super::stream::{self, NO_ANSWER, Reads};
use super::{ROW_LIMIT, in_time, words};
use crate::checkpoint::Checkpoints;
use crate::edges;
use crate::lake::{self, Lake};
use crate::settings::{FeedSettings, Settings};
use crate::source::SourceError;
use crate::source::preflight::Listing;
use silt_core::machine::{StartState, Tail};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;

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

/// Checks feeds of one collection each, unless the deployment turned out to be unreachable.
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
    /// Checks one collection. Returns why it is pointless to check others, if it is.
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
        let checkpoint = self.what("checkpoint");
        let (stored, handover) = match start::load(self.store, &self.settings.watched).await {
            Ok(loaded) => loaded,
            Err(error) => {
                add(Row::failure(&checkpoint, words::of_store(&error)));
                add(Row::skipped(&what, "its position isn't known"));
                return None;
            }
        };
        let newest = self.newest().await;
        let found = StartState {
            stored,
            handover,
            tails: vec![(self.origin.clone(), newest.as_ref().ok().cloned().flatten())],
            ..StartState::default()
        };
        let deployment = &self.reached.deployment;
        let tried = async {
            let start = Start::of(self.settings, found, deployment).await?;
            add(match self.store {
                Some(_) => start.row(&checkpoint, self.settings, self.reached),
                None => Row::skipped(&checkpoint, "the store can't be used"),
            });
            add(self.newest_row(newest, start.halt()));
            start.position(deployment).await
        };
        let position = match tried.await {
            Ok(position) => position,
            Err(error) => {
                add(Row::failure(&what, words::of_source(&error)));
                return Some(NO_ANSWER);
            }
        };
        let options = edges::stream_options(self.settings);
        let tried = deployment.try_stream(&options, &position).await;
        let unreachable = stream::unreachable(&tried);
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
        Some(row.fixed_by(format!(
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

    /// The newest file, or a row that says why it can't be read.
    async fn newest(&self) -> Result<Option<Tail>, Row> {
        let what = self.what("newest file");
        let Some(lake) = self.lake else {
            return Err(Row::skipped(&what, "the lake can't be used"));
        };
        let seen = async {
            lake.expect_holds(&lake::tail::longest_path(self.origin))
                .await?;
            lake::tail::load(lake.as_ref(), self.origin).await
        };
        let seen = async { Ok(seen.await) };
        match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(tail)) => Ok(tail),
            Ok(Err(error)) => Err(super::lake::failure(&what, &error)),
            Err(silence) => Err(Row::failure(&what, silence)),
        }
    }

    /// A row for the newest file, which is what such a feed halts on at its start.
    fn newest_row(&self, newest: Result<Option<Tail>, Row>, halt: Option<&str>) -> Row {
        let what = self.what("newest file");
        match (newest, halt) {
            (Err(row), _) => row,
            (Ok(_), Some(halt)) => Row::failure(&what, halt),
            (Ok(Some(Tail { file, .. })), None) => {
                let last = file.last.cluster_time;
                Row::good(&what, format!("{}, up to {last}", file.name))
            }
            (Ok(None), None) => Row::good(&what, "none"),
        }
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
        let Some((kind, fix)) = without_streams(listing) else {
            return (Some(Row::good(&self.origin.name(), "there")), true);
        };
        let row = Row::failure(&self.origin.name(), kind);
        let row = row.fixed_by(format!("{fix} in MONGODB_COLLECTIONS"));
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
                Row::skipped(&what, reason).fixed_by(may_list(self.reached, database))
            }
        })
    }

    fn stream(&self, tried: Result<(), SourceError>) -> Row {
        let reads = Reads {
            database: &self.origin.database,
            collection: &self.origin.collection,
            text: self.origin.to_string(),
            role: "read",
        };
        let on_history_lost = self.settings.on_history_lost;
        let what = self.what("stream");
        stream::row(&what, tried, &reads, self.reached, on_history_lost)
    }
}
