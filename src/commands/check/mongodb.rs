//! Whether the deployment can be reached, and what it is.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;

use super::row::{Part, Row, Table};
use super::{in_time, words};
use crate::edges;
use crate::settings::{FullDocument, FullDocumentBeforeChange, Settings, StreamSettings};
use crate::source::preflight::{Account, Address, Greeting, Host};
use crate::source::{Deployment, Facts, OplogWindow, ServerVersion, SourceError};

/// Longest wait for one host.
const HOST_LIMIT: Duration = Duration::from_secs(5);
/// The least version, and those that the tests run on.
const VERSIONS: &str = "4.4.2 is the least, the tests run on 4.4, 5.0 and 6.0";
/// The first that keeps post-images.
const WITH_IMAGES: ServerVersion = ServerVersion::new(6, 0, 0);
/// An oplog that holds less is soon too short for an outage.
const SHORT_OPLOG_HOURS: f64 = 24.0;

/// A deployment that answers, and what was learnt of it.
pub(super) struct Reached {
    pub deployment: Deployment,
    pub account: Account,
    /// Whether post-images can be had, as far as is known.
    pub keeps_images: bool,
    /// `None` where it can't be seen.
    pub oplog: Option<OplogWindow>,
}

/// Checks all up to the oplog.
pub(super) async fn check(settings: &Settings, table: &Table<'_>) -> Option<Reached> {
    let reached = reach(settings, table).await;
    table.done(Part::MongoDb);
    reached
}

async fn reach(settings: &Settings, table: &Table<'_>) -> Option<Reached> {
    let add = |row| table.add(Part::MongoDb, row);
    let skip = |whats: &[&str], reason: &str| {
        for what in whats {
            add(Row::skipped(what, reason));
        }
    };
    table.progress("MongoDB: looks the hosts up");
    let address = match address(settings).await {
        Ok(address) => address,
        Err(row) => {
            add(row);
            skip(
                &["TCP", "TLS", "kind", "login", "version", "oplog"],
                "no address",
            );
            return None;
        }
    };
    let hosts = address.hosts();
    let looked_up = look_up(&hosts).await;
    add(dns_row(settings, &looked_up));
    table.progress("MongoDB: connects");
    let connected = connect(&hosts).await;
    add(tcp_row(&connected));
    let Some((host, _)) = connected.iter().find(|(_, result)| result.is_ok()) else {
        skip(
            &["TLS", "kind", "login", "version", "oplog"],
            "no host can be reached",
        );
        return None;
    };
    let limit = HOST_LIMIT;
    let tls = Row::good("TLS", if address.has_tls() { "on" } else { "off" });
    let greeting = in_time(limit + HOST_LIMIT, address.greet(host, limit)).await;
    let greeting = match greeting {
        Ok(greeting) => greeting,
        Err(error) => {
            if let Some(too_old) = SourceError::too_old(&error) {
                add(tls);
                add(no_version(&too_old));
                skip(&["kind", "login", "oplog"], "the server is too old");
                return None;
            }
            if !address.has_tls() {
                add(tls);
            }
            add(no_greeting(&address, &error));
            skip(&["kind", "login", "version", "oplog"], "no server answers");
            return None;
        }
    };
    add(tls);
    let (row, unfit) = kind_row(&address, &greeting);
    add(row);
    if let Some(reason) = unfit {
        skip(&["login", "version", "oplog"], reason);
        return None;
    }
    log_in(settings, &address, &greeting, table).await
}

async fn address(settings: &Settings) -> Result<Address, Row> {
    let parsed = async { Ok(Address::parse(settings.source.uri.reveal()).await) };
    let error = match in_time(super::ANSWER_LIMIT, parsed).await {
        Ok(Ok(address)) => return Ok(address),
        Ok(Err(error @ SourceError::BadUri { .. })) => {
            return Err(Row::failure("address", error.to_string()));
        }
        Ok(Err(error)) => words::of_source(&error),
        Err(late) => late,
    };
    let fix = "look at the host of MONGODB_URI: its SRV record _mongodb._tcp.HOST must be known to this \
                machine's DNS server";
    let found = format!("{}: {error}", settings.source.uri_for_people);
    Err(Row::failure("DNS", found).fixed_by(fix))
}

