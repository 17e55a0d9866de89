//! The `datadog` block.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::check;
use crate::destination::invalid::Invalid;

/// The sites that there are (Datadog, "Getting started with Datadog sites").
const SITES: [&str; 9] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "datadoghq.eu",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];
/// Longest `ddsource` and `service` that are taken, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Longest tag, in characters (Datadog, "Getting started with tags").
const MAX_TAG_CHARS: usize = 200;
/// Most tags of an author's own.
const MAX_TAGS: usize = 50;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The organisation's site.
    #[serde(default = "default_site")]
    pub site: String,
    /// Instead of the site's intake: a private link, or a worker that passes logs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `ddsource`: which integration's pipeline takes the logs.
    #[serde(default = "default_name")]
    pub source: String,
    /// `service`.
    #[serde(default = "default_name")]
    pub service: String,
    /// `ddtags`, beside `pool` and `component`: `env:prod`.
    #[serde(default)]
    pub tags: Vec<String>,
}

fn default_site() -> String {
    SITES[0].into()
}

fn default_name() -> String {
    "ai-gateway".into()
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) source: String,
    pub(super) service: String,
    /// Joined by commas.
    pub(super) tags: String,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        if !SITES.contains(&spec.site.as_str()) {
            return Err(Invalid::new("site", format!("must be one of {}", SITES.join(", "))));
        }
        let url = match spec.url {
            Some(url) => policy.parse_url(&url).map_err(|problem| Invalid::new("url", problem))?,
            None => check::host("site", &spec.site, |site| format!("https://http-intake.logs.{site}/api/v2/logs"))?,
        };
        if spec.tags.len() > MAX_TAGS {
            return Err(Invalid::new("tags", format!("must be at most {MAX_TAGS}")));
        }
        if let Some(bad) = spec.tags.iter().find(|tag| !is_tag(tag)) {
            let rule =
                "must each begin with a lower-case letter and hold at most 200 lower-case letters, digits and _-:./";
            return Err(Invalid::new("tags", format!("{rule}; the tag of {} bytes does not", bad.len())));
        }
        Ok(Self {
            url,
            source: check::text("source", spec.source, MAX_NAME_BYTES)?,
            service: check::text("service", spec.service, MAX_NAME_BYTES)?,
            tags: spec.tags.join(","),
        })
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// What Datadog keeps as it is; anything else it would change.
fn is_tag(tag: &str) -> bool {
    tag.starts_with(|c: char| c.is_ascii_lowercase()) && tag.len() <= MAX_TAG_CHARS && tag.bytes().all(keeps)
}

/// Whether Datadog keeps this byte in a tag; others become underscores.
pub(super) fn keeps(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b':' | b'.' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Config, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn intake_is_of_the_site() {
        for site in SITES {
            let config = spec(&format!(r#"{{"site":"{site}"}}"#)).unwrap();
            assert_eq!(config.url.as_str(), format!("https://http-intake.logs.{site}/api/v2/logs"));
        }
        let private = spec(r#"{"url":"https://worker.observability.svc:8282/api/v2/logs"}"#).unwrap();
        assert_eq!(private.url.host_str(), Some("worker.observability.svc"));
    }

    #[test]
    fn every_refusal_names_the_field() {
        let many = serde_json::json!({"tags": vec!["a:b"; 51]}).to_string();
        for (json, expected) in [
            (r#"{"site":"example.com"}"#, "site: must be one of datadoghq.com, us3.datadoghq.com"),
            (r#"{"url":"http://a.example.com"}"#, "url: must begin with https://"),
            (r#"{"source":""}"#, "source: must be 1 to 100 bytes"),
            (r#"{"service":"a\u0000"}"#, "service: must be 1 to 100 bytes"),
            (r#"{"tags":["env:prod,team:soc"]}"#, "tags: must each begin with a lower-case letter"),
            (r#"{"tags":["Env:prod"]}"#, "tags: must each begin with a lower-case letter"),
            (r#"{"tags":[""]}"#, "tags: must each begin with a lower-case letter"),
            (&many, "tags: must be at most 50"),
            (r#"{"apiKey":"x"}"#, "unknown field `apiKey`"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
