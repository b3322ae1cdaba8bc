//! `/metrics`: figures for Prometheus, as text (`OpenMetrics`). `docs/metrics.md` documents them.

mod closing;
mod snapshots;

use std::fmt;

use hyper::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _,
    MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::answer::Answer;
use super::board::{Board, FeedView};
use super::{health, process};
use crate::source::OplogWindow;
use crate::worker::{self, Durations, Outcome, State, Status, Tally};
use silt_core::batch::FlushReason;
use silt_core::namespace::Namespace;

/// <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures, as they are now.
pub(super) fn metrics(board: &Board) -> Answer {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(board.clone())));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => Answer::new(StatusCode::OK, MEDIA_TYPE, text),
        Err(error) => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            error.to_string(),
        ),
    }
}

#[derive(Debug)]
struct Scrape(Board);

/// What a metric is called and what it is for. The unit is added to the name.
struct Named {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
}

/// A counter of the tally.
struct Counted {
    named: Named,
    count: fn(&Tally) -> u64,
}

const fn named(name: &'static str, unit: Option<Unit>, help: &'static str) -> Named {
    Named { name, help, unit }
}

const fn counted(
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    count: fn(&Tally) -> u64,
) -> Counted {
    Counted {
        named: named(name, unit, help),
        count,
    }
}

static COUNTERS: [Counted; 10] = [
    counted(
        "silt_changes_read",
        None,
        "Changes that came from the server",
        |tally| tally.changes_read,
    ),
    counted(
        "silt_changes_archived",
        None,
        "Changes that were brought into the lake",
        |tally| tally.changes_archived,
    ),
    counted(
        "silt_changes_skipped",
        None,
        "Changes that were passed over because the lake held them",
        |tally| tally.changes_skipped,
    ),
    counted(
        "silt_read",
        Some(Unit::Bytes),
        "Change events as the server sent them (BSON)",
        |tally| tally.read_bytes,
    ),
    counted(
        "silt_encoded",
        Some(Unit::Bytes),
        "Lines (Extended JSON) of the changes that were brought into the lake",
        |tally| tally.encoded_bytes,
    ),
    counted(
        "silt_uploaded",
        Some(Unit::Bytes),
        "What was sent to the lake for them, frames and compression included",
        |tally| tally.uploaded_bytes,
    ),
    counted(
        "silt_reconnects",
        None,
        "How often the change stream was opened again",
        |tally| tally.reconnects,
    ),
    counted(
        "silt_reloads",
        None,
        "How often the feed went back to its checkpoint and the lake's end",
        |tally| tally.reloads,
    ),
    counted(
        "silt_gaps",
        None,
        "Gaps in the history, put on record in the lake",
        |tally| tally.gaps,
    ),
    counted(
        "silt_large_events",
        None,
        "Changes too large to be sent, put on record in the lake",
        |tally| tally.large_events,
    ),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let feeds: Vec<Feed<'_>> = self.0.feeds().iter().map(Feed::new).collect();
        let mut page = Page {
            encoder: &mut encoder,
            feeds: &feeds,
        };
        for Counted { named, count } in &COUNTERS {
            page.counter(named, |feed| count(&feed.status.tally))?;
        }
        page.flushes()?;
        page.retries()?;
        page.durations()?;
        page.buffers()?;
        page.states()?;
        page.times(&self.0)?;
        page.carried()?;
        page.snapshots(&self.0.snapshots())?;
        page.closing(&self.0.closing())?;
        page.whole(&self.0)?;
        page.process(&self.0)
    }
}

/// A feed at this moment.
struct Feed<'a> {
    database: &'a str,
    collection: &'a str,
    status: Status,
    is_ready: bool,
    durations: &'a Durations,
}

impl<'a> Feed<'a> {
    fn new(view: &'a FeedView) -> Self {
        let status = view.status.borrow().clone();
        Self {
            database: &view.origin.database,
            collection: &view.origin.collection,
            is_ready: health::is_feed_ready(view, &status),
            status,
            durations: &view.durations,
        }
    }

    fn labels(&self) -> [(&'static str, &'a str); 2] {
        [("database", self.database), ("collection", self.collection)]
    }

    /// The labels, and one more.
    fn labels_and(&self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
        let [database, collection] = self.labels();
        [database, collection, (name, value)]
    }
}

fn labels_of(origin: &Namespace) -> [(&'static str, &str); 2] {
    let Namespace {
        database,
        collection,
        ..
    } = origin;
    [("database", database), ("collection", collection)]
}

/// The text on its way.
struct Page<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    feeds: &'a [Feed<'a>],
}

