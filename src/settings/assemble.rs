//! Makes the typed settings of the values.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;
use chrono_tz::Tz;

use super::choices::{FullDocumentBeforeChange, LogFormat, LogFormatWord, StoreWord};
use super::command_line::Verb;
use super::mongodb_uri::MongodbUri;
use super::namespaces::{check_namespace, parse_collection, parse_collections, parse_database};
use super::problems::Fault;
use super::schedule::{Schedule, next_flush, parse_timezone};
use super::secret::Secret;
use super::setting::size_text;
use super::values::Values;
use super::{
    CheckpointSettings, Command, FeedSettings, FileSettings, HttpSettings, InstanceSettings,
    LakeSettings, LogSettings, Settings, SnapshotSettings, SourceSettings, StreamSettings,
    lake_location, table,
};
use crate::archive::frame::GzipLevel;
use crate::archive::hour_file::FileFormat;
use crate::archive::limits::{HOLD_LIMIT_CHANGES, Limits};
use crate::archive::machine::{OnLargeEvent, StartAt};
use crate::archive::origin::{Layout, Origin};
use crate::archive::position::ClusterTime;
use crate::archive::selection::{NameSet, Selection, Watched};
use crate::archive::snapshot::SnapshotMode;

/// Reads what the command needs, and how to log. `None` only if problems were noted with that.
pub(super) fn command(
    values: &mut Values,
    verb: &Verb,
    is_terminal: bool,
    now_unix_ms: i64,
) -> (Option<Command>, Option<LogSettings>) {
    let command = match verb {
        Verb::Run => settings(values, now_unix_ms)
            .map(Box::new)
            .map(Command::Run),
        Verb::Check => settings(values, now_unix_ms)
            .map(Box::new)
            .map(Command::Check),
        Verb::Flush { collections } => instance(values).map(|instance| Command::Flush {
            instance,
            collections: collections.clone(),
        }),
        Verb::Healthcheck { live_only } => address(values).map(|address| Command::Healthcheck {
            address,
            live_only: *live_only,
        }),
        Verb::List(list) => lake(values).map(|lake| Command::List {
            lake: Box::new(lake),
            list: list.clone(),
        }),
    };
    (command, log(values, is_terminal))
}

/// Reads every setting. `None` only if problems were noted.
///
/// Here and in the parts, all is read before the first `?`: all problems are to be reported.
fn settings(values: &mut Values, now_unix_ms: i64) -> Option<Settings> {
    let source = source(values);
    let lake = lake(values);
    let stream = stream(values);
    let buffer_limit_bytes = values.number(&table::BUFFER_LIMIT_BYTES);
    let files = files(values, buffer_limit_bytes);
    let schedule = schedule(values, now_unix_ms);
    let checkpoints = checkpoints(values, source.as_ref());
    let start_at = values.parse(&table::START_AT, |text| parse_start_at(text, now_unix_ms));
    let on_history_lost = values.choice(&table::ON_HISTORY_LOST);
    let shutdown_seconds = values.number(&table::SHUTDOWN_TIMEOUT_SECONDS);
    let http = http(values);
    let source = source?;
    let common = FeedSettings {
        watched: Watched::Many {
            selection: Selection {
                databases: source.databases.clone(),
                collections: source.collections.clone(),
                apart: Vec::new(),
            },
            layout: source.layout,
        },
        stream: stream?,
        files: files?,
        start_at: start_at?,
        on_history_lost: on_history_lost?,
        on_large_event: OnLargeEvent::Halt,
        snapshot: SnapshotMode::Never,
    };
    Some(Settings {
        feeds: feeds(&source, &common),
        source,
        lake: lake?,
        files: common.files,
        buffer_limit_bytes: buffer_limit_bytes?,
        schedule: schedule?,
        checkpoints: checkpoints?,
        snapshot: SnapshotSettings {
            ranges: 4,
            rate_limit_bytes_per_second: None,
        },
        shutdown_timeout: Duration::from_secs(shutdown_seconds?),
        http: http?,
    })
}

/// A feed for each collection.
fn feeds(source: &SourceSettings, common: &FeedSettings) -> Vec<FeedSettings> {
    let databases = source.databases.names().unwrap_or_default();
    let collections = source.collections.names().unwrap_or_default();
    let origins = databases.iter().flat_map(|database| {
        let origin = |collection: &&str| Origin::laid_out(database, collection, source.layout);
        collections.iter().map(origin)
    });
    let feed = |origin| FeedSettings {
        watched: Watched::Collection(origin),
        ..common.clone()
    };
    origins.map(feed).collect()
}

fn lake(values: &mut Values) -> Option<LakeSettings> {
    let location = lake_location::read(values);
    let timeout_seconds = values.number(&table::LAKE_TIMEOUT_SECONDS);
    let concurrency = values.number_u32(&table::LAKE_CONCURRENCY);
    let (location, url_for_people) = location?;
    Some(LakeSettings {
        location,
        url_for_people,
        timeout: Duration::from_secs(timeout_seconds?),
        concurrency: concurrency? as usize,
    })
}

