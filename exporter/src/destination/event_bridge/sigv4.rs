//! AWS Signature Version 4 (IAM User Guide, "Create a signed AWS API request") for requests whose path and query need
//! no encoding.
//!
//! Promises: pure; a key appears in no error and no `Debug`. The crate `aws-sigv4` does the same with some twenty
//! others behind it, a second SHA-2 among them.

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::destination::invalid::Invalid;

/// Keys of an IAM user, or of a role's session.
#[derive(Clone, Debug)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
}

impl Credentials {
    /// Keys as a Secret or STS holds them.
    ///
    /// # Errors
    /// What can not be a key; a token that can not be sent in a header.
    pub fn new(id: &str, secret: SecretString, session_token: Option<SecretString>) -> Result<Self, Invalid> {
        // `accessKeyIdType` of the STS API: 16 to 128 word characters.
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(16..=128).contains(&id.len()) || !id.bytes().all(word) {
            return Err(Invalid::new("accessKeyId", "must be 16 to 128 letters and digits"));
        }
        let visible = |text: &SecretString| {
            !text.expose_secret().is_empty() && text.expose_secret().bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !visible(&secret) {
            return Err(Invalid::new("secretAccessKey", "must be visible ASCII characters without a space"));
        }
        if !session_token.as_ref().is_none_or(visible) {
            return Err(Invalid::new("sessionToken", "must be visible ASCII characters without a space"));
        }
        Ok(Self { access_key_id: id.to_owned(), secret_access_key: secret, session_token })
    }

    /// To be sent as `x-amz-security-token`, and signed.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.expose_secret())
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Encoded, and normalised.
    pub path: &'a str,
    /// Encoded, and sorted.
    pub query: &'a str,
    /// All that are to be signed, `host` and `x-amz-date` among them: names in lower case and sorted, values without
    /// spaces at the ends or in a row.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body as it is sent.
    pub body: &'a [u8],
}

/// `x-amz-date` of a time: `20150830T123600Z`.
#[must_use]
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of `Authorization` for a request with `x-amz-date: date`.
#[must_use]
pub fn authorization(
    credentials: &Credentials,
    region: &str,
    service: &str,
    date: &str,
    request: &Unsigned<'_>,
) -> String {
    let Unsigned { method, path, query, headers, body } = request;
    let day = date.get(..8).unwrap_or(date);
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(body)));
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let digest = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let key = signing_key(credentials.secret_access_key.expose_secret(), day, region, service);
    let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
    let id = &credentials.access_key_id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let first = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    [region, service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; an empty one here would make a signature that AWS refuses.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const DATE: &str = "20150830T123600Z";
    const FORM: &str = "application/x-www-form-urlencoded";

    /// The last part of the header, for credentials and a time that AWS's test suite uses throughout.
    fn signature(service: &str, token: Option<&str>, request: &Unsigned<'_>) -> String {
        // The suite's key id has fewer characters than the API allows, and is not part of what is signed.
        let id = "AKIDEXAMPLEAKIDEXAMPLE";
        let credentials = Credentials::new(id, SECRET.into(), token.map(SecretString::from)).unwrap();
        let header = authorization(&credentials, "us-east-1", service, DATE, request);
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential={id}/20150830/us-east-1/{service}/aws4_request, SignedHeaders={}, Signature=",
            names.join(";")
        );
        header.strip_prefix(&expected).unwrap().to_owned()
    }

    #[test]
    fn signing_key_is_the_documentations() {
        let key = signing_key(SECRET, "20150830", "us-east-1", "iam");
        assert_eq!(hex::encode(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let host = ("host", "example.amazonaws.com");
        let date = ("x-amz-date", DATE);
        let vanilla = Unsigned { method: "GET", path: "/", query: "", headers: &[host, date], body: b"" };
        // get-vanilla
        assert_eq!(
            signature("service", None, &vanilla),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        // post-vanilla
        assert_eq!(
            signature("service", None, &Unsigned { method: "POST", ..vanilla }),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        // post-x-www-form-urlencoded
        let headers = [("content-type", FORM), host, date];
        let form = Unsigned { method: "POST", headers: &headers, body: b"Param1=value1", ..vanilla };
        assert_eq!(
            signature("service", None, &form),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        // The example of the IAM User Guide: ListUsers.
        let headers =
            [("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("host", "iam.amazonaws.com"), date];
        let query = "Action=ListUsers&Version=2010-05-08";
        assert_eq!(
            signature("iam", None, &Unsigned { query, headers: &headers, ..vanilla }),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn date_is_in_the_basic_form() {
        assert_eq!(date("2015-08-30T12:36:00.999Z".parse().unwrap()), DATE);
    }

    #[test]
    fn keys_that_are_none_are_refused_without_being_repeated() {
        let new = |id: &str, secret: &str, token: Option<&str>| {
            Credentials::new(id, secret.into(), token.map(SecretString::from)).unwrap_err().to_string()
        };
        assert_eq!(new("AKIA", "s", None), "accessKeyId: must be 16 to 128 letters and digits");
        assert_eq!(new("AKIDEXAMPLE/EXAMPLE", "s", None), "accessKeyId: must be 16 to 128 letters and digits");
        let visible = "must be visible ASCII characters without a space";
        assert_eq!(new("AKIDEXAMPLEEXAMPLE", "hunter 2", None), format!("secretAccessKey: {visible}"));
        assert_eq!(new("AKIDEXAMPLEEXAMPLE", "", None), format!("secretAccessKey: {visible}"));
        assert_eq!(new("AKIDEXAMPLEEXAMPLE", "s", Some("a\nb")), format!("sessionToken: {visible}"));
        let debug = format!("{:?}", Credentials::new("AKIDEXAMPLEEXAMPLE", "hunter2".into(), Some("token".into())));
        assert!(!debug.contains("hunter2") && !debug.contains("\"token\""), "{debug}");
    }
}
