//! Whether the lake can be reached and written.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{Access, access};
use tokio::net::TcpStream;
use url::{Url, form_urlencoded};

use super::probe::{self, Fault, Proof};
use super::row::{Part, Row, Table};
use super::{ANSWER_LIMIT, ROW_LIMIT, in_time, words};
use crate::edges;
use crate::lake::{Lake, LakeError};
use crate::settings::{AzureCredential, LakeLocation, Settings};
use silt_core::namespace::names;

/// Longest wait for the host.
const HOST_LIMIT: Duration = Duration::from_secs(5);
/// A signature that expires sooner is to be renewed.
const EXPIRES_SOON_DAYS: i64 = 7;
const PROBE: &str = "commits";

/// Checks the lake by committing to it. Returns it if it is there.
pub(super) async fn check(settings: &Settings, table: &Table<'_>) -> Option<Arc<dyn Lake>> {
    let lake = match edges::open_lake(&settings.lake) {
        Ok(lake) => lake,
        Err(error) => {
            table.add(Part::Lake, failure("credential", &error));
            table.done(Part::Lake);
            return None;
        }
    };
    table.progress("lake: connects");
    let is_there = match &settings.lake.location {
        LakeLocation::Local { root } => local(lake.as_ref(), root, table).await,
        LakeLocation::Azure {
            endpoint,
            filesystem,
            credential,
            ..
        } => azure(lake.as_ref(), endpoint, filesystem, credential, table).await,
    };
    match is_there {
        Ok(()) => {
            table.progress("lake: commits to it");
            table.add(Part::Lake, commits(settings, lake.as_ref()).await);
        }
        Err(reason) => table.add(Part::Lake, Row::skipped(PROBE, reason)),
    }
    table.done(Part::Lake);
    is_there.ok().map(|()| lake)
}

/// A row of the lake's words; the fix stands at their end.
pub(super) fn failure(what: &str, error: &LakeError) -> Row {
    let text = words::of_lake(error);
    match text.rsplit_once("; ") {
        Some((found, fix)) => Row::failure(what, found).fixed_by(fix),
        None => Row::failure(what, text),
    }
}

async fn commits(settings: &Settings, lake: &dyn Lake) -> Row {
    let now_unix_ms = Utc::now().timestamp_millis();
    let good = "committed three times, refused a stale write, read back";
    let failed = match probe::run(lake, settings.files.format, now_unix_ms, ROW_LIMIT).await {
        Ok(Proof::Whole) => return Row::good(PROBE, format!("{good}, removed")),
        Ok(Proof::Stays(path)) => {
            let found = format!(
                "{good}; the file may not be removed, which silt needn't, and stays: {path}"
            );
            return Row::warning(PROBE, found);
        }
        Err(failed) => failed,
    };
    let mut row = match &failed.why {
        Fault::At(step, error) => {
            let mut row = failure(PROBE, error);
            row.found = format!("{step} fails: {}", row.found);
            row
        }
        Fault::Late(silence) => Row::failure(PROBE, silence),
    };
    if let Some(path) = &failed.stays {
        row.found = format!(
            "{}; what was written can't be removed and stays: {path}",
            row.found
        );
    }
    row
}

