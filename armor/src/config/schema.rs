//! The shape of `armor.yaml` and of the key file beside it.
//!
//! Promises: a field that is not here is refused, with line, column and path. Must never gain a field before
//! the code that reads it.

pub use daemon::config::{Admin, Pool};
use daemon::logging::LogLevel;
use daemon::redis;
use daemon::values::FileName;
use serde::Deserialize;

use super::types::{HostName, KeyHash, Prefix, ServerName, ServerUrl, Timeout, ToolGlob};

/// `armor.yaml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Opaque; `/config` repeats it so that the writer sees what is running.
    pub revision: String,
    /// Whose gateway this is.
    pub pool: Pool,
    /// UID of the cluster's `kube-system` namespace.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// Where callers come in.
    pub listener: Listener,
    /// Where the operator comes in.
    pub admin: Admin,
    /// Least severity that is logged.
    #[serde(default)]
    pub log_level: LogLevel,
    /// Who may call.
    pub auth: Auth,
    /// The pool's Redis.
    pub redis: redis::Spec,
    /// The audit trail.
    pub audit: Audit,
    /// The MCP servers.
    #[serde(default)]
    pub servers: Vec<Server>,
}

/// Where callers come in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// TCP port. Cannot be changed without a restart.
    pub port: u16,
    /// Accepted Host and Origin values. Absent: any Host, no browser Origin.
    #[serde(default)]
    pub hosts: Option<Vec<HostName>>,
    /// Absent: plain HTTP.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// The listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM chain.
    pub cert_file: FileName,
    /// PEM key.
    pub key_file: FileName,
}

/// Who may call: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AuthFields")]
pub enum Auth {
    /// Anybody.
    Anonymous,
    /// Holders of a key in this file.
    ApiKeys(FileName),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthFields {
    anonymous: Option<bool>,
    api_keys_file: Option<FileName>,
}

impl TryFrom<AuthFields> for Auth {
    type Error = &'static str;

    fn try_from(fields: AuthFields) -> Result<Self, Self::Error> {
        match (fields.anonymous, fields.api_keys_file) {
            (Some(true), None) => Ok(Self::Anonymous),
            (None | Some(false), Some(file)) => Ok(Self::ApiKeys(file)),
            _ => Err("auth: set exactly one of 'anonymous: true' and 'apiKeysFile'"),
        }
    }
}

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AuditFields")]
pub struct Audit {
    /// Key of the stream.
    pub stream: String,
    /// About how large it may grow.
    pub stream_max_bytes: u64,
    /// What is said about arguments.
    pub parameters: Parameters,
    /// Key of the hashes, which also seals session ids.
    pub hash_key_file: Option<FileName>,
}

/// What the trail says about a call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Parameters {
    /// Names that the tool's schema knows, and a keyed hash of the whole.
    NamesAndHashes,
    /// Names that the tool's schema knows.
    Names,
    /// Nothing.
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuditFields {
    stream: String,
    stream_max_bytes: u64,
    parameters: Parameters,
    hash_key_file: Option<FileName>,
}

impl TryFrom<AuditFields> for Audit {
    type Error = &'static str;

    fn try_from(fields: AuditFields) -> Result<Self, Self::Error> {
        if fields.parameters == Parameters::NamesAndHashes && fields.hash_key_file.is_none() {
            return Err("audit: 'parameters: NamesAndHashes' needs 'hashKeyFile'");
        }
        if fields.stream.is_empty() {
            return Err("audit.stream: write the key of the stream");
        }
        Ok(Self {
            stream: fields.stream,
            stream_max_bytes: fields.stream_max_bytes,
            parameters: fields.parameters,
            hash_key_file: fields.hash_key_file,
        })
    }
}

/// An MCP server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// Its name in events, metrics and on the admin port.
    pub name: ServerName,
    /// What its tools' names begin with.
    pub prefix: Prefix,
    /// Its endpoint.
    pub url: ServerUrl,
    /// PEM bundle, beside the public roots.
    #[serde(default)]
    pub ca_file: Option<FileName>,
    /// What Armor shows to it.
    #[serde(default)]
    pub auth: Option<ServerAuth>,
    /// How long one request may take; streams: how long they may be idle.
    #[serde(default)]
    pub timeout: Timeout,
    /// Which of its tools are offered.
    #[serde(default)]
    pub tools: Tools,
}

/// What Armor shows to a server: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ServerAuthFields")]
pub enum ServerAuth {
    /// `Authorization: Bearer`.
    Bearer(FileName),
    /// Headers.
    Headers(Vec<SecretHeader>),
}

/// A header whose value is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretHeader {
    /// Header name.
    pub name: String,
    /// File with its value.
    pub value_file: FileName,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bearer {
    token_file: FileName,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServerAuthFields {
    bearer: Option<Bearer>,
    headers: Option<Vec<SecretHeader>>,
}

/// Headers that are the transport's own: a configured one would break it.
const TRANSPORT_HEADERS: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
];

impl TryFrom<ServerAuthFields> for ServerAuth {
    type Error = String;

    fn try_from(fields: ServerAuthFields) -> Result<Self, Self::Error> {
        match (fields.bearer, fields.headers) {
            (Some(bearer), None) => Ok(Self::Bearer(bearer.token_file)),
            (None, Some(headers)) => {
                for header in &headers {
                    let valid = header.name.parse::<http::HeaderName>().is_ok()
                        && !TRANSPORT_HEADERS.contains(&header.name.to_ascii_lowercase().as_str());
                    if !valid {
                        return Err(format!("'{}' can not be set as a credential header", header.name));
                    }
                }
                Ok(Self::Headers(headers))
            }
            _ => Err("auth: set exactly one of 'bearer' and 'headers'".to_owned()),
        }
    }
}

/// Which tools are offered: those that fit one of `allow` and none of `deny`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tools {
    /// Default: all.
    #[serde(default = "every_tool")]
    pub allow: Vec<ToolGlob>,
    /// Default: none. Deny wins.
    #[serde(default)]
    pub deny: Vec<ToolGlob>,
}

impl Default for Tools {
    fn default() -> Self {
        Self { allow: every_tool(), deny: Vec::new() }
    }
}

impl Tools {
    /// Whether the server's own name of a tool is offered.
    #[must_use]
    pub fn offers(&self, name: &str) -> bool {
        self.allow.iter().any(|glob| glob.matches(name)) && !self.deny.iter().any(|glob| glob.matches(name))
    }

    /// Whether every name is offered, so that a list can pass as it is.
    #[must_use]
    pub fn offers_all(&self) -> bool {
        self.deny.is_empty() && self.allow.iter().any(|glob| glob.as_ref() == "*")
    }
}

fn every_tool() -> Vec<ToolGlob> {
    ToolGlob::try_from("*".to_owned()).into_iter().collect()
}

/// One entry of the key file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the Secret.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: KeyHash,
    /// Who holds it.
    pub user: String,
    /// Groups of the holder.
    #[serde(default)]
    pub groups: Vec<String>,
    /// From when on it is refused.
    #[serde(default)]
    pub expires: Option<jiff::Timestamp>,
}
