//! The settings in effect, for a log.

use super::choices::Words as _;
use super::setting::size_text;
use super::{CheckpointSettings, FeedSettings, LakeLocation, Settings};
use silt_core::machine::StartAt;
use silt_core::namespace::selection::Watched;

impl Settings {
    /// All settings in effect as keys and values that may be logged: no secret is among them.
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let (source, files, limits) = (&self.source, &self.files, &self.files.limits);
        let mut all = vec![
            ("mongodb", source.uri_for_people.clone()),
            ("databases", source.databases.to_string()),
            ("collections", source.collections.to_string()),
            (
                "wire_compression",
                source.wire_compression.word().to_owned(),
            ),
            ("lake", self.lake.url_for_people.clone()),
            ("credential", self.credential().to_owned()),
            ("format", files.format.extension().to_owned()),
            ("gzip_level", files.gzip_level.to_string()),
            ("json_mode", files.json_mode.word().to_owned()),
            ("schedule", self.schedule.text.clone()),
            ("timezone", self.schedule.timezone.name().to_owned()),
            ("batch_size", limits.batch_size_changes.to_string()),
            ("batch_bytes", size_text(limits.batch_limit_bytes)),
            ("buffer_limit", size_text(self.buffer_limit_bytes)),
            ("max_file_size", size_text(limits.file_limit_bytes)),
            ("lake_concurrency", self.lake.concurrency.to_string()),
            ("checkpoints", self.checkpoints.to_string()),
            ("idle_checkpoint_ms", limits.idle_checkpoint_ms.to_string()),
            ("retry_attempts", limits.retry_attempts.to_string()),
            ("retry_delay_ms", limits.retry_delay_ms.to_string()),
            (
                "shutdown_timeout_s",
                self.shutdown_timeout.as_secs().to_string(),
            ),
        ];
        all.extend(self.feeds.iter().map(|feed| ("feed", feed.describe())));
        all
    }

    fn credential(&self) -> &'static str {
        match &self.lake.location {
            LakeLocation::Local { .. } => "none",
            LakeLocation::Azure { credential, .. } => credential.kind(),
        }
    }
}

impl FeedSettings {
    fn describe(&self) -> String {
        let watched = match &self.watched {
            Watched::Collection(origin) => origin.to_string(),
            Watched::Many { selection, .. } => {
                format!("{}.{}", selection.databases, selection.collections)
            }
        };
        let start_at = match self.start_at {
            StartAt::Now => "now".to_owned(),
            StartAt::Time(time) => time.to_string(),
        };
        let (stream, operations) = (&self.stream, &self.stream.operation_types);
        [
            format!("{watched}: full_document={}", stream.full_document.word()),
            format!("before={}", stream.full_document_before_change.word()),
            format!("expanded={}", stream.show_expanded_events),
            format!(
                "operations={}",
                if operations.is_empty() {
                    "all".to_owned()
                } else {
                    operations.join(",")
                }
            ),
            format!("stages={}", stream.pipeline.len()),
            format!("cursor_batch={}", stream.cursor_batch_changes),
            format!("format={}", self.files.format.extension()),
            format!("start_at={start_at}"),
            format!("on_history_lost={}", self.on_history_lost.word()),
            format!("on_large_event={}", self.on_large_event.word()),
            format!("snapshot={}", self.snapshot.word()),
        ]
        .join(" ")
    }
}

impl std::fmt::Display for CheckpointSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MongoDb {
                database,
                collection,
            } => write!(f, "mongodb {database}.{collection}"),
            Self::Lake => f.write_str("lake"),
        }
    }
}
