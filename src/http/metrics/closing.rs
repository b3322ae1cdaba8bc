//! Figures of closing.

use std::fmt;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Page, count, labels_of, named};
use crate::closing::Statuses;

impl Page<'_, '_> {
    pub(super) fn closing(&mut self, statuses: &Statuses) -> fmt::Result {
        let help = "Time before which every change is in a closed hour or on record as missing, since 1970";
        let until = named("silt_complete_until", Some(Unit::Seconds), help);
        let mut metric = self.begin(&until, MetricType::Gauge)?;
        for (origin, status) in statuses {
            if let Some(completeness) = status.completeness {
                let seconds = u64::from(completeness.until.seconds);
                metric
                    .encode_family(&labels_of(origin))?
                    .encode_gauge(&seconds)?;
            }
        }
        let help = "1 if an hour can't be closed";
        let trouble = named("silt_closing_trouble", None, help);
        let mut metric = self.begin(&trouble, MetricType::Gauge)?;
        for (origin, status) in statuses {
            let value = u32::from(status.trouble.is_some());
            metric
                .encode_family(&labels_of(origin))?
                .encode_gauge(&value)?;
        }
        let closed = named(
            "silt_closed_hours",
            None,
            "Hours that this process has closed",
        );
        let mut metric = self.begin(&closed, MetricType::Counter)?;
        for (origin, status) in statuses {
            count(&mut metric, &labels_of(origin), &status.closed)?;
        }
        let failures = named(
            "silt_closing_failures",
            None,
            "Failures of closing, all of which are retried",
        );
        let mut metric = self.begin(&failures, MetricType::Counter)?;
        for (origin, status) in statuses {
            count(&mut metric, &labels_of(origin), &status.failures)?;
        }
        Ok(())
    }
}
