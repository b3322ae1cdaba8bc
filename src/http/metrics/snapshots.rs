//! Figures of snapshots.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::{Named, Page, labels_of, named};
use crate::snapshot::{State, Status, Statuses};

impl Page<'_, '_> {
    pub(super) fn snapshots(&mut self, snapshots: &Statuses) -> fmt::Result {
        let help = "1 for what the snapshot is doing, 0 for what else it could be";
        let state = named("silt_snapshot_state", None, help);
        let mut metric = self.begin(&state, MetricType::Gauge)?;
        for (origin, status) in snapshots {
            for state in State::ALL {
                let [database, collection] = labels_of(origin);
                let labels = [database, collection, ("state", state.as_str())];
                let value = u32::from(status.state == state);
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        let help = "1 if something holds the snapshot up or is wrong with it";
        let trouble = named("silt_snapshot_trouble", None, help);
        self.of_snapshots(&trouble, snapshots, |status| {
            status.trouble.is_some().into()
        })?;
        let help = "Documents of the snapshot that the lake holds";
        let documents = named("silt_snapshot_documents", None, help);
        self.of_snapshots(&documents, snapshots, |status| status.progress.documents)
    }

    fn of_snapshots(
        &mut self,
        named: &Named,
        snapshots: &Statuses,
        value: impl Fn(&Status) -> u64,
    ) -> fmt::Result {
        let mut metric = self.begin(named, MetricType::Gauge)?;
        for (origin, status) in snapshots {
            let value = value(status);
            metric
                .encode_family(&labels_of(origin))?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}
