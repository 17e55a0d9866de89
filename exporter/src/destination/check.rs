//! Checks that several destinations make of their fields and credentials.
//!
//! Must never repeat a value in an error: it may be a credential that was put into the wrong field.

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::invalid::Invalid;

/// A text of 1 to `max` bytes without control characters.
pub(crate) fn text(field: &'static str, value: String, max: usize) -> Result<String, Invalid> {
    if value.is_empty() || value.len() > max || value.chars().any(char::is_control) {
        return Err(Invalid::new(field, format!("must be 1 to {max} bytes without control characters")));
    }
    Ok(value)
}

/// The URL that `url` makes of a domain name: letters, digits, hyphens and dots, so that it can only become a host.
pub(crate) fn host(field: &'static str, domain: &str, url: impl Fn(&str) -> String) -> Result<Url, Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_name = domain.contains('.') && domain.len() <= 253 && domain.bytes().all(allowed);
    let parsed =
        Url::parse(&url(domain)).ok().filter(|_| is_name && !domain.starts_with('.') && !domain.ends_with('.'));
    parsed.ok_or_else(|| Invalid::new(field, "must be a domain name"))
}

/// The value of a header that holds a credential after `scheme`, marked sensitive. White space around the credential
/// goes: most editors end a Secret's value with a line break.
pub(crate) fn credential(field: &'static str, scheme: &str, secret: &SecretString) -> Result<HeaderValue, Invalid> {
    let secret = secret.expose_secret().trim();
    let visible = !secret.is_empty() && secret.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let value = HeaderValue::from_str(&format!("{scheme}{secret}")).ok().filter(|_| visible);
    let mut value = value.ok_or_else(|| Invalid::new(field, "must be one line of visible ASCII characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_trimmed_and_sensitive_and_nothing_else_than_one_line() {
        let value = credential("tokenSecretRef", "Splunk ", &SecretString::from("abc-1\n")).unwrap();
        assert_eq!(value, "Splunk abc-1");
        assert_eq!(format!("{value:?}"), "Sensitive");
        for bad in ["", " \n", "a\r\nX-Evil: 1", "ü", "a\tb"] {
            let error = credential("tokenSecretRef", "Splunk ", &SecretString::from(bad)).unwrap_err();
            assert_eq!(error.to_string(), "tokenSecretRef: must be one line of visible ASCII characters");
        }
    }

    #[test]
    fn domain_can_become_nothing_but_the_host() {
        let url = |domain: &str| host("domain", domain, |domain| format!("https://in.{domain}/v1"));
        assert_eq!(url("eu2.example.com").unwrap().as_str(), "https://in.eu2.example.com/v1");
        for bad in
            ["", "localhost", ".example.com", "a.b/c", "a.b?c", "a.b#c", "a.b:1", "u@a.b", "a.b\\c", "a b.c", "ü.de"]
        {
            assert_eq!(url(bad).unwrap_err().to_string(), "domain: must be a domain name", "{bad}");
        }
    }

    #[test]
    fn text_has_a_length_and_no_control_characters() {
        assert_eq!(text("source", "ai-gateway".into(), 10).unwrap(), "ai-gateway");
        for bad in ["", "ai-gateway2", "a\nb"] {
            let error = text("source", bad.into(), 10).unwrap_err();
            assert_eq!(error.to_string(), "source: must be 1 to 10 bytes without control characters");
        }
    }
}
