//! The `elasticsearch` block.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::check;
use crate::destination::invalid::Invalid;

/// What the answer is reduced to: what tells whether an event is stored, and where.
const FILTER: &str = "errors,items.*.status,items.*.error.type,items.*.failure_store";
/// Longest name of an index or data stream, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The cluster: `https://HOST:9200`, with the path of a proxy if there is one.
    pub url: String,
    /// Where events go. The template of our content is for `logs-mcp.audit-*`.
    #[serde(default = "default_data_stream")]
    pub data_stream: String,
    /// With it, the secret is this user's password; without, an API key (the `encoded` form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

fn default_data_stream() -> String {
    "logs-mcp.audit-default".into()
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) username: Option<String>,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let mut url = policy.parse_url(&spec.url).map_err(|problem| Invalid::new("url", problem))?;
        if url.query().is_some() {
            return Err(Invalid::new("url", "must not have a query (?)"));
        }
        let path = format!("{}/{}/_bulk", url.path().trim_end_matches('/'), data_stream(spec.data_stream)?);
        url.set_path(&path);
        url.set_query(Some(&format!("filter_path={FILTER}")));
        let username = spec.username.map(|name| check::text("username", name, 1_024)).transpose()?;
        if username.as_deref().is_some_and(|name| name.contains(':')) {
            // RFC 7617: the colon is what ends the name.
            return Err(Invalid::new("username", "must not contain a colon"));
        }
        Ok(Self { url, username })
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// The name of a data stream (Elasticsearch, "Create index API", path parameters). Those that begin with a dot are the
/// cluster's own.
fn data_stream(name: String) -> Result<String, Invalid> {
    let allowed = |c: char| {
        !c.is_uppercase() && !c.is_control() && !r#"\/*?"<>|,#: "#.contains(c) && (c.is_ascii() || c > '\u{a0}')
    };
    let begins_well = !name.is_empty() && !name.starts_with(['-', '_', '+', '.']);
    if begins_well && name.len() <= MAX_NAME_BYTES && name.chars().all(allowed) {
        return Ok(name);
    }
    let rule = "must be the name of a data stream: at most 255 bytes, in lower case, without spaces and any of \
                \\ / * ? \" < > | , # :, not beginning with - _ + or .";
    Err(Invalid::new("dataStream", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Config, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn events_go_into_the_data_stream_below_the_path_of_a_proxy() {
        let filter = "filter_path=errors,items.*.status,items.*.error.type,items.*.failure_store";
        let config = spec(r#"{"url":"https://es.example.com:9200"}"#).unwrap();
        assert_eq!(config.url.as_str(), format!("https://es.example.com:9200/logs-mcp.audit-default/_bulk?{filter}"));
        let config = spec(r#"{"url":"https://example.com/es/","dataStream":"logs-mcp.audit-prod"}"#).unwrap();
        assert_eq!(config.url.as_str(), format!("https://example.com/es/logs-mcp.audit-prod/_bulk?{filter}"));
    }

    #[test]
    fn every_refusal_names_the_field() {
        for (json, expected) in [
            (r#"{"url":"ftp://a"}"#, "url: must begin with https://"),
            (r#"{"url":"https://a.example.com?x=1"}"#, "url: must not have a query"),
            (r#"{"url":"https://a.example.com","username":"a:b"}"#, "username: must not contain a colon"),
            (r#"{"url":"https://a.example.com","username":""}"#, "username: must be 1 to 1024 bytes"),
            (r#"{"url":"https://a.example.com","apiKey":"x"}"#, "unknown field `apiKey`"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        for name in ["", "Logs", "../_all", "a,b", ".logs", "_logs", "logs/x", "a b", "a?b", "a#b", &"x".repeat(256)] {
            let json = serde_json::json!({"url": "https://a.example.com", "dataStream": name}).to_string();
            assert!(spec(&json).unwrap_err().starts_with("dataStream: must be the name of a data stream"), "{name}");
        }
    }
}