type Found<T> = Vec<(Host, Result<T, String>)>;

async fn look_up(hosts: &[Host]) -> Found<Vec<SocketAddr>> {
    let each = hosts.iter().map(|host| async move {
        let Host::Tcp(name, port) = host else {
            return (host.clone(), Ok(Vec::new()));
        };
        let found = in_time(HOST_LIMIT, async {
            let found = tokio::net::lookup_host((name.as_str(), *port)).await;
            found
                .map(Iterator::collect)
                .map_err(|error| error.to_string())
        });
        (host.clone(), found.await)
    });
    join_all(each).await
}

fn dns_row(settings: &Settings, found: &Found<Vec<SocketAddr>>) -> Row {
    let is_srv = settings.source.uri_for_people.starts_with("mongodb+srv");
    let by = if is_srv { " (by SRV record)" } else { "" };
    let names = |is_ok: bool| -> Vec<String> {
        let fitting = found.iter().filter(|(_, found)| found.is_ok() == is_ok);
        fitting
            .map(|(host, found)| match found {
                Ok(_) => host.to_string(),
                Err(error) => format!("{host}: {error}"),
            })
            .collect()
    };
    let (known, unknown) = (names(true), names(false));
    let fix = "look at the hosts of MONGODB_URI, and at this machine's DNS";
    if unknown.is_empty() {
        Row::good("DNS", format!("{}{by}", known.join(", ")))
    } else if known.is_empty() {
        Row::failure(
            "DNS",
            format!("no host is known{by}: {}", unknown.join("; ")),
        )
        .fixed_by(fix)
    } else {
        let found = format!("{}{by}; unknown: {}", known.join(", "), unknown.join("; "));
        Row::warning("DNS", found).fixed_by(fix)
    }
}

async fn connect(hosts: &[Host]) -> Found<()> {
    let each = hosts.iter().map(|host| async move {
        let connected = in_time(HOST_LIMIT, async {
            let connected = match host {
                Host::Tcp(name, port) => {
                    let stream = TcpStream::connect((name.as_str(), *port)).await;
                    stream.map(drop)
                }
                Host::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
            };
            connected.map_err(|error| error.to_string())
        });
        (host.clone(), connected.await)
    });
    join_all(each).await
}

fn tcp_row(connected: &Found<()>) -> Row {
    let failed: Vec<String> = connected
        .iter()
        .filter_map(|(host, result)| Some(format!("{host}: {}", result.as_ref().err()?)))
        .collect();
    let good = connected.len() - failed.len();
    let fix = "start the servers, and let firewalls admit this machine";
    match (good, failed.len()) {
        (1, 0) => Row::good("TCP", "connected"),
        (good, 0) => Row::good("TCP", format!("connected to all {good}")),
        (0, _) => Row::failure("TCP", failed.join("; ")).fixed_by(fix),
        (good, _) => {
            let found = format!(
                "connected to {good} of {}; {}",
                connected.len(),
                failed.join("; ")
            );
            Row::warning("TCP", found).fixed_by(fix)
        }
    }
}

fn no_greeting(address: &Address, error: &str) -> Row {
    let found = format!("the server gives no answer: {error}");
    if !address.has_tls() {
        return Row::failure("answer", found)
            .fixed_by("look at the server's log; if it wants TLS, add tls=true to MONGODB_URI");
    }
    match words::tls(error, "MONGODB_URI") {
        Some((what, fix)) => Row::failure("TLS", format!("{what} ({error})")).fixed_by(fix),
        None => Row::failure("TLS", found)
            .fixed_by("look at the server's log; whether it speaks TLS, and which"),
    }
}

