//! The `splunk` block.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::check;
use crate::destination::invalid::Invalid;

/// Where a HEC takes events, below the URL of its port.
const EVENT_PATH: &str = "/services/collector/event";
/// The last part of it, which is `ack` where acknowledgements are asked for.
const EVENT: &str = "/event";
/// Longest name of an index that Splunk allows, in bytes.
const MAX_INDEX_BYTES: usize = 80;
/// Longest `source` and `sourcetype` that are taken, in bytes.
const MAX_SOURCE_BYTES: usize = 256;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The HEC: `https://HOST:8088`. A URL with a path is used as it stands.
    pub url: String,
    /// Where events go; absent: the token's default index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// `source` of every event.
    #[serde(default = "default_source")]
    pub source: String,
    /// `sourcetype` of every event.
    #[serde(default = "default_sourcetype")]
    pub sourcetype: String,
    /// Whether to wait until the indexers say that they have the events.
    #[serde(default)]
    pub acknowledgement: bool,
}

fn default_source() -> String {
    "ai-gateway".into()
}

fn default_sourcetype() -> String {
    "aigateway:event".into()
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) ack_url: Option<Url>,
    pub(super) index: Option<String>,
    pub(super) source: String,
    pub(super) sourcetype: String,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let mut url = policy.parse_url(&spec.url).map_err(|problem| Invalid::new("url", problem))?;
        if url.path() == "/" {
            url.set_path(EVENT_PATH);
        }
        let ack_url = match (spec.acknowledgement, url.path().strip_suffix(EVENT)) {
            (false, _) => None,
            (true, Some(collector)) => {
                let path = format!("{collector}/ack");
                let mut ack_url = url.clone();
                ack_url.set_path(&path);
                Some(ack_url)
            }
            (true, None) => return Err(Invalid::new("acknowledgement", "needs a url whose path ends in /event")),
        };
        Ok(Self {
            url,
            ack_url,
            index: spec.index.map(|name| index(name, "index")).transpose()?,
            source: check::text("source", spec.source, MAX_SOURCE_BYTES)?,
            sourcetype: check::text("sourcetype", spec.sourcetype, MAX_SOURCE_BYTES)?,
        })
    }

    /// Whether a request is only delivered once its acknowledgement says so.
    #[must_use]
    pub fn waits_for_acknowledgement(&self) -> bool {
        self.ack_url.is_some()
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// The name of an index (Splunk, "Create custom indexes"), also for the `splunkIndex` of an override. Those that begin
/// with an underscore are Splunk's own.
///
/// # Errors
/// What the name must be.
pub fn index(name: String, field: &'static str) -> Result<String, Invalid> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let begins_well = name.bytes().next().is_some_and(|byte| byte != b'_' && byte != b'-');
    if begins_well && name.len() <= MAX_INDEX_BYTES && name.bytes().all(allowed) && !name.contains("kvstore") {
        return Ok(name);
    }
    let rule = "must be the name of an index: at most 80 lower-case letters, digits, underscores and hyphens, \
                beginning with a letter or digit, without kvstore";
    Err(Invalid::new(field, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Config, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn url_without_a_path_is_the_collector_of_that_port() {
        let config = spec(r#"{"url":"https://splunk.example.com:8088"}"#).unwrap();
        assert_eq!(config.url.as_str(), "https://splunk.example.com:8088/services/collector/event");
        assert_eq!((config.source.as_str(), config.sourcetype.as_str()), ("ai-gateway", "aigateway:event"));
        assert!(!config.waits_for_acknowledgement());
        let config = spec(r#"{"url":"https://logs.example.com/api/v1/ingest/hec","index":"mcp"}"#).unwrap();
        assert_eq!(config.url.as_str(), "https://logs.example.com/api/v1/ingest/hec");
    }

    #[test]
    fn acknowledgements_are_asked_for_beside_the_events() {
        let config = spec(r#"{"url":"https://proxy.example.com/hec/event","acknowledgement":true}"#).unwrap();
        assert_eq!(config.ack_url.unwrap().as_str(), "https://proxy.example.com/hec/ack");
    }

    #[test]
    fn every_refusal_names_the_field() {
        let index = "index: must be the name of an index: at most 80 lower-case letters, digits, underscores and \
                     hyphens, beginning with a letter or digit, without kvstore";
        let long = format!(r#"{{"url":"https://a.example.com","index":"{}"}}"#, "x".repeat(81));
        for (json, expected) in [
            (r#"{"url":"http://a.example.com"}"#, "url: must begin with https://"),
            (r#"{"url":"https://a.example.com","index":"_internal"}"#, index),
            (r#"{"url":"https://a.example.com","index":"Main"}"#, index),
            (r#"{"url":"https://a.example.com","index":""}"#, index),
            (&long, index),
            (r#"{"url":"https://a.example.com","source":""}"#, "source: must be 1 to 256 bytes"),
            (r#"{"url":"https://a.example.com","sourcetype":"a\nb"}"#, "sourcetype: must be 1 to 256 bytes"),
            (
                r#"{"url":"https://a.example.com/hec","acknowledgement":true}"#,
                "acknowledgement: needs a url whose path ends in /event",
            ),
            (r#"{"url":"https://a.example.com","token":"x"}"#, "unknown field `token`"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
