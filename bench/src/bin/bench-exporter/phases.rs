//! What is measured, one function each. Every measurement has a Redis and a sink of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::say;
use serde_json::{Value, json};

use crate::Flags;
use crate::collector;
use crate::exporter::{Memory, Place, destination};
use crate::sink::{Deliveries, Sink, deliveries};
use crate::stream::Stream;

/// Ten destinations of all the kinds that take HTTP and that a sink can stand for.
pub const TEN: [&str; 10] = [
    "otlp1",
    "otlp2",
    "webhook1",
    "webhook2",
    "splunk1",
    "splunk2",
    "datadog1",
    "sumologic1",
    "coralogix1",
    "elasticsearch1",
];
/// The one of them that is down.
const DOWN: &str = "otlp2";
/// Those that are killed under load: one of each kind of body.
const KILLED: [&str; 3] = ["otlp1", "webhook1", "elasticsearch1"];
const DRAIN_TIMEOUT: Duration = Duration::from_secs(900);
/// How long memory is watched when nothing is left to be done but for the destination that is down.
const SETTLE: Duration = Duration::from_secs(10);
/// Of one event that nothing competes with.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A throughput.
pub struct Throughput {
    /// What came out.
    pub deliveries: Deliveries,
    /// Seconds of CPU.
    pub cpu: f64,
    /// Memory at the end.
    pub memory: Memory,
}

impl Throughput {
    /// Microseconds of CPU for one delivery.
    pub fn cpu_each(&self) -> f64 {
        self.cpu * 1e6 / self.deliveries.distinct.max(1) as f64
    }
}

/// Deliveries a second, of a backlog of `events` for each of the destinations.
async fn throughput(place: &Place, names: &[&str], events: usize) -> Result<(Throughput, Vec<Vec<u8>>)> {
    let (mut stream, sink) = (Stream::new(), Sink::start().await?);
    let start = stream.here();
    stream.add(events)?;
    for name in names {
        stream.begin(name, &start)?;
    }
    let all: Vec<Value> = names.iter().map(|name| destination(name, &sink, &json!({}))).collect();
    let mut exporter = place.exporter(&stream.url(), &sink, &all).await?;
    stream.drained(names, DRAIN_TIMEOUT, || exporter.process().alive()).await?;
    let (cpu, memory) = (exporter.process().cpu()?, exporter.process().memory()?);
    exporter.process().kill().await?;
    let received = sink.take();
    let contents: Vec<Vec<u8>> = match names {
        [_] => received.iter().map(|request| request.content()).collect::<Result<_>>()?,
        _ => Vec::new(),
    };
    let deliveries = deliveries(received)?;
    if deliveries.distinct != events * names.len() {
        bail!("{} events of {} came", deliveries.distinct, events * names.len());
    }
    Ok((Throughput { deliveries, cpu, memory }, contents))
}

/// One destination, then the Collector with the same records.
pub async fn one(
    flags: &Flags,
    place: &Place,
    binary: Option<&Path>,
) -> Result<(Throughput, Option<collector::Measured>)> {
    say!("one destination, {} events", flags.events);
    let (ours, requests) = throughput(place, &TEN[..1], flags.events).await?;
    let Some(binary) = binary else { return Ok((ours, None)) };
    say!("the Collector, the same records");
    let theirs = collector::measure(place, binary, requests).await?;
    Ok((ours, Some(theirs)))
}

/// Ten destinations.
pub async fn ten(flags: &Flags, place: &Place) -> Result<Throughput> {
    say!("ten destinations, {} events each", flags.events / 4);
    Ok(throughput(place, &TEN, flags.events / 4).await?.0)
}

/// Ten destinations, one of which is down.
pub struct Isolation {
    /// Deliveries a second of the nine, the tenth not configured.
    pub without: f64,
    /// The same, the tenth down and behind.
    pub with: f64,
    /// When the nine are done.
    pub memory: Memory,
    /// The most that was resident in the last seconds.
    pub settled: f64,
}