impl Page<'_, '_> {
    fn begin<'s>(
        &'s mut self,
        named: &'s Named,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.encoder
            .encode_descriptor(named.name, named.help, named.unit.as_ref(), kind)
    }

    fn counter<V: EncodeCounterValue>(
        &mut self,
        named: &Named,
        value: impl Fn(&Feed<'_>) -> V,
    ) -> fmt::Result {
        let feeds = self.feeds;
        let mut metric = self.begin(named, MetricType::Counter)?;
        feeds
            .iter()
            .try_for_each(|feed| count(&mut metric, &feed.labels(), &value(feed)))
    }

    /// A gauge of the feeds for which there is a value.
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        named: &Named,
        value: impl Fn(&Feed<'_>) -> Option<V>,
    ) -> fmt::Result {
        let feeds = self.feeds;
        let mut metric = self.begin(named, MetricType::Gauge)?;
        for feed in feeds {
            if let Some(value) = value(feed) {
                metric.encode_family(&feed.labels())?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// The collections of feeds that carry many.
    fn carried(&mut self) -> fmt::Result {
        let feeds = self.feeds;
        let help = "Changes that were brought into the lake, of each collection of a shared stream";
        let archived = named("silt_carried_changes_archived", None, help);
        let mut metric = self.begin(&archived, MetricType::Counter)?;
        for (origin, lane) in feeds.iter().flat_map(|feed| &feed.status.lanes) {
            count(&mut metric, &labels_of(origin), &lane.changes_archived)?;
        }
        let help =
            "Cluster time of the last change in the lake, of each collection of a shared stream";
        let last = named(
            "silt_carried_last_change_timestamp",
            Some(Unit::Seconds),
            help,
        );
        let mut metric = self.begin(&last, MetricType::Gauge)?;
        for (origin, lane) in feeds.iter().flat_map(|feed| &feed.status.lanes) {
            if let Some(time) = lane.last_change_time {
                let labels = labels_of(origin);
                metric.encode_family(&labels)?.encode_gauge(&time.seconds)?;
            }
        }
        Ok(())
    }

    fn single<V: EncodeGaugeValue>(&mut self, named: &Named, value: Option<V>) -> fmt::Result {
        match value {
            Some(value) => self.begin(named, MetricType::Gauge)?.encode_gauge(&value),
            None => Ok(()),
        }
    }

    fn flushes(&mut self) -> fmt::Result {
        let help = "Flushes by reason and outcome";
        let (flushes, feeds) = (named("silt_flushes", None, help), self.feeds);
        let mut metric = self.begin(&flushes, MetricType::Counter)?;
        for feed in feeds {
            // All of them from the start: of what begins at one, no increase is seen.
            for reason in FlushReason::ALL {
                for outcome in Outcome::ALL {
                    let key = (reason.as_str(), outcome);
                    let value = feed.status.tally.flushes.get(&key).unwrap_or(&0);
                    let [database, collection, reason] = feed.labels_and("reason", key.0);
                    let labels = [database, collection, reason, ("outcome", outcome.as_str())];
                    count(&mut metric, &labels, value)?;
                }
            }
        }
        Ok(())
    }

    fn retries(&mut self) -> fmt::Result {
        let help = "Failures by cause; all are tried again";
        let (retries, feeds) = (named("silt_retries", None, help), self.feeds);
        let mut metric = self.begin(&retries, MetricType::Counter)?;
        for feed in feeds {
            for (cause, value) in &feed.status.tally.retries {
                count(&mut metric, &feed.labels_and("cause", cause), value)?;
            }
        }
        Ok(())
    }

    fn durations(&mut self) -> fmt::Result {
        let help = "From the decision to flush to the durable commit, waiting and tries included";
        self.histogram(
            &named("silt_commit", Some(Unit::Seconds), help),
            |durations| &durations.commit,
        )?;
        let help = "The lake's part of a try to commit, failed or not";
        self.histogram(
            &named("silt_upload", Some(Unit::Seconds), help),
            |durations| &durations.upload,
        )
    }

    fn histogram(&mut self, named: &Named, of: fn(&Durations) -> &Histogram) -> fmt::Result {
        let feeds = self.feeds;
        let mut metric = self.begin(named, MetricType::Histogram)?;
        feeds.iter().try_for_each(|feed| {
            let labels = feed.labels();
            of(feed.durations).encode(metric.encode_family(&labels)?)
        })
    }

    fn buffers(&mut self) -> fmt::Result {
        let help = "Changes that wait in memory";
        self.gauge(&named("silt_buffered_changes", None, help), |feed| {
            Some(feed.status.buffered_changes)
        })?;
        let help = "Lines of the changes that wait in memory";
        self.gauge(&named("silt_buffered", Some(Unit::Bytes), help), |feed| {
            Some(feed.status.buffered_bytes)
        })
    }

    fn states(&mut self) -> fmt::Result {
        let help = "1 for what the feed is doing, 0 for what else it could be";
        let (state, feeds) = (named("silt_feed_state", None, help), self.feeds);
        let mut metric = self.begin(&state, MetricType::Gauge)?;
        for feed in feeds {
            for state in State::ALL {
                let labels = feed.labels_and("state", state.as_str());
                let value = u32::from(feed.status.state == state);
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        let help = "1 if the feed is read and does not fail again and again (RETRY_ATTEMPTS)";
        self.gauge(&named("silt_feed_ready", None, help), |feed| {
            Some(u32::from(feed.is_ready))
        })
    }

    fn times(&mut self, board: &Board) -> fmt::Result {
        let now_unix_ms = board.now_unix_ms();
        let help = "How old the newest state of the collection is that the lake holds whole";
        self.gauge(&named("silt_lag", Some(Unit::Seconds), help), |feed| {
            feed.status.lag_ms(now_unix_ms).map(worker::seconds)
        })?;
        let help = "Distance of the saved position from the oldest entry of the oplog";
        let runway = named("silt_oplog_runway", Some(Unit::Seconds), help);
        self.gauge(&runway, |feed| board.oplog_runway_seconds(&feed.status))?;
        let help = "When the last flush was committed, since 1970";
        let last = named("silt_last_commit_timestamp", Some(Unit::Seconds), help);
        self.gauge(&last, |feed| {
            let at_unix_ms = feed.status.last_flush.as_ref()?.at_unix_ms;
            u64::try_from(at_unix_ms).ok().map(worker::seconds)
        })
    }

    fn whole(&mut self, board: &Board) -> fmt::Result {
        let help = "What the oplog holds";
        let window = named("silt_oplog_window", Some(Unit::Seconds), help);
        self.single(&window, board.oplog().map(OplogWindow::seconds))?;
        let help = "Memory for changes that is in use";
        let used = named("silt_buffer_used", Some(Unit::Bytes), help);
        self.single(&used, Some(board.buffer_used_bytes()))?;
        let help = "Memory for changes that there is (BUFFER_LIMIT_BYTES)";
        let limit = named("silt_buffer_limit", Some(Unit::Bytes), help);
        self.single(&limit, Some(board.about().buffer_limit_bytes))?;
        let build = named("silt_build", None, "The version of silt");
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        self.begin(&build, MetricType::Info)?.encode_info(&labels)
    }

    /// <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>
    fn process(&mut self, board: &Board) -> fmt::Result {
        let help = "When the process was started, since 1970";
        let start = named("process_start_time", Some(Unit::Seconds), help);
        let started = u64::try_from(board.started_unix_ms()).ok();
        self.single(&start, started.map(worker::seconds))?;
        let help = "Memory that the process holds";
        let memory = named("process_resident_memory", Some(Unit::Bytes), help);
        self.single(&memory, process::resident_memory_bytes())?;
        if let Some(seconds) = process::cpu_seconds() {
            let help = "Processor time that the process took";
            let cpu = named("process_cpu", Some(Unit::Seconds), help);
            let mut metric = self.begin(&cpu, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        Ok(())
    }
}

fn count<V: EncodeCounterValue>(
    metric: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: &V,
) -> fmt::Result {
    let mut metric = metric.encode_family(labels)?;
    metric.encode_counter::<NoLabelSet, _, u64>(value, None)
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::*;

    fn text(status: Status) -> String {
        metrics(&board(vec![("a\"b\\c\n", status)], None)).text()
    }

    #[test]
    fn every_metric_is_documented_and_nothing_else_is() {
        let mut status = Status::default();
        status.tally.retries.insert("lake_full", 1);
        let text = text(status);
        let documented = include_str!("../../docs/metrics.md");
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        // Absent until something is known.
        names.push("silt_oplog_window_seconds");
        for name in &names {
            assert!(documented.contains(&format!("| `{name}")), "{name}");
        }
        let rows = documented
            .lines()
            .filter_map(|line| line.strip_prefix("| `"));
        for row in rows {
            let name = row.split(['`', '{']).next().unwrap_or(row);
            let name = name.trim_end_matches("_total").trim_end_matches("_info");
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let text = text(Status::default());
        let line = "silt_changes_read_total{database=\"mydb\",collection=\"a\\\"b\\\\c\\n\"} 0";
        assert!(text.lines().any(|one| one == line), "{text}");
    }

    #[test]
    fn figures_follow_the_status() {
        let mut status = Status {
            state: State::Halted,
            buffered_bytes: 77,
            ..Status::default()
        };
        status.tally.uploaded_bytes = 5;
        status.tally.flushes.insert(("cron", Outcome::Failed), 3);
        let text = text(status);
        for part in [
            "# UNIT silt_uploaded_bytes bytes",
            "silt_uploaded_bytes_total{",
            "state=\"halted\"} 1",
            "state=\"watching\"} 0",
            "reason=\"cron\",outcome=\"failed\"} 3",
            "silt_build_info{version=\"",
            "silt_buffer_limit_bytes 134217728",
            "# TYPE silt_commit_seconds histogram",
            "process_resident_memory_bytes ",
            "# EOF\n",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("silt_lag_seconds{"), "nothing is known yet");
    }
}
