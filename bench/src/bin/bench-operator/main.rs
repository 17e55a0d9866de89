//! `make bench-operator`: how close the operator is to the least that its work can cost.
//!
//! The floor is a raw creator that applies the same bodies, measured in the same run. Requests are counted by the
//! API server, not by the operator.

mod control_plane;
mod creator;
mod desired;
mod figures;
mod phases;
mod pools;
mod process;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

/// Measures the operator against a raw creator of the same objects.
#[derive(Debug, Parser)]
pub struct Flags {
    /// Number of Pools.
    #[arg(long, default_value_t = 1000)]
    pools: usize,
    /// How long to watch the operator do nothing.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    idle: Duration,
    /// Requests that the creator, and whoever makes Pools, have under way at a time.
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// Single edits, of which the median counts.
    #[arg(long, default_value_t = 21)]
    edits: usize,
    /// The operator's binary.
    #[arg(long)]
    operator: PathBuf,
    /// An empty folder for the control planes.
    #[arg(long)]
    work: PathBuf,
    /// Where operator.json, requests.txt and the operator's log go.
    #[arg(long)]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    bench::install_tls()?;
    let flags = Flags::parse();
    std::fs::create_dir_all(&flags.out)?;
    for stale in ["operator.log", "operator.json"] {
        // Absent at the first run.
        let _ = std::fs::remove_file(flags.out.join(stale));
    }
    let creator = phases::creator(&flags).await?;
    let measured = phases::operator(&flags).await?;
    std::fs::write(flags.out.join("operator-requests.txt"), figures::requests(&measured))?;
    let figures = figures::of(&flags, &creator, &measured);
    bench::report::write(&figures, &flags.out.join("operator.json"))?;
    print!("{}", bench::report::table(&figures));
    Ok(())
}
