//! The command line. The environment of the process is read here, once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use daemon::logging::{LogControl, LogFormat};

use crate::address::Policy;
use crate::config::{CONFIG_FILE, parse};
use crate::process::{self, Options};
use crate::registry::Identity;
use crate::setup::Environment;

/// Delivers a pool's audit events to its SIEMs.
#[derive(Parser)]
#[command(name = "exporter", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Deliver events.
    Run(Run),
    /// Check an exporter.yaml without running it.
    Validate {
        /// The file.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Args)]
struct Run {
    /// Directory with exporter.yaml.
    #[arg(long, env = "EXPORTER_CONFIG_DIR", default_value = "/etc/exporter/config")]
    config_dir: PathBuf,
    /// Directory with the secrets that exporter.yaml names.
    #[arg(long, env = "EXPORTER_SECRETS_DIR", default_value = "/etc/exporter/secrets")]
    secrets_dir: PathBuf,
    /// Name of this instance: of its consumers in Redis, and in its own events.
    #[arg(long, env = "POD_NAME", default_value = "exporter")]
    instance: String,
    /// How logs are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// For tests: receivers may be on this machine, also without TLS.
    #[arg(long, hide = true)]
    allow_loopback: bool,
}

/// Runs the command.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => run(args),
        Command::Validate { file } => validate(&file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Standard error may be closed; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "exporter: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Run) -> Result<(), String> {
    let logs = LogControl::start(args.log_format, "exporter");
    let policy = if args.allow_loopback { Policy::LOOPBACK_TOO } else { Policy::STRICT };
    let environment =
        Environment { policy, identity: Identity::new(|name| std::env::var(name).ok()), instance: args.instance };
    let options = Options { config_dir: args.config_dir, secrets_dir: args.secrets_dir, environment };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can not be started: {error}"))?;
    let ended = runtime.block_on(process::run(options, logs)).map_err(|error| error.to_string());
    // A thread that writes to a standard output that nobody reads would be waited for without end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn validate(file: &Path) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    // Told with the name that the caller knows.
    let named = |error: String| error.replacen(CONFIG_FILE, &file.display().to_string(), 1);
    let document = parse(&text).map_err(|error| named(error.to_string()))?;
    let mut count = 0;
    for export in &document.exports {
        for destination in &export.destinations {
            let place = |invalid| format!("{}: {}/{}: {invalid}", file.display(), export.name, destination.name);
            destination.platform.check(Policy::STRICT).map_err(place)?;
            destination.delivery.checked().map_err(place)?;
            count += 1;
        }
    }
    writeln!(std::io::stdout(), "{}: valid, revision {}, {count} destinations", file.display(), document.revision)
        .map_err(|error| error.to_string())
}
