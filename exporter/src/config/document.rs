//! The shape of `exporter.yaml`. The operator writes it from these types, and the exporter reads it into them.
//!
//! Promises: a field that is not here is refused, with line, column and path. Must never gain a field before the code that
//! reads it, nor hold a secret: secrets are named by file.

use std::collections::BTreeMap;

use daemon::config::{Admin, Pool};
use daemon::files::{ConfigError, parse_yaml};
use daemon::logging::LogLevel;
use daemon::redis;
use daemon::values::{FileName, Span};
use events::Severity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CONFIG_FILE;
use crate::destination::Block;
use crate::routing::{OverrideSpec, RouteSpec, Wanted};

/// `exporter.yaml`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Opaque; the API repeats it so that the writer sees what is running.
    pub revision: String,
    /// Whose events these are.
    pub pool: Pool,
    /// UID of the cluster's `kube-system` namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Where the operator comes in.
    pub admin: Admin,
    /// Least severity that is logged.
    #[serde(default)]
    pub log_level: LogLevel,
    /// The pool's Redis.
    pub redis: redis::Spec,
    /// The audit stream.
    pub audit: Audit,
    /// A proxy for destinations over HTTP: `http://HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What is exported.
    #[serde(default)]
    pub exports: Vec<Export>,
    /// Consumer groups that stay, though nobody reads them now: `EXPORT/DESTINATION`.
    #[serde(default)]
    pub keep: Vec<String>,
}

/// The audit stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    /// About how large it may grow, in bytes.
    pub stream_max_bytes: u64,
    /// How long events stay that every destination has.
    pub retain: Span,
}

/// One SiemExport.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What none of its destinations gets to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// Absent: everything goes everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<RouteSpec>>,
    /// What is different for single MCP servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<OverrideSpec>,
    /// What is to be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Where events go.
    pub destinations: Vec<Destination>,
}

/// What no destination of an export gets to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Privacy {
    /// Keys whose values are replaced by keyed hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash: Vec<String>,
    /// Keys that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// The key of the hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_key_file: Option<FileName>,
}

/// What is to be sent again: once for each id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// A new one begins a new replay.
    pub id: String,
    /// Name of the destination.
    pub destination: String,
    /// What.
    pub from: From,
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The dead letters.
    DeadLetter,
    /// What the stream still holds from this time on.
    Time(Timestamp),
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for From {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::DeadLetter => serializer.serialize_str("DeadLetter"),
            Self::Time(time) => serializer.collect_str(time),
        }
    }
}

impl std::str::FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "DeadLetter" => Ok(Self::DeadLetter),
            time => time.parse().map(Self::Time).map_err(|_| "must be DeadLetter or a time like 2026-11-21T08:00:00Z"),
        }
    }
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Its name in the SiemExport.
    pub name: String,
    /// False: its events are skipped.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which platform, and its fields: `splunk: {…}`.
    pub platform: Block,
    /// Files of the secrets, by the field of the SiemExport that refers to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, FileName>,
    /// What is different from plain TLS with the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Globs over names of events. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// The platform's level for a level of ours, or for an event, which wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub severity_map: BTreeMap<String, String>,
    /// How it is served.
    #[serde(default)]
    pub delivery: Delivery,
}

fn yes() -> bool {
    true
}

impl Destination {
    /// What it asks for.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted { events: self.events.clone(), min_severity: self.min_severity, severity_map: self.severity_map.clone() }
    }
}

/// The TLS of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM certificates that are trusted besides the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<FileName>,
    /// What the server is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// The name that the server's certificate has, where it is not the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// The certificate, and those that lead to its CA.
    pub certificate_file: FileName,
    /// The key.
    pub key_file: FileName,
}

/// How a destination is served. What is absent has its default; see [`Delivery::checked`] for the ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delivery {
    /// Events of a request at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_events: Option<usize>,
    /// Bytes of a request at most, before compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
    /// How long the first event of a batch waits for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_interval: Option<Span>,
    /// Of one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Longest time between two attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retry_interval: Option<Span>,
    /// From when on, counted from the event, it is not sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_after: Option<Span>,
    /// Events per second at most, of each replica; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
}

