//! The settings of a feed apart from what it watches, and the list of feeds.

use std::collections::HashMap;

use bson::Bson;
use chrono::DateTime;

use crate::settings::mongodb::operations;
use crate::settings::mongodb::pipeline;
use crate::settings::places::Section;
use crate::settings::problems::{Fault, Problem};
use crate::settings::table;
use crate::settings::table::choices::Words as _;
use crate::settings::table::setting::size_text;
use crate::settings::values::Values;
use crate::settings::watched::Scope;
use crate::settings::{
    CheckpointSettings, FeedSettings, FileSettings, FullDocument, StreamSettings,
};
use silt_core::closing::RecordedSettings;
use silt_core::file::format::FileFormat;
use silt_core::file::gzip::GzipLevel;
use silt_core::limits::Limits;
use silt_core::machine::{OnHistoryLost, OnLargeEvent, StartAt};
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Watched;
use silt_core::position::ClusterTime;
use silt_core::snapshot::SnapshotMode;

/// A feed's settings without what it watches.
#[derive(Clone, Debug)]
pub(super) struct FeedKind {
    stream: StreamSettings,
    pub(super) files: FileSettings,
    start_at: StartAt,
    on_history_lost: OnHistoryLost,
    on_large_event: OnLargeEvent,
    snapshot: SnapshotMode,
}

impl FeedKind {
    /// Reads it. `None` only if problems were noted.
    pub(super) fn read(
        values: &mut Values,
        buffer_limit_bytes: Option<u64>,
        now_unix_ms: i64,
    ) -> Option<Self> {
        let stream = stream(values);
        let files = files(values, buffer_limit_bytes);
        let start_at = values.parse(&table::START_AT, |text| parse_start_at(text, now_unix_ms));
        let on_history_lost = values.choice(&table::ON_HISTORY_LOST);
        let on_large_event = values.choice(&table::ON_LARGE_EVENT);
        let snapshot = values.choice(&table::SNAPSHOT);
        if snapshot == Some(SnapshotMode::WhenLost) && on_history_lost == Some(OnHistoryLost::Halt)
        {
            let what =
                "with ON_HISTORY_LOST=halt no feed continues after a gap, so there is none to fill";
            let fix = "set ON_HISTORY_LOST=restart, or SNAPSHOT=initial";
            values.refuse(&table::SNAPSHOT, Fault::with_fix(what, fix));
        }
        let changes_events = |stream: &StreamSettings| {
            let mut stages = stream.pipeline.iter();
            stages.any(|stage| !stage.contains_key("$match"))
        };
        if snapshot.is_some_and(|snapshot| snapshot != SnapshotMode::Never)
            && stream.as_ref().is_some_and(changes_events)
        {
            let what =
                "a snapshot reads whole documents, including what PIPELINE removes from changes";
            let fix = "set SNAPSHOT=never, or keep only $match in PIPELINE";
            values.refuse(&table::SNAPSHOT, Fault::with_fix(what, fix));
        }
        if let (Some(mode), Some(stream)) = (snapshot, &stream) {
            warn_of_filters(values, mode, stream);
        }
        Some(Self {
            stream: stream?,
            files: files?,
            start_at: start_at?,
            on_history_lost: on_history_lost?,
            on_large_event: on_large_event?,
            snapshot: snapshot?,
        })
    }

    /// A feed with these settings.
    pub(super) fn watching(&self, watched: Watched) -> FeedSettings {
        let kind = self.clone();
        FeedSettings {
            watched,
            stream: kind.stream,
            files: kind.files,
            start_at: kind.start_at,
            on_history_lost: kind.on_history_lost,
            on_large_event: kind.on_large_event,
            snapshot: kind.snapshot,
        }
    }
}

/// The collections of sections that set something, each with what its feed is like. `None` only if problems
/// were noted.
pub(super) fn apart<K>(
    values: &mut Values,
    sections: &[Section],
    scope: Option<&Scope>,
    checkpoints: Option<&CheckpointSettings>,
    read: impl Fn(&mut Values) -> Option<K>,
) -> Option<Vec<(Namespace, K)>> {
    let mut places: HashMap<Namespace, &str> = HashMap::new();
    let mut apart = Vec::new();
    let mut is_good = true;
    for section in sections {
        let kind = values.within(section.number, &read);
        is_good &= kind.is_some();
        let Some(scope) = scope else {
            continue;
        };
        let found = scope.find(&section.key, checkpoints).and_then(|origin| {
            match places.insert(origin.clone(), &section.place) {
                None => Ok(origin),
                Some(other) => {
                    let what = format!("{origin} already has a section, in {other}");
                    Err(Fault::with_fix(what, "merge the two"))
                }
            }
        });
        match (found, kind) {
            (Ok(origin), Some(kind)) if !section.is_empty => apart.push((origin, kind)),
            (Ok(_), _) => {}
            (Err(fault), _) => {
                is_good = false;
                values.refuse_other(Problem {
                    setting: section.place.clone(),
                    value: None,
                    origin: None,
                    what: fault.what,
                    fix: fault.fix.unwrap_or_else(|| "remove it".to_owned()),
                });
            }
        }
    }
    is_good.then_some(apart)
}

