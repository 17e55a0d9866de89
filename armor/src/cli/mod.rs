//! The command line. Configuration of the process is read here, once.

mod api_key;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use daemon::logging::{LogControl, LogFormat};

use crate::config::load::{CONFIG_FILE, parse_document};
use crate::process::{self, Options};

/// The MCP gateway that a Pool runs.
#[derive(Parser)]
#[command(name = "armor", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve MCP clients.
    Run(Run),
    /// Check an armor.yaml without running it.
    Validate {
        /// The file.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// API keys.
    #[command(subcommand)]
    ApiKey(ApiKey),
}

#[derive(Args)]
struct Run {
    /// Directory with armor.yaml.
    #[arg(long, env = "ARMOR_CONFIG_DIR", default_value = "/etc/armor/config")]
    config_dir: PathBuf,
    /// Directory with the secrets that armor.yaml names.
    #[arg(long, env = "ARMOR_SECRETS_DIR", default_value = "/etc/armor/secrets")]
    secrets_dir: PathBuf,
    /// Name of this instance in the audit trail.
    #[arg(long, env = "POD_NAME", default_value = "armor")]
    instance: String,
    /// How logs are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum ApiKey {
    /// Make a key: its Secret on standard output, the key itself, once, on standard error.
    Create(api_key::Create),
}

/// Runs the command.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => run(args),
        Command::Validate { file } => validate(&file),
        Command::ApiKey(ApiKey::Create(args)) => args.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Standard error may be closed; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "armor: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Run) -> Result<(), String> {
    let logs = LogControl::start(args.log_format, "armor");
    let options = Options { config_dir: args.config_dir, secrets_dir: args.secrets_dir, instance: args.instance };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime can not be started: {e}"))?
        .block_on(process::run(options, logs))
        .map_err(|e| e.to_string())
}

fn validate(file: &std::path::Path) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let document = parse_document(&text).map_err(|error| {
        // Told with the name that the caller knows.
        error.to_string().replacen(CONFIG_FILE, &file.display().to_string(), 1)
    })?;
    writeln!(
        std::io::stdout(),
        "{}: valid, revision {}, {} servers",
        file.display(),
        document.revision,
        document.servers.len()
    )
    .map_err(|e| e.to_string())
}
