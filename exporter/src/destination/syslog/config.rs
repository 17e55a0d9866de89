//! The `syslog` block.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::Host;

use crate::address::Policy;
use crate::destination::invalid::Invalid;

/// RFC 5424 6.2.1: log audit.
const FACILITY: u8 = 13;
/// Debian's rsyslog takes what is beyond its 8,096 bytes for a message of its own.
const MAX_BYTES: usize = 8_000;
/// Least: what RFC 5424 6.1 says that receivers should take.
const LEAST_BYTES: usize = 2_048;
/// Most: syslog-ng ends the connection after a message of 64 KiB, and a UDP datagram holds 65,507 bytes.
const MOST_BYTES: usize = 65_000;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// A name or an address.
    pub host: String,
    /// Absent: 514, or 6514 for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Absent: TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Absent: octet counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<Framing>,
    /// Absent: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether a message begins with a byte order mark, as RFC 5424 6.4 asks for UTF-8. Absent: no, because rsyslog
    /// leaves it in the text, where JSON parsers refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bom: Option<bool>,
    /// Longest message in bytes, its framing not counted. Absent: 8,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
    /// 0 to 23. Absent: 13, log audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facility: Option<u8>,
    /// APP-NAME. Absent: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
    /// A private enterprise number (IANA) of the author's: with one, a structured data element `aiGateway@NUMBER` has
    /// the keys that receivers filter by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enterprise_number: Option<u32>,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Transport {
    /// One per datagram.
    Udp,
    /// Plain.
    Tcp,
    /// RFC 5425.
    Tls,
}

/// How messages of a stream are told apart (RFC 6587 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Framing {
    /// `LENGTH SP MESSAGE`.
    OctetCounting,
    /// `MESSAGE LF`, for old receivers.
    NewLine,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Format {
    /// The canonical JSON.
    Json,
    /// ArcSight Common Event Format.
    Cef,
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// `None` for datagrams.
    pub(super) framing: Option<Framing>,
    pub(super) format: Format,
    pub(super) bom: bool,
    pub(super) max_bytes: usize,
    pub(super) facility: u8,
    pub(super) app_name: String,
    pub(super) enterprise_number: Option<u32>,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let transport = spec.transport.unwrap_or(Transport::Tls);
        let framing = match (transport, spec.framing) {
            (Transport::Udp, None) => None,
            (Transport::Udp, Some(_)) => {
                return Err(Invalid::new("framing", "is for Tcp and Tls: a datagram is a message"));
            }
            (Transport::Tcp | Transport::Tls, framing) => Some(framing.unwrap_or(Framing::OctetCounting)),
        };
        let max_bytes = spec.max_bytes.unwrap_or(MAX_BYTES);
        if !(LEAST_BYTES..=MOST_BYTES).contains(&max_bytes) {
            return Err(Invalid::new("maxBytes", format!("must be from {LEAST_BYTES} to {MOST_BYTES}")));
        }
        let facility = spec.facility.unwrap_or(FACILITY);
        if facility > 23 {
            return Err(Invalid::new("facility", "must be from 0 to 23"));
        }
        let app_name = spec.app_name.unwrap_or_else(|| "ai-gateway".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=48).contains(&app_name.len()) || !app_name.bytes().all(allowed) {
            return Err(Invalid::new("appName", "must be 1 to 48 letters, digits, '.', '_' or '-'"));
        }
        let default_port = if transport == Transport::Tls { 6514 } else { 514 };
        match spec.port {
            Some(0) => Err(Invalid::new("port", "must be from 1 to 65535")),
            port => Ok(Self {
                host: host(&spec.host, policy)?,
                port: port.unwrap_or(default_port),
                transport,
                framing,
                format: spec.format.unwrap_or(Format::Json),
                bom: spec.bom.unwrap_or(false),
                max_bytes,
                facility,
                app_name,
                enterprise_number: spec.enterprise_number,
            }),
        }
    }

    /// The host, which a `tls.serverName` may stand for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// A host name or an address that may be connected to; IPv6 with or without brackets.
fn host(text: &str, policy: Policy) -> Result<String, Invalid> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match (bare.parse::<IpAddr>(), Host::parse(bare)) {
        (Ok(address), _) => Some(address),
        // `0x7f.1` is an address for some resolvers.
        (_, Ok(Host::Ipv4(address))) => Some(address.into()),
        (_, Ok(Host::Domain(name))) if name.is_ascii() && !name.is_empty() => None,
        _ => return Err(Invalid::new("host", "must be a host name or an address")),
    };
    if address.is_some_and(|address| !policy.allows(address)) {
        return Err(Invalid::new("host", "must not be a loopback, link-local or metadata address"));
    }
    Ok(address.map_or_else(|| bare.to_owned(), |address| address.to_string()))
}

/// A syslog severity (RFC 5424 6.2.1): what a `severityMap` may say.
#[must_use]
pub fn level(name: &str) -> Option<u8> {
    Some(match name {
        "emergency" | "emerg" => 0,
        "alert" => 1,
        "critical" | "crit" => 2,
        "error" | "err" => 3,
        "warning" | "warn" => 4,
        "notice" => 5,
        "informational" | "info" => 6,
        "debug" => 7,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, Invalid> {
        Config::new(serde_json::from_str(json).unwrap(), Policy::STRICT)
    }

    #[test]
    fn defaults_are_tls_octet_counting_json_and_no_mark() {
        let config = read(r#"{"host":"syslog.example.com"}"#).unwrap();
        assert_eq!((config.port, config.transport), (6514, Transport::Tls));
        assert_eq!((config.framing, config.format, config.bom), (Some(Framing::OctetCounting), Format::Json, false));
        assert_eq!((config.max_bytes, config.facility, &*config.app_name), (8_000, 13, "ai-gateway"));
        assert_eq!(read(r#"{"host":"a","transport":"Udp"}"#).unwrap().port, 514);
        assert_eq!(read(r#"{"host":"[2001:db8::1]","transport":"Tcp"}"#).unwrap().host, "2001:db8::1");
    }

    #[test]
    fn every_refusal_names_the_field() {
        for (json, expected) in [
            (r#"{"host":""}"#, "host: must be a host name or an address"),
            (r#"{"host":"a b"}"#, "host: must be a host name or an address"),
            (r#"{"host":"a:514"}"#, "host: must be a host name or an address"),
            (r#"{"host":"127.0.0.1"}"#, "host: must not be a loopback, link-local or metadata address"),
            (r#"{"host":"0x7f.1"}"#, "host: must not be a loopback, link-local or metadata address"),
            (r#"{"host":"[::ffff:169.254.169.254]"}"#, "host: must not be a loopback, link-local or metadata address"),
            (r#"{"host":"a","port":0}"#, "port: must be from 1 to 65535"),
            (
                r#"{"host":"a","transport":"Udp","framing":"NewLine"}"#,
                "framing: is for Tcp and Tls: a datagram is a message",
            ),
            (r#"{"host":"a","maxBytes":2047}"#, "maxBytes: must be from 2048 to 65000"),
            (r#"{"host":"a","maxBytes":65001}"#, "maxBytes: must be from 2048 to 65000"),
            (r#"{"host":"a","facility":24}"#, "facility: must be from 0 to 23"),
            (r#"{"host":"a","appName":"my app"}"#, "appName: must be 1 to 48 letters, digits, '.', '_' or '-'"),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), expected);
        }
        assert!(serde_json::from_str::<Spec>(r#"{"host":"a","insecure":true}"#).is_err());
    }
}
