//! Whether a stream over several collections can be opened, and what it means at this moment.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use super::collections::unreachable;
use super::grants::Missing;
use super::images::{Lacking, Wanted};
use super::listed::{listings, may_list, unlisted, without_streams};
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::standing::{self, Standing};
use super::{ROW_LIMIT, in_time, words};
use crate::checkpoint::{self, CheckpointError, Checkpoints, FeedId};
use crate::edges;
use crate::lake::{self, Lake};
use crate::settings::FeedSettings;
use crate::source::SourceError;
use crate::source::preflight::Listing;
use silt_core::handover::Handover;
use silt_core::machine::{checkpoint_missing, refuse_older_tail};
use silt_core::namespace::selection::{
    Matcher, Selection, is_servers_collection, is_servers_database,
};
use silt_core::namespace::{Layout, Namespace};
use silt_core::position::{Stored, Watermark};

/// What a change stream of collections needs.
const ACTIONS: [&str; 2] = ["find", "changeStream"];
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
struct Found {
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
    /// Checks it, row by row. Returns why there is no use in looking at others.
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
                add(row.mended_by(
                    "grant listDatabases to see which databases there are; silt runs without",
                ));
            }
        }
        let (stored, handover) = match self.stored().await {
            Ok(found) => found,
            Err(error) => {
                add(Row::failure("shared checkpoint", words::of_store(&error)));
                add(Row::skipped(STREAM, "it isn't known where it stands"));
                return None;
            }
        };
        for row in self.newest(stored.as_ref(), table).await {
            add(row);
        }
        let oldest = self.reached.oplog.map(|window| window.oldest);
        let standing = Standing::of(self.settings, stored, None, handover, oldest);
        let orphan = self.orphan(&standing).await;
        add(match (self.store, orphan) {
            (Some(_), Some(row)) => row,
            (Some(_), None) => standing.row("shared checkpoint", self.settings, self.reached),
            (None, _) => Row::skipped("shared checkpoint", "the store can't be used"),
        });
        table.progress("collections: opens a change stream over all");
        let tried = self.try_stream(standing).await;
        let unreachable = unreachable(&tried);
        add(self.stream(tried));
        unreachable
    }

    /// Its checkpoint, and where it takes over from others.
    async fn stored(&self) -> Result<(Option<Stored>, Option<Handover>), CheckpointError> {
        let Some(store) = self.store else {
            return Ok((None, None));
        };
        let watched = &self.settings.watched;
        let stored = store.load(&FeedId::of(watched)).await?;
        let handover = checkpoint::handover(store.as_ref(), watched, stored.as_ref()).await?;
        Ok((stored, handover))
    }

    /// What keeps it from starting now: changes in the lake that nobody knows the position of.
    async fn orphan(&self, standing: &Standing) -> Option<Row> {
        const WHAT: &str = "shared checkpoint";
        let (Standing::Now, Some(lake)) = (standing, self.lake) else {
            return None;
        };
        let watched = &self.settings.watched;
        let seen = async { Ok(lake::any_hour_file(lake.as_ref(), watched).await) };
        match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(path))) => {
                let halt = checkpoint_missing(&path.to_string());
                Some(Row::failure(WHAT, halt.message))
            }
            Ok(Err(error)) => Some(super::lake::failure(WHAT, &error)),
            Err(silence) => Some(Row::failure(WHAT, silence)),
        }
    }

    /// The newest files of the collections that the checkpoint knows, judged as the feed does.
    async fn newest(&self, stored: Option<&Stored>, table: &Table<'_>) -> Vec<Row> {
        const WHAT: &str = "newest files";
        let marks = stored.map_or(&[][..], |stored| &stored.checkpoint.collections);
        let Some(lake) = self.lake else {
            return vec![Row::skipped(WHAT, "the lake can't be used")];
        };
        table.progress("collections: reads the newest files");
        let looks = marks.iter().map(|mark| self.judge(lake.as_ref(), mark));
        let judged: Vec<Result<bool, Row>> = stream::iter(looks)
            .buffer_unordered(LOOKS_MAX)
            .collect()
            .await;
        let (good, bad): (Vec<_>, Vec<_>) = judged.into_iter().partition(Result::is_ok);
        let there = good
            .iter()
            .filter(|is_there| matches!(is_there, Ok(true)))
            .count();
        let mut rows: Vec<Row> = bad.into_iter().filter_map(Result::err).collect();
        rows.sort_by(|one, other| one.what.cmp(&other.what));
        rows.push(Row::good(
            WHAT,
            format!(
                "{there} of {} collections that the checkpoint knows",
                marks.len()
            ),
        ));
        rows
    }

    /// Whether a collection has a newest file that fits the checkpoint, or a row that says what is wrong.
    async fn judge(&self, lake: &dyn Lake, mark: &Watermark) -> Result<bool, Row> {
        let origin = self.origin(&mark.database, &mark.collection);
        let what = format!("{} newest file", origin.name());
        let seen = async { Ok(lake::tail::load(lake, &origin).await) };
        match in_time(ROW_LIMIT, seen).await {
            Ok(Ok(Some((file, _)))) => refuse_older_tail(&mark.last_change, &file)
                .map(|()| true)
                .map_err(|halt| Row::failure(&what, halt.message)),
            Ok(Ok(None)) => Ok(false),
            Ok(Err(error)) => Err(super::lake::failure(&what, &error)),
            Err(silence) => Err(Row::failure(&what, silence)),
        }
    }

    async fn try_stream(&self, standing: Standing) -> Result<(), SourceError> {
        let position = standing.position(self.reached).await?;
        let options = edges::stream_options(self.settings);
        self.reached
            .deployment
            .try_stream(&options, &position)
            .await
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

    async fn find(&self, databases: &[String], table: &Table<'_>) -> Found {
        let mut found = Found::default();
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

    fn sort_out(&self, database: &str, listings: Vec<Listing>, found: &mut Found) {
        for listing in listings {
            if is_servers_collection(&listing.name)
                || !self.selection.matches(database, &listing.name)
            {
                continue;
            }
            let origin = self.origin(database, &listing.name);
            let Some((what, mend)) = without_streams(&listing) else {
                found.carried.push((origin, listing));
                continue;
            };
            let is_it =
                |include: &Matcher| matches!(include, Matcher::Name(name) if *name == listing.name);
            if self.selection.collections.includes.iter().any(is_it) {
                let row = Row::failure(&origin.name(), what);
                found
                    .refused
                    .push(row.mended_by(format!("{mend} in MONGODB_COLLECTIONS")));
            } else {
                found.passed_over.push((origin, what));
            }
        }
    }

    fn rows(&self, found: Found) -> Vec<Row> {
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
    async fn unnameable(&self, found: &Found) -> Vec<Row> {
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
                Row::skipped(WHAT, reason).mended_by(may_list(self.reached, &origin.database)),
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
        match tried {
            Ok(()) => Row::good(STREAM, "opened and closed"),
            Err(SourceError::Unauthorized { message }) => self.unauthorized(&message),
            Err(SourceError::HistoryLost { message, .. }) => standing::lost(
                STREAM,
                &format!("the oplog no longer holds where it stands: {message}"),
                self.settings.on_history_lost,
            ),
            Err(error) => Row::failure(STREAM, words::of_source(&error)),
        }
    }

    /// A row that says which privileges are missing.
    fn unauthorized(&self, message: &str) -> Row {
        let account = &self.reached.account;
        let (database, whose, role) = match self.selection.only_database() {
            Some(database) => (database, format!("all collections of {database}"), "read"),
            None => (
                "",
                "all collections of all databases".to_owned(),
                "readAnyDatabase",
            ),
        };
        let missing: Vec<&str> = ACTIONS
            .into_iter()
            .filter(|action| !account.may(action, database, ""))
            .collect();
        let found = if missing.is_empty() {
            format!("a privilege is missing: {message}")
        } else {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            format!("{} on {whose} {verb} missing", missing.join(" and "))
        };
        let missing = Missing {
            database,
            collection: "",
            actions: &missing,
            role,
        };
        Row::failure(STREAM, found).mended_by(missing.mend(account))
    }

    fn origin(&self, database: &str, collection: &str) -> Namespace {
        Namespace::with_layout(database, collection, self.layout)
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
