//! The `eventBridge` block.

use serde::{Deserialize, Serialize};
use url::Url;

use super::service_host;
use crate::address::Policy;
use crate::destination::invalid::Invalid;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// `eu-central-1`.
    pub region: String,
    /// Name or ARN. Absent: the account's `default` bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_bus: Option<String>,
    /// `source` of the events. Absent: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where EventBridge is reached by another name, as through a VPC endpoint. Absent: the region's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) region: String,
    pub(super) event_bus: String,
    pub(super) source: String,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        check_region(&spec.region)?;
        let event_bus = spec.event_bus.unwrap_or_else(|| "default".to_owned());
        if !is_event_bus(&event_bus) {
            return Err(Invalid::new("eventBus", "must be the name of an event bus or its ARN"));
        }
        let source = spec.source.unwrap_or_else(|| "ai-gateway".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
        if !(1..=128).contains(&source.len()) || !source.bytes().all(allowed) {
            return Err(Invalid::new("source", "must be 1 to 128 letters, digits, '.', '-', '_' or '/'"));
        }
        if source.starts_with("aws.") {
            return Err(Invalid::new("source", "must not begin with aws., which is for services of AWS"));
        }
        let endpoint = spec.endpoint.unwrap_or_else(|| format!("https://{}/", service_host("events", &spec.region)));
        let url = policy.parse_url(&endpoint).map_err(|problem| Invalid::new("endpoint", problem))?;
        if url.path() != "/" || url.query().is_some() {
            return Err(Invalid::new("endpoint", "must not have a path or a query"));
        }
        Ok(Self { url, region: spec.region, event_bus, source })
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// `eu-central-1`, `us-gov-west-1`: it becomes part of a host name.
pub(super) fn check_region(region: &str) -> Result<(), Invalid> {
    let parts: Vec<&str> = region.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let fine = match parts.as_slice() {
        [words @ .., number] => {
            (2..=3).contains(&words.len())
                && words.iter().all(word)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        [] => false,
    };
    if fine { Ok(()) } else { Err(Invalid::new("region", "must be an AWS region like eu-central-1")) }
}

/// The pattern of the API: `(arn:aws…:events:REGION:ACCOUNT:event-bus/)?[/.\-_A-Za-z0-9]+`, at most 1,600 characters.
fn is_event_bus(text: &str) -> bool {
    let name = match text.split(':').collect::<Vec<_>>().as_slice() {
        [name] => name,
        ["arn", partition, "events", region, account, name] => {
            let account_fine = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            match name.strip_prefix("event-bus/") {
                Some(name) if account_fine && partition.starts_with("aws") && check_region(region).is_ok() => name,
                _ => return false,
            }
        }
        _ => return false,
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    text.len() <= 1_600 && !name.is_empty() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, Invalid> {
        Config::new(serde_json::from_str(json).unwrap(), Policy::STRICT)
    }

    #[test]
    fn region_makes_the_endpoint_and_the_rest_has_defaults() {
        let config = read(r#"{"region":"eu-central-1"}"#).unwrap();
        assert_eq!(config.url.as_str(), "https://events.eu-central-1.amazonaws.com/");
        assert_eq!((&*config.event_bus, &*config.source), ("default", "ai-gateway"));
        let china = read(r#"{"region":"cn-north-1"}"#).unwrap();
        assert_eq!(china.url.as_str(), "https://events.cn-north-1.amazonaws.com.cn/");
        let arn =
            r#"{"region":"us-gov-west-1","eventBus":"arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/soc"}"#;
        assert!(read(arn).is_ok());
    }

    #[test]
    fn every_refusal_names_the_field() {
        let region = "region: must be an AWS region like eu-central-1";
        let bus = "eventBus: must be the name of an event bus or its ARN";
        for (json, expected) in [
            (r#"{"region":"evil.example.com/-1"}"#, region),
            (r#"{"region":"eu-central"}"#, region),
            (r#"{"region":"1"}"#, region),
            (r#"{"region":"EU-central-1"}"#, region),
            (r#"{"region":"eu-west-1","eventBus":""}"#, bus),
            (r#"{"region":"eu-west-1","eventBus":"a b"}"#, bus),
            (r#"{"region":"eu-west-1","eventBus":"arn:aws:events:eu-west-1:12:event-bus/a"}"#, bus),
            (r#"{"region":"eu-west-1","eventBus":"arn:aws:sqs:eu-west-1:123456789012:event-bus/a"}"#, bus),
            (r#"{"region":"eu-west-1","source":""}"#, "source: must be 1 to 128 letters, digits, '.', '-', '_' or '/'"),
            (
                r#"{"region":"eu-west-1","source":"aws.events"}"#,
                "source: must not begin with aws., which is for services of AWS",
            ),
            (r#"{"region":"eu-west-1","endpoint":"https://a/b"}"#, "endpoint: must not have a path or a query"),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), expected, "{json}");
        }
    }
}
