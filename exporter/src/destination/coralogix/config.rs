//! The `coralogix` block.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::check;
use crate::destination::invalid::Invalid;

/// Longest name of an application or subsystem that is taken, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The team's domain: `coralogix.com`, `eu2.coralogix.com`, `coralogix.us`, …
    pub domain: String,
    /// `cx.application.name`: the pool's name, unless the author says otherwise.
    pub application: String,
    /// `cx.subsystem.name`; absent: the component that an event is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<String>,
    /// Instead of `https://ingress.DOMAIN/v1/logs`: a private link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) application: String,
    pub(super) subsystem: Option<String>,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let url = match spec.url {
            Some(url) => policy.parse_url(&url).map_err(|problem| Invalid::new("url", problem))?,
            None => check::host("domain", &spec.domain, |domain| format!("https://ingress.{domain}/v1/logs"))?,
        };
        let subsystem = spec.subsystem.map(|name| check::text("subsystem", name, MAX_NAME_BYTES)).transpose()?;
        Ok(Self { url, application: check::text("application", spec.application, MAX_NAME_BYTES)?, subsystem })
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Config, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn ingress_is_of_the_domain() {
        let config = spec(r#"{"domain":"eu2.coralogix.com","application":"prod"}"#).unwrap();
        assert_eq!(config.url.as_str(), "https://ingress.eu2.coralogix.com/v1/logs");
    }

    #[test]
    fn every_refusal_names_the_field() {
        for (json, expected) in [
            (r#"{"domain":"","application":"prod"}"#, "domain: must be a domain name"),
            (r#"{"domain":"a.example.com/x?","application":"prod"}"#, "domain: must be a domain name"),
            (r#"{"domain":"@169.254.169.254","application":"prod"}"#, "domain: must be a domain name"),
            (r#"{"domain":"coralogix.com","application":""}"#, "application: must be 1 to 256 bytes"),
            (r#"{"domain":"coralogix.com","application":"a","subsystem":"\n"}"#, "subsystem: must be 1 to 256 bytes"),
            (r#"{"domain":"coralogix.com","application":"a","url":"http://b"}"#, "url: must begin with https://"),
            (r#"{"domain":"coralogix.com"}"#, "missing field `application`"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
