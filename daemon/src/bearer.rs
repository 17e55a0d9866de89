//! The bearer token of an admin port.

use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretSlice};

/// Whether a request shows the token, compared in constant time (RFC 6750 2.1).
#[must_use]
pub fn is_shown(headers: &HeaderMap, token: &SecretSlice<u8>) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| subtle::ConstantTimeEq::ct_eq(token.expose_secret(), shown).into())
}
