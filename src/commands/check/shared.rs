//! Whether a stream over several collections can be opened, and what it means at this moment.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream as streams;

use super::images::{Lacking, Wanted};
use super::listed::{listings, may_list, unlisted, without_streams};
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::start::{self, Start};
use super::stream::{self, NO_ANSWER, Reads};
use super::{ROW_LIMIT, in_time, words};
use crate::checkpoint::Checkpoints;
use crate::edges;
use crate::lake::{self, Lake};
use crate::settings::FeedSettings;
use crate::source::SourceError;
use crate::source::preflight::Listing;
use silt_core::machine::{StartState, Tail};
use silt_core::namespace::selection::{
    Matcher, Selection, is_servers_collection, is_servers_database,
};
use silt_core::namespace::{Layout, Namespace};

const CHECKPOINT: &str = "shared checkpoint";
const STREAM: &str = "shared stream";
/// Newest files that are looked at at the same time.
const LOOKS_MAX: usize = 8;
/// So many names at most stand in a row.
const NAMES_MAX: usize = 20;

/// A stream over several collections.
pub(super) struct Shared<'a> {
    pub settings: &'a FeedSettings,
    pub selection: &'a Selection,
    pub layout: Layout,
    pub reached: &'a Reached,
    pub lake: Option<&'a Arc<dyn Lake>>,
    pub store: Option<&'a Arc<dyn Checkpoints>>,
}