/// What it is, and why there is no use in going on, if there is none.
fn kind_row(address: &Address, greeting: &Greeting) -> (Row, Option<&'static str>) {
    const NO_STREAMS: Option<&str> = Some("it is no deployment with change streams");
    const WHAT: &str = "kind";
    if greeting.is_router {
        return (Row::good(WHAT, "sharded cluster"), None);
    }
    let Some(name) = &greeting.replica_set else {
        let row = if greeting.is_uninitiated {
            Row::failure(WHAT, "a replica set that nobody has initiated").fixed_by("rs.initiate()")
        } else {
            Row::failure(WHAT, "standalone, which has no change streams").fixed_by(
                "run it as a replica set (one member will do): --replSet rs0 and rs.initiate()",
            )
        };
        return (row, NO_STREAMS);
    };
    if let Some(wanted) = address.replica_set().filter(|wanted| wanted != name) {
        let found = format!("replica set {name}, but MONGODB_URI says replicaSet={wanted}");
        let row = Row::failure(WHAT, found).fixed_by(format!("replicaSet={name} in MONGODB_URI"));
        return (row, Some("MONGODB_URI names another replica set"));
    }
    let primary = match &greeting.primary {
        Some(primary) => format!("primary {primary}"),
        None => "no primary at this moment".to_owned(),
    };
    (
        Row::good(WHAT, format!("replica set {name}, {primary}")),
        None,
    )
}

async fn log_in(
    settings: &Settings,
    address: &Address,
    greeting: &Greeting,
    table: &Table<'_>,
) -> Option<Reached> {
    let add = |row| table.add(Part::MongoDb, row);
    table.progress("MongoDB: logs in");
    let logged_in = async {
        let deployment = edges::connect(settings).await?;
        let account = deployment.account().await?;
        Ok((deployment, account))
    };
    let (deployment, account) = match logged_in.await {
        Ok(reached) => reached,
        Err(error) => {
            add(no_login(address, greeting, &error));
            for what in ["version", "oplog"] {
                add(Row::skipped(what, "not logged in"));
            }
            return None;
        }
    };
    add(match &account.user {
        Some((user, database)) => Row::good("login", format!("{user} of {database}")),
        None if address.has_credential() => Row::good("login", "accepted"),
        None => Row::good("login", "none, and none is asked for here"),
    });
    let facts = match deployment.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            add(no_version(&error));
            add(Row::skipped(
                "oplog",
                "the version isn't known, or won't do",
            ));
            return None;
        }
    };
    let compatibility = deployment.feature_compatibility().await;
    let keeps_images = keeps_images(&facts, compatibility.as_deref());
    add(version_row(
        settings,
        &facts,
        compatibility.as_deref(),
        keeps_images,
    ));
    let oplog = oplog(&deployment, &facts, table).await;
    Some(Reached {
        deployment,
        account,
        keeps_images,
        oplog,
    })
}

fn no_login(address: &Address, greeting: &Greeting, error: &SourceError) -> Row {
    let row = Row::failure("login", words::of_source(error));
    match error {
        SourceError::Unauthenticated { message } => Row::failure("login", message).fixed_by(
            "look at user and password in MONGODB_URI (special letters are percent-encoded), and at \
             authSource=DATABASE, where the user was created",
        ),
        SourceError::Unauthorized { message } if !address.has_credential() => {
            Row::failure("login", message)
                .fixed_by("the server asks for a login: mongodb://USER:PASSWORD@… in MONGODB_URI")
        }
        SourceError::Transient { .. } | SourceError::Unanswered { .. }
            if !greeting.members.is_empty() && !address.is_direct() =>
        {
            row.fixed_by(format!(
                "the replica set names its members {}: these names must be known and reachable from \
                 here (or directConnection=true in MONGODB_URI, for one of them alone)",
                greeting.members.join(", ")
            ))
        }
        _ => row,
    }
}

/// A version that can't be had, or won't do.
fn no_version(error: &SourceError) -> Row {
    match error {
        SourceError::TooOld { found } => Row::failure("version", format!("{found} is too old"))
            .fixed_by(format!("upgrade MongoDB: {VERSIONS}")),
        other => Row::failure("version", words::of_source(other)),
    }
}

/// Whether the version, and the one in force, keep post-images. One that isn't known may.
fn keeps_images(facts: &Facts, compatibility: Option<&str>) -> bool {
    let in_force = compatibility.and_then(ServerVersion::parse);
    let known = facts.number().into_iter().chain(in_force);
    known.min().is_none_or(|number| number >= WITH_IMAGES)
}