/// Checks the text of an `exporter.yaml` alone.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn parse(text: &[u8]) -> Result<Document, ConfigError> {
    let document: Document = parse_yaml(CONFIG_FILE, text)?;
    let twice = |path: String, what: &str| {
        ConfigError::field(CONFIG_FILE, path, format_args!("{what} has this name too: names are unique"))
    };
    for (i, export) in document.exports.iter().enumerate() {
        if document.exports[..i].iter().any(|earlier| earlier.name == export.name) {
            return Err(twice(format!("exports[{i}].name"), "an earlier export"));
        }
        for (j, destination) in export.destinations.iter().enumerate() {
            if export.destinations[..j].iter().any(|earlier| earlier.name == destination.name) {
                return Err(twice(format!("exports[{i}].destinations[{j}].name"), "an earlier destination"));
            }
        }
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
revision: "r1"
pool: {id: 11f1-pool, name: prod, namespace: gateways}
admin: {port: 9091, tokenFile: admin-token}
redis: {url: "redis://prod-redis.gateways.svc:6379", passwordFile: redis-password}
audit: {streamMaxBytes: 268435456, retain: 1h}
exports:
- name: soc
  privacy: {hash: [user.email], drop: [user.groups], hashKeyFile: soc.key}
  routes: [{match: {classes: [ToolActivity], servers: [payments]}, to: [splunk]}]
  overrides: [{server: sandbox, enabled: false}]
  replay: {id: r1, destination: splunk, from: DeadLetter}
  destinations:
  - name: splunk
    platform: {splunk: {url: "https://splunk.example.com:8088", index: mcp}}
    secrets: {tokenSecretRef: soc.splunk.token}
    tls: {caFile: soc.splunk.ca, clientCertificate: {certificateFile: a, keyFile: b}, serverName: hec}
    events: ["tool_*"]
    minSeverity: warn
    severityMap: {warn: high}
    delivery: {batchEvents: 100, flushInterval: 500ms, giveUpAfter: 24h}
  - name: lines
    enabled: false
    platform: {stdout: {}}
keep: [soc/old]
"#;

    #[test]
    fn what_is_written_is_what_is_read() {
        let document = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(document.exports[0].destinations[0].platform.kind(), "splunk");
        assert!(document.exports[0].destinations[0].enabled && !document.exports[0].destinations[1].enabled);
        let written = serde_saphyr::to_string(&document).unwrap();
        assert_eq!(parse(written.as_bytes()).unwrap(), document, "{written}");
        assert!(!written.contains("null"), "{written}");
    }

    #[test]
    fn refusals_name_line_column_path_and_reason() {
        for (from, to, expected) in [
            ("index: mcp", "colour: red", "exporter.yaml:15:"),
            ("index: mcp", "colour: red", "unknown field `colour`"),
            ("{stdout: {}}", "{sdout: {}}", "unknown variant `sdout`"),
            (
                "name: lines",
                "name: splunk",
                "exports[0].destinations[1].name: an earlier destination has this name too",
            ),
            ("from: DeadLetter", "from: yesterday", "must be DeadLetter or a time like 2026-11-21T08:00:00Z"),
            ("retain: 1h", "retain: 1", "'1' is not a duration such as 500ms, 30s, 2m or 24h"),
            ("soc.splunk.token", "../token", "is not the bare name of a file"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{to:?}\n   got: {error}\n  want: {expected}");
        }
    }

    #[test]
    fn delivery_has_ranges_and_each_refusal_names_its_field() {
        let delivery = |yaml: &str| -> Delivery { serde_saphyr::from_str(yaml).unwrap() };
        let checked = delivery("{batchEvents: 100, flushInterval: 500ms, rateLimit: 0}").checked().unwrap();
        assert_eq!((checked.batch_events, checked.flush_interval.as_millis(), checked.rate_limit), (100, 500, None));
        for (yaml, expected) in [
            ("{batchEvents: 0}", "batchEvents: must be from 1 to 10000"),
            ("{batchBytes: 1}", "batchBytes: must be from 16384 to 4194304"),
            ("{flushInterval: 2m}", "flushInterval: must be from 10ms to 1m"),
            ("{timeout: 500ms}", "timeout: must be from 1s to 1m"),
            ("{maxRetryInterval: 2h}", "maxRetryInterval: must be from 1s to 10m"),
            ("{giveUpAfter: 30s}", "giveUpAfter: must be from 1m to 168h"),
            ("{rateLimit: 100001}", "rateLimit: must be from 0 to 100000"),
        ] {
            assert_eq!(delivery(yaml).checked().unwrap_err().to_string(), expected);
        }
    }
}
