//! To the feed of one collection.

use super::{Handover, Other, archived_until, is_laid_out};
use crate::namespace::Namespace;
use crate::position::Stored;

/// The feed of a collection resumes after the shared stream that is furthest. If it has a checkpoint of its own, only
/// a shared stream that wrote the same files can make it skip anything.
pub(super) fn handover(
    shared: &[Other],
    namespace: &Namespace,
    own: Option<&Stored>,
) -> Option<Handover> {
    let own_time = own.and_then(|own| own.checkpoint.restart_time());
    let is_of_these_files = |(feed, stored): &&Other| {
        own.is_none_or(|own| own.lake == stored.lake && is_laid_out(feed, stored, namespace))
    };
    shared
        .iter()
        .filter(is_of_these_files)
        .filter_map(|(feed, stored)| {
            let at = archived_until(
                &stored.checkpoint,
                &namespace.database,
                &namespace.collection,
            )?;
            let watermarks = stored.checkpoint.collections.iter().filter(|watermark| {
                watermark.database == namespace.database
                    && watermark.collection == namespace.collection
                    && is_laid_out(feed, stored, namespace)
            });
            Some(Handover {
                watermarks: watermarks.cloned().collect(),
                ..Handover::at(at, feed)
            })
        })
        .filter(|handover| Some(handover.at) > own_time)
        .max_by_key(|handover| handover.at)
}