fn http(values: &mut Values) -> Option<HttpSettings> {
    let address = values.parse(&table::HTTP_ADDR, parse_http_address);
    let token = http_token(values);
    Some(HttpSettings {
        address: address?,
        token: token.ok()?,
    })
}

/// The token, which is none where nothing is set.
fn http_token(values: &mut Values) -> Result<Option<Secret>, Refused> {
    const CHARS_LEAST: usize = 16;
    let setting = &table::HTTP_TOKEN;
    if values.text(setting).is_none() {
        return Ok(None);
    }
    let token = values.parse(setting, |text| {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(Fault::new("it has white space or letters beyond ASCII"))
        } else if text.len() < CHARS_LEAST {
            Err(Fault::new("too short to be safe from guessing"))
        } else {
            Ok(Secret::new(text))
        }
    });
    token.map(Some).ok_or(Refused)
}

/// A value was refused, and that was noted.
struct Refused;

/// The running instance, as a command on the same machine reaches it.
fn instance(values: &mut Values) -> Option<InstanceSettings> {
    let (address, token) = (address(values), http_token(values));
    Some(InstanceSettings {
        address: address?,
        token: token.ok()?,
    })
}

/// Where the running instance answers.
fn address(values: &mut Values) -> Option<SocketAddr> {
    let address = values.parse(&table::HTTP_ADDR, parse_http_address)?;
    let address = address.filter(|address| address.port() != 0);
    if address.is_none() {
        let what = "the running silt can't be asked";
        let mend = "set it to the address and port where it answers";
        values.refuse(&table::HTTP_ADDR, Fault::mended_by(what, mend));
    }
    address
}

fn source(values: &mut Values) -> Option<SourceSettings> {
    let uri = uri(values);
    let database = values.parse(&table::MONGODB_DATABASE, parse_database);
    let collections = collections(values, database.as_deref());
    let wire_compression = values.choice(&table::WIRE_COMPRESSION);
    let timeout_seconds = values.number(&table::MONGODB_TIMEOUT_SECONDS);
    let (uri, uri_for_people) = uri?;
    let collections = collections?;
    let collections: Vec<&str> = collections.iter().map(String::as_str).collect();
    Some(SourceSettings {
        uri,
        uri_for_people,
        wire_compression: wire_compression?,
        timeout: Duration::from_secs(timeout_seconds?),
        databases: NameSet::of_names(&[&database?]),
        collections: NameSet::of_names(&collections),
        layout: Layout::Collection,
    })
}

fn stream(values: &mut Values) -> Option<StreamSettings> {
    let full_document = values.choice(&table::FULL_DOCUMENT);
    let cursor_batch_changes = values.number_u32(&table::CURSOR_BATCH_SIZE);
    Some(StreamSettings {
        full_document: full_document?,
        full_document_before_change: FullDocumentBeforeChange::Off,
        show_expanded_events: false,
        operation_types: Vec::new(),
        pipeline: Vec::new(),
        cursor_batch_changes: cursor_batch_changes?,
    })
}

/// The connection string, and what may be shown of it.
fn uri(values: &mut Values) -> Option<(Secret, String)> {
    let setting = &table::MONGODB_URI;
    let text = values.text(setting)?;
    let parsed = values.parse(setting, MongodbUri::parse)?;
    if parsed.has_password && values.is_flag(setting) {
        let what = "it holds a password, and a command line is visible to every process";
        let mend = "set it in the environment or the .env file";
        values.refuse(setting, Fault::mended_by(what, mend));
        return None;
    }
    Some((Secret::new(text), parsed.for_people))
}

fn collections(values: &mut Values, database: Option<&str>) -> Option<Vec<String>> {
    let setting = &table::MONGODB_COLLECTIONS;
    let names = match parse_collections(&values.text(setting)?) {
        Ok(names) => names,
        Err(faults) => {
            for fault in faults {
                values.refuse(setting, fault);
            }
            return None;
        }
    };
    let check = |name: &String| check_namespace(database.unwrap_or(""), name);
    values.parse(setting, |_| names.iter().try_for_each(check))?;
    Some(names)
}

fn files(values: &mut Values, buffer_limit_bytes: Option<u64>) -> Option<FileSettings> {
    let output = values.choice(&table::OUTPUT_FORMAT);
    let compression = values.choice(&table::COMPRESSION);
    let gzip_level = values.number_u32(&table::GZIP_LEVEL);
    let json_mode = values.choice(&table::JSON_MODE);
    let limits = limits(values, buffer_limit_bytes);
    Some(FileSettings {
        format: FileFormat {
            output: output?,
            compression: compression?,
        },
        gzip_level: GzipLevel::new(gzip_level?),
        json_mode: json_mode?,
        limits: limits?,
    })
}

