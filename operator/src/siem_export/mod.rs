//! What a SiemExport comes to for one pool.

use crate::mcp_server::Credential;

/// A SiemExport as it goes into `exporter.yaml`.
#[derive(Debug)]
pub struct Programmed {
    /// Name of the SiemExport.
    pub name: String,
    /// What the exporter is told; its valid destinations only.
    pub export: exporter::config::Export,
    /// Ids of its destinations that are not valid: their groups stay, with their backlog.
    pub keep: Vec<String>,
    /// Values that the exporter needs and that others own.
    pub credentials: Vec<Credential>,
}
