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
    serde_json::from_slice(&body).map_err(|error| {
        // The words of the error would quote the answer.
        let (line, column) = (error.line(), error.column());
        Failure::Unexpected(format!("/{path} answers something unexpected in line {line}, column {column}"))
    })
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

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    /// A Pod on a port of its own; it goes with the test's runtime.
    async fn pod() -> u16 {
        let guarded = |headers: HeaderMap| async move {
            match headers.get("authorization").is_some_and(|value| value == "Bearer good") {
                true => Json(json!({"n": 7})).into_response(),
                false => StatusCode::UNAUTHORIZED.into_response(),
            }
        };
        let app = Router::new()
            .route("/v1/guarded", get(guarded))
            .route("/text", get(|| async { "planted" }))
            .route("/long", get(|| async { vec![b' '; MAX_BODY + 1] }))
            .route("/echo", post(|Json(body): Json<Value>| async { Json(body) }))
            .route("/silent", get(std::future::pending::<()>));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        port
    }

    fn http() -> Http {
        // The first test to come here installs it for all.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Http::new().unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_parsed_and_every_other_is_a_failure_without_its_words() {
        let (http, port) = (http(), pod().await);
        let get = async |path: &str, token: &str| -> Result<Value, Failure> {
            http.get(("127.0.0.1", port), path, &SecretString::from(token)).await
        };
        assert_eq!(get("v1/guarded", "good").await.unwrap(), json!({"n": 7}));
        let refused = get("v1/guarded", "bad").await.unwrap_err();
        assert!(refused.is_unauthorized());
        assert_eq!(refused.to_string(), "/v1/guarded answers HTTP 401");
        let text = get("text", "good").await.unwrap_err();
        assert_eq!(text.to_string(), "/text answers something unexpected in line 1, column 1");
        assert!(get("long", "good").await.unwrap_err().to_string().contains("more than 4194304 bytes"));
        assert_eq!(get("silent", "good").await.unwrap_err().to_string(), "no answer in time");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let none: Result<Value, _> = http.get(("127.0.0.1", free), "text", &SecretString::from("good")).await;
        assert_eq!(none.unwrap_err().to_string(), "connection refused");
    }

    #[tokio::test]
    async fn a_body_is_sent_as_json() {
        let (http, port) = (http(), pod().await);
        let body = json!([{"event": "pool_created"}]);
        let token = SecretString::from("good");
        let answer: Value =
            http.post(("127.0.0.1", port), "echo", &token, &body, Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer, body);
    }
}
