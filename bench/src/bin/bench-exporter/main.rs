//! `make bench-exporter`: what the exporter delivers on one core, and what it costs.
//!
//! The peer is an OpenTelemetry Collector that passes the same records on, measured in the same run.

mod collector;
mod events;
mod exporter;
mod figures;
mod phases;
mod sink;
mod stream;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Measures the exporter.
#[derive(Debug, Parser)]
pub struct Flags {
    /// Events of one destination; of each of ten, a quarter.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Events behind the destination that is down.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: usize,
    /// Single events of each latency.
    #[arg(long, default_value_t = 200)]
    samples: usize,
    /// Events of the exporter that is killed.
    #[arg(long, default_value_t = 400_000)]
    kill_events: usize,
    /// How often it is killed.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    kill_every: Duration,
    /// Nothing but these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Phase>,
    /// The core of what is measured. Everything else is to be on another.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// The exporter's binary.
    #[arg(long)]
    exporter: PathBuf,
    /// The Collector's; without it nothing is compared.
    #[arg(long)]
    collector: Option<PathBuf>,
    /// Where exporter.json and exporter.log go.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Phase {
    One,
    Ten,
    Isolation,
    Latency,
    Killed,
}

#[tokio::main]
async fn main() -> Result<()> {
    bench::install_tls()?;
    let flags = Flags::parse();
    std::fs::create_dir_all(&flags.out)?;
    let log = flags.out.join("exporter.log");
    // Absent at the first run.
    let _ = std::fs::remove_file(&log);
    let place = exporter::Place { exporter: flags.exporter.clone(), core: flags.core, log };
    let wanted = |phase| flags.only.is_empty() || flags.only.contains(&phase);
    let mut figures = Vec::new();
    if wanted(Phase::One) {
        let (ours, theirs) = phases::one(&flags, &place, flags.collector.as_deref()).await?;
        figures.extend(figures::one(&ours, theirs.as_ref()));
    }
    if wanted(Phase::Ten) {
        figures.extend(figures::ten(&phases::ten(&flags, &place).await?));
    }
    if wanted(Phase::Isolation) {
        figures.extend(figures::isolation(&phases::isolation(&flags, &place).await?));
    }
    if wanted(Phase::Latency) {
        for (flush, milliseconds) in [("1s", 1_000.0), ("100ms", 100.0)] {
            let times = phases::latency(&place, flush, flags.samples).await?;
            figures.extend(figures::latency(&times, flush, milliseconds));
        }
    }
    if wanted(Phase::Killed) {
        figures.extend(figures::killed(&phases::killed(&flags, &place).await?));
    }
    bench::report::write(&figures, &flags.out.join("exporter.json"))?;
    print!("{}", bench::report::table(&figures));
    Ok(())
}
