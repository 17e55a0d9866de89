//! From measurements to figures.

use bench::report::{Figure, Goal};

use crate::collector::Measured;
use crate::phases::{Isolation, Killed, TEN, Throughput};

/// What all destinations together are to get in a second.
const DELIVERIES: f64 = 50_000.0;
/// Beyond `flushInterval`, in milliseconds.
const LATENCY: f64 = 100.0;
/// In MiB.
const MEMORY: f64 = 64.0;

/// One destination, and the Collector.
pub fn one(ours: &Throughput, theirs: Option<&Measured>) -> Vec<Figure> {
    let rate = Figure::new("deliveries a second, 1 destination (OTLP)", "/s", ours.deliveries.rate);
    let mut figures = vec![match theirs {
        Some(theirs) => rate.against(theirs.deliveries.rate).to_reach(Goal::RatioAtLeast(2.0)),
        None => rate,
    }];
    let cpu = Figure::new("CPU of a delivery, 1 destination", "us", ours.cpu_each());
    figures.push(match theirs {
        Some(theirs) => cpu.against(theirs.cpu * 1e6 / theirs.deliveries.distinct.max(1) as f64),
        None => cpu,
    });
    let memory = Figure::new("memory (RSS), 1 destination, most", "MiB", ours.memory.most);
    figures.push(match theirs {
        Some(theirs) => memory.against(theirs.memory),
        None => memory,
    });
    let sent = &ours.deliveries;
    let ratio = Figure::new("bytes on the wire of an event, gzip", "B", each(sent.sent_bytes, sent.distinct));
    figures.push(ratio.against(each(sent.content_bytes, sent.distinct)));
    figures
}

fn each(all: usize, count: usize) -> f64 {
    all as f64 / count.max(1) as f64
}

/// Ten destinations.
pub fn ten(measured: &Throughput) -> Vec<Figure> {
    vec![
        Figure::new("deliveries a second, 10 destinations, sum", "/s", measured.deliveries.rate)
            .to_reach(Goal::ValueAtLeast(DELIVERIES)),
        Figure::new("CPU of a delivery, 10 destinations", "us", measured.cpu_each()),
        Figure::new("memory (RSS), 10 destinations, most", "MiB", measured.memory.most),
    ]
}

/// Nine destinations, and one that is down.
pub fn isolation(measured: &Isolation) -> Vec<Figure> {
    let nine = format!("deliveries a second of {} while the tenth is down, against without it", TEN.len() - 1);
    vec![
        Figure::new(nine, "/s", measured.with).against(measured.without).to_reach(Goal::RatioAtLeast(0.95)),
        Figure::new("memory (RSS), 10 destinations, one down and behind, most", "MiB", measured.memory.most)
            .to_reach(Goal::ValueAtMost(MEMORY)),
        Figure::new("the same when the nine are done", "MiB", measured.settled).to_reach(Goal::ValueAtMost(MEMORY)),
    ]
}

/// From the stream to the sink while nothing else is to be done; times in milliseconds, sorted.
pub fn latency(times: &[f64], flush: &str, milliseconds: f64) -> Vec<Figure> {
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let figure = |name: &str, share| {
        Figure::new(format!("latency, flushInterval {flush}, {name}"), "ms", at(share).copied().unwrap_or(f64::NAN))
    };
    vec![figure("median", 0.5), figure("99th percentile", 0.99).to_reach(Goal::ValueAtMost(milliseconds + LATENCY))]
}

/// An exporter that is killed.
pub fn killed(measured: &Killed) -> Vec<Figure> {
    let name = format!("lost of {} deliveries, killed {} times under load", measured.all, measured.times);
    vec![
        Figure::new(name, "", measured.lost as f64).to_reach(Goal::ValueAtMost(0.0)),
        Figure::new("delivered twice by it", "", measured.repeated as f64),
    ]
}
