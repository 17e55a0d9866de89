//! The `otlp` block.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::check;
use crate::destination::invalid::Invalid;

/// Below a server's URL (OTLP, "OTLP/HTTP Request").
const HTTP_PATH: &str = "/v1/logs";
/// The path of a gRPC method is that of its service.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// Most headers and most resource attributes of an author's own.
const MAX_ENTRIES: usize = 20;
/// Longest name or value of one of them, in bytes.
const MAX_BYTES: usize = 1_024;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The server: `https://HOST:4318`, or `https://HOST:4317` for gRPC. Over HTTP, a URL with a path is used as it
    /// stands.
    pub url: String,
    /// How events are sent.
    #[serde(default)]
    pub protocol: Protocol,
    /// Sent with each request; no credentials, which would be readable in the SiemExport.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The header that holds the secret, where there is one; the secret is its whole value (`Bearer …`).
    #[serde(default = "default_credential_header")]
    pub credential_header: String,
    /// Attributes of the resource, beside `service.namespace` and `service.name`.
    #[serde(default)]
    pub resource_attributes: BTreeMap<String, String>,
}

/// The two protocols of OTLP that carry protobuf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Protocol {
    /// HTTP/protobuf.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

fn default_credential_header() -> String {
    "authorization".into()
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) protocol: Protocol,
    pub(super) headers: HeaderMap,
    pub(super) credential_header: HeaderName,
    pub(super) resource_attributes: BTreeMap<String, String>,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let mut url = policy.parse_url(&spec.url).map_err(|problem| Invalid::new("url", problem))?;
        match (spec.protocol, url.path()) {
            (Protocol::Http, "/") => url.set_path(HTTP_PATH),
            (Protocol::Http, _) => {}
            (Protocol::Grpc, "/") => url.set_path(GRPC_PATH),
            (Protocol::Grpc, _) => return Err(Invalid::new("url", "must have no path with the protocol Grpc")),
        }
        if spec.headers.len() > MAX_ENTRIES {
            return Err(Invalid::new("headers", format!("must be at most {MAX_ENTRIES}")));
        }
        let credential_header = own_header("credentialHeader", &spec.credential_header)?;
        let mut headers = HeaderMap::with_capacity(spec.headers.len());
        for (name, value) in spec.headers {
            let name = own_header("headers", &name)?;
            if name == credential_header || name == header::AUTHORIZATION {
                return Err(Invalid::new(
                    "headers",
                    format!("{name} is for the credential, which belongs in a Secret"),
                ));
            }
            let value = HeaderValue::from_str(&value).ok().filter(|_| value.len() <= MAX_BYTES && value.is_ascii());
            let problem = format!("values must be at most {MAX_BYTES} visible ASCII characters");
            headers.insert(name, value.ok_or_else(|| Invalid::new("headers", problem))?);
        }
        if spec.resource_attributes.len() > MAX_ENTRIES {
            return Err(Invalid::new("resourceAttributes", format!("must be at most {MAX_ENTRIES}")));
        }
        for (name, value) in &spec.resource_attributes {
            check::text("resourceAttributes", name.clone(), MAX_BYTES)?;
            check::text("resourceAttributes", value.clone(), MAX_BYTES)?;
            if name == "service.name" || name == "service.namespace" {
                return Err(Invalid::new("resourceAttributes", format!("{name} is set by the exporter itself")));
            }
        }
        Ok(Self {
            url,
            protocol: spec.protocol,
            headers,
            credential_header,
            resource_attributes: spec.resource_attributes,
        })
    }

    /// How events are sent, and so which of the functions of [`super::answer`] judges the answer.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where requests, and the credential in them, go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// A header that is neither the protocol's nor the connection's.
fn own_header(field: &'static str, name: &str) -> Result<HeaderName, Invalid> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Invalid::new(field, "must be the name of an HTTP header"))?;
    let reserved = [
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
    if reserved.contains(&name) || ["grpc-", "proxy-", "keep-alive"].iter().any(|p| name.as_str().starts_with(p)) {
        return Err(Invalid::new(field, format!("{name} is set by the exporter itself")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Config, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn path_follows_from_the_protocol() {
        for (json, expected) in [
            (r#"{"url":"https://c.example.com:4318"}"#, "https://c.example.com:4318/v1/logs"),
            (r#"{"url":"https://c.example.com/otlp/v1/logs"}"#, "https://c.example.com/otlp/v1/logs"),
            (
                r#"{"url":"https://c.example.com:4317","protocol":"Grpc"}"#,
                "https://c.example.com:4317/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            ),
        ] {
            assert_eq!(spec(json).unwrap().url.as_str(), expected);
        }
    }

    #[test]
    fn every_refusal_names_the_field() {
        let many: BTreeMap<String, &str> = (0..21).map(|i| (format!("x-{i}"), "1")).collect();
        let many = serde_json::json!({"url": "https://a.example.com", "headers": many}).to_string();
        for (json, expected) in [
            (r#"{"url":"http://a.example.com"}"#, "url: must begin with https://"),
            (r#"{"url":"https://a.example.com/x","protocol":"Grpc"}"#, "url: must have no path with the protocol Grpc"),
            (r#"{"url":"https://a.example.com","protocol":"json"}"#, "unknown variant `json`"),
            (r#"{"url":"https://a.example.com","headers":{"x y":"1"}}"#, "headers: must be the name of an HTTP header"),
            (
                r#"{"url":"https://a.example.com","headers":{"Host":"b"}}"#,
                "headers: host is set by the exporter itself",
            ),
            (r#"{"url":"https://a.example.com","headers":{"Authorization":"b"}}"#, "headers: authorization is for the"),
            (
                r#"{"url":"https://a.example.com","credentialHeader":"api-key","headers":{"Api-Key":"b"}}"#,
                "headers: api-key is for the credential",
            ),
            (r#"{"url":"https://a.example.com","headers":{"x":"a\nb"}}"#, "headers: values must be at most 1024"),
            (
                r#"{"url":"https://a.example.com","credentialHeader":"te"}"#,
                "credentialHeader: te is set by the exporter",
            ),
            (
                r#"{"url":"https://a.example.com","resourceAttributes":{"service.name":"x"}}"#,
                "resourceAttributes: service.name is set by the exporter itself",
            ),
            (
                r#"{"url":"https://a.example.com","resourceAttributes":{"":"x"}}"#,
                "resourceAttributes: must be 1 to 1024",
            ),
            (&many, "headers: must be at most 20"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
