//! Opens what the settings configure: the deployment, the lake, the checkpoint store.

use std::sync::Arc;
use std::time::Duration;

use mongodb::options::Compressor;

use crate::checkpoint::{Checkpoints, LakeCheckpoints, MongoCheckpoints};
use crate::lake::azure::credential::{self, Access, EntraIdentity};
use crate::lake::azure::{AzureConfig, AzureLake, PAGE_FILES_MAX};
use crate::lake::local::LocalLake;
use crate::lake::{Lake, LakeError};
use crate::settings::{
    self, AzureCredential, CheckpointSettings, FeedSettings, FullDocument,
    FullDocumentBeforeChange, JsonMode, LakeLocation, LakeSettings, Settings, SourceSettings,
    StreamSettings, WireCompression,
};
use crate::source::{Deployment, SourceError, StreamOptions};
use silt_core::extjson::Mode;
use silt_core::file::format::{Compression, FileFormat, OutputFormat};
use silt_core::limits::Limits;
use silt_core::machine::Config;
use silt_core::machine::OnLargeEvent;
use silt_core::namespace::selection::Watched;
use silt_core::snapshot::SnapshotMode;

/// Opens the deployment for all streams and snapshots; see [`connect_for`].
///
/// # Errors
///
/// The connection string is malformed, or its host can't be resolved.
pub async fn connect(settings: &Settings) -> Result<Deployment, SourceError> {
    let takes_snapshots = |feed: &FeedSettings| feed.snapshot != SnapshotMode::Never;
    let ranges = if settings.feeds.iter().any(takes_snapshots) {
        settings.snapshot.ranges as usize
    } else {
        0
    };
    // Each range of a snapshot needs a connection too.
    connect_for(&settings.source, settings.feeds.len() + ranges).await
}

/// Opens the deployment for this number of streams. Nothing is sent, but a `mongodb+srv` address is resolved.
///
/// # Errors
///
/// The connection string is malformed, or its host can't be resolved.
pub async fn connect_for(
    source: &SourceSettings,
    streams: usize,
) -> Result<Deployment, SourceError> {
    let compressor = match source.wire_compression {
        WireCompression::None => None,
        WireCompression::Snappy => Some(Compressor::Snappy),
        WireCompression::Zlib => Some(Compressor::Zlib { level: None }),
        WireCompression::Zstd => Some(Compressor::Zstd { level: None }),
    };
    Deployment::connect(source.uri.reveal(), streams, source.timeout, compressor).await
}

/// Opens the checkpoint store. No request is sent yet.
#[must_use]
pub fn checkpoints(
    settings: &Settings,
    deployment: &Deployment,
    lake: &Arc<dyn Lake>,
) -> Arc<dyn Checkpoints> {
    mongo_checkpoints(settings, deployment)
        .unwrap_or_else(|| Arc::new(LakeCheckpoints::new(Arc::clone(lake))))
}

/// Opens the checkpoint store if it is in MongoDB. No request is sent yet.
#[must_use]
pub fn mongo_checkpoints(
    settings: &Settings,
    deployment: &Deployment,
) -> Option<Arc<dyn Checkpoints>> {
    match &settings.checkpoints {
        CheckpointSettings::MongoDb {
            database,
            collection,
        } => {
            let store = MongoCheckpoints::new(deployment, database, collection);
            Some(Arc::new(store.of_lake(&settings.lake.url_for_people)))
        }
        CheckpointSettings::Lake => None,
    }
}

/// The options of a feed's change stream.
#[must_use]
pub fn stream_options(feed: &FeedSettings) -> StreamOptions {
    StreamOptions {
        on_large_event: feed.on_large_event,
        separator: feed.files.format.separator(),
        ..line_options(&feed.watched, &feed.stream, feed.files.json_mode)
    }
}

/// The options of a stream whose changes are read one a line, and that a change which the server can't send doesn't
/// stop.
#[must_use]
pub fn line_options(
    watched: &Watched,
    stream: &StreamSettings,
    json_mode: JsonMode,
) -> StreamOptions {
    let lines = FileFormat {
        output: OutputFormat::Ndjson,
        compression: Compression::None,
    };
    StreamOptions {
        watched: watched.clone(),
        full_document: match stream.full_document {
            FullDocument::Default => None,
            FullDocument::UpdateLookup => Some("updateLookup"),
            FullDocument::WhenAvailable => Some("whenAvailable"),
            FullDocument::Required => Some("required"),
        },
        full_document_before_change: match stream.full_document_before_change {
            FullDocumentBeforeChange::Off => None,
            FullDocumentBeforeChange::WhenAvailable => Some("whenAvailable"),
            FullDocumentBeforeChange::Required => Some("required"),
        },
        show_expanded_events: stream.show_expanded_events,
        operation_types: stream.operation_types.clone(),
        pipeline: stream.pipeline.clone(),
        on_large_event: OnLargeEvent::Record,
        cursor_batch_changes: stream.cursor_batch_changes,
        mode: self::json_mode(json_mode),
        separator: lines.separator(),
    }
}

/// What a feed's state machine is to do, within these limits.
#[must_use]
pub fn feed_config(feed: &FeedSettings, limits: Limits) -> Config {
    Config {
        watched: feed.watched.clone(),
        format: feed.files.format,
        start_at: feed.start_at,
        on_history_lost: feed.on_history_lost,
        limits,
        stream_hash: stream_options(feed).stream_hash(),
        seed: fastrand::u64(..),
    }
}

/// The encoder's mode for this setting.
#[must_use]
pub fn json_mode(mode: JsonMode) -> Mode {
    match mode {
        JsonMode::Relaxed => Mode::Relaxed,
        JsonMode::Canonical => Mode::Canonical,
    }
}

/// Opens the lake. No request is sent yet.
///
/// # Errors
///
/// The SDK rejects the address or the credential.
pub fn open_lake(settings: &LakeSettings) -> Result<Arc<dyn Lake>, LakeError> {
    match &settings.location {
        LakeLocation::Local { root } => Ok(Arc::new(LocalLake::new(root.clone()))),
        LakeLocation::Azure {
            endpoint,
            account,
            filesystem,
            prefix,
            credential,
        } => {
            let access = match credential {
                AzureCredential::SharedKey(key) => {
                    Access::SharedKey(key.reveal().to_owned().into())
                }
                AzureCredential::Sas(query) => Access::Sas(query.reveal().to_owned()),
                AzureCredential::Entra(identity) => {
                    let refused = |error: azure_core::Error| LakeError::Refused {
                        reason: format!("the Entra ID identity: {error}"),
                    };
                    Access::Token(credential::entra(&entra_identity(identity)).map_err(refused)?)
                }
            };
            let config = AzureConfig {
                endpoint: endpoint.clone(),
                account: account.clone(),
                filesystem: filesystem.clone(),
                prefix: prefix.clone(),
                access,
                request_limit_ms: milliseconds(settings.timeout),
                page_files: PAGE_FILES_MAX,
            };
            Ok(Arc::new(AzureLake::new(&config)?))
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn entra_identity(identity: &settings::EntraIdentity) -> EntraIdentity {
    let secret = identity.client_secret.as_ref();
    EntraIdentity {
        tenant_id: identity.tenant_id.clone(),
        client_id: identity.client_id.clone(),
        client_secret: secret.map(|secret| secret.reveal().to_owned().into()),
        federated_token_file: identity.federated_token_file.clone(),
    }
}
