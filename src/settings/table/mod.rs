//! Every setting, once. Flags, `--help`, defaults, documents and most messages follow from here.

pub(in crate::settings) mod choices;
pub(in crate::settings) mod setting;

use tracing::Level;

use crate::lake::azure::COMMITS_PER_FILE_MAX;
use crate::settings::table::choices::{
    FullDocument, FullDocumentBeforeChange, JsonMode, LogFormatWord, StoreWord, Streams, Switch,
    WireCompression, words,
};
use crate::settings::table::setting::{
    Empty, Fallback, Heading, Kind, Secrecy, Setting, flag_bytes,
};
use silt_core::file::format::{Compression, OutputFormat};
use silt_core::file::gzip::GzipLevel;
use silt_core::machine::{OnHistoryLost, OnLargeEvent};
use silt_core::snapshot::SnapshotMode;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The flag for a variable's name.
macro_rules! flag {
    ($name:expr) => {{
        const FLAG: [u8; $name.len()] = flag_bytes($name);
        match std::str::from_utf8(&FLAG) {
            Ok(flag) => flag,
            Err(_) => "",
        }
    }};
}

/// Declares a static for each row, and the list of all.
macro_rules! settings {
    ($($name:ident { $($field:ident: $value:expr,)* })*) => {
        $(pub(in crate::settings) static $name: Setting = Setting {
            name: stringify!($name),
            flag: flag!(stringify!($name)),
            file_name: concat!(stringify!($name), "_FILE"),
            file_flag: flag!(concat!(stringify!($name), "_FILE")),
            $($field: $value,)*
            ..Setting::BASE
        };)*

        /// All settings, in the order of `--help`.
        pub(in crate::settings) static ALL: &[&Setting] = &[$(&$name),*];
    };
}

