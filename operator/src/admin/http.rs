//! Requests to an admin port.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

const TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of one answer; that of a pool with hundreds of servers stays far below.
const MAX_BODY: usize = 4 << 20;

/// Why there is no answer. Without an address, so that a status does not change with every new Pod.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection, or none that lasted.
    Broken(&'static str),
    /// Another status than 2xx.
    Status { path: String, code: u16 },
    /// An answer that is too long or of another form.
    Unexpected(String),
}

impl Failure {
    /// Whether the token is not the one that the Pod has.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Failure::Status { code: 401, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Broken(cause) => f.write_str(cause),
            Failure::Status { path, code } => write!(f, "/{path} answers HTTP {code}"),
            Failure::Unexpected(cause) => f.write_str(cause),
        }
    }
}

/// A client for admin ports: no proxy, no redirects.
#[derive(Clone)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        Ok(Http(Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?))
    }

    /// The JSON that a path answers with.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        (address, port): (&str, u16),
        path: &str,
        token: &SecretString,
    ) -> Result<T, Failure> {
        let request = self.0.get(url(address, port, path)?).timeout(TIMEOUT);
        answer(request, path, token).await
    }

    /// The JSON that a path answers a JSON body with.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        (address, port): (&str, u16),
        path: &str,
        token: &SecretString,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Failure> {
        let request = self.0.post(url(address, port, path)?).json(body).timeout(timeout);
        answer(request, path, token).await
    }
}

fn url(address: &str, port: u16, path: &str) -> Result<Url, Failure> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    Url::parse(&format!("http://{host}:{port}/{path}")).map_err(|error| Failure::Unexpected(error.to_string()))
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder, path: &str, token: &SecretString) -> Result<T, Failure> {
    let mut response = request.bearer_auth(token.expose_secret()).send().await.map_err(|error| broken(&error))?;
    if !response.status().is_success() {
        return Err(Failure::Status { path: path.to_owned(), code: response.status().as_u16() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return Err(Failure::Unexpected(format!("/{path} answers more than {MAX_BODY} bytes")));
        }
    }
    serde_json::from_slice(&body)
        .map_err(|error| Failure::Unexpected(format!("/{path} answers something unexpected: {error}")))
}

fn broken(error: &reqwest::Error) -> Failure {
    Failure::Broken(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "connection refused"
    } else {
        "the connection broke"
    })
}
