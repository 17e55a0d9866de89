//! The binary: flags, TLS provider, runtime.

use std::process::ExitCode;

use clap::Parser;
use operator::settings::{Cli, Command};
use operator::start;

// The first lists of a large cluster are garbage a second later; the system's allocator would keep their memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Both kube and reqwest use this provider; with none installed, or two, their clients panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider was installed already");
        return ExitCode::FAILURE;
    }
    match Cli::parse().command {
        Command::Crds { kind } => print_crds(kind.as_deref()),
        Command::Run(settings) => run(*settings),
    }
}

#[tokio::main]
async fn run(settings: operator::settings::Settings) -> ExitCode {
    start::init_logging(&settings);
    match start::run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator stops");
            ExitCode::FAILURE
        }
    }
}

fn print_crds(kind: Option<&str>) -> ExitCode {
    let wanted: Vec<_> =
        crds::all().into_iter().filter(|crd| kind.is_none_or(|kind| crd.spec.names.kind == kind)).collect();
    if wanted.is_empty() {
        let known: Vec<_> = crds::all().into_iter().map(|crd| crd.spec.names.kind).collect();
        eprintln!("error: no such kind; the kinds are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    for crd in &wanted {
        match crds::to_yaml(crd) {
            Ok(yaml) => println!("---\n{yaml}"),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