settings! {
    MONGODB_URI {
        heading: Heading::Source,
        kind: Kind::Text { needs: "a connection string such as mongodb://host:27017/?replicaSet=rs0" },
        value_name: "URI",
        fallback: Fallback::Required,
        secrecy: Secrecy::SecretWithFlag,
        help: "Connection string of the replica set or sharded cluster, such as mongodb://host:27017/?replicaSet=rs0 or mongodb+srv://host. In user and password, write % as %25, : as %3A, / as %2F and @ as %40. A password in it is refused on the command line.",
        see: "`readPreference` selects [which member is read](capacity.md#which-member-is-read). [Options that silt overrides](#options-of-mongodb_uri).",
    }
    MONGODB_DATABASE {
        heading: Heading::Source,
        kind: Kind::List { needs: "names or patterns of databases, separated by commas, or *" },
        value_name: "NAMES",
        fallback: Fallback::Value("mydb"),
        help: "Databases to watch, separated by commas: names, patterns as in MONGODB_COLLECTIONS, or * for all. Unless it is a single name, files go to database/collection/. admin, config and local are never watched.",
    }
    MONGODB_COLLECTIONS {
        heading: Heading::Source,
        kind: Kind::List { needs: "names or patterns of collections, separated by commas" },
        value_name: "NAMES",
        fallback: Fallback::Value("users,orders"),
        help: "Collections to watch, separated by commas: names, patterns (* for any characters, ? for one), /regular expressions/ for whole names, and exceptions after a !. Exceptions alone select everything else. New collections that match are archived from their first change. system. collections are never watched.",
        see: "[Patterns](collections.md).",
    }
    STREAMS {
        heading: Heading::Source,
        kind: Kind::Choice(words::<Streams>),
        value_name: "MODE",
        fallback: Fallback::Unset("shared with a pattern, else per-collection"),
        help: "per-collection opens a change stream and a connection for each collection; shared opens one stream for all of them, which patterns need and which is better from about a hundred collections on.",
        see: "[Shared streams](shared-streams.md).",
    }
    FULL_DOCUMENT {
        heading: Heading::Source,
        kind: Kind::Choice(words::<FullDocument>),
        value_name: "MODE",
        fallback: Fallback::Value("updateLookup"),
        is_per_collection: true,
        help: "What an update carries besides its delta: the document at the time of reading (updateLookup), nothing (default), or the document right after the change (whenAvailable, required; the collection must keep post-images).",
        see: "[Images](changing-settings.md#images).",
    }
    FULL_DOCUMENT_BEFORE_CHANGE {
        heading: Heading::Source,
        kind: Kind::Choice(words::<FullDocumentBeforeChange>),
        value_name: "MODE",
        fallback: Fallback::Value("off"),
        is_per_collection: true,
        help: "Whether an update, replacement or deletion carries the document before the change: never (off), if the server has it (whenAvailable), or always, else the feed halts (required). The collection must keep pre-images.",
    }
    SHOW_EXPANDED_EVENTS {
        heading: Heading::Source,
        kind: Kind::Choice(words::<bool>),
        value_name: "BOOL",
        fallback: Fallback::Value("false"),
        is_per_collection: true,
        help: "Whether to archive events on collections and indexes too, such as create and createIndexes. Needs MongoDB 6.0.",
    }
    OPERATION_TYPES {
        heading: Heading::Source,
        kind: Kind::List { needs: "operations such as insert,update,replace,delete, or all" },
        value_name: "NAMES",
        fallback: Fallback::Value("all"),
        is_per_collection: true,
        help: "Operations to archive, separated by commas: insert, update, replace, delete, drop, rename, dropDatabase; with SHOW_EXPANDED_EVENTS also create, createIndexes, dropIndexes, modify, shardCollection, refineCollectionShardKey and reshardCollection. invalidate is always archived.",
        see: "[Filters](filters.md).",
    }
    PIPELINE {
        heading: Heading::Source,
        kind: Kind::Json { needs: "a JSON array of stages such as [{\"$match\": {\"operationType\": \"insert\"}}]" },
        value_name: "JSON",
        fallback: Fallback::Value("[]"),
        is_per_collection: true,
        help: "Stages that the server applies to each change, as a JSON array of $match, $project, $addFields, $set and $unset. silt refuses a pipeline that would keep the stream from resuming.",
        see: "[Filters](filters.md).",
    }
    CURSOR_BATCH_SIZE {
        heading: Heading::Source,
        kind: Kind::Whole { least: 1, most: 100_000, unit: "changes" },
        value_name: "CHANGES",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "Most changes in one reply of the server, which also ends at 16 MiB. Lower it if documents are large and memory is short.",
    }
    WIRE_COMPRESSION {
        heading: Heading::Source,
        kind: Kind::Choice(words::<WireCompression>),
        value_name: "METHOD",
        fallback: Fallback::Value("none"),
        help: "Compression between MongoDB and silt, for slow or metered connections, if the server supports it. compressors= in MONGODB_URI takes precedence.",
    }
    LAKE_URL {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "abfss://filesystem@account.dfs.core.windows.net/prefix or file:///folder" },
        value_name: "URL",
        fallback: Fallback::Unset("built from AZURE_STORAGE_ACCOUNT_NAME and AZURE_ADLS_FILESYSTEM"),
        help: "The lake: abfss://filesystem@account.dfs.core.windows.net/prefix, or file:///folder.",
    }
    AZURE_STORAGE_ACCOUNT_NAME {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the storage account's name" },
        value_name: "NAME",
        fallback: Fallback::Unset("the account of LAKE_URL or of the connection string"),
        empty: Empty::Unsets,
        help: "Storage account of the lake, instead of LAKE_URL.",
    }
    AZURE_ADLS_FILESYSTEM {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the file system's (container's) name" },
        value_name: "NAME",
        fallback: Fallback::Value("changestreams"),
        empty: Empty::Unsets,
        help: "File system (container) of the lake, if LAKE_URL doesn't name it. It is created if it is missing and the credential permits.",
    }
    AZURE_STORAGE_ACCOUNT_KEY {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "one of the storage account's access keys" },
        value_name: "KEY",
        fallback: Fallback::Unset("unset"),
        secrecy: Secrecy::Secret,
        help: "Access key of the storage account. Without key, signature and connection string, silt logs in by Entra ID.",
    }
    AZURE_STORAGE_SAS_TOKEN {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a shared access signature: sv=...&sig=..." },
        value_name: "TOKEN",
        fallback: Fallback::Unset("unset"),
        secrecy: Secrecy::Secret,
        help: "Shared access signature, instead of the account key.",
    }
    AZURE_STORAGE_CONNECTION_STRING {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a connection string of the storage account, as the Azure portal shows it" },
        value_name: "STRING",
        fallback: Fallback::Unset("unset"),
        secrecy: Secrecy::Secret,
        help: "Connection string with account and key or signature, instead of these.",
    }
    AZURE_STORAGE_ENDPOINT {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the address of the blob service, such as https://account.blob.core.windows.net or http://127.0.0.1:10000/devstoreaccount1" },
        value_name: "URL",
        fallback: Fallback::Unset("the public cloud's, or the one in LAKE_URL or the connection string"),
        empty: Empty::Unsets,
        help: "Address of the Blob service, for sovereign clouds, private endpoints and Azurite (http://127.0.0.1:10000/devstoreaccount1). http:// is accepted for this machine only.",
    }
    AZURE_TENANT_ID {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a tenant's id" },
        value_name: "ID",
        fallback: Fallback::Unset("unset"),
        empty: Empty::Unsets,
        help: "Entra ID tenant of a client secret or workload identity.",
    }
    AZURE_CLIENT_ID {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "an application's or managed identity's client id" },
        value_name: "ID",
        fallback: Fallback::Unset("the machine's managed identity"),
        empty: Empty::Unsets,
        help: "Entra ID application, workload identity or user-assigned managed identity.",
    }
    AZURE_CLIENT_SECRET {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the application's client secret" },
        value_name: "SECRET",
        fallback: Fallback::Unset("unset"),
        secrecy: Secrecy::Secret,
        help: "Client secret of the Entra ID application. Needs AZURE_TENANT_ID and AZURE_CLIENT_ID.",
    }
    AZURE_FEDERATED_TOKEN_FILE {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the path of a token's file" },
        value_name: "PATH",
        fallback: Fallback::Unset("unset"),
        empty: Empty::Unsets,
        help: "Token file of a workload identity. Kubernetes sets it in the pod.",
    }
    LAKE_CONCURRENCY {
        heading: Heading::Lake,
        kind: Kind::Whole { least: 1, most: 256, unit: "flushes" },
        value_name: "FLUSHES",
        fallback: Fallback::Value("8"),
        help: "Most flushes of different collections at the same time. A collection has one at a time.",
    }
    DUMP_SCHEDULE {
        heading: Heading::Files,
        kind: Kind::Text { needs: "a cron pattern: minute, hour, day, month, weekday; or six fields with the second first" },
        value_name: "CRON",
        fallback: Fallback::Value("0 * * * *"),
        help: "When to flush everything, as a cron pattern: five fields (minute, hour, day, month, weekday), or six with the second first. The end of an hour always flushes.",
    }
    TZ {
        heading: Heading::Files,
        kind: Kind::Text { needs: "a time zone's IANA name, such as Europe/Berlin or UTC" },
        value_name: "ZONE",
        fallback: Fallback::Value("UTC"),
        help: "Time zone of DUMP_SCHEDULE by its IANA name, such as Europe/Berlin. Hours in file names are always UTC.",
    }
    BATCH_SIZE {
        heading: Heading::Files,
        kind: Kind::Whole { least: 1, most: 1_000_000, unit: "changes" },
        value_name: "CHANGES",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "Changes of a collection that trigger a flush.",
    }
    BATCH_BYTES {
        heading: Heading::Files,
        kind: Kind::Size { least: KIB, most: 256 * MIB },
        value_name: "SIZE",
        fallback: Fallback::Value("8MiB"),
        is_per_collection: true,
        help: "Encoded bytes of a collection's changes that trigger a flush.",
    }
    BUFFER_LIMIT_BYTES {
        heading: Heading::Files,
        kind: Kind::Size { least: MIB, most: 1024 * GIB },
        value_name: "SIZE",
        fallback: Fallback::Value("128MiB"),
        help: "Memory for the changes of all collections together. When it is full, silt flushes, and then stops reading until there is room.",
        see: "The process needs more: [memory](capacity.md).",
    }
    MAX_FILE_SIZE {
        heading: Heading::Files,
        kind: Kind::Size { least: 64 * KIB, most: 1024 * GIB },
        value_name: "SIZE",
        fallback: Fallback::Value("100MiB"),
        is_per_collection: true,
        help: "Size at which the file of an hour is continued in another part. Only a single larger change exceeds it.",
    }
    MAX_FILE_COMMITS {
        heading: Heading::Files,
        kind: Kind::Whole { least: 1, most: COMMITS_PER_FILE_MAX as u64, unit: "flushes" },
        value_name: "FLUSHES",
        fallback: Fallback::Value("49998"),
        is_per_collection: true,
        help: "Flushes after which the file of an hour in Azure is continued in another part. A block blob has at most 50,000 blocks.",
    }
    OUTPUT_FORMAT {
        heading: Heading::Files,
        kind: Kind::Choice(words::<OutputFormat>),
        value_name: "FORMAT",
        fallback: Fallback::Value("json"),
        is_per_collection: true,
        help: "One JSON document with metadata (json), or one change per line and nothing else (ndjson).",
        see: "[Formats](files.md#formats).",
    }
    JSON_MODE {
        heading: Heading::Files,
        kind: Kind::Choice(words::<JsonMode>),
        value_name: "MODE",
        fallback: Fallback::Value("relaxed"),
        is_per_collection: true,
        help: "Extended JSON that is easy to query (relaxed), or that keeps every type exactly (canonical).",
    }
    COMPRESSION {
        heading: Heading::Files,
        kind: Kind::Choice(words::<Compression>),
        value_name: "METHOD",
        fallback: Fallback::Value("none"),
        is_per_collection: true,
        help: "Compression of the files. gzip appends .gz to their names.",
    }
    GZIP_LEVEL {
        heading: Heading::Files,
        kind: Kind::Whole { least: GzipLevel::LEAST as u64, most: GzipLevel::MOST as u64, unit: "" },
        value_name: "LEVEL",
        fallback: Fallback::Value("1"),
        is_per_collection: true,
        help: "Compression level of gzip, from 1 (fastest) to 9 (smallest).",
        see: "[Measurements](performance.md#gzip).",
    }
    CHECKPOINT_STORE {
        heading: Heading::Checkpoints,
        kind: Kind::Choice(words::<StoreWord>),
        value_name: "STORE",
        fallback: Fallback::Value("mongodb"),
        help: "Where checkpoints are kept: in MongoDB, or in the lake if the MongoDB role may only read.",
    }
    CHECKPOINT_DATABASE {
        heading: Heading::Checkpoints,
        kind: Kind::Text { needs: "the name of a database" },
        value_name: "NAME",
        fallback: Fallback::Value("metadata"),
        help: "Database of the checkpoints in MongoDB.",
    }
    CHECKPOINT_COLLECTION {
        heading: Heading::Checkpoints,
        kind: Kind::Text { needs: "the name of a collection" },
        value_name: "NAME",
        fallback: Fallback::Value("change_stream_state"),
        help: "Collection of the checkpoints in MongoDB. Two silts that archive the same collections into two lakes need one each.",
    }
    IDLE_CHECKPOINT_SECONDS {
        heading: Heading::Checkpoints,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        is_per_collection: true,
        help: "How often to save the position of a collection without changes, so that it doesn't age out of the oplog.",
    }
    START_AT {
        heading: Heading::Checkpoints,
        kind: Kind::Text { needs: "now, or an RFC 3339 time such as 2024-01-15T14:00:00Z" },
        value_name: "TIME",
        fallback: Fallback::Value("now"),
        is_per_collection: true,
        help: "Where a collection without a checkpoint starts: now, or an RFC 3339 time that the oplog still holds.",
    }
    SNAPSHOT {
        heading: Heading::Snapshots,
        kind: Kind::Choice(words::<SnapshotMode>),
        value_name: "WHEN",
        fallback: Fallback::Value("never"),
        is_per_collection: true,
        help: "Whether to archive the documents that exist before the stream: never, once (initial), or once and again after each gap (when-lost, which needs ON_HISTORY_LOST=restart).",
        see: "[Snapshots](snapshots.md).",
    }
    SNAPSHOT_RANGES {
        heading: Heading::Snapshots,
        kind: Kind::Whole { least: 1, most: 64, unit: "ranges" },
        value_name: "RANGES",
        fallback: Fallback::Value("4"),
        help: "Ranges of a collection that a snapshot reads at the same time.",
    }
    SNAPSHOT_RATE_LIMIT {
        heading: Heading::Snapshots,
        kind: Kind::Text { needs: "bytes per second, such as 20MiB, or off" },
        value_name: "SIZE",
        fallback: Fallback::Value("off"),
        help: "Most bytes of documents per second for all snapshots together, such as 20MiB; off for no limit.",
    }
    CLOSE_HOURS {
        heading: Heading::Files,
        kind: Kind::Choice(words::<Switch>),
        value_name: "SWITCH",
        fallback: Fallback::Value("on"),
        help: "Whether hours that are over are read back, checked and closed by a record (on), or not (off).",
        see: "[Closed hours](closing.md).",
    }
    CLOSE_RATE_LIMIT {
        heading: Heading::Files,
        kind: Kind::Text { needs: "bytes per second, such as 20MiB, or off" },
        value_name: "SIZE",
        fallback: Fallback::Value("32MiB"),
        help: "Most bytes of hour files per second that closing reads back; off for no limit.",
    }
    ON_HISTORY_LOST {
        heading: Heading::Failures,
        kind: Kind::Choice(words::<OnHistoryLost>),
        value_name: "ACTION",
        fallback: Fallback::Value("halt"),
        is_per_collection: true,
        help: "When the oplog no longer holds a collection's position: halt until an operator acts (halt), or record the gap in the lake and continue from the oldest change that is left, or from now if silt can't read the oplog (restart).",
        see: "[History lost](halts.md).",
    }
    ON_LARGE_EVENT {
        heading: Heading::Failures,
        kind: Kind::Choice(words::<OnLargeEvent>),
        value_name: "ACTION",
        fallback: Fallback::Value("halt"),
        is_per_collection: true,
        help: "When the server can't send a change because it is larger than 16 MB (before MongoDB 6.0.9; later, because a single field is): halt until an operator acts (halt), or record what is known of the change in the lake and continue (record).",
        see: "[Large changes](alerts.md#siltchangetoolarge).",
    }
    RETRY_ATTEMPTS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 100, unit: "attempts" },
        value_name: "ATTEMPTS",
        fallback: Fallback::Value("3"),
        is_per_collection: true,
        help: "Failed attempts after which a flush is reported as failing. silt keeps the changes and keeps retrying.",
    }
    RETRY_DELAY_MS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 60_000, unit: "milliseconds" },
        value_name: "MS",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "Delay before the second attempt. It doubles with jitter up to a minute.",
    }
    MONGODB_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 2, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        help: "Longest wait for a reply of MongoDB. A stream's limit doubles with each timeout, up to 16 times: the server may have hours of oplog to scan.",
    }
    LAKE_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        help: "Longest wait for a reply of the lake. A flush takes two requests in sequence; each may take a second longer for every 32 kB.",
    }
    SHUTDOWN_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("25"),
        help: "Time to flush and save after SIGTERM, SIGINT or SIGHUP. Keep it below the grace period of Kubernetes, 30 s. The next start reads again what wasn't flushed.",
    }
    HTTP_ADDR {
        heading: Heading::Status,
        kind: Kind::Text { needs: "an address and a port such as 127.0.0.1:8080, or off" },
        value_name: "ADDRESS",
        fallback: Fallback::Value("127.0.0.1:8080"),
        help: "Address and port of the status page, /status, /metrics, /livez and /readyz; off for none. Use 0.0.0.0:8080 in a container, as the image does. Port 0 takes any free port.",
    }
    HTTP_TOKEN {
        heading: Heading::Status,
        kind: Kind::Text { needs: "at least 16 printable ASCII characters without spaces, such as openssl rand -hex 24 prints" },
        value_name: "TOKEN",
        fallback: Fallback::Unset("unset"),
        secrecy: Secrecy::Secret,
        help: "Bearer token for POST /flush, silt flush and the button on the page; at least 16 characters. Unset disables flushing over HTTP.",
    }
    LOG_LEVEL {
        heading: Heading::Logs,
        kind: Kind::Choice(words::<Level>),
        value_name: "LEVEL",
        fallback: Fallback::Value("info"),
        help: "Least important level that is logged.",
    }
    LOG_FORMAT {
        heading: Heading::Logs,
        kind: Kind::Choice(words::<LogFormatWord>),
        value_name: "FORMAT",
        fallback: Fallback::Value("auto"),
        help: "text for reading, json for machines; auto is text on a terminal and json elsewhere.",
    }
    SILT_CONFIG {
        heading: Heading::Config,
        kind: Kind::Text { needs: "the path of a TOML file" },
        value_name: "PATH",
        fallback: Fallback::Unset("unset"),
        empty: Empty::Unsets,
        help: "TOML file with settings by the same names (BATCH_SIZE = 500), and a section for each collection with settings of its own: [collections.users]. A section takes precedence over all other settings, the rest of the file over none.",
        see: "[Settings file](settings-file.md).",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_flags_follow_from_them() {
        let names: HashSet<_> = ALL.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), ALL.len());
        for setting in ALL {
            assert_eq!(setting.flag, setting.name.to_lowercase().replace('_', "-"));
            assert_eq!(setting.file_name, format!("{}_FILE", setting.name));
            assert_eq!(setting.file_flag, format!("{}-file", setting.flag));
        }
    }

    #[test]
    fn every_row_is_filled_in() {
        for setting in ALL {
            let texts = [setting.help, setting.value_name, setting.name];
            assert!(
                texts.iter().all(|text| !text.is_empty()),
                "{}",
                setting.name
            );
            assert!(setting.help.ends_with('.'), "{}", setting.name);
            assert!(!setting.kind.needs().is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn secrets_have_no_default_and_may_be_empty() {
        let all = ALL.iter();
        for setting in all.filter(|setting| setting.secrecy != Secrecy::Public) {
            assert!(setting.may_be_empty(), "{}", setting.name);
            assert_eq!(setting.default_text(), None, "{}", setting.name);
        }
    }
}