/// What each feed watches, with its settings: the common ones, or those of a section of its own.
pub(super) fn all<'a, K>(
    scope: &Scope,
    checkpoints: &CheckpointSettings,
    common: &'a K,
    apart: &'a [(Namespace, K)],
) -> Vec<(Watched, &'a K)> {
    let own = |watched: &Watched| match watched {
        Watched::Collection(origin) => apart.iter().find(|(own, _)| own == origin),
        Watched::Many { .. } => None,
    };
    let origins: Vec<Namespace> = apart.iter().map(|(origin, _)| origin.clone()).collect();
    let feeds = scope.feeds(&origins, checkpoints).into_iter();
    let feed = |watched| {
        let kind = own(&watched).map_or(common, |(_, kind)| kind);
        (watched, kind)
    };
    feeds.map(feed).collect()
}

/// A snapshot has all documents, even if filters drop some of their changes.
fn warn_of_filters(values: &mut Values, mode: SnapshotMode, stream: &StreamSettings) {
    let changes_are_whole = stream.pipeline.is_empty() && stream.operation_types.is_empty();
    if mode == SnapshotMode::Never || changes_are_whole {
        return;
    }
    let names = match (
        stream.operation_types.is_empty(),
        stream.pipeline.is_empty(),
    ) {
        (false, false) => "OPERATION_TYPES and PIPELINE leave",
        (false, true) => "OPERATION_TYPES leaves",
        _ => "PIPELINE leaves",
    };
    values.warn(format!(
        "SNAPSHOT={}: {names} changes out, but a snapshot has all documents, so that both together don't give \
         the collection as it is later; plan and manifest say what is left out (change_filters)",
        mode.word()
    ));
}

impl StreamSettings {
    /// The settings that filter changes, as `NAME=value`.
    #[must_use]
    pub fn change_filters(&self) -> Vec<String> {
        let types = (!self.operation_types.is_empty())
            .then(|| format!("OPERATION_TYPES={}", self.operation_types.join(",")));
        let pipeline = (!self.pipeline.is_empty()).then(|| {
            let stages = self.pipeline.iter().cloned().map(Bson::Document).collect();
            format!("PIPELINE={}", Bson::Array(stages).into_relaxed_extjson())
        });
        types.into_iter().chain(pipeline).collect()
    }
}

impl FeedSettings {
    /// What closing records say of them.
    #[must_use]
    pub fn recorded(&self) -> RecordedSettings {
        let stream = &self.stream;
        RecordedSettings {
            filters: stream.change_filters(),
            full_document: stream.full_document.word().to_owned(),
            full_document_before_change: stream.full_document_before_change.word().to_owned(),
            json_mode: self.files.json_mode.word().to_owned(),
        }
    }
}

/// Reads the options of a stream. `None` only if problems were noted.
pub(super) fn stream(values: &mut Values) -> Option<StreamSettings> {
    let full_document = values.choice(&table::FULL_DOCUMENT);
    let full_document_before_change = values.choice(&table::FULL_DOCUMENT_BEFORE_CHANGE);
    let show_expanded_events: Option<bool> = values.choice(&table::SHOW_EXPANDED_EVENTS);
    let operation_types = values.parse_list(&table::OPERATION_TYPES, |text| {
        // If SHOW_EXPANDED_EVENTS was refused, don't report its operations as well.
        operations::parse(text, show_expanded_events.unwrap_or(true))
    });
    let pipeline = values.parse(&table::PIPELINE, pipeline::parse);
    let pipeline = pipeline.and_then(|stages| {
        let looks_up = full_document == Some(FullDocument::UpdateLookup);
        values.parse_list(&table::PIPELINE, |_| pipeline::check(&stages, looks_up))?;
        Some(stages)
    });
    let cursor_batch_changes = values.number_u32(&table::CURSOR_BATCH_SIZE);
    Some(StreamSettings {
        full_document: full_document?,
        full_document_before_change: full_document_before_change?,
        show_expanded_events: show_expanded_events?,
        operation_types: operation_types?,
        pipeline: pipeline?,
        cursor_batch_changes: cursor_batch_changes?,
    })
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
            let fix = format!("lower it, or raise {}", setting.name);
            values.refuse(&table::BATCH_BYTES, Fault::with_fix(what, fix));
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
        ..Limits::default()
    })
}

pub(super) fn parse_start_at(text: &str, now_unix_ms: i64) -> Result<StartAt, Fault> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(StartAt::Now);
    }
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Fault::new("neither `now` nor an RFC 3339 time"))?;
    if time.timestamp() < 1 {
        return Err(Fault::new("before 1970"));
    }
    let seconds = u32::try_from(time.timestamp())
        .map_err(|_| Fault::new("later than MongoDB's timestamps allow (2106)"))?;
    if time.timestamp_millis() > now_unix_ms {
        return Err(Fault::new("in the future"));
    }
    // The server numbers the operations of a second from 1.
    Ok(StartAt::Time(ClusterTime {
        seconds,
        increment: 1,
    }))
}
