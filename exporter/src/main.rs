//! The binary: everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use exporter::cli::{self, Cli};

fn main() -> ExitCode {
    // Before anything else: whoever uses TLS later finds this provider. It fails only if one is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main(Cli::parse())
}
