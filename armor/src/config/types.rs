//! The values of `armor.yaml`, each parsed once into a type that cannot hold a bad one.
//!
//! Promises: what deserializes is usable as it is; a refusal says what to write instead. Must never hold a
//! secret's value: secrets are named by file.

use std::time::Duration;

use daemon::values::Span;
use serde::Deserialize;

/// The shortest and longest time that a server may be given for one request.
const TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

macro_rules! from_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// A name that becomes a label and a metric label: a Kubernetes object's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerName(String);
from_text!(ServerName);

impl ServerName {
    fn parse(text: String) -> Result<Self, String> {
        let fits = (1..=253).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !fits {
            return Err(format!("'{text}' is not a server name: use lower case letters, digits, '-' and '.'"));
        }
        Ok(Self(text))
    }
}

/// What tool and prompt names of a server begin with, before the two underscores. Empty: no prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(String);
from_text!(Prefix);

impl Prefix {
    /// What stands between a prefix and the server's own name of a tool.
    pub const SEPARATOR: &'static str = "__";

    fn parse(text: String) -> Result<Self, String> {
        let alphanumeric = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        // The first double underscore of a name ends the prefix, so a prefix can have none and can not
        // end in one.
        let fits = bytes.len() <= 63
            && alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
            && !text.contains(Self::SEPARATOR);
        if !fits {
            return Err(format!(
                "'{text}' is not a prefix: use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, without a double underscore"
            ));
        }
        Ok(Self(text))
    }

    /// Whether names pass unchanged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The URL of a server's Streamable HTTP endpoint: `http` or `https`, a host, no user info, no fragment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerUrl(url::Url);

impl TryFrom<String> for ServerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The text is never repeated: it may hold a credential, as user info or in its query.
        let url = url::Url::parse(&text).map_err(|e| format!("not a URL ({e}): write https://HOST/PATH"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err("not an http or https URL with a host: write https://HOST/PATH".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or password: use auth".to_owned());
        }
        if url.fragment().is_some() {
            return Err("a URL must not have a fragment (#…): leave it out".to_owned());
        }
        Ok(Self(url))
    }
}

impl ServerUrl {
    /// The parsed URL.
    #[must_use]
    pub fn as_url(&self) -> &url::Url {
        &self.0
    }
}

/// A duration as a number and `ms`, `s` or `m`, from 100 ms to 10 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Timeout(pub Duration);

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let advice = || format!("'{text}' is not a duration from 100ms to 10m, such as 500ms, 30s or 2m");
        let Span(duration) = Span::try_from(text.clone()).map_err(|_| advice())?;
        if !TIMEOUT_RANGE.contains(&duration) {
            return Err(advice());
        }
        Ok(Self(duration))
    }
}

/// A pattern for tool names: `*` stands for any run of characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ToolGlob(String);
from_text!(ToolGlob);

impl ToolGlob {
    fn parse(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > 256 {
            return Err("a tool pattern has 1 to 256 characters".to_owned());
        }
        Ok(Self(text))
    }

    /// Whether the server's own name of a tool fits. Linear in the name for each `*` (no backtracking
    /// beyond the last one), so that a pattern cannot be made slow.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let pattern: &[u8] = self.0.as_bytes();
        let name = name.as_bytes();
        let (mut p, mut n) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((sp, sn)) => {
                        p = sp + 1;
                        n = sn + 1;
                        star = Some((sp, sn + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

/// A host that callers may use: a name or address, optionally with a port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(String);
from_text!(HostName);

impl HostName {
    fn parse(text: String) -> Result<Self, String> {
        let valid =
            !text.is_empty() && !text.contains(['/', '@', ' ', '*']) && text.parse::<http::uri::Authority>().is_ok();
        if !valid {
            return Err(format!(
                "'{text}' is not a host: write a name such as mcp.example.com, optionally with a port"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A file name ending in a hash: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyHash(pub [u8; 32]);

impl TryFrom<String> for KeyHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        text.strip_prefix("sha256:")
            .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
            .ok_or("a key hash is 'sha256:' and 64 hexadecimal digits")?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> ToolGlob {
        ToolGlob::parse(pattern.to_owned()).unwrap()
    }

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, fits) in [
            ("*", "anything", true),
            ("*", "", true),
            ("list_*", "list_contacts", true),
            ("list_*", "list_", true),
            ("list_*", "relist_x", false),
            ("*_salaries", "list_salaries", true),
            ("*_salaries", "list_salaries_2", false),
            ("get_?", "get_1", true),
            ("get_?", "get_12", false),
            ("a*b*c", "a__b__b__c", true),
            ("a*b*c", "a__c__b", false),
            ("exact", "exact", true),
            ("exact", "Exact", false),
        ] {
            assert_eq!(glob(pattern).matches(name), fits, "{pattern} on {name}");
        }
    }

    #[test]
    fn prefixes_can_not_be_ambiguous() {
        for good in ["crm", "", "a-b", "a_b", "x1", "A.b"] {
            assert!(Prefix::parse(good.into()).is_ok(), "{good}");
        }
        for bad in ["a__b", "a_", "_a", "a b", "ä", "-"] {
            assert!(Prefix::parse(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn timeouts_have_units_and_bounds() {
        for (text, millis) in [
            ("100ms", Some(100)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("99ms", None),
            ("11m", None),
            ("30", None),
            ("s", None),
            ("1h", None),
            ("99999999999999999999m", None),
        ] {
            let parsed = Timeout::try_from(text.to_owned()).ok();
            assert_eq!(parsed.map(|t| t.0.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        let error = ServerUrl::try_from("https://u:s3cret@h/mcp".to_owned()).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
