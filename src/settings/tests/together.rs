//! The settings as a whole, and those that depend on each other.

use chrono::DateTime;

use super::scope::watched;
use super::*;
use silt_core::file::format::{Compression, OutputFormat};
use silt_core::position::ClusterTime;

#[test]
fn the_defaults() {
    let settings = Given::of(&LOCAL).settings();
    let limits = format!("{:?}", settings.files.limits);
    let expected = Limits {
        // The most that any lake takes, since the settings hold for every lake.
        file_limit_commits: crate::lake::azure::COMMITS_PER_FILE_MAX,
        ..Limits::default()
    };
    assert_eq!(limits, format!("{expected:?}"));
    assert_eq!(settings.buffer_limit_bytes, 128 << 20);
    assert_eq!(settings.files.format.extension(), "json");
    assert_eq!(settings.files.json_mode, JsonMode::Relaxed);
    assert_eq!(watched(&settings), ["mydb.users", "mydb.orders"]);
    let feed = &settings.feeds[0];
    assert_eq!(feed.stream.full_document, FullDocument::UpdateLookup);
    assert_eq!(settings.schedule.text, "0 * * * *");
    assert_eq!(settings.schedule.timezone, chrono_tz::Tz::UTC);
    assert_eq!(
        settings.checkpoints.to_string(),
        "mongodb metadata.change_stream_state"
    );
    assert_eq!(feed.start_at, StartAt::Now);
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(25));
    let log = Given::of(&LOCAL).load().unwrap().log;
    assert_eq!(log.level, tracing::Level::INFO);
}

#[test]
fn everything_set() {
    let settings = Given::of(&LOCAL)
        .and(&[
            ("MONGODB_DATABASE", "shop"),
            ("MONGODB_COLLECTIONS", " a , b.c,d/e "),
            ("FULL_DOCUMENT", "WHENAVAILABLE"),
            ("DUMP_SCHEDULE", "*/10 * * * * *"),
            ("TZ", "Europe/Berlin"),
            ("BATCH_SIZE", "7"),
            ("BATCH_BYTES", "1 MiB"),
            ("BUFFER_LIMIT_BYTES", "2097152"),
            ("MAX_FILE_SIZE", "3MiB"),
            ("OUTPUT_FORMAT", "ndjson"),
            ("JSON_MODE", "canonical"),
            ("COMPRESSION", "gzip"),
            ("CHECKPOINT_STORE", "lake"),
            ("IDLE_CHECKPOINT_SECONDS", "5"),
            ("START_AT", "2024-01-15T14:00:00.5+01:00"),
            ("RETRY_ATTEMPTS", "9"),
            ("RETRY_DELAY_MS", "50"),
            ("SHUTDOWN_TIMEOUT_SECONDS", "3"),
        ])
        .settings();
    let feed = &settings.feeds[2];
    assert_eq!(watched(&settings), ["shop.a", "shop.b.c", "shop.d/e"]);
    assert_eq!(feed.stream.full_document.as_str(), "whenAvailable");
    assert_eq!(settings.schedule.timezone.name(), "Europe/Berlin");
    let next = next_flush(&settings.schedule, NOW_UNIX_MS);
    assert_eq!(next, Some(NOW_UNIX_MS + 10_000));
    let limits = &settings.files.limits;
    assert_eq!(limits.batch_size_changes, 7);
    assert_eq!(limits.batch_limit_bytes, 1 << 20);
    assert_eq!(limits.file_limit_bytes, 3 << 20);
    assert_eq!((limits.retry_attempts, limits.retry_delay_ms), (9, 50));
    assert_eq!(limits.idle_checkpoint_ms, 5000);
    assert_eq!(settings.buffer_limit_bytes, 2 << 20);
    assert_eq!(settings.files.format.output, OutputFormat::Ndjson);
    assert_eq!(settings.files.format.compression, Compression::Gzip);
    assert_eq!(settings.files.json_mode, JsonMode::Canonical);
    assert_eq!(settings.checkpoints, CheckpointSettings::Lake);
    let seconds = 1_705_323_600;
    assert_eq!(
        feed.start_at,
        StartAt::Time(ClusterTime {
            seconds,
            increment: 1
        })
    );
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(3));
}

#[test]
fn the_log_is_for_people_on_a_terminal_only() {
    let loud = Given::of(&LOCAL).and(&[("LOG_LEVEL", "DEBUG")]);
    assert_eq!(loud.load().unwrap().log.level, tracing::Level::DEBUG);
    for (word, is_terminal, format) in [
        ("auto", true, LogFormat::Text),
        ("auto", false, LogFormat::Json),
        ("text", false, LogFormat::Text),
        ("json", true, LogFormat::Json),
    ] {
        let mut given = Given::of(&LOCAL).and(&[("LOG_FORMAT", word)]);
        given.is_terminal = is_terminal;
        assert_eq!(given.load().unwrap().log.format, format);
    }
}

