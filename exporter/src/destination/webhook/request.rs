//! A signed request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use hmac::{Hmac, Mac as _};
use http::{HeaderValue, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::{Digest as _, Sha256};

use super::Config;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped};

/// Standard Webhooks asks for small payloads (20 kB) and sets no limit; a batch takes what common receivers read.
pub const LIMITS: Limits = Limits { events: 1_000, bytes: 1 << 20, span: None };

/// The `type` of the payload.
const TYPE: &str = "ai_gateway.events";

/// The keys that requests are signed with.
#[derive(Debug)]
pub struct Credential {
    keys: Vec<SecretBox<[u8]>>,
}

impl Credential {
    /// Reads the secret, and the one before it while receivers still change over; with both, each request has both
    /// signatures.
    ///
    /// # Errors
    /// A secret that is not `whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks, "Signature scheme").
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Result<Self, Invalid> {
        let mut keys = vec![key(current, "secretRef")?];
        if let Some(previous) = previous {
            keys.push(key(previous, "previousSecretRef")?);
        }
        Ok(Self { keys })
    }
}

fn key(secret: &SecretString, field: &'static str) -> Result<SecretBox<[u8]>, Invalid> {
    secret
        .expose_secret()
        .trim()
        .strip_prefix("whsec_")
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .filter(|key| (24..=64).contains(&key.len()))
        .map(|key| SecretBox::new(key.into_boxed_slice()))
        .ok_or_else(|| Invalid::new(field, "must be whsec_ and the base64 of 24 to 64 random bytes"))
}

/// The request for a batch, signed for an attempt at `now`.
///
/// The body and `webhook-id` depend on the events alone, so every attempt of one batch has the same.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped], now: Timestamp) -> Request {
    let body = body(events);
    let id = id(&body);
    let seconds = now.as_second();
    let mut headers = config.headers.clone();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-timestamp", HeaderValue::from(seconds));
    // Of hexadecimal and base64 characters: neither conversion can fail.
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("webhook-id", id);
    }
    if let Ok(signatures) = HeaderValue::from_str(&signatures(credential, &id, seconds, &body)) {
        headers.insert("webhook-signature", signatures);
    }
    // The signature is of the bytes that a receiver's framework hands to its code, which not every one decompresses.
    Request { url: config.url.clone(), headers, body, compress: false }
}

/// `{"type":…,"timestamp":…,"data":[…]}`; the timestamp is the latest event's.
fn body(events: &[Shaped]) -> Bytes {
    let room: usize = events.iter().map(|event| event.bytes.len() + 1).sum();
    let mut body = BytesMut::with_capacity(room + 96);
    body.put_slice(b"{\"type\":\"");
    body.put_slice(TYPE.as_bytes());
    body.put_slice(b"\",");
    if let Some(latest) = events.iter().map(|event| event.time).max() {
        body.put_slice(format!("\"timestamp\":\"{:.3}\",", latest.timestamp()).as_bytes());
    }
    body.put_slice(b"\"data\":[");
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&event.bytes);
    }
    body.put_slice(b"]}");
    body.freeze()
}

/// Unique to the batch, and without the `.` that joins the parts of what is signed. 128 bits of a digest of the body:
/// the body holds the events' ids.
fn id(body: &[u8]) -> String {
    format!("batch_{}", hex::encode(&Sha256::digest(body)[..16]))
}

/// `v1,BASE64`, one for each key, with spaces between.
fn signatures(credential: &Credential, id: &str, seconds: i64, body: &[u8]) -> String {
    let mut all = String::new();
    for key in &credential.keys {
        // HMAC takes keys of any length, so this is never an error.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret()) else { continue };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut all);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// The example of the specification and of every reference library's tests.
    #[test]
    fn signature_is_the_one_of_the_reference_libraries() {
        let credential = Credential::new(&secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None).unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signatures(&credential, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn secrets_that_are_none_are_refused_by_the_name_of_their_field() {
        let good = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        for bad in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "WHSEC_MfKQ"] {
            let error = Credential::new(&secret(bad), None).unwrap_err();
            assert_eq!(error.to_string(), "secretRef: must be whsec_ and the base64 of 24 to 64 random bytes");
            assert_eq!(Credential::new(&good, Some(&secret(bad))).unwrap_err().field, "previousSecretRef");
        }
        let encoded = |bytes: usize| secret(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        assert!(Credential::new(&encoded(23), None).is_err());
        assert!(Credential::new(&encoded(24), None).is_ok());
        assert!(Credential::new(&encoded(64), None).is_ok());
        assert!(Credential::new(&encoded(65), None).is_err());
    }
}