/// Whether the folder is there, or why not.
async fn local(lake: &dyn Lake, root: &Path, table: &Table<'_>) -> Result<(), &'static str> {
    const WHAT: &str = "folder";
    match lake.list(names::OWN_FOLDER).await {
        Ok(_) => {
            table.add(Part::Lake, Row::good(WHAT, root.display().to_string()));
            Ok(())
        }
        Err(LakeError::NoRoot { .. }) => {
            let above = root.ancestors().skip(1).find(|above| above.exists());
            let may = above.is_some_and(|above| {
                above.is_dir() && access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok()
            });
            let (root, above) = (root.display(), above.unwrap_or(Path::new("/")).display());
            table.add(
                Part::Lake,
                if may {
                    let found = format!("{root} is not there yet; silt creates it");
                    Row::warning(WHAT, found).fixed_by("create it to have it checked")
                } else {
                    let found =
                        format!("{root} is not there, and silt may not create it in {above}");
                    Row::failure(WHAT, found).fixed_by("create it, and give it to silt's user")
                },
            );
            Err("the folder isn't there")
        }
        Err(error) => {
            table.add(Part::Lake, failure(WHAT, &error));
            Err("the folder can't be used")
        }
    }
}

/// What was tried of the network, beside the first request.
struct Network {
    found: Result<Vec<SocketAddr>, String>,
    connected: Result<(), String>,
}

async fn network(endpoint: &Url) -> Network {
    let host = endpoint
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let port = endpoint.port_or_known_default().unwrap_or(443);
    let found = in_time(HOST_LIMIT, async {
        let found = tokio::net::lookup_host((host, port)).await;
        found.map(Vec::from_iter).map_err(|error| error.to_string())
    })
    .await;
    let connected = match &found {
        Ok(addresses) => {
            let connecting = async {
                let stream = TcpStream::connect(addresses.as_slice()).await;
                stream.map(drop).map_err(|error| error.to_string())
            };
            in_time(HOST_LIMIT, connecting).await
        }
        Err(_) => Err("the host is unknown".to_owned()),
    };
    Network { found, connected }
}

/// Whether the file system is there, or why not.
async fn azure(
    lake: &dyn Lake,
    endpoint: &Url,
    filesystem: &str,
    credential: &AzureCredential,
    table: &Table<'_>,
) -> Result<(), &'static str> {
    let add = |row| table.add(Part::Lake, row);
    let listing = async { Ok(lake.list(names::OWN_FOLDER).await) };
    let (network, listed) = futures::join!(network(endpoint), in_time(ANSWER_LIMIT, listing));
    let listed = match listed {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(LakeError::TimedOut {
            limit_ms: u64::try_from(ANSWER_LIMIT.as_millis()).unwrap_or(u64::MAX),
        }),
    };
    let kind = credential_text(credential, Utc::now());
    let is_reached = reach(endpoint, &network, &listed, &add);
    if let Err(error @ LakeError::NoToken { .. }) = &listed {
        add(refused(&kind, error));
        add(Row::skipped("file system", "no token to ask with"));
        return Err("no token to ask with");
    }
    if !is_reached {
        add(Row::skipped("credential", "no answer"));
        add(Row::skipped("file system", "no answer"));
        return Err("no answer");
    }
    match listed {
        Ok(()) => {
            add(accepted(credential, &kind));
            add(Row::good("file system", filesystem));
            Ok(())
        }
        Err(error @ LakeError::NoRoot { .. }) => {
            add(accepted(credential, &kind));
            add(missing(filesystem, credential, &error));
            Err("the file system isn't there")
        }
        Err(error @ (LakeError::Unauthenticated { .. } | LakeError::Forbidden { .. })) => {
            add(refused(&kind, &error));
            add(Row::skipped("file system", "the credential is refused"));
            Err("the credential is refused")
        }
        Err(error) => {
            add(failure("file system", &error));
            Err("the file system can't be used")
        }
    }
}

fn refused(kind: &str, error: &LakeError) -> Row {
    let mut row = failure("credential", error);
    row.found = format!("{kind}: {}", row.found);
    row
}

/// Whether the service has said something, be it a refusal.
fn has_answered(listed: &Result<(), LakeError>) -> bool {
    let silence = matches!(
        listed,
        Err(LakeError::TimedOut { .. }
            | LakeError::NoToken { .. }
            | LakeError::Unavailable {
                source: Some(_),
                ..
            })
    );
    !silence
}

/// The rows of the network. What the service answers itself is proof enough: a proxy may know hosts
/// that this machine doesn't.
fn reach(
    endpoint: &Url,
    network: &Network,
    listed: &Result<(), LakeError>,
    add: &impl Fn(Row),
) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    let has_answered = has_answered(listed);
    let other_way = "not from here, yet the service answers: by a proxy";
    match (&network.found, has_answered) {
        (Ok(addresses), _) => {
            let first = addresses.first().map(|address| address.ip().to_string());
            add(Row::good(
                "DNS",
                format!("{host} is {}", first.unwrap_or_default()),
            ));
        }
        (Err(_), true) => add(Row::good("DNS", other_way)),
        (Err(error), false) => {
            let fix = "look at AZURE_STORAGE_ACCOUNT_NAME or LAKE_URL, and at this machine's DNS";
            add(Row::failure("DNS", format!("{host}: {error}")).fixed_by(fix));
            add(Row::skipped("TCP", "the host is unknown"));
            add(Row::skipped("TLS", "the host is unknown"));
            return false;
        }
    }
    match (&network.connected, has_answered) {
        (Ok(()), _) => add(Row::good("TCP", "connected")),
        (Err(_), true) => add(Row::good("TCP", other_way)),
        (Err(error), false) => {
            let fix = "let firewalls admit this machine, and start the service if it is your own";
            add(Row::failure("TCP", error).fixed_by(fix));
            add(Row::skipped("TLS", "no connection"));
            return false;
        }
    }
    answer(endpoint, listed).into_iter().for_each(add);
    has_answered
}

