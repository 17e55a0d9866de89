//! Requests to Armor's admin port.

use std::time::Duration;

use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::view::{Replica, ServerReport};

/// Port of Armor's admin API.
pub(crate) const ADMIN_PORT: u16 = 9090;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of one answer; a pool with hundreds of servers stays far below.
const MAX_BODY: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigAnswer {
    revision: Option<String>,
    credentials_revision: Option<String>,
    last_error: Option<String>,
    redis: RedisAnswer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedisAnswer {
    takes_events: bool,
}

#[derive(Deserialize)]
struct ServersAnswer {
    servers: Vec<ServerReport>,
}

/// Asks one replica for its configuration and its servers.
pub(super) async fn ask(http: &Client, address: &str, token: &SecretString) -> Replica {
    match ask_both(http, address, token).await {
        Ok(replica) => replica,
        Err(cause) => Replica { unreachable: Some(cause), ..Replica::default() },
    }
}

async fn ask_both(http: &Client, address: &str, token: &SecretString) -> Result<Replica, String> {
    let config: ConfigAnswer = get(http, address, "config", token).await?;
    let servers: ServersAnswer = get(http, address, "servers", token).await?;
    Ok(Replica {
        revision: config.revision,
        credentials: config.credentials_revision,
        error: config.last_error,
        redis: config.redis.takes_events,
        unreachable: None,
        servers: servers.servers.into_iter().map(|server| (server.name.clone(), server)).collect(),
    })
}

async fn get<T: DeserializeOwned>(http: &Client, address: &str, path: &str, token: &SecretString) -> Result<T, String> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let url = Url::parse(&format!("http://{host}:{ADMIN_PORT}/{path}")).map_err(|e| e.to_string())?;
    let request = http.get(url).bearer_auth(token.expose_secret()).timeout(TIMEOUT);
    let mut response = request.send().await.map_err(|error| describe(&error))?;
    if !response.status().is_success() {
        return Err(format!("/{path} answers HTTP {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return Err(format!("/{path} answers more than {MAX_BODY} bytes"));
        }
    }
    serde_json::from_slice(&body).map_err(|error| format!("/{path} answers something unexpected: {error}"))
}

/// A cause without an address, so that a status does not change with every new Pod.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "no answer in time".into()
    } else if error.is_connect() {
        "connection refused".into()
    } else {
        "the connection broke".into()
    }
}
