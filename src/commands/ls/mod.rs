//! `silt ls`: what the lake holds, from the lake alone.
//!
//! Files are found page by page and read a few at a time, a few kilobytes each. What is kept is a sum a
//! collection, and a line a file where files are to be listed.

mod json;
mod look;
mod snapshots;
mod subject;
mod table;
mod tally;

use std::num::NonZeroU16;

use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::Report;
use super::screen::Screen;
use crate::edges;
use crate::lake::{Found, Lake, LakeError};
use crate::settings::{LakeSettings, ListSettings};
use look::Seen;
use silt_core::namespace::names;
use subject::Subject;
use tally::Tally;

/// Requests at once.
const LOOKS_MAX: usize = 12;
/// Files in a page; Azure gives no more.
const PAGE_FILES: NonZeroU16 = match NonZeroU16::new(5000) {
    Some(files) => files,
    None => NonZeroU16::MIN,
};
/// Pages that wait.
const PAGES_MAX: usize = 2;
/// Progress is shown after so many files.
const PROGRESS_FILES: u64 = 50;

/// Looks the lake through. An error, which says why there is no listing, is none itself.
///
/// # Errors
///
/// The lake can't be looked through.
pub async fn run(
    settings: &LakeSettings,
    list: &ListSettings,
    screen: Screen<'_>,
) -> Result<Report, LakeError> {
    (screen.progress)("looks for files");
    let looked = look_through(settings, list, screen).await;
    (screen.progress)("");
    let tally = looked?;
    let is_good = tally.is_good();
    let text = if list.as_json {
        json::text(&settings.url_for_people, &tally)
    } else {
        table::text(&tally, list)
    };
    Ok(Report { text, is_good })
}

async fn look_through(
    settings: &LakeSettings,
    list: &ListSettings,
    screen: Screen<'_>,
) -> Result<Tally, LakeError> {
    let lake = edges::open_lake(settings)?;
    let mut tally = Tally::new(list.as_json || list.has_files || !list.collections.is_empty());
    for collection in &list.collections {
        tally.expect(collection);
    }
    let (pages, found) = mpsc::channel(PAGES_MAX);
    let walking = async {
        if list.collections.is_empty() {
            return lake.walk("", PAGE_FILES, pages).await;
        }
        let mut unread = Vec::new();
        for folder in list.collections.iter().flat_map(|name| folders(name)) {
            unread.extend(lake.walk(&folder, PAGE_FILES, pages.clone()).await?);
        }
        drop(pages);
        Ok(unread)
    };
    let reading = read(lake.as_ref(), found, list.counts_lines, &mut tally, screen);
    let (walked, was_read) = futures::join!(walking, reading);
    // A read that fails ends the walk early, so it is the one to tell of.
    was_read?;
    tally.unread = walked?;
    tally.close();
    Ok(tally)
}

/// Where what has this name may be: a collection, or a database, or the one in the other.
fn folders(name: &str) -> Vec<String> {
    let mut folders = vec![names::encode(name)];
    if let Some((database, collection)) = name.split_once('.')
        && !database.is_empty()
        && !collection.is_empty()
    {
        folders.push(format!(
            "{}/{}",
            names::encode(database),
            names::encode(collection)
        ));
    }
    folders
}

async fn read(
    lake: &dyn Lake,
    found: mpsc::Receiver<Vec<Found>>,
    counts_lines: bool,
    tally: &mut Tally,
    screen: Screen<'_>,
) -> Result<(), LakeError> {
    let files = stream::unfold(found, async |mut found: mpsc::Receiver<Vec<Found>>| {
        found.recv().await.map(|page| (stream::iter(page), found))
    });
    let looks = files.flatten().map(|file| async move {
        match subject::subject(&file) {
            Some(Subject::Own) => Ok(Seen::Own),
            None => Ok(Seen::Other),
            Some(subject) => look::look(lake, file, subject, counts_lines).await,
        }
    });
    let mut looks = std::pin::pin!(looks.buffer_unordered(LOOKS_MAX));
    let mut count: u64 = 0;
    while let Some(seen) = looks.next().await {
        tally.add(seen?);
        count += 1;
        if count.is_multiple_of(PROGRESS_FILES) {
            (screen.progress)(&format!("{count} files read"));
        }
    }
    Ok(())
}
