//! The `webhook` block.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::invalid::Invalid;

/// Most headers of an author's own.
const MAX_HEADERS: usize = 20;
/// Longest value of one of them, in bytes.
const MAX_VALUE_BYTES: usize = 1_024;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// Where to.
    pub url: String,
    /// Sent with each request; no credentials, which would be readable in the SiemExport.
    #[serde(default)]
    pub headers: Vec<Header>,
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let url = policy.parse_url(&spec.url).map_err(|problem| Invalid::new("url", problem))?;
        if spec.headers.len() > MAX_HEADERS {
            return Err(Invalid::new("headers", format!("must be at most {MAX_HEADERS}")));
        }
        let mut headers = HeaderMap::with_capacity(spec.headers.len());
        for Header { name, value } in spec.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Invalid::new("headers[].name", "must be an HTTP header name"))?;
            if let Some(problem) = reserved(&name) {
                return Err(Invalid::new("headers[].name", format!("{name} {problem}")));
            }
            let value = match HeaderValue::from_str(&value) {
                Ok(checked) if value.len() <= MAX_VALUE_BYTES && value.is_ascii() => checked,
                _ => {
                    let problem = format!("must be at most {MAX_VALUE_BYTES} visible ASCII characters and spaces");
                    return Err(Invalid::new("headers[].value", problem));
                }
            };
            if headers.insert(name, value).is_some() {
                return Err(Invalid::new("headers[].name", "must not name a header twice"));
            }
        }
        Ok(Self { url, headers })
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Why an author may not set a header.
fn reserved(name: &HeaderName) -> Option<&'static str> {
    let credential = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    // Those that the message's framing, its signature or the connection depend on.
    let ours = [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    if credential.contains(name) {
        Some("holds a credential, which anyone who may read the SiemExport could read")
    } else if ours.contains(name) || ["webhook-", "proxy-", "keep-alive"].iter().any(|p| name.as_str().starts_with(p)) {
        Some("is set by the exporter itself")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(headers: &[(&str, &str)]) -> Spec {
        let headers =
            headers.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect();
        Spec { url: "https://hooks.example.com/in".into(), headers }
    }

    #[test]
    fn block_is_read_and_unknown_fields_are_refused() {
        let json = r#"{"url":"https://hooks.example.com/in","headers":[{"name":"X-Team","value":"soc"}]}"#;
        let config = Config::new(serde_json::from_str(json).unwrap(), Policy::STRICT).unwrap();
        assert_eq!(config.url.as_str(), "https://hooks.example.com/in");
        assert_eq!(config.headers["x-team"], "soc");
        let error = serde_json::from_str::<Spec>(r#"{"url":"https://a","insecure":true}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `insecure`"), "{error}");
    }

    #[test]
    fn every_refusal_names_the_field() {
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        for (headers, expected) in [
            (&[("X Team", "a")][..], "headers[].name: must be an HTTP header name"),
            (&[("", "a")], "headers[].name: must be an HTTP header name"),
            (&[("Webhook-Id", "a")], "headers[].name: webhook-id is set by the exporter itself"),
            (&[("Content-Type", "a")], "headers[].name: content-type is set by the exporter itself"),
            (&[("HOST", "a")], "headers[].name: host is set by the exporter itself"),
            (
                &[("Authorization", "Bearer x")],
                "headers[].name: authorization holds a credential, which anyone who may read the SiemExport could read",
            ),
            (&[("X-A", "a\r\nX-B: b")], "headers[].value: must be at most 1024 visible ASCII characters and spaces"),
            (&[("X-A", "ü")], "headers[].value: must be at most 1024 visible ASCII characters and spaces"),
            (&[("X-A", &long)], "headers[].value: must be at most 1024 visible ASCII characters and spaces"),
            (&[("X-A", "a"), ("x-a", "b")], "headers[].name: must not name a header twice"),
            (&[("X-A", "a"); 21], "headers: must be at most 20"),
        ] {
            assert_eq!(Config::new(spec(headers), Policy::STRICT).unwrap_err().to_string(), expected);
        }
        let url = Spec { url: "http://hooks.example.com".into(), headers: vec![] };
        let error = Config::new(url, Policy::STRICT).unwrap_err();
        assert!(error.to_string().starts_with("url: must begin with https://"), "{error}");
    }
}
