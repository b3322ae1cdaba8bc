//! `silt check`: whether all that `run` needs is there, before anything runs.
//!
//! The questions are the edges' own; here they are ordered, judged and worded. Rows that hang on one
//! that failed are skipped. MongoDB and the lake are asked side by side.

mod checkpoints;
mod collections;
mod grants;
mod http;
mod images;
mod lake;
mod listed;
mod mongodb;
mod probe;
mod row;
mod shared;
mod start;
mod stream;
mod words;

use std::time::Duration;

use super::Report;
use super::screen::Screen;
use crate::settings::{FeedSettings, Settings};
use row::{Part, Row, Table};
use silt_core::namespace::selection::Watched;

/// Longest wait for one answer. The driver looks for a server for ten seconds and then says what is
/// wrong with each, so it is a little longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);
/// Longest wait for all of a row.
const ROW_LIMIT: Duration = Duration::from_secs(30);

/// Looks, shows a table, and answers with its last line.
pub async fn run(settings: &Settings, warnings: &[String], screen: Screen<'_>) -> Report {
    let mut settings = settings.clone();
    let source_limit = &mut settings.source.timeout;
    *source_limit = (*source_limit).min(ANSWER_LIMIT);
    let lake_limit = &mut settings.lake.timeout;
    *lake_limit = (*lake_limit).min(ANSWER_LIMIT);
    let table = Table::new(screen);
    of_settings(&settings, warnings, &table);
    let (deployment, lake) = futures::join!(
        mongodb::check(&settings, &table),
        lake::check(&settings, &table)
    );
    let store = checkpoints::check(&settings, deployment.as_ref(), lake.as_ref(), &table).await;
    collections::check(
        &settings,
        deployment.as_ref(),
        lake.as_ref(),
        store.as_ref(),
        &table,
    )
    .await;
    http::check(&settings, &table).await;
    table.progress("");
    let (text, is_good) = table.summary();
    Report { text, is_good }
}

fn of_settings(settings: &Settings, warnings: &[String], table: &Table<'_>) {
    let (source, feeds) = (&settings.source, settings.feeds.len());
    let lake = &settings.lake.url_for_people;
    let is_shared = |feed: &FeedSettings| matches!(feed.watched, Watched::Many { .. });
    let found = if settings.feeds.iter().any(is_shared) {
        let streams = if feeds == 1 { "stream" } else { "streams" };
        let (databases, collections) = (&source.databases, &source.collections);
        format!("{collections} of {databases}, by {feeds} {streams}, to {lake}")
    } else {
        let collections = if feeds == 1 {
            "collection"
        } else {
            "collections"
        };
        format!("{feeds} {collections} of {}, to {lake}", source.databases)
    };
    table.add(Part::Settings, Row::good("settings", found));
    for warning in warnings {
        table.add(Part::Settings, Row::warning("settings", warning));
    }
    table.done(Part::Settings);
}

/// Bounds all of a row; an error says that it took too long.
async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(late)
}