/// What the deployment lists of what is meant.
#[derive(Default)]
struct Listed {
    /// What the stream carries.
    carried: Vec<(Namespace, Listing)>,
    /// What a pattern means and has no changes.
    passed_over: Vec<(Namespace, &'static str)>,
    /// What is named and has no changes.
    refused: Vec<Row>,
    /// Databases whose collections can't be seen.
    unseen: Vec<String>,
}

impl Shared<'_> {
    /// Checks it, row by row. Returns why it is pointless to check others, if it is.
    pub(super) async fn check(&self, table: &Table<'_>) -> Option<&'static str> {
        let add = |row| table.add(Part::Collections, row);
        table.progress("collections: asks what the patterns mean");
        match self.databases().await {
            Ok(databases) => {
                let found = self.find(&databases, table).await;
                let unnameable = self.unnameable(&found).await;
                self.rows(found).into_iter().chain(unnameable).for_each(add);
            }
            Err(error) => {
                let row = Row::warning("list", words::of_source(&error));
                add(row.fixed_by(
                    "grant listDatabases to see which databases there are; silt runs without",
                ));
            }
        }
        let loaded = start::load(self.store, &self.settings.watched).await;
        let (stored, handover) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                add(Row::failure(CHECKPOINT, words::of_store(&error)));
                add(Row::skipped(STREAM, "its position isn't known"));
                return None;
            }
        };
        let marks = stored.iter().flat_map(|it| &it.checkpoint.collections);
        let known: Vec<Namespace> = marks
            .map(|mark| self.origin(&mark.database, &mark.collection))
            .collect();
        let orphan = if stored.is_none() && handover.is_none() {
            self.orphan().await
        } else {
            Ok(None)
        };
        let found = StartState {
            orphan: orphan.as_ref().ok().cloned().flatten(),
            oldest: self.reached.oplog.map(|window| window.oldest),
            stored,
            handover,
            ..StartState::default()
        };
        let deployment = &self.reached.deployment;
        let tried = async {
            let mut start = Start::of(self.settings, found, deployment).await?;
            add(match (self.store, orphan, start.halt()) {
                (None, ..) => Row::skipped(CHECKPOINT, "the store can't be used"),
                (Some(_), Err(row), _) => row,
                (Some(_), Ok(_), Some(halt)) => Row::failure(CHECKPOINT, halt),
                (Some(_), Ok(_), None) => start.row(CHECKPOINT, self.settings, self.reached),
            });
            for row in self.newest(&mut start, &known, table).await {
                add(row);
            }
            start.position(deployment).await
        };
        let position = match tried.await {
            Ok(position) => position,
            Err(error) => {
                add(Row::failure(STREAM, words::of_source(&error)));
                return Some(NO_ANSWER);
            }
        };
        table.progress("collections: opens a change stream over all");
        let options = edges::stream_options(self.settings);
        let tried = deployment.try_stream(&options, &position).await;
        let unreachable = stream::unreachable(&tried);
        add(self.stream(tried));
        unreachable
    }

    /// A file of its collections that the lake holds although there is no checkpoint, or a row that says
    /// why the lake can't be searched.
    async fn orphan(&self) -> Result<Option<String>, Row> {
        let Some(lake) = self.lake else {
            return Ok(None);
        };
        let watched = &self.settings.watched;
        let seen = async { Ok(lake::any_hour_file(lake.as_ref(), watched).await) };
        match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(path)) => Ok(path.map(|path| path.to_string())),
            Ok(Err(error)) => Err(super::lake::failure(CHECKPOINT, &error)),
            Err(silence) => Err(Row::failure(CHECKPOINT, silence)),
        }
    }

    /// The newest files of the collections that the checkpoint knows, judged by the feed.
    async fn newest(&self, start: &mut Start, known: &[Namespace], table: &Table<'_>) -> Vec<Row> {
        const WHAT: &str = "newest files";
        let Some(lake) = self.lake else {
            return vec![Row::skipped(WHAT, "the lake can't be used")];
        };
        if start.halt().is_some() {
            return vec![Row::skipped(WHAT, "the feed halts before it reads them")];
        }
        table.progress("collections: reads the newest files");
        let looks = start.looks_of(known).into_iter();
        let looks = looks.map(|(lane, origin)| async move {
            let tail = look(lake.as_ref(), &origin).await;
            (lane, what_of(&origin), tail)
        });
        let looked: Vec<_> = streams::iter(looks)
            .buffer_unordered(LOOKS_MAX)
            .collect()
            .await;
        let (mut rows, mut there) = (Vec::new(), 0);
        for (lane, what, tail) in looked {
            match tail {
                Err(row) => rows.push(row),
                Ok(tail) => {
                    let is_there = tail.is_some();
                    match start.looked(lane, tail) {
                        Some(halt) => rows.push(Row::failure(&what, halt)),
                        None => there += usize::from(is_there),
                    }
                }
            }
        }
        rows.sort_by(|one, other| one.what.cmp(&other.what));
        let all = known.len();
        let found = format!("{there} of {all} collections that the checkpoint knows");
        rows.push(Row::good(WHAT, found));
        rows
    }

    /// The databases that are meant and there, or named.
    async fn databases(&self) -> Result<Vec<String>, SourceError> {
        if let Some(names) = self.selection.databases.names() {
            return Ok(names.into_iter().map(str::to_owned).collect());
        }
        let mut there = self.reached.deployment.databases().await?;
        there.retain(|name| self.selection.databases.matches(name) && !is_servers_database(name));
        there.sort();
        Ok(there)
    }

    async fn find(&self, databases: &[String], table: &Table<'_>) -> Listed {
        let mut found = Listed::default();
        for database in databases {
            match listings(self.reached, database, None).await {
                Ok(mut listings) => {
                    listings.sort_by(|one, other| one.name.cmp(&other.name));
                    self.sort_out(database, listings, &mut found);
                }
                Err(error) => {
                    table.add(Part::Collections, unlisted(self.reached, database, &error));
                    found.unseen.push(database.clone());
                }
            }
        }
        found
    }

    fn sort_out(&self, database: &str, listings: Vec<Listing>, found: &mut Listed) {
        for listing in listings {
            if is_servers_collection(&listing.name)
                || !self.selection.matches(database, &listing.name)
            {
                continue;
            }
            let origin = self.origin(database, &listing.name);
            let Some((what, fix)) = without_streams(&listing) else {
                found.carried.push((origin, listing));
                continue;
            };
            let is_it =
                |include: &Matcher| matches!(include, Matcher::Name(name) if *name == listing.name);
            if self.selection.collections.includes.iter().any(is_it) {
                let row = Row::failure(&origin.name(), what);
                found
                    .refused
                    .push(row.fixed_by(format!("{fix} in MONGODB_COLLECTIONS")));
            } else {
                found.passed_over.push((origin, what));
            }
        }
    }

    fn rows(&self, found: Listed) -> Vec<Row> {
        let mut rows = found.refused;
        let names: Vec<String> = found
            .carried
            .iter()
            .map(|(origin, _)| origin.name())
            .collect();
        let collections = self.selection.collections.to_string();
        rows.push(match names.len() {
            0 if found.unseen.is_empty() => Row::warning(
                &collections,
                "means no collection now; what is created later is watched from its first change",
            ),
            0 => Row::skipped(&collections, "it can't be seen what that means now"),
            1 => Row::good(
                &collections,
                format!("means 1 collection now: {}", names[0]),
            ),
            count => Row::good(
                &collections,
                format!("means {count} collections now: {}", some_of(&names)),
            ),
        });
        if !found.passed_over.is_empty() {
            let each = found.passed_over.iter();
            let each: Vec<String> = each
                .map(|(origin, what)| format!("{} ({what})", origin.name()))
                .collect();
            rows.push(Row::good("passed over", some_of(&each)));
        }
        rows.extend(self.images(&found.carried));
        rows
    }

    /// The collections of which the lake can't hold a file.
    async fn unnameable(&self, found: &Listed) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(lake) = self.lake else {
            return rows;
        };
        for (origin, _) in &found.carried {
            if let Err(error) = lake.expect_holds(&lake::tail::longest_path(origin)).await {
                rows.push(super::lake::failure(&origin.name(), &error));
            }
        }
        rows
    }

    /// Whether they keep images, where that matters.
    fn images(&self, carried: &[(Namespace, Listing)]) -> Option<Row> {
        const WHAT: &str = "images";
        let wanted = Wanted::by(&self.settings.stream)?;
        if let Some((origin, _)) = carried
            .iter()
            .find(|(_, listing)| listing.keeps_images.is_none())
        {
            let reason = format!(
                "they can't be seen without listCollections on {}",
                origin.database
            );
            return Some(
                Row::skipped(WHAT, reason).fixed_by(may_list(self.reached, &origin.database)),
            );
        }
        let lacking = carried
            .iter()
            .filter(|(_, listing)| listing.keeps_images == Some(false));
        let lacking: Vec<Lacking> = lacking
            .map(|(origin, _)| Lacking {
                origin: origin.clone(),
                exists: true,
            })
            .collect();
        let all = carried.len();
        Some(match lacking.len() {
            0 if all == 0 => return None,
            0 => Row::good(
                WHAT,
                format!("changeStreamPreAndPostImages is enabled on all {all}"),
            ),
            some => wanted.lacking(WHAT, &lacking, &format!(" on {some} of {all}")),
        })
    }

    fn stream(&self, tried: Result<(), SourceError>) -> Row {
        let reads = match self.selection.only_database() {
            Some(database) => Reads {
                database,
                collection: "",
                text: format!("all collections of {database}"),
                role: "read",
            },
            None => Reads {
                database: "",
                collection: "",
                text: "all collections of all databases".to_owned(),
                role: "readAnyDatabase",
            },
        };
        let on_history_lost = self.settings.on_history_lost;
        stream::row(STREAM, tried, &reads, self.reached, on_history_lost)
    }

    fn origin(&self, database: &str, collection: &str) -> Namespace {
        Namespace::with_layout(database, collection, self.layout)
    }
}

/// The name of the row for a collection's newest file.
fn what_of(origin: &Namespace) -> String {
    format!("{} newest file", origin.name())
}

/// A collection's newest file, or a row that says why it can't be read.
async fn look(lake: &dyn Lake, origin: &Namespace) -> Result<Option<Tail>, Row> {
    let what = what_of(origin);
    let seen = async { Ok(lake::tail::load(lake, origin).await) };
    match in_time(ROW_LIMIT, seen).await {
        Ok(Ok(tail)) => Ok(tail),
        Ok(Err(error)) => Err(super::lake::failure(&what, &error)),
        Err(silence) => Err(Row::failure(&what, silence)),
    }
}

/// A few of the names, and how many more there are.
fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX);
    let shown = shown.cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_short() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
        assert_eq!(some_of(&names(3)), "0, 1, 2");
        assert!(some_of(&names(20)).ends_with(", 18, 19"));
        assert!(some_of(&names(22)).ends_with(", 18, 19 and 2 more"));
    }
}