fn limits(values: &mut Values, buffer_limit_bytes: Option<u64>) -> Option<Limits> {
    let batch_size_changes = values.number_u32(&table::BATCH_SIZE);
    let batch_limit_bytes = values.number(&table::BATCH_BYTES);
    let file_limit_bytes = values.number(&table::MAX_FILE_SIZE);
    let file_limit_commits = values.number_u32(&table::MAX_FILE_COMMITS);
    let retry_attempts = values.number_u32(&table::RETRY_ATTEMPTS);
    let retry_delay_ms = values.number(&table::RETRY_DELAY_MS);
    let idle_checkpoint_seconds = values.number(&table::IDLE_CHECKPOINT_SECONDS);
    for (setting, limit) in [
        (&table::BUFFER_LIMIT_BYTES, buffer_limit_bytes),
        (&table::MAX_FILE_SIZE, file_limit_bytes),
    ] {
        if let (Some(batch), Some(limit)) = (batch_limit_bytes, limit)
            && batch > limit
        {
            let what = format!("more than {}, which is {}", setting.name, size_text(limit));
            let mend = format!("lower it, or raise {}", setting.name);
            values.refuse(&table::BATCH_BYTES, Fault::mended_by(what, mend));
        }
    }
    Some(Limits {
        batch_size_changes: batch_size_changes?,
        batch_limit_bytes: batch_limit_bytes?,
        file_limit_bytes: file_limit_bytes?,
        file_limit_commits: file_limit_commits?,
        retry_attempts: retry_attempts?,
        retry_delay_ms: retry_delay_ms?,
        idle_checkpoint_ms: idle_checkpoint_seconds?.saturating_mul(1000),
        hold_limit_changes: HOLD_LIMIT_CHANGES,
    })
}

fn schedule(values: &mut Values, now_unix_ms: i64) -> Option<Schedule> {
    let timezone = values.parse(&table::TZ, parse_timezone);
    let schedule = values.parse(&table::DUMP_SCHEDULE, |text| {
        let schedule = Schedule::parse(text, timezone.unwrap_or(Tz::UTC))?;
        match next_flush(&schedule, now_unix_ms) {
            Some(_) => Ok(schedule),
            None => Err(Fault::new("there is no such time")),
        }
    });
    timezone.and(schedule)
}

fn checkpoints(values: &mut Values, source: Option<&SourceSettings>) -> Option<CheckpointSettings> {
    let store: Option<StoreWord> = values.choice(&table::CHECKPOINT_STORE);
    let database = values.parse(&table::CHECKPOINT_DATABASE, parse_database);
    let collection = values.parse(&table::CHECKPOINT_COLLECTION, |name| {
        check_namespace(database.as_deref().unwrap_or(""), name)?;
        parse_collection(name)
    });
    let (store, database, collection) = (store?, database?, collection?);
    if store == StoreWord::Lake {
        return Some(CheckpointSettings::Lake);
    }
    let is_watched = source.is_some_and(|source| {
        source.databases.matches(&database) && source.collections.matches(&collection)
    });
    if is_watched {
        let what = "it is watched: every checkpoint would make the next change";
        let mend = "keep the checkpoints in another collection, or don't watch this one";
        values.refuse(&table::CHECKPOINT_COLLECTION, Fault::mended_by(what, mend));
    }
    Some(CheckpointSettings::MongoDb {
        database,
        collection,
    })
}

fn log(values: &mut Values, is_terminal: bool) -> Option<LogSettings> {
    let level = values.choice(&table::LOG_LEVEL);
    let format = match values.choice(&table::LOG_FORMAT)? {
        LogFormatWord::Fixed(format) => format,
        LogFormatWord::Auto if is_terminal => LogFormat::Text,
        LogFormatWord::Auto => LogFormat::Json,
    };
    Some(LogSettings {
        level: level?,
        format,
    })
}

/// `None` for `off`.
fn parse_http_address(text: &str) -> Result<Option<SocketAddr>, Fault> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    // Names aren't looked up: what is listened on is to be plain to see.
    let named = text.replacen("localhost:", "127.0.0.1:", 1);
    let address = named.parse();
    address
        .map(Some)
        .map_err(|_| Fault::new("no address with a port"))
}

fn parse_start_at(text: &str, now_unix_ms: i64) -> Result<StartAt, Fault> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(StartAt::Now);
    }
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Fault::new("neither `now` nor an RFC 3339 time"))?;
    if time.timestamp() < 1 {
        return Err(Fault::new("not after 1970 began"));
    }
    let seconds = u32::try_from(time.timestamp())
        .map_err(|_| Fault::new("later than MongoDB's timestamps reach (2106)"))?;
    if time.timestamp_millis() > now_unix_ms {
        return Err(Fault::new("in the future"));
    }
    // The server counts the operations of a second from 1.
    Ok(StartAt::Time(ClusterTime {
        seconds,
        increment: 1,
    }))
}
