//! Why nothing comes: what silence may mean.

use tracing::{debug, warn};

use crate::settings::{SourceSettings, WatchFrom, WatchSettings};
use crate::source::preflight::Listing;
use crate::source::{Deployment, SourceError, likely_name};
use crate::suggest::closest;
use silt_core::namespace::selection::{Matcher, is_servers_collection, is_servers_database};

/// Says what it may mean that nothing has come for this long.
pub(super) async fn explain(deployment: Deployment, settings: WatchSettings, seconds: u64) {
    let mut reasons = names(&deployment, &settings.source)
        .await
        .unwrap_or_else(|error| {
            debug!(%error, "can't list databases and collections");
            Vec::new()
        });
    let filters = super::filters(&settings);
    if !filters.is_empty() {
        let filters = filters.join(" and ");
        reasons.push(format!("{filters} may leave out every change"));
    }
    let nobody = if settings.from == WatchFrom::Now {
        "nobody has written since the start (--from shows earlier changes)"
    } else {
        "nobody has written"
    };
    reasons.push(if reasons.is_empty() {
        format!("the stream is open, so {nobody}")
    } else {
        format!("or {nobody}")
    });
    let reasons = reasons.join("; ");
    warn!("nothing has come for {seconds} s: {reasons}");
}

/// What is wrong with the names that are watched.
async fn names(
    deployment: &Deployment,
    source: &SourceSettings,
) -> Result<Vec<String>, SourceError> {
    let databases = deployment.databases().await?;
    let users = || databases.iter().filter(|name| !is_servers_database(name));
    let mut reasons = Vec::new();
    for name in source.databases.literal_names() {
        if !databases.iter().any(|database| database == name) {
            let meant = closest(name, users().map(String::as_str));
            reasons.push(missing(&format!("the database {name}"), meant));
        }
    }
    let mut watched = Vec::new();
    for database in users().filter(|name| source.databases.matches(name)) {
        let listings = deployment.listings_of_own(database, None).await?;
        watched.push((database, listings));
    }
    if watched.is_empty() {
        if reasons.is_empty() {
            reasons.push(format!("no database matches {}", source.databases));
        }
        return Ok(reasons);
    }
    for matcher in &source.collections.includes {
        reasons.extend(unmatched(matcher, &watched));
    }
    Ok(reasons)
}

/// That no collection of these databases has a name, or matches a pattern, if so.
fn unmatched(matcher: &Matcher, watched: &[(&String, Vec<Listing>)]) -> Option<String> {
    let all = || watched.iter().flat_map(|(_, listings)| listings);
    if all().any(|one| matcher.matches(&one.name) && !is_servers_collection(&one.name)) {
        return None;
    }
    let name = match matcher {
        Matcher::Name(name) => name,
        Matcher::Pattern { written, .. } => {
            return Some(format!("no collection matches {written}"));
        }
    };
    let mut likely = watched.iter().filter_map(|(database, listings)| {
        let meant = likely_name(database, name, listings)?;
        Some((*database, meant))
    });
    Some(match (watched, likely.next()) {
        ([(database, _)], meant) => {
            let meant = meant.as_ref().map(|(_, meant)| meant.as_str());
            missing(&format!("{database}.{name}"), meant)
        }
        (_, Some((database, meant))) => missing(name, Some(&format!("{database}.{meant}"))),
        (_, None) => missing(name, None),
    })
}

fn missing(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("{what} doesn't exist; did you mean {meant}?"),
        None => format!("{what} doesn't exist"),
    }
}