#[test]
fn a_batch_must_fit_into_memory_and_into_a_file() {
    let problem = Given::of(&LOCAL)
        .and(&[("BUFFER_LIMIT_BYTES", "4MiB")])
        .problem();
    assert_eq!(
        problem,
        "BATCH_BYTES=8MiB (the default): more than BUFFER_LIMIT_BYTES, which is 4 MiB; lower it, \
         or raise BUFFER_LIMIT_BYTES"
    );
    let problem = Given::of(&LOCAL)
        .and(&[("BATCH_BYTES", "65537"), ("MAX_FILE_SIZE", "64KiB")])
        .problem();
    assert!(problem.starts_with("BATCH_BYTES=65537: more than MAX_FILE_SIZE, which is 64 KiB"));
    let equal = [
        ("BATCH_BYTES", "1MiB"),
        ("MAX_FILE_SIZE", "1MiB"),
        ("BUFFER_LIMIT_BYTES", "1MiB"),
    ];
    assert!(Given::of(&LOCAL).and(&equal).load().is_ok());
}

#[test]
fn checkpoints_must_not_be_watched() {
    let watched = [
        ("MONGODB_DATABASE", "metadata"),
        ("MONGODB_COLLECTIONS", "x,change_stream_state"),
    ];
    let given = Given::of(&LOCAL).and(&watched);
    assert!(
        given
            .problem()
            .starts_with("CHECKPOINT_COLLECTION=change_stream_state (the default): it is watched")
    );
    assert!(
        Given::of(&LOCAL)
            .and(&watched)
            .and(&[("CHECKPOINT_STORE", "lake")])
            .load()
            .is_ok()
    );
}

#[test]
fn start_at_is_a_time_that_has_been() {
    let now = DateTime::from_timestamp_millis(NOW_UNIX_MS).unwrap();
    for (text, what) in [
        ("yesterday", "neither `now` nor an RFC 3339 time"),
        ("2024-01-15", "neither `now` nor an RFC 3339 time"),
        ("2024-01-15T14:00:00", "neither `now` nor an RFC 3339 time"),
        ("1705323600", "neither `now` nor an RFC 3339 time"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("1970-01-01T00:00:00Z", "before 1970"),
        ("0000-01-01T00:00:00Z", "before 1970"),
        ("2026-01-01T00:00:01Z", "in the future"),
        (
            "2106-02-07T06:28:16Z",
            "later than MongoDB's timestamps allow (2106)",
        ),
        (
            "9999-12-31T23:59:59Z",
            "later than MongoDB's timestamps allow (2106)",
        ),
    ] {
        let problem = Given::of(&LOCAL).and(&[("START_AT", text)]).problem();
        assert!(
            problem.starts_with(&format!("START_AT={text}: {what}; ")),
            "{problem}"
        );
    }
    for text in ["NOW", "1970-01-01T00:00:01Z", &now.to_rfc3339()] {
        assert!(
            Given::of(&LOCAL).and(&[("START_AT", text)]).load().is_ok(),
            "{text}"
        );
    }
}

#[test]
fn a_schedule_that_never_fires_is_refused() {
    let problem = Given::of(&LOCAL)
        .and(&[("DUMP_SCHEDULE", "0 0 30 2 *")])
        .problem();
    assert!(problem.starts_with("DUMP_SCHEDULE=0 0 30 2 *: it never matches"));
}

#[test]
fn both_schedule_and_zone_are_judged() {
    let given = Given::of(&LOCAL).and(&[("DUMP_SCHEDULE", "61 * * * *"), ("TZ", "Mars")]);
    let (problems, text) = given.problems();
    assert_eq!(problems.len(), 2);
    assert!(text.contains(
        "DUMP_SCHEDULE=61 * * * *: its minute `61` is wrong (0 to 59); set it to a cron"
    ));
    assert!(text.contains("TZ=Mars: no time zone has this name; set it to"));
}

#[test]
fn strange_collections_are_taken_or_refused_by_name() {
    for list in [
        "a/b", "..x", "größe", "a b", "%", "_silt", "con", "end.", "a\\b", "a:b", "🦀", "-x",
        "a\tb",
    ] {
        let result = Given::of(&LOCAL)
            .and(&[("MONGODB_COLLECTIONS", list)])
            .load();
        let is_refused = list.starts_with('.');
        assert_eq!(result.is_err(), is_refused, "{list}");
    }
    let long = "x".repeat(251);
    let problem = Given::of(&LOCAL)
        .and(&[("MONGODB_COLLECTIONS", &long)])
        .problem();
    assert!(
        problem.contains("longer than 255 bytes together with its database"),
        "{problem}"
    );
    let given = Given::of(&LOCAL).and(&[("MONGODB_COLLECTIONS", "a$,,system.x,b")]);
    assert_eq!(given.problems().0.len(), 3);
}

#[test]
fn explicit_settings_are_listed_without_secrets() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"TZ = 'UTC'\n[collections.users]\nBATCH_SIZE = 7\n")
        .unwrap();
    let path = file.path().to_str().unwrap();
    let given = Given::of(&AZURE).and(&[
        ("MONGODB_URI", "mongodb://u:canary@h1"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5"),
        ("BATCH_BYTES", "8388608"),
        ("SILT_CONFIG", path),
    ]);
    assert_eq!(
        given.load().unwrap().explicit_settings,
        [
            "MONGODB_URI=***",
            "AZURE_STORAGE_ACCOUNT_NAME=acct",
            "AZURE_STORAGE_ACCOUNT_KEY=***",
            "TZ=UTC",
            "BATCH_BYTES=8388608",
            &format!("SILT_CONFIG={path}"),
            "[collections.users] BATCH_SIZE=7",
        ]
    );
}
