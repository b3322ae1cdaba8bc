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
mod true_names;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::Report;
use super::screen::Screen;
use crate::edges;
use crate::lake::{Lake, LakeError, Walked};
use crate::settings::{LakeSettings, ListDetail, ListSettings};
use look::Seen;
use silt_core::namespace::{Layout, Namespace};
use tally::Tally;
use true_names::TrueNames;

/// Requests at once.
const LOOKS_MAX: usize = 12;
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
    let mut tally = Tally::new(
        list.as_json || list.detail != ListDetail::OfNamed || !list.collections.is_empty(),
    );
    for collection in &list.collections {
        tally.expect(collection);
    }
    let roots = match &list.collections[..] {
        [] => vec![String::new()],
        names => names.iter().flat_map(|name| folders(name)).collect(),
    };
    // A folder that the lake can't hold has no files.
    let is_held = |walked: &Result<Walked, LakeError>| {
        future::ready(!matches!(walked, Err(LakeError::Unnameable { .. })))
    };
    let walked = stream::iter(&roots).flat_map(|folder| lake.walk(folder).filter(is_held));
    let counts_lines = list.counts_lines;
    read(
        lake.as_ref(),
        walked.boxed(),
        counts_lines,
        &mut tally,
        screen,
    )
    .await?;
    tally.close();
    Ok(tally)
}

/// Where what has this name may be: a collection, or a database, or the one in the other.
fn folders(name: &str) -> Vec<String> {
    let mut origins = vec![Namespace::new("", name)];
    if let Some((database, collection)) = name.split_once('.')
        && !database.is_empty()
        && !collection.is_empty()
    {
        let layout = Layout::DatabaseAndCollection;
        origins.push(Namespace::with_layout(database, collection, layout));
    }
    let former = origins.iter().filter_map(Namespace::former_folder);
    let folders = origins.iter().map(Namespace::folder);
    folders.chain(former).collect()
}

async fn read(
    lake: &dyn Lake,
    walked: BoxStream<'_, Result<Walked, LakeError>>,
    counts_lines: bool,
    tally: &mut Tally,
    screen: Screen<'_>,
) -> Result<(), LakeError> {
    let names = &TrueNames::new(lake);
    let looks = walked.map(|walked| async move {
        let file = match walked? {
            Walked::File(file) => file,
            Walked::Unreadable(folder) => return Ok(Seen::Unreadable(folder)),
        };
        let Some(mut subject) = subject::subject(&file) else {
            return Ok(Seen::Other);
        };
        match subject.whose_mut() {
            Some(whose) => names.resolve(whose).await?,
            None => return Ok(Seen::Own),
        }
        look::look(lake, file, subject, counts_lines).await
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
