//! Every setting, once. The command line, `--help`, the defaults and most messages follow from here.

pub(in crate::settings) mod choices;
pub(in crate::settings) mod setting;

use tracing::Level;

use crate::settings::table::choices::{
    FullDocument, FullDocumentBeforeChange, JsonMode, LogFormatWord, StoreWord, Streams,
    WireCompression, words,
};
use crate::settings::table::setting::{
    Empty, Fallback, Heading, Kind, Secrecy, Setting, flag_bytes,
};
use silt_core::file::frame::GzipLevel;
use silt_core::file::hour_file::{Compression, OutputFormat};
use silt_core::limits::COMMITS_PER_FILE_MAX;
use silt_core::machine::{OnHistoryLost, OnLargeEvent};
use silt_core::snapshot::SnapshotMode;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The flag that belongs to a variable's name.
macro_rules! flag {
    ($name:expr) => {{
        const FLAG: [u8; $name.len()] = flag_bytes($name);
        match std::str::from_utf8(&FLAG) {
            Ok(flag) => flag,
            Err(_) => "",
        }
    }};
}

/// Makes a static of each row, and the list of them all.
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
        help: "Connection string of the replica set or sharded cluster, such as mongodb://host:27017/?replicaSet=rs0. With a password in it, it is taken from the environment or the .env file only.",
    }
    MONGODB_DATABASE {
        heading: Heading::Source,
        kind: Kind::List { needs: "the name of a database, several with commas between them, patterns, or *" },
        value_name: "NAMES",
        fallback: Fallback::Value("mydb"),
        help: "Databases whose collections are watched, separated by commas: names, or patterns as in MONGODB_COLLECTIONS, or * for all. Unless it is one name, files go to database/collection/. admin, config and local are never watched.",
    }
    MONGODB_COLLECTIONS {
        heading: Heading::Source,
        kind: Kind::List { needs: "names and patterns of collections, with commas between them" },
        value_name: "NAMES",
        fallback: Fallback::Value("users,orders"),
        help: "Collections to watch, separated by commas: names; patterns, in which * stands for any letters and ? for one; /regular expressions/ for whole names; and, with a ! in front, exceptions. Exceptions alone mean all but these. Collections that a pattern means are watched from their first change, also those that are created later. system. collections are never watched.",
    }
    STREAMS {
        heading: Heading::Source,
        kind: Kind::Choice(words::<Streams>),
        value_name: "WAY",
        fallback: Fallback::Unset("shared if there is a pattern, else per-collection"),
        help: "A change stream for each collection (per-collection), or one for all of them (shared), which patterns need.",
    }
    FULL_DOCUMENT {
        heading: Heading::Source,
        kind: Kind::Choice(words::<FullDocument>),
        value_name: "MODE",
        fallback: Fallback::Value("updateLookup"),
        is_per_collection: true,
        help: "What an update carries besides what it changed: nothing (default), the document as it is by then (updateLookup), or as it was right after the change (whenAvailable, required; the collection must keep post-images).",
    }
    FULL_DOCUMENT_BEFORE_CHANGE {
        heading: Heading::Source,
        kind: Kind::Choice(words::<FullDocumentBeforeChange>),
        value_name: "MODE",
        fallback: Fallback::Value("off"),
        is_per_collection: true,
        help: "The document as it was before an update, a replacement or a deletion: not at all (off), if the server has it (whenAvailable), or else the feed halts (required). The collection must keep pre-images.",
    }
    SHOW_EXPANDED_EVENTS {
        heading: Heading::Source,
        kind: Kind::Choice(words::<bool>),
        value_name: "BOOL",
        fallback: Fallback::Value("false"),
        is_per_collection: true,
        help: "Whether what happens to collections and indexes is archived too, such as create and createIndexes. MongoDB 6.0 has it.",
    }
    OPERATION_TYPES {
        heading: Heading::Source,
        kind: Kind::List { needs: "operations such as insert,update,replace,delete, or all" },
        value_name: "NAMES",
        fallback: Fallback::Value("all"),
        is_per_collection: true,
        help: "Operations that are archived, separated by commas: insert, update, replace, delete, drop, rename, dropDatabase; with SHOW_EXPANDED_EVENTS create, createIndexes, dropIndexes, modify, shardCollection, refineCollectionShardKey and reshardCollection too. invalidate always is.",
    }
    PIPELINE {
        heading: Heading::Source,
        kind: Kind::Json { needs: "a JSON array of stages such as [{\"$match\": {\"operationType\": \"insert\"}}]" },
        value_name: "JSON",
        fallback: Fallback::Value("[]"),
        is_per_collection: true,
        help: "Stages that the server applies to each change, as an array of Extended JSON: $match, $project, $addFields, $set and $unset. What would keep a stream from being resumed is refused.",
    }
    CURSOR_BATCH_SIZE {
        heading: Heading::Source,
        kind: Kind::Whole { least: 1, most: 100_000, unit: "changes" },
        value_name: "CHANGES",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "Changes that the server may send in one reply, which also ends at 16 MiB. Lower it where documents are large and memory is short.",
    }
    WIRE_COMPRESSION {
        heading: Heading::Source,
        kind: Kind::Choice(words::<WireCompression>),
        value_name: "METHOD",
        fallback: Fallback::Value("none"),
        help: "Compression of what MongoDB sends, for lines that are slow or paid by the byte, if the server knows it: none, snappy, zlib or zstd. What compressors= in MONGODB_URI names goes before it.",
    }
    LAKE_URL {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "abfss://filesystem@account.dfs.core.windows.net/prefix or file:///folder" },
        value_name: "URL",
        fallback: Fallback::Unset("built from AZURE_STORAGE_ACCOUNT_NAME and AZURE_ADLS_FILESYSTEM"),
        help: "Where the lake is: abfss://filesystem@account.dfs.core.windows.net/prefix, or file:///folder.",
    }
    AZURE_STORAGE_ACCOUNT_NAME {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the storage account's name" },
        value_name: "NAME",
        fallback: Fallback::Unset("the account of LAKE_URL or of the connection string"),
        empty: Empty::Unsets,
        help: "Storage account of the lake.",
    }
    AZURE_ADLS_FILESYSTEM {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the file system's (container's) name" },
        value_name: "NAME",
        fallback: Fallback::Value("changestreams"),
        empty: Empty::Unsets,
        help: "File system (container) of the lake, where LAKE_URL doesn't name it.",
    }
    AZURE_STORAGE_ACCOUNT_KEY {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "one of the storage account's access keys" },
        value_name: "KEY",
        fallback: Fallback::Unset("no account key"),
        secrecy: Secrecy::Secret,
        help: "Access key of the storage account.",
    }
    AZURE_STORAGE_SAS_TOKEN {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a shared access signature: sv=...&sig=..." },
        value_name: "TOKEN",
        fallback: Fallback::Unset("no shared access signature"),
        secrecy: Secrecy::Secret,
        help: "Shared access signature, instead of the account key.",
    }
    AZURE_STORAGE_CONNECTION_STRING {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a connection string of the storage account, as the Azure portal shows it" },
        value_name: "STRING",
        fallback: Fallback::Unset("no connection string"),
        secrecy: Secrecy::Secret,
        help: "Connection string with account and key or signature, instead of these.",
    }
    AZURE_STORAGE_ENDPOINT {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the address of the blob service, such as https://account.blob.core.windows.net or http://127.0.0.1:10000/devstoreaccount1" },
        value_name: "URL",
        fallback: Fallback::Unset("the public cloud's, or that of LAKE_URL or the connection string"),
        empty: Empty::Unsets,
        help: "Address of the blob service, for Azurite (http://127.0.0.1:10000/devstoreaccount1), sovereign clouds and private endpoints. http:// is for this machine only.",
    }
    AZURE_TENANT_ID {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "a tenant's id" },
        value_name: "ID",
        fallback: Fallback::Unset("none"),
        empty: Empty::Unsets,
        help: "Entra ID tenant of a client secret or workload identity.",
    }
    AZURE_CLIENT_ID {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "an application's or managed identity's client id" },
        value_name: "ID",
        fallback: Fallback::Unset("the machine's own managed identity"),
        empty: Empty::Unsets,
        help: "Entra ID application, workload identity or user-assigned managed identity.",
    }
    AZURE_CLIENT_SECRET {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the application's client secret" },
        value_name: "SECRET",
        fallback: Fallback::Unset("no client secret"),
        secrecy: Secrecy::Secret,
        help: "Client secret of the Entra ID application; needs AZURE_TENANT_ID and AZURE_CLIENT_ID.",
    }
    AZURE_FEDERATED_TOKEN_FILE {
        heading: Heading::Lake,
        kind: Kind::Text { needs: "the path of a token's file" },
        value_name: "PATH",
        fallback: Fallback::Unset("none"),
        empty: Empty::Unsets,
        help: "Token file of workload identity, which Kubernetes sets in the pod.",
    }
    LAKE_CONCURRENCY {
        heading: Heading::Lake,
        kind: Kind::Whole { least: 1, most: 256, unit: "flushes" },
        value_name: "FLUSHES",
        fallback: Fallback::Value("8"),
        help: "Flushes of different collections that are on their way to the lake at the same time. One collection has one at a time.",
    }
    DUMP_SCHEDULE {
        heading: Heading::Files,
        kind: Kind::Text { needs: "a cron pattern: minute, hour, day, month, weekday, or six fields with the second in front" },
        value_name: "CRON",
        fallback: Fallback::Value("0 * * * *"),
        help: "When all that waits is flushed: cron with five fields (minute, hour, day, month, weekday), or six with the second in front.",
    }
    TZ {
        heading: Heading::Files,
        kind: Kind::Text { needs: "a time zone's IANA name, such as Europe/Berlin or UTC" },
        value_name: "ZONE",
        fallback: Fallback::Value("UTC"),
        help: "Time zone of DUMP_SCHEDULE by its IANA name, such as Europe/Berlin. Files are named by UTC hours whatever it is.",
    }
    BATCH_SIZE {
        heading: Heading::Files,
        kind: Kind::Whole { least: 1, most: 1_000_000, unit: "changes" },
        value_name: "CHANGES",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "A batch of this many changes is flushed.",
    }
    BATCH_BYTES {
        heading: Heading::Files,
        kind: Kind::Size { least: KIB, most: 256 * MIB },
        value_name: "SIZE",
        fallback: Fallback::Value("8MiB"),
        is_per_collection: true,
        help: "A batch of this size is flushed.",
    }
    BUFFER_LIMIT_BYTES {
        heading: Heading::Files,
        kind: Kind::Size { least: MIB, most: 1024 * GIB },
        value_name: "SIZE",
        fallback: Fallback::Value("128MiB"),
        help: "Memory for changes of all collections together. When it is used up, silt flushes, and then stops reading.",
    }
    MAX_FILE_SIZE {
        heading: Heading::Files,
        kind: Kind::Size { least: 64 * KIB, most: 1024 * GIB },
        value_name: "SIZE",
        fallback: Fallback::Value("100MiB"),
        is_per_collection: true,
        help: "An hour's file that would pass this size goes on in the next part.",
    }
    MAX_FILE_COMMITS {
        heading: Heading::Files,
        kind: Kind::Whole { least: 1, most: COMMITS_PER_FILE_MAX as u64, unit: "flushes" },
        value_name: "FLUSHES",
        fallback: Fallback::Value("49998"),
        is_per_collection: true,
        help: "An hour's file in Azure that holds this many flushes goes on in the next part. A block blob has 50,000 blocks.",
    }
    OUTPUT_FORMAT {
        heading: Heading::Files,
        kind: Kind::Choice(words::<OutputFormat>),
        value_name: "FORMAT",
        fallback: Fallback::Value("json"),
        is_per_collection: true,
        help: "One JSON document with metadata (json), or one change a line and nothing else (ndjson).",
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
        help: "How hard gzip tries: 1 is quickest, 9 smallest. docs/performance.md has the figures.",
    }
    CHECKPOINT_STORE {
        heading: Heading::Checkpoints,
        kind: Kind::Choice(words::<StoreWord>),
        value_name: "STORE",
        fallback: Fallback::Value("mongodb"),
        help: "Where resume tokens are kept: in MongoDB, or in the lake, for roles that may only read.",
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
        help: "Collection of the checkpoints in MongoDB.",
    }
    IDLE_CHECKPOINT_SECONDS {
        heading: Heading::Checkpoints,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        is_per_collection: true,
        help: "How often the position of a collection without changes is saved.",
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
        help: "Whether the documents that were there before the stream are read too: never, once (initial), or once and again behind each gap (when-lost, which needs ON_HISTORY_LOST=restart).",
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
        kind: Kind::Text { needs: "a size such as 20MiB, which is read in a second, or off" },
        value_name: "SIZE",
        fallback: Fallback::Value("off"),
        help: "Bytes of documents that snapshots read in a second, all together; off for as many as there come.",
    }
    ON_HISTORY_LOST {
        heading: Heading::Failures,
        kind: Kind::Choice(words::<OnHistoryLost>),
        value_name: "ACTION",
        fallback: Fallback::Value("halt"),
        is_per_collection: true,
        help: "When the oplog no longer holds a collection's position: wait for a person (halt), or go on from what the oplog still holds, or from now where silt may not look, and leave a record of the gap in the lake (restart).",
    }
    ON_LARGE_EVENT {
        heading: Heading::Failures,
        kind: Kind::Choice(words::<OnLargeEvent>),
        value_name: "ACTION",
        fallback: Fallback::Value("halt"),
        is_per_collection: true,
        help: "When a change is larger than the 16 MiB that a server before 6.0.9 can send, or one field of it than any server can: wait for a person (halt), or leave a record of it in the lake and go on behind it (record).",
    }
    RETRY_ATTEMPTS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 100, unit: "tries" },
        value_name: "TRIES",
        fallback: Fallback::Value("3"),
        is_per_collection: true,
        help: "Tries of a flush before it is reported as failing. It is tried on for as long as it takes: nothing is dropped.",
    }
    RETRY_DELAY_MS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 60_000, unit: "milliseconds" },
        value_name: "MS",
        fallback: Fallback::Value("1000"),
        is_per_collection: true,
        help: "Delay before the second try. It doubles from try to try, up to a minute.",
    }
    MONGODB_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 2, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        help: "Longest wait for an answer of MongoDB, before a stream is opened anew or a request repeated. A stream waits twice as long each time, up to 16 times: the server may have much oplog to look through.",
    }
    LAKE_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("60"),
        help: "Longest wait for an answer of the lake. A flush, which takes two requests one after the other, may take twice as long, and a second more for every 32 kB.",
    }
    SHUTDOWN_TIMEOUT_SECONDS {
        heading: Heading::Failures,
        kind: Kind::Whole { least: 1, most: 3600, unit: "seconds" },
        value_name: "SECONDS",
        fallback: Fallback::Value("25"),
        help: "Time to flush and save after SIGTERM or SIGINT. What is left then is read again at the next start.",
    }
    HTTP_ADDR {
        heading: Heading::Status,
        kind: Kind::Text { needs: "an address and a port such as 127.0.0.1:8080, or off" },
        value_name: "ADDRESS",
        fallback: Fallback::Value("127.0.0.1:8080"),
        help: "Where silt shows its page, /status, /metrics, /livez and /readyz, such as 0.0.0.0:8080 in a container; off for nowhere. Port 0 takes any free one.",
    }
    HTTP_TOKEN {
        heading: Heading::Status,
        kind: Kind::Text { needs: "at least 16 letters, digits or signs, such as openssl rand -hex 24 makes" },
        value_name: "TOKEN",
        fallback: Fallback::Unset("nobody can flush over HTTP"),
        secrecy: Secrecy::Secret,
        help: "Who has it may flush over HTTP, by the page's button or by silt flush.",
    }
    LOG_LEVEL {
        heading: Heading::Logs,
        kind: Kind::Choice(words::<Level>),
        value_name: "LEVEL",
        fallback: Fallback::Value("info"),
        help: "What is worth a line.",
    }
    LOG_FORMAT {
        heading: Heading::Logs,
        kind: Kind::Choice(words::<LogFormatWord>),
        value_name: "FORMAT",
        fallback: Fallback::Value("auto"),
        help: "text for people, json for machines; auto takes text on a terminal and json elsewhere.",
    }
    SILT_CONFIG {
        heading: Heading::Config,
        kind: Kind::Text { needs: "the path of a TOML file" },
        value_name: "PATH",
        fallback: Fallback::Unset("no settings file"),
        empty: Empty::Unsets,
        help: "TOML file of settings by the same names (BATCH_SIZE = 500), with sections for single collections: [collections.users]. Environment, .env file and flags win over what it says for all, a section over all of them.",
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
