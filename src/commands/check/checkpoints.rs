//! Whether checkpoints can be kept.

use std::sync::Arc;

use super::grants::Missing;
use super::mongodb::Reached;
use super::row::{Part, Row, Table};
use super::{ROW_LIMIT, in_time, words};
use crate::checkpoint::{CheckpointError, Checkpoints, LakeCheckpoints, Probed};
use crate::edges;
use crate::lake::Lake;
use crate::settings::{CheckpointSettings, Settings};

const WHAT: &str = "store";
/// What silt does to the checkpoint collection.
const ACTIONS: [&str; 3] = ["find", "insert", "update"];

/// Checks the store by writing to it. Returns it if it can be read.
pub(super) async fn check(
    settings: &Settings,
    reached: Option<&Reached>,
    lake: Option<&Arc<dyn Lake>>,
    table: &Table<'_>,
) -> Option<Arc<dyn Checkpoints>> {
    let store: Option<Arc<dyn Checkpoints>> = match (&settings.checkpoints, reached, lake) {
        (CheckpointSettings::Lake, _, Some(lake)) => {
            Some(Arc::new(LakeCheckpoints::new(Arc::clone(lake))))
        }
        (CheckpointSettings::MongoDb { .. }, Some(reached), _) => {
            // With a store in MongoDB the lake plays no part.
            edges::mongo_checkpoints(settings, &reached.deployment)
        }
        _ => None,
    };
    let row = match &store {
        Some(store) => {
            table.progress("checkpoints: writes and removes a record");
            let probing = async { Ok(store.probe().await) };
            match in_time(ROW_LIMIT, probing).await {
                Ok(Ok(probed)) => good(&settings.checkpoints, &probed),
                Ok(Err(error)) => bad(settings, reached, &error),
                Err(silence) => Row::failure(WHAT, silence),
            }
        }
        None => Row::skipped(
            WHAT,
            format!("kept in {}, which can't be had", place(settings)),
        ),
    };
    table.add(Part::Checkpoints, row);
    table.done(Part::Checkpoints);
    store
}

fn place(settings: &Settings) -> &'static str {
    match settings.checkpoints {
        CheckpointSettings::Lake => "the lake",
        CheckpointSettings::MongoDb { .. } => "MongoDB",
    }
}

fn good(settings: &CheckpointSettings, probed: &Probed) -> Row {
    match probed {
        Probed::Removed => Row::good(WHAT, format!("{settings}: written, read and removed")),
        Probed::Stays(name) => Row::warning(
            WHAT,
            format!(
                "{settings}: written and read; what was written may not be removed, which silt needn't, and \
                 stays: {name}"
            ),
        ),
    }
}

fn bad(settings: &Settings, reached: Option<&Reached>, error: &CheckpointError) -> Row {
    let row = Row::failure(
        WHAT,
        format!("{}: {}", settings.checkpoints, words::of_store(error)),
    );
    match (&settings.checkpoints, reached, error) {
        (
            CheckpointSettings::MongoDb {
                database,
                collection,
            },
            Some(reached),
            CheckpointError::Forbidden { .. },
        ) => {
            let account = &reached.account;
            let missing = ACTIONS.into_iter();
            let missing: Vec<&str> = missing
                .filter(|action| !account.may(action, database, collection))
                .collect();
            let missing = Missing {
                database,
                collection,
                actions: &missing,
                role: "readWrite",
            };
            row.fixed_by(missing.fix(account))
        }
        _ => row,
    }
}
