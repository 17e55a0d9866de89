//! Access tokens of Entra ID: the client credentials grant (Microsoft identity platform, "OAuth 2.0 client credentials
//! flow").
//!
//! Promises: the token of a service account is passed in at each request, because the file is written anew all the
//! time. Must never keep an error's description: it names the application, its owner and the time.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::form_urlencoded;

use super::config::{Config, Identity};
use crate::answer::{Answer, Code, Verdict};
use crate::destination::Request;
use crate::status;

/// That the assertion is a JWT (RFC 7523 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The audience that the service account's token must have for Entra ID (Azure Workload Identity).
pub const ASSERTION_AUDIENCE: &str = "api://AzureADTokenExchange";

/// A token and how long it serves.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub secret: SecretString,
    /// From the answer on.
    pub lifetime: Duration,
}

/// Asks for a token. `proof` is the client secret, or the token of the service account.
#[must_use]
pub fn request(config: &Config, proof: &SecretString) -> Request {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", &config.client_id);
    form.append_pair("scope", config.cloud.scope());
    let proof = proof.expose_secret().trim();
    match config.identity {
        Identity::ClientSecret => form.append_pair("client_secret", proof),
        Identity::WorkloadIdentity => {
            form.append_pair("client_assertion_type", JWT_BEARER).append_pair("client_assertion", proof)
        }
    };
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    Request { url: config.token_url.clone(), headers, body: form.finish().into(), compress: false }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds.
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
}

/// The errors of the flow that are told by name (RFC 6749 5.2, and those that Entra ID adds).
const ERRORS: [&str; 7] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_resource",
    "invalid_scope",
    "temporarily_unavailable",
    "unauthorized_client",
];

/// The token, or what its refusal means for every event that waits for it.
///
/// # Errors
/// Never `Drop` and never `Split`: no event is to blame.
pub fn answer(answer: &Answer<'_>) -> Result<Token, Verdict> {
    if answer.status.is_success() {
        let granted: Granted = serde_json::from_slice(answer.body)
            .map_err(|_| Verdict::Config { code: Code::fixed("token-no-response"), field: "authority" })?;
        let lifetime = Duration::from_secs(granted.expires_in);
        return Ok(Token { secret: granted.access_token.into(), lifetime });
    }
    let error = serde_json::from_slice(answer.body).map_or_else(|_| String::new(), |Refused { error }| error);
    let known = ERRORS.into_iter().find(|known| *known == error);
    let code = known.map_or_else(|| Code::number("token-http", answer.status.as_u16().into()), Code::fixed);
    Err(match (answer.status, known) {
        (_, Some("temporarily_unavailable")) => Verdict::Retry { code, after: status::retry_after(answer.headers) },
        (StatusCode::NOT_FOUND, _) => Verdict::Config { code, field: "tenantId" },
        (StatusCode::BAD_REQUEST, _) => Verdict::Auth { code },
        _ => match status::verdict(answer, 1, "authority") {
            Verdict::Retry { after, .. } => Verdict::Retry { code, after },
            Verdict::Config { field, .. } => Verdict::Config { code, field },
            _ => Verdict::Auth { code },
        },
    })
}