/// The nine others deliver the newest events twice, in one Redis: without the tenth and with it.
pub async fn isolation(flags: &Flags, place: &Place) -> Result<Isolation> {
    let (mut stream, sink) = (Stream::new(), Sink::start().await?);
    let newest = flags.events / 4;
    let beginning = stream.here();
    say!("{} events behind one destination, the newest {newest} for nine others", flags.backlog);
    stream.add(flags.backlog.saturating_sub(newest))?;
    let place_of_newest = stream.here();
    stream.add(newest)?;
    let nine: Vec<&str> = TEN.into_iter().filter(|name| *name != DOWN).collect();
    let mut rates = Vec::new();
    for with_tenth in [false, true] {
        for name in &nine {
            stream.begin(name, &place_of_newest)?;
        }
        let mut all: Vec<Value> = nine.iter().map(|name| destination(name, &sink, &json!({}))).collect();
        if with_tenth {
            stream.begin(DOWN, &beginning)?;
            let mut down = destination(DOWN, &sink, &json!({}));
            // Nothing listens there: this port was free, and stays so with some luck.
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            down["platform"]["otlp"]["url"] = format!("http://127.0.0.1:{port}").into();
            all.push(down);
        }
        let mut exporter = place.exporter(&stream.url(), &sink, &all).await?;
        stream.drained(&nine, DRAIN_TIMEOUT, || exporter.process().alive()).await?;
        rates.push(deliveries(sink.take())?.rate);
        if with_tenth {
            let (begin, mut settled) = (Instant::now(), 0.0_f64);
            while begin.elapsed() < SETTLE {
                tokio::time::sleep(Duration::from_millis(100)).await;
                settled = exporter.process().memory()?.now;
            }
            let memory = exporter.process().memory()?;
            exporter.process().kill().await?;
            return Ok(Isolation { without: rates[0], with: rates[1], memory, settled });
        }
        exporter.process().kill().await?;
        for name in &nine {
            stream.end(name)?;
        }
    }
    bail!("nothing was measured")
}

/// From an event's XADD until the sink has it, in milliseconds, sorted.
pub async fn latency(place: &Place, flush: &str, samples: usize) -> Result<Vec<f64>> {
    say!("latency of {samples} single events, flushInterval {flush}");
    let (mut stream, sink) = (Stream::new(), Sink::start().await?);
    stream.begin("otlp1", &stream.here())?;
    let all = [destination("otlp1", &sink, &json!({"flushInterval": flush}))];
    let mut exporter = place.exporter(&stream.url(), &sink, &all).await?;
    let mut arrived = sink.arrived();
    let mut times = Vec::new();
    for sample in 0..=samples {
        arrived.mark_unchanged();
        let begin = Instant::now();
        stream.add(1)?;
        tokio::time::timeout(ARRIVAL_TIMEOUT, arrived.changed()).await.context("an event does not arrive")??;
        let received = sink.take().into_iter().next().context("it arrived")?;
        if received.numbers()? != [stream.added()] {
            bail!("another event arrived than the one that was added");
        }
        // The first opens the connection.
        if sample > 0 {
            times.push(received.at.duration_since(begin).as_secs_f64() * 1e3);
        }
        // Not in step with anything that is periodic.
        tokio::time::sleep(Duration::from_millis(rand::random_range(5..120))).await;
    }
    exporter.process().kill().await?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// What became of the events of an exporter that is killed.
pub struct Killed {
    /// How often it was.
    pub times: usize,
    /// Events that a destination did not get.
    pub lost: usize,
    /// Deliveries that came again.
    pub repeated: usize,
    /// Deliveries.
    pub all: usize,
}

/// Kills the exporter every few seconds while it works off a backlog.
pub async fn killed(flags: &Flags, place: &Place) -> Result<Killed> {
    let (mut stream, sink) = (Stream::new(), Sink::start().await?);
    say!("{} events for {} destinations, kill -9 every {:?}", flags.kill_events, KILLED.len(), flags.kill_every);
    let start = stream.here();
    stream.add(flags.kill_events)?;
    for name in KILLED {
        stream.begin(name, &start)?;
    }
    let all = KILLED.map(|name| destination(name, &sink, &json!({})));
    let mut exporter = place.exporter(&stream.url(), &sink, &all).await?;
    let mut times = 0;
    loop {
        let drained = stream.drained(&KILLED, DRAIN_TIMEOUT, || exporter.process().alive());
        match tokio::time::timeout(flags.kill_every, drained).await {
            Ok(drained) => break drained?,
            Err(_) => {
                exporter.kill_and_start().await?;
                times += 1;
            }
        }
    }
    exporter.process().kill().await?;
    let deliveries = deliveries(sink.take())?;
    let wanted: Vec<u64> = (1..=stream.added()).collect();
    let lost = |name: &&str| match deliveries.by_destination.get(*name) {
        Some(numbers) => wanted.iter().filter(|number| numbers.binary_search(number).is_err()).count(),
        None => wanted.len(),
    };
    Ok(Killed {
        times,
        lost: KILLED.iter().map(lost).sum(),
        repeated: deliveries.repeated,
        all: deliveries.distinct + deliveries.repeated,
    })
}
