//! Flags and environment, read once at start.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The AI Gateway Operator.
#[derive(Debug, Parser)]
#[command(name = "ai-gateway-operator", version, about = "Runs private pools of MCP gateways on Kubernetes")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile Pools, McpServers and SiemExports until told to stop.
    Run(Box<Settings>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds {
        /// Only this kind, for example Pool.
        #[arg(long)]
        kind: Option<String>,
    },
}

/// Settings of a running operator.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Namespaces to watch, separated by commas; empty: all.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', num_args = 0..)]
    pub watch_namespaces: Vec<String>,
    /// Namespace that the operator runs in; the admin ports of what it runs are open to it alone.
    #[arg(long, env = "POD_NAMESPACE", default_value = "ai-gateway-system")]
    pub namespace: String,
    /// Name of the operator's Pod; its identity in the leader election and in Events.
    #[arg(long, env = "POD_NAME", default_value = "ai-gateway-operator")]
    pub pod_name: String,
    /// Image of Armor for pools that name none.
    #[arg(long, env = "ARMOR_IMAGE", default_value = concat!("aigateway/armor:", env!("CARGO_PKG_VERSION")))]
    pub armor_image: String,
    /// Image of the exporter for pools that name none.
    #[arg(long, env = "EXPORTER_IMAGE", default_value = concat!("aigateway/exporter:", env!("CARGO_PKG_VERSION")))]
    pub exporter_image: String,
    /// Image of Redis for pools that name none.
    #[arg(long, env = "REDIS_IMAGE", default_value = "redis:7.2")]
    pub redis_image: String,
    /// Pull policy of the containers that the operator makes.
    #[arg(long, env = "IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,
    /// Elect a leader, so that several replicas may run.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the Lease, in the operator's namespace.
    #[arg(long, env = "LEASE_NAME", default_value = "ai-gateway-operator")]
    pub lease_name: String,
    /// Port of /metrics, /livez and /readyz.
    #[arg(long, env = "HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// Objects of one kind that are reconciled at the same time, 1 to 256.
    #[arg(long, env = "CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Watch StorageClasses, to say when a volume finds none. Needs the right to list them.
    #[arg(long, env = "STORAGE_CLASSES", default_value_t = true, action = clap::ArgAction::Set)]
    pub storage_classes: bool,
    /// Form of the log; default: text on a terminal, JSON elsewhere.
    #[arg(long, env = "LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// How much to log, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines for people.
    Text,
}

impl Settings {
    /// The scopes to watch: the named namespaces, or one scope of all.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let mut named: Vec<&String> = self.watch_namespaces.iter().filter(|name| !name.is_empty()).collect();
        named.sort();
        named.dedup();
        if named.is_empty() { vec![None] } else { named.into_iter().cloned().map(Some).collect() }
    }
}
