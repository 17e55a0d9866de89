//! Who calls.
//!
//! Promises: a doubt denies; keys are compared by hash, in constant time, all of them. Must never log, keep or
//! forward what a caller presented.

use std::sync::Arc;

use events::{Text, TextList};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::audit::{AuthFailure, AuthMethod, User};
use crate::config::schema::ApiKey;

/// No key is longer; longer credentials are not hashed.
const MAX_CREDENTIAL_BYTES: usize = 512;

/// Somebody who may call.
#[derive(Debug)]
pub struct Principal {
    /// For the audit trail.
    pub user: Arc<User>,
    /// How they became known.
    pub method: AuthMethod,
    /// What sessions are bound to.
    pub digest: [u8; 16],
}

impl Principal {
    fn new(method: AuthMethod, name: &str, groups: &[String]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(method.as_str());
        hasher.update([0]);
        hasher.update(name);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize()[..16]);
        let (email, id) = match name.contains('@') {
            true => (Text::new(name), None),
            false => (None, Text::new(name)),
        };
        let user = User { email, id, groups: TextList::new(groups), ..User::default() };
        Self { user: Arc::new(user), method, digest }
    }
}

/// Knows who may call.
pub enum Authenticator {
    /// Anybody.
    Anonymous(Arc<Principal>),
    /// Holders of a key.
    Keys(Vec<Key>),
}

/// One key.
pub struct Key {
    hash: [u8; 32],
    principal: Arc<Principal>,
    expires: Option<Timestamp>,
}

impl Authenticator {
    /// Anybody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::Anonymous(Arc::new(Principal::new(AuthMethod::Anonymous, "", &[])))
    }

    /// Holders of these keys.
    #[must_use]
    pub fn keys(entries: &[ApiKey]) -> Self {
        let key = |entry: &ApiKey| Key {
            hash: entry.hash.0,
            principal: Arc::new(Principal::new(AuthMethod::ApiKey, &entry.user, &entry.groups)),
            expires: entry.expires,
        };
        Self::Keys(entries.iter().map(key).collect())
    }

    /// Who calls.
    ///
    /// # Errors
    /// Why nobody who may.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Arc<Principal>, AuthFailure> {
        let keys = match self {
            Self::Anonymous(principal) => return Ok(principal.clone()),
            Self::Keys(keys) => keys,
        };
        let presented = credential(headers)?;
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found: Option<&Key> = None;
        // Every key is looked at, so that the time says nothing about which one fits.
        for key in keys {
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        let key = found.ok_or(AuthFailure::UnknownKey)?;
        if key.expires.is_some_and(|at| at <= now) {
            return Err(AuthFailure::Expired);
        }
        Ok(key.principal.clone())
    }
}

/// The one credential that the caller presented.
fn credential(headers: &HeaderMap) -> Result<&[u8], AuthFailure> {
    let mut found: Option<&[u8]> = None;
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let bytes = value.as_bytes();
        match bytes.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
            _ => Err(AuthFailure::Malformed),
        }
    });
    let keys = headers.get_all("x-api-key").iter().map(|value| Ok(value.as_bytes()));
    for presented in bearers.chain(keys) {
        let presented = presented?;
        let fits = !presented.is_empty() && presented.len() <= MAX_CREDENTIAL_BYTES;
        // Two different ones: which is meant can not be known.
        if !fits || found.is_some_and(|earlier| earlier != presented) {
            return Err(AuthFailure::Malformed);
        }
        found = Some(presented);
    }
    found.ok_or(AuthFailure::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn entry(key: &str, user: &str, expires: Option<&str>) -> ApiKey {
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(key)));
        serde_json::from_value(serde_json::json!({
            "id": "k", "hash": hash, "user": user, "groups": ["g"], "expires": expires
        }))
        .unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn keys_open_and_everything_else_does_not() {
        let authenticator = Authenticator::keys(&[
            entry("agw_a", "alice@example.com", None),
            entry("agw_b", "bob", Some("2030-01-01T00:00:00Z")),
        ]);
        let now: Timestamp = "2029-01-01T00:00:00Z".parse().unwrap();
        let check = |pairs| authenticator.authenticate(&headers(pairs), now).map(|p| p.user.clone());

        let alice = check(&[("authorization", "Bearer agw_a")]).unwrap();
        assert_eq!(alice.email, Text::new("alice@example.com"));
        assert_eq!(check(&[("x-api-key", "agw_b")]).unwrap().id, Text::new("bob"));
        assert!(check(&[("authorization", "bearer agw_b"), ("x-api-key", "agw_b")]).is_ok());

        for (pairs, failure) in [
            (&[][..], AuthFailure::Missing),
            (&[("authorization", "Bearer agw_c")], AuthFailure::UnknownKey),
            (&[("authorization", "Basic YTpi")], AuthFailure::Malformed),
            (&[("authorization", "Bearer ")], AuthFailure::Malformed),
            (&[("authorization", "B")], AuthFailure::Malformed),
            (&[("x-api-key", "")], AuthFailure::Malformed),
            (&[("authorization", "Bearer agw_a"), ("x-api-key", "agw_b")], AuthFailure::Malformed),
        ] {
            assert_eq!(check(pairs).unwrap_err(), failure, "{pairs:?}");
        }

        let late: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let expired = authenticator.authenticate(&headers(&[("x-api-key", "agw_b")]), late);
        assert_eq!(expired.unwrap_err(), AuthFailure::Expired);
    }

    #[test]
    fn nobody_may_call_a_pool_without_keys() {
        let refused = Authenticator::keys(&[]).authenticate(&headers(&[("x-api-key", "agw_a")]), Timestamp::now());
        assert_eq!(refused.unwrap_err(), AuthFailure::UnknownKey);
    }

    #[test]
    fn sessions_are_bound_to_the_user_and_not_to_the_key() {
        let digest = |user: &str| Principal::new(AuthMethod::ApiKey, user, &[]).digest;
        assert_eq!(digest("a"), digest("a"));
        assert_ne!(digest("a"), digest("b"));
        assert_ne!(digest("a"), Principal::new(AuthMethod::Jwt, "a", &[]).digest);
    }
}
