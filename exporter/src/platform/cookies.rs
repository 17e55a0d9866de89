//! Cookies of one conversation with one host, by which a load balancer leads all of its requests to the same server.
//!
//! Promises: bounded; sent to nobody but the host that set them (who keeps them has one host), and forgotten with the
//! conversation. Attributes are not looked at, but for the one that deletes: a conversation has one host, one scheme and
//! a few minutes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, header};

/// Cookies of a load balancer are one or two.
const MAX_COOKIES: usize = 8;
/// Name and value (RFC 6265 6.1).
const MAX_BYTES: usize = 4_096;

#[derive(Default)]
pub(super) struct Cookies(Mutex<BTreeMap<String, String>>);

impl Cookies {
    /// Takes what an answer sets.
    pub(super) fn take(&self, headers: &HeaderMap) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let ends = |part: &str| {
                let (key, value) = part.split_once('=').unwrap_or_default();
                key.eq_ignore_ascii_case("max-age") && (value == "0" || value.starts_with('-'))
            };
            if parts.any(ends) {
                kept.remove(name);
            } else if !name.is_empty()
                && name.len() + value.len() <= MAX_BYTES
                && (kept.len() < MAX_COOKIES || kept.contains_key(name))
            {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Adds them to a request.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<_> = kept.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let Ok(mut value) = HeaderValue::from_str(&pairs.join("; "))
            && !pairs.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(header::COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: &[&str]) -> Option<String> {
        let cookies = Cookies::default();
        for answer in answers {
            let mut headers = HeaderMap::new();
            headers.insert(header::SET_COOKIE, answer.parse().unwrap());
            cookies.take(&headers);
        }
        let mut headers = HeaderMap::new();
        cookies.put(&mut headers);
        headers.get(header::COOKIE).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_are_kept_replaced_and_deleted() {
        assert_eq!(after(&["lb=a; Path=/; HttpOnly", "x=1"]).unwrap(), "lb=a; x=1");
        assert_eq!(after(&["lb=a", "lb=b; Secure"]).unwrap(), "lb=b");
        assert_eq!(after(&["lb=a", "lb=; Max-Age=0"]), None);
        assert_eq!(after(&["no pair", "=v"]), None);
    }

    #[test]
    fn cookies_are_bounded() {
        let many: Vec<String> = (0..100).map(|i| format!("c{i}=v")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(after(&many).unwrap().matches("=v").count(), MAX_COOKIES);
        assert_eq!(after(&[&format!("a={}", "x".repeat(MAX_BYTES))]), None);
    }
}
