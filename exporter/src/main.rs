//! The binary: everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use exporter::cli::{self, Cli};

// Events come and go by the thousand, on all threads: the system's allocator takes longer, and keeps more.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything else: whoever uses TLS later finds this provider. It fails only if one is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main(Cli::parse())
}
