//! The exporter's own figures.
//!
//! Promises: labels are bounded: destination, state, verdict, cause, export. What is gone from the configuration is gone
//! from here. Must never carry anything of an event, nor an error's text.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::api::wire::State;
use crate::board::Board;
use crate::monitor::Gauges;

/// All of them.
pub struct Metrics {
    registry: Mutex<Registry>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    /// 1 while the running configuration is the one in the directory.
    pub config_synchronized: Gauge,
}

impl Metrics {
    /// With what they are taken from.
    #[must_use]
    pub fn new(board: Arc<Board>, gauges: Arc<Gauges>, in_flight: Arc<AtomicUsize>) -> Self {
        let mut registry = Registry::with_prefix("exporter");
        let reloads = Family::default();
        let config_synchronized = Gauge::default();
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("config_reloads", "Configurations that were read, by result", reloads.clone());
        registry.register(
            "config_synchronized",
            "1 while the running configuration is the one in the directory",
            config_synchronized.clone(),
        );
        registry.register_collector(Box::new(Shown { board, gauges, in_flight }));
        Self { registry: Mutex::new(registry), reloads, config_synchronized }
    }

    /// A configuration was read.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&[("result", result)]).inc();
    }

    /// In the text format of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string can not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// What is read when it is asked for.
struct Shown {
    board: Arc<Board>,
    gauges: Arc<Gauges>,
    in_flight: Arc<AtomicUsize>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// A metric with rows.
type Rows<'a, const N: usize> = Vec<([(&'static str, String); N], &'a dyn EncodeMetric)>;

fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    kind: MetricType,
    rows: &Rows<'_, N>,
) -> fmt::Result {
    // A metric without a row would be a head without a body.
    if rows.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        value.encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let entries = self.board.entries();
        let destination = |id: &str| [("destination", id.to_owned())];
        let encoder = &mut encoder;

        let counted: Vec<_> = entries.iter().map(|entry| (&entry.id, entry.tally.counters())).collect();
        let rows: Rows<'_, 1> = counted.iter().map(|(id, all)| (destination(id), all.delivered as &_)).collect();
        family(encoder, ("events_delivered", "Events that the platform took"), MetricType::Counter, &rows)?;
        let rows: Rows<'_, 1> = counted.iter().map(|(id, all)| (destination(id), all.skipped as &_)).collect();
        family(encoder, ("events_skipped", "Events that the destination does not want"), MetricType::Counter, &rows)?;
        let mut rows: Rows<'_, 2> = Vec::new();
        for (id, all) in &counted {
            for (cause, counter) in &all.dropped {
                if counter.get() > 0 {
                    let labels = [("destination", (*id).clone()), ("cause", cause.as_str().to_owned())];
                    rows.push((labels, *counter as &_));
                }
            }
        }
        family(encoder, ("events_dropped", "Events that the destination will not get"), MetricType::Counter, &rows)?;
        let mut rows: Rows<'_, 2> = Vec::new();
        for (id, all) in &counted {
            for (verdict, counter) in &all.requests {
                let labels = [("destination", (*id).clone()), ("verdict", (*verdict).to_owned())];
                rows.push((labels, *counter as &_));
            }
        }
        family(encoder, ("requests", "Requests, by what the answer meant"), MetricType::Counter, &rows)?;
        let rows: Rows<'_, 1> = counted.iter().map(|(id, all)| (destination(id), all.request_seconds as &_)).collect();
        family(encoder, ("request_seconds", "Time of one request"), MetricType::Histogram, &rows)?;
        let rows: Rows<'_, 1> = counted.iter().map(|(id, all)| (destination(id), all.delay_seconds as &_)).collect();
        family(
            encoder,
            ("delivery_delay_seconds", "From the event to its acknowledgement"),
            MetricType::Histogram,
            &rows,
        )?;

        let told: Vec<_> = entries.iter().map(|entry| entry.wire()).collect();
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let backlogs: Vec<_> = told.iter().filter_map(|one| Some((&one.id, gauge(one.backlog?)))).collect();
        let rows: Rows<'_, 1> = backlogs.iter().map(|(id, value)| (destination(id), value as &_)).collect();
        family(encoder, ("backlog_events", "Events that wait"), MetricType::Gauge, &rows)?;
        let dead: Vec<_> = told.iter().map(|one| (&one.id, gauge(one.dead))).collect();
        let rows: Rows<'_, 1> = dead.iter().map(|(id, value)| (destination(id), value as &_)).collect();
        family(encoder, ("dead_letters", "Dead letters that are kept"), MetricType::Gauge, &rows)?;
        let (yes, no) = (gauge(1), gauge(0));
        let mut rows: Rows<'_, 2> = Vec::new();
        for one in &told {
            for state in State::ALL {
                let labels = [("destination", one.id.clone()), ("state", state.as_str().to_owned())];
                rows.push((labels, if one.state == state { &yes } else { &no }));
            }
        }
        family(encoder, ("destination_state", "1 for the present state"), MetricType::Gauge, &rows)?;

        let unrouted: Vec<_> = self
            .board
            .exports()
            .into_iter()
            .map(|(name, counts)| (name, ConstCounter::new(counts.seen.load(Ordering::Relaxed))))
            .collect();
        let rows: Rows<'_, 1> =
            unrouted.iter().map(|(name, value)| ([("export", name.clone())], value as &_)).collect();
        family(encoder, ("unrouted_events", "Events that no route took"), MetricType::Counter, &rows)?;

        let gauges = &self.gauges;
        for (name, help, value) in [
            ("stream_bytes", "Bytes of the audit stream", gauges.stream_bytes.load(Ordering::Relaxed)),
            ("stream_room_bytes", "Room of the audit stream", gauges.room_bytes.load(Ordering::Relaxed)),
            ("redis_up", "1 while Redis answers", gauges.redis_up.load(Ordering::Relaxed)),
            ("in_flight_bytes", "Bytes of events in memory", self.in_flight.load(Ordering::Relaxed) as u64),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge(value).encode(metric)?;
        }
        Ok(())
    }
}
