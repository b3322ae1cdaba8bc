//! Builds the typed settings from the values.

use std::net::SocketAddr;
use std::time::Duration;

use chrono_tz::Tz;

use crate::settings::command_line::Verb;
use crate::settings::feeds::{self, FeedKind};
use crate::settings::lake;
use crate::settings::mongodb::uri::MongodbUri;
use crate::settings::places::Section;
use crate::settings::problems::{Fault, shown};
use crate::settings::schedule::{Schedule, next_flush, parse_timezone};
use crate::settings::secret::Secret;
use crate::settings::surroundings::Surroundings;
use crate::settings::table;
use crate::settings::table::choices::{LogFormat, LogFormatWord, StoreWord, Switch};
use crate::settings::table::setting::size_text;
use crate::settings::values::{Values, parse_size};
use crate::settings::watch;
use crate::settings::watched::Scope;
use crate::settings::watched::namespaces::{check_namespace, parse_collection, parse_database};
use crate::settings::{
    CheckpointSettings, ClosingSettings, Command, HttpSettings, InstanceSettings, LakeSettings,
    LogSettings, Settings, SnapshotSettings, SourceSettings,
};
use silt_core::namespace::selection::is_servers_database;

/// Reads the settings of the command, and how to log. `None` only if problems were noted.
pub(super) fn command(
    values: &mut Values,
    verb: &Verb,
    sections: &[Section],
    surroundings: &Surroundings<'_>,
) -> (Option<Command>, Option<LogSettings>) {
    let now_unix_ms = surroundings.now_unix_ms;
    let command = match verb {
        Verb::Run => settings(values, sections, now_unix_ms)
            .map(Box::new)
            .map(Command::Run),
        Verb::Check => settings(values, sections, now_unix_ms)
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
        Verb::Watch(options) => watch::read(values, *options, sections, now_unix_ms)
            .map(Box::new)
            .map(Command::Watch),
    };
    (command, log(values, surroundings.is_terminal))
}

/// Reads every setting. `None` only if problems were noted.
///
/// Here and in the functions below, everything is read before the first `?`, so that all problems are reported.
fn settings(values: &mut Values, sections: &[Section], now_unix_ms: i64) -> Option<Settings> {
    let scope = Scope::read(values);
    let source = source(values, scope.as_ref());
    let lake = lake(values);
    let buffer_limit_bytes = values.number(&table::BUFFER_LIMIT_BYTES);
    let kind = FeedKind::read(values, buffer_limit_bytes, now_unix_ms);
    let schedule = schedule(values, now_unix_ms);
    let checkpoints = checkpoints(values, scope.as_ref());
    let snapshot = snapshot(values);
    let closing = closing(values);
    let shutdown_seconds = values.number(&table::SHUTDOWN_TIMEOUT_SECONDS);
    let http = http(values);
    let apart = feeds::apart(
        values,
        sections,
        scope.as_ref(),
        checkpoints.as_ref(),
        |values| FeedKind::read(values, buffer_limit_bytes, now_unix_ms),
    );
    let (scope, kind, checkpoints) = (scope?, kind?, checkpoints?);
    Some(Settings {
        source: source?,
        feeds: feeds::all(&scope, &checkpoints, &kind, &apart?)
            .into_iter()
            .map(|(watched, kind)| kind.watching(watched))
            .collect(),
        lake: lake?,
        files: kind.files,
        buffer_limit_bytes: buffer_limit_bytes?,
        schedule: schedule?,
        checkpoints,
        snapshot: snapshot?,
        closing: closing?,
        shutdown_timeout: Duration::from_secs(shutdown_seconds?),
        http: http?,
    })
}

fn lake(values: &mut Values) -> Option<LakeSettings> {
    let location = lake::read(values);
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

/// The token, or `None` if it isn't set.
fn http_token(values: &mut Values) -> Result<Option<Secret>, Refused> {
    const CHARS_LEAST: usize = 16;
    let setting = &table::HTTP_TOKEN;
    if values.text(setting).is_none() {
        return Ok(None);
    }
    let token = values.parse(setting, |text| {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(Fault::new("it has white space or non-ASCII characters"))
        } else if text.len() < CHARS_LEAST {
            Err(Fault::new("too short to be safe from guessing"))
        } else {
            Ok(Secret::new(text))
        }
    });
    token.map(Some).ok_or(Refused)
}

/// A value was refused, and the problem was noted.
struct Refused;

/// How a command reaches the instance that runs on this machine.
fn instance(values: &mut Values) -> Option<InstanceSettings> {
    let (address, token) = (address(values), http_token(values));
    Some(InstanceSettings {
        address: address?,
        token: token.ok()?,
    })
}