/// The rows of TLS and of what came over the connection.
fn answer(endpoint: &Url, listed: &Result<(), LakeError>) -> Vec<Row> {
    let has_tls = endpoint.scheme() == "https";
    let encryption = || Row::good("TLS", if has_tls { "on" } else { "off (http)" });
    let error = match listed {
        Err(LakeError::NoToken { .. }) => return vec![Row::skipped("TLS", "no token to ask with")],
        Err(error) if !has_answered(listed) => error,
        _ => return vec![encryption()],
    };
    let text = words::of_lake(error);
    let found = format!("the service gives no answer: {text}");
    let fix = "look at the endpoint, and at what stands between";
    if !has_tls {
        return vec![encryption(), Row::failure("answer", found).fixed_by(fix)];
    }
    vec![match words::tls(&text, "AZURE_STORAGE_ENDPOINT") {
        Some((what, fix)) => Row::failure("TLS", format!("{what} ({text})")).fixed_by(fix),
        None => Row::failure("TLS", found).fixed_by(fix),
    }]
}

/// What of a signature may be told: its end, and never itself.
fn signature_part(query: &str, name: &str) -> Option<String> {
    let mut parts = form_urlencoded::parse(query.trim_start_matches('?').as_bytes());
    parts
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn expiry(query: &str) -> Option<DateTime<Utc>> {
    let text = signature_part(query, "se")?;
    let date = format!("{text}T00:00:00Z");
    let time = DateTime::parse_from_rfc3339(&text).or_else(|_| DateTime::parse_from_rfc3339(&date));
    time.ok().map(|time| time.to_utc())
}

fn credential_text(credential: &AzureCredential, now: DateTime<Utc>) -> String {
    let kind = credential.kind();
    let AzureCredential::Sas(query) = credential else {
        return kind.to_owned();
    };
    match expiry(query.reveal()) {
        Some(end) if end < now => format!("{kind}, which expired at {}", end.to_rfc3339()),
        Some(end) => format!("{kind}, valid until {}", end.to_rfc3339()),
        None => kind.to_owned(),
    }
}

fn accepted(credential: &AzureCredential, kind: &str) -> Row {
    let ends_soon = |end: DateTime<Utc>| (end - Utc::now()).num_days() < EXPIRES_SOON_DAYS;
    let end = match credential {
        AzureCredential::Sas(query) => expiry(query.reveal()),
        _ => None,
    };
    let found = format!("{kind}, accepted");
    if end.is_some_and(ends_soon) {
        return Row::warning("credential", found).fixed_by("renew it before it ends");
    }
    Row::good("credential", found)
}

/// Whether silt can create what is missing. Nothing but an attempt would prove it, and a check creates
/// no file system.
fn missing(filesystem: &str, credential: &AzureCredential, error: &LakeError) -> Row {
    const WHAT: &str = "file system";
    let found = format!("{filesystem} is not there yet");
    let creating = "create it to have it checked";
    match credential {
        AzureCredential::SharedKey(_) => Row::warning(
            WHAT,
            format!("{found}; silt creates it, an account key may"),
        )
        .fixed_by(creating),
        AzureCredential::Entra(_) => Row::warning(
            WHAT,
            format!(
                "{found}; silt creates it, if it is Storage Blob Data Contributor of the account"
            ),
        )
        .fixed_by(creating),
        AzureCredential::Sas(query) => {
            let part = |name| signature_part(query.reveal(), name).unwrap_or_default();
            // Only a signature of the account reaches beyond one file system.
            if part("srt").contains('c') && part("sp").contains(['c', 'w']) {
                let found = format!("{found}; silt creates it, the signature allows it");
                Row::warning(WHAT, found).fixed_by(creating)
            } else {
                Row::failure(
                    WHAT,
                    format!("{found}, and the signature can't create it ({error})"),
                )
                .fixed_by("create the file system")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Mark;
    use super::*;
    use crate::settings::Secret;

    #[test]
    fn a_signature_tells_its_end_and_nothing_secret() {
        let sas = |query: &str| AzureCredential::Sas(Secret::new(query));
        let now = "2026-01-10T00:00:00Z".parse().unwrap();
        let text = |query: &str| credential_text(&sas(query), now);
        let good = text("sv=1&se=2026-02-01T10%3A00%3A00Z&sig=canary");
        assert_eq!(
            good,
            "shared access signature, valid until 2026-02-01T10:00:00+00:00"
        );
        let ended = text("se=2026-01-09&sig=canary");
        assert_eq!(
            ended,
            "shared access signature, which expired at 2026-01-09T00:00:00+00:00"
        );
        assert_eq!(text("sig=canary"), "shared access signature");
    }

    #[test]
    fn who_can_create_a_file_system_is_told() {
        let error = LakeError::NoRoot {
            root: "file system fs".to_owned(),
            reason: "404".to_owned(),
        };
        for (query, mark) in [
            ("ss=b&srt=sco&sp=racwl&sig=x", Mark::Warning),
            ("ss=b&srt=o&sp=racwl&sig=x", Mark::Failure),
            ("sr=c&sp=racwl&sig=x", Mark::Failure),
        ] {
            let sas = AzureCredential::Sas(Secret::new(query));
            assert_eq!(missing("fs", &sas, &error).mark, mark, "{query}");
        }
    }
}
