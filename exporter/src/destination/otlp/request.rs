//! An `ExportLogsServiceRequest`.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderValue, header};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use secrecy::SecretString;

use super::{Config, Protocol};
use crate::destination::check;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped};

/// Servers of gRPC take 4 MiB by default; what joins the events has room beside it.
pub const LIMITS: Limits = Limits { events: 10_000, bytes: 4_000_000, span: None };

/// `ExportLogsServiceRequest.resource_logs`, field 1, and `ResourceLogs.scope_logs`, field 2, both with their length.
const RESOURCE_LOGS: u8 = 1 << 3 | 2;
const SCOPE_LOGS: u8 = 2 << 3 | 2;

/// The secret, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// Reads the secret.
    ///
    /// # Errors
    /// A secret that no header can hold.
    pub fn new(secret: &SecretString) -> Result<Self, Invalid> {
        check::credential("secretRef", "", secret).map(Self)
    }
}

/// The request for a batch of one group. `credential` is `None` for a server that asks for none.
#[must_use]
pub fn request(config: &Config, credential: Option<&Credential>, events: &[Shaped]) -> Request {
    let attributes = config.resource_attributes.iter().map(|(name, value)| attribute(name, value));
    let message = message(attributes.collect(), events);
    let mut headers = config.headers.clone();
    if let Some(Credential(value)) = credential {
        headers.insert(config.credential_header.clone(), value.clone());
    }
    let (content_type, body) = match config.protocol {
        Protocol::Http => ("application/x-protobuf", message),
        Protocol::Grpc => {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            ("application/grpc", framed(&message))
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // gRPC compresses inside of the frame and says so in other headers.
    Request { url: config.url.clone(), headers, body, compress: config.protocol == Protocol::Http }
}

/// The message for a batch of one group, whose resource has these attributes beside `service.*`.
pub(in crate::destination) fn message(mut attributes: Vec<KeyValue>, events: &[Shaped]) -> Bytes {
    attributes.push(attribute("service.namespace", "ai-gateway"));
    if let Some(first) = events.first() {
        attributes.push(attribute("service.name", &first.group));
    }
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope = Some(InstrumentationScope { name: "ai-gateway".into(), ..InstrumentationScope::default() });
    let scope = ScopeLogs { scope, ..ScopeLogs::default() }.encode_to_vec();
    let logs = scope.len() + events.iter().map(|event| event.bytes.len()).sum::<usize>();

    let mut head = ResourceLogs { resource, ..ResourceLogs::default() }.encode_to_vec();
    head.push(SCOPE_LOGS);
    varint(&mut head, logs);
    let mut out = BytesMut::with_capacity(head.len() + logs + 16);
    out.put_u8(RESOURCE_LOGS);
    varint(&mut out, head.len() + logs);
    out.put_slice(&head);
    out.put_slice(&scope);
    for event in events {
        out.put_slice(&event.bytes);
    }
    out.freeze()
}

/// An attribute of a resource.
pub(in crate::destination) fn attribute(name: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

/// Writing to memory that grows cannot fail.
fn varint(out: &mut impl bytes::BufMut, length: usize) {
    let _ = prost::encode_length_delimiter(length, out);
}

/// One message of a gRPC stream: not compressed, with its length (gRPC over HTTP/2, "Length-Prefixed-Message").
fn framed(message: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}