/// The address of the running instance.
fn address(values: &mut Values) -> Option<SocketAddr> {
    let address = values.parse(&table::HTTP_ADDR, parse_http_address)?;
    let address = address.filter(|address| address.port() != 0);
    if address.is_none() {
        let what = "the running silt has no known address";
        let fix = "set it to the running silt's address and port";
        values.refuse(&table::HTTP_ADDR, Fault::with_fix(what, fix));
    }
    address
}

pub(super) fn source(values: &mut Values, scope: Option<&Scope>) -> Option<SourceSettings> {
    let uri = uri(values);
    let wire_compression = values.choice(&table::WIRE_COMPRESSION);
    let timeout_seconds = values.number(&table::MONGODB_TIMEOUT_SECONDS);
    let (uri, uri_for_people) = uri?;
    let scope = scope?;
    Some(SourceSettings {
        uri,
        uri_for_people,
        wire_compression: wire_compression?,
        timeout: Duration::from_secs(timeout_seconds?),
        databases: scope.databases.clone(),
        collections: scope.collections.clone(),
        layout: scope.layout,
    })
}

fn snapshot(values: &mut Values) -> Option<SnapshotSettings> {
    let ranges = values.number_u32(&table::SNAPSHOT_RANGES);
    let rate_limit = values.parse(&table::SNAPSHOT_RATE_LIMIT, parse_rate_limit);
    Some(SnapshotSettings {
        ranges: ranges?,
        rate_limit_bytes_per_second: rate_limit?,
    })
}

fn closing(values: &mut Values) -> Option<ClosingSettings> {
    let switch: Option<Switch> = values.choice(&table::CLOSE_HOURS);
    let rate_limit = values.parse(&table::CLOSE_RATE_LIMIT, parse_rate_limit);
    Some(ClosingSettings {
        is_on: switch? == Switch::On,
        rate_limit_bytes_per_second: rate_limit?,
    })
}

/// The connection string for the driver, and what may be shown of it.
fn uri(values: &mut Values) -> Option<(Secret, String)> {
    let setting = &table::MONGODB_URI;
    let parsed = values.parse(setting, MongodbUri::parse)?;
    if parsed.has_password && values.is_on_command_line(setting) {
        let what = "it holds a password, and every process can see a command line";
        let fix = "set it in the environment or the .env file";
        values.refuse(setting, Fault::with_fix(what, fix));
        return None;
    }
    for (option, why) in parsed.ignored {
        values.warn(format!("{}: {option} is ignored: {why}", setting.name));
    }
    if let Some(database) = parsed.database {
        warn_of_other_database(values, &database);
    }
    Some((Secret::new(parsed.for_driver), parsed.for_people))
}

/// The database in the URI's path is where users log in by default; it isn't watched unless
/// `MONGODB_DATABASE` names it, too.
fn warn_of_other_database(values: &mut Values, database: &str) {
    let setting = &table::MONGODB_DATABASE;
    let is_default = values.explicit(setting).is_none();
    let watched = values.text(setting).unwrap_or_default();
    if is_default && watched != database && !is_servers_database(database) {
        let (name, database) = (setting.name, shown(database));
        values.warn(format!(
            "MONGODB_URI has the database {database} in its path, but {name} isn't set, so its default \
             {watched} is watched; set {name}={database} to watch that"
        ));
    }
}

fn schedule(values: &mut Values, now_unix_ms: i64) -> Option<Schedule> {
    let timezone = values.parse(&table::TZ, parse_timezone);
    let schedule = values.parse(&table::DUMP_SCHEDULE, |text| {
        let schedule = Schedule::parse(text, timezone.unwrap_or(Tz::UTC))?;
        match next_flush(&schedule, now_unix_ms) {
            Some(_) => Ok(schedule),
            None => Err(Fault::new("it never matches")),
        }
    });
    timezone.and(schedule)
}

/// Reads where checkpoints are. They are refused if `scope` has their collection by name.
pub(super) fn checkpoints(
    values: &mut Values,
    scope: Option<&Scope>,
) -> Option<CheckpointSettings> {
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
    // Patterns never match the checkpoints.
    if scope.is_some_and(|scope| scope.names(&database, &collection)) {
        let what = "it is watched, so that every checkpoint would cause another change";
        let fix = "keep checkpoints in another collection, or don't watch this one";
        values.refuse(&table::CHECKPOINT_COLLECTION, Fault::with_fix(what, fix));
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
    // No other names: the address to listen on must be obvious.
    let named = text.replacen("localhost:", "127.0.0.1:", 1);
    let address = named.parse();
    address
        .map(Some)
        .map_err(|_| Fault::new("not an address with a port"))
}

/// `None` for `off`.
fn parse_rate_limit(text: &str) -> Result<Option<u64>, Fault> {
    const LEAST_BYTES: u64 = 64 << 10;
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bytes = parse_size(text)?;
    if bytes < LEAST_BYTES {
        return Err(Fault::new(format!("less than {}", size_text(LEAST_BYTES))));
    }
    Ok(Some(bytes))
}
