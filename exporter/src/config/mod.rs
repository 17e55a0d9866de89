//! Configuration: `exporter.yaml` in one directory and secrets, by bare file name, in another.
//!
//! Promises: what is accepted is complete and consistent; a refusal names line, column and path, and never a secret's
//! value. What is wrong with one destination alone is found later, where it stops that one alone. Must never do I/O.

mod document;
mod limits;

pub use daemon::config::{Admin, Pool};
pub use daemon::files::{ConfigError, Files};
pub use document::{
    Audit, ClientCertificate, Delivery, Destination, Document, Export, From, Privacy, Replay, Tls, parse,
};

/// Name of the configuration inside its directory.
pub const CONFIG_FILE: &str = "exporter.yaml";