fn version_row(
    settings: &Settings,
    facts: &Facts,
    compatibility: Option<&str>,
    keeps_images: bool,
) -> Row {
    let version = &facts.version;
    let found = match compatibility {
        Some(compatibility) => format!("{version} (feature compatibility {compatibility})"),
        None => version.clone(),
    };
    if !keeps_images && let Some((lacks, without)) = asks_for_6_0(settings) {
        return Row::failure("version", format!("{found} {lacks}"))
            .fixed_by(format!("{without}, or MongoDB 6.0"));
    }
    match facts.number() {
        Some(_) => Row::good("version", format!("{found}; {VERSIONS}")),
        None => Row::warning("version", found),
    }
}

/// What a server before 6.0 lacks of what the settings ask for, and which setting does without.
fn asks_for_6_0(settings: &Settings) -> Option<(&'static str, &'static str)> {
    let any =
        |asks: fn(&StreamSettings) -> bool| settings.feeds.iter().any(|feed| asks(&feed.stream));
    if any(|stream| {
        let full_document = stream.full_document;
        matches!(
            full_document,
            FullDocument::WhenAvailable | FullDocument::Required
        )
    }) {
        let lacks = "keeps no post-images, which FULL_DOCUMENT asks for";
        return Some((lacks, "FULL_DOCUMENT=updateLookup"));
    }
    if any(|stream| stream.full_document_before_change != FullDocumentBeforeChange::Off) {
        let lacks = "keeps no pre-images, which FULL_DOCUMENT_BEFORE_CHANGE asks for";
        return Some((lacks, "FULL_DOCUMENT_BEFORE_CHANGE=off"));
    }
    if any(|stream| stream.show_expanded_events) {
        let lacks = "has no expanded events, which SHOW_EXPANDED_EVENTS asks for";
        return Some((lacks, "SHOW_EXPANDED_EVENTS=false"));
    }
    None
}

async fn oplog(deployment: &Deployment, facts: &Facts, table: &Table<'_>) -> Option<OplogWindow> {
    if facts.replica_set.is_none() {
        let found = "a sharded cluster doesn't show how far back it reaches";
        table.add(Part::MongoDb, Row::warning("oplog", found));
        return None;
    }
    let (row, window) = match deployment.oplog().await {
        Ok(Some(window)) => (oplog_row(window), Some(window)),
        Ok(None) => (Row::warning("oplog", "it is empty"), None),
        Err(SourceError::Unauthorized { .. }) => {
            let found = "not visible: silt can't tell how far back it reaches";
            let fix = "grant find on local.oplog.rs (role read on the database local) to see it; silt runs \
                        without";
            (Row::warning("oplog", found).fixed_by(fix), None)
        }
        Err(error) => (Row::warning("oplog", words::of_source(&error)), None),
    };
    table.add(Part::MongoDb, row);
    window
}

fn oplog_row(window: OplogWindow) -> Row {
    let hours = f64::from(window.newest.seconds.saturating_sub(window.oldest.seconds)) / 3600.0;
    let found = format!("reaches back {hours:.1} h, to {}", window.oldest);
    if hours >= SHORT_OPLOG_HOURS {
        return Row::good("oplog", found);
    }
    let fix = "a new deployment's oplog grows by itself; else an outage of silt may not be longer: \
                db.adminCommand({replSetResizeOplog: 1, size: …, minRetentionHours: 48})";
    Row::warning("oplog", found).fixed_by(fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use silt_core::position::ClusterTime;

    #[test]
    fn a_short_oplog_is_to_mind() {
        let window = |hours: u32| OplogWindow {
            oldest: ClusterTime {
                seconds: 1_705_327_200,
                increment: 1,
            },
            newest: ClusterTime {
                seconds: 1_705_327_200 + hours * 3600,
                increment: 1,
            },
        };
        assert_eq!(oplog_row(window(24)).mark, super::super::row::Mark::Good);
        let short = oplog_row(window(23));
        assert_eq!(short.mark, super::super::row::Mark::Warning);
        assert!(
            short.found.contains("23.0 h, to 2024-01-15T14:00:00Z/1"),
            "{short:?}"
        );
    }
}
