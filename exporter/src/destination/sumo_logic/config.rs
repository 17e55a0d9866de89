//! The `sumoLogic` block.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::destination::invalid::Invalid;

/// Longest metadata value, in characters (Sumo Logic, "Metadata Naming Conventions").
const MAX_CHARS: usize = 1_024;
/// Most custom fields that are sent; an account has 200 altogether.
const MAX_FIELDS: usize = 30;

/// As it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// `_sourceCategory`. Absent: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_category: Option<String>,
    /// `_sourceName`. Absent: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// `_sourceHost`. Absent: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_host: Option<String>,
    /// Custom fields, which the account must know.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// As it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub(super) category: Option<HeaderValue>,
    pub(super) name: Option<HeaderValue>,
    pub(super) host: Option<HeaderValue>,
    pub(super) fields: Option<HeaderValue>,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec) -> Result<Self, Invalid> {
        let value = |field, text: Option<String>| {
            text.map(|text| {
                metadata(&text).ok_or_else(|| {
                    Invalid::new(field, format!("must be 1 to {MAX_CHARS} visible ASCII characters and spaces"))
                })
            })
            .transpose()
        };
        Ok(Self {
            category: value("sourceCategory", spec.source_category)?,
            name: value("sourceName", spec.source_name)?,
            host: value("sourceHost", spec.source_host)?,
            fields: fields(&spec.fields)?,
        })
    }
}

/// A value of an `X-Sumo-*` header.
pub(super) fn metadata(text: &str) -> Option<HeaderValue> {
    let fine =
        (1..=MAX_CHARS).contains(&text.len()) && text.trim() == text && text.bytes().all(|b| (32..127).contains(&b));
    fine.then(|| HeaderValue::from_str(text).ok()).flatten()
}

/// `key=value,key=value`: neither can hold what separates them.
fn fields(fields: &BTreeMap<String, String>) -> Result<Option<HeaderValue>, Invalid> {
    if fields.is_empty() {
        return Ok(None);
    }
    if fields.len() > MAX_FIELDS {
        return Err(Invalid::new("fields", format!("must be at most {MAX_FIELDS}")));
    }
    let mut pairs = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(1..=255).contains(&key.len()) || !key.bytes().all(word) {
            return Err(Invalid::new("fields", "must have names of letters, digits and '_'"));
        }
        if !(1..=200).contains(&value.len()) || metadata(value).is_none() || value.contains([',', '=']) {
            return Err(Invalid::new(
                "fields",
                "must have values of 1 to 200 visible ASCII characters without ',' and '='",
            ));
        }
        pairs.push(format!("{key}={value}"));
    }
    HeaderValue::from_str(&pairs.join(",")).map(Some).map_err(|_| Invalid::new("fields", "must be visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, Invalid> {
        Config::new(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_become_headers() {
        let json = r#"{"sourceCategory":"prod/mcp","sourceHost":"gw 1","fields":{"team":"soc","env":"prod"}}"#;
        let config = read(json).unwrap();
        assert_eq!(config.category.unwrap(), "prod/mcp");
        assert_eq!(config.fields.unwrap(), "env=prod,team=soc");
        assert_eq!(read("{}").unwrap(), Config::default());
        assert!(serde_json::from_str::<Spec>(r#"{"url":"https://endpoint"}"#).is_err());
    }

    #[test]
    fn every_refusal_names_the_field() {
        let visible = "must be 1 to 1024 visible ASCII characters and spaces";
        let names = "fields: must have names of letters, digits and '_'";
        let values = "fields: must have values of 1 to 200 visible ASCII characters without ',' and '='";
        for (json, expected) in [
            (r#"{"sourceCategory":""}"#, format!("sourceCategory: {visible}")),
            (r#"{"sourceCategory":" a"}"#, format!("sourceCategory: {visible}")),
            (r#"{"sourceName":"a\r\nX-Evil: b"}"#, format!("sourceName: {visible}")),
            (r#"{"sourceHost":"hôte"}"#, format!("sourceHost: {visible}")),
            (r#"{"fields":{"a=b":"c"}}"#, names.into()),
            (r#"{"fields":{"":"c"}}"#, names.into()),
            (r#"{"fields":{"a":"b,c=d"}}"#, values.into()),
            (r#"{"fields":{"a":""}}"#, values.into()),
            (r#"{"fields":{"a":"b\n"}}"#, values.into()),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), expected, "{json}");
        }
    }
}
