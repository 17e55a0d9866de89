//! A session of a role for a Kubernetes service account (IRSA): STS AssumeRoleWithWebIdentity (API 2011-06-15, query
//! protocol).
//!
//! Promises: pure; the request is not signed, since its token is its credential. The token is read anew for each
//! request by who calls this, because the kubelet renews it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use roxmltree::{Document, Node};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use url::form_urlencoded::Serializer;

use super::config::check_region;
use super::{Credentials, service_host};
use crate::answer::{Answer, Code, Verdict};
use crate::destination::Request;
use crate::destination::invalid::Invalid;
use crate::status;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Keys with an end.
#[derive(Clone, Debug)]
pub struct Session {
    /// The keys.
    pub credentials: Credentials,
    /// When they end; one hour after they were asked for, if the role says nothing else.
    pub expires: Timestamp,
}

/// Asks for a session of `role_arn`; `session_name` is in the audit trail of the account.
///
/// # Errors
/// What STS would refuse: a region that is none, a role that is no ARN, a session name with other characters than
/// `[A-Za-z0-9_=,.@-]`.
pub fn request(region: &str, role_arn: &str, session_name: &str, token: &SecretString) -> Result<Request, Invalid> {
    check_region(region)?;
    if !role_arn.starts_with("arn:") || role_arn.len() > 2_048 {
        return Err(Invalid::new("roleArn", "must be the ARN of an IAM role"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.@-".contains(&byte);
    if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(allowed) {
        return Err(Invalid::new("roleSessionName", "must be 2 to 64 letters, digits or any of _=,.@-"));
    }
    let url = Url::parse(&format!("https://{}/", service_host("sts", region)))
        .map_err(|_| Invalid::new("region", "must be an AWS region like eu-central-1"))?;
    let body = Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", role_arn)
        .append_pair("RoleSessionName", session_name)
        .append_pair("WebIdentityToken", token.expose_secret().trim())
        .finish();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(FORM))]);
    Ok(Request { url, headers, body: Bytes::from(body), compress: false })
}

/// The session in an answer.
///
/// # Errors
/// Why there is none: `Auth`, `Retry` or `Config`, for everything that waits for it.
pub fn session(answer: &Answer<'_>) -> Result<Session, Verdict> {
    let unreadable = || Verdict::Retry { code: Code::fixed("sts-unreadable-answer"), after: None };
    let text = std::str::from_utf8(answer.body).unwrap_or_default();
    // Entities that a document declares itself are not expanded without bound: the parser refuses a DTD.
    let document = Document::parse(text);
    if !answer.status.is_success() {
        let code = document.as_ref().ok().and_then(|document| find(document.root(), "Code"));
        return Err(refusal(code.unwrap_or_default(), answer));
    }
    let document = document.map_err(|_| unreadable())?;
    let keys = document.descendants().find(|node| node.tag_name().name() == "Credentials").ok_or_else(unreadable)?;
    let part = |name| find(keys, name).ok_or_else(unreadable);
    let expires = part("Expiration")?.parse().map_err(|_| unreadable())?;
    let credentials =
        Credentials::new(part("AccessKeyId")?, part("SecretAccessKey")?.into(), Some(part("SessionToken")?.into()))
            .map_err(|_| unreadable())?;
    Ok(Session { credentials, expires })
}

fn find<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.descendants().find(|node| node.tag_name().name() == name)?.text().map(str::trim)
}

/// The errors of the operation, and those of all of STS.
fn refusal(code: &str, answer: &Answer<'_>) -> Verdict {
    let auth = |code| Verdict::Auth { code: Code::fixed(code) };
    match code {
        "ExpiredTokenException" | "ExpiredToken" => auth("sts-ExpiredToken"),
        "InvalidIdentityToken" | "InvalidIdentityTokenException" => auth("sts-InvalidIdentityToken"),
        "IDPRejectedClaim" | "IDPRejectedClaimException" => auth("sts-IDPRejectedClaim"),
        "AccessDenied" | "AccessDeniedException" => auth("sts-AccessDenied"),
        "IDPCommunicationError" | "IDPCommunicationErrorException" => Verdict::Retry {
            code: Code::fixed("sts-IDPCommunicationError"),
            after: status::retry_after(answer.headers),
        },
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
            Verdict::Retry { code: Code::fixed("sts-Throttling"), after: status::retry_after(answer.headers) }
        }
        "RegionDisabledException" => Verdict::Config { code: Code::fixed("sts-RegionDisabled"), field: "region" },
        "ValidationError" => auth("sts-ValidationError"),
        // No event is in this request, so none can be refused with it.
        _ => match status::verdict(answer, 0, "region") {
            Verdict::Delivered | Verdict::Split { .. } | Verdict::Drop { .. } => auth("sts-refused"),
            other => other,
        },
    }
}
