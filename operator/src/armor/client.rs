//! What is asked on Armor's admin port.

use secrecy::SecretString;
use serde::Deserialize;

use super::view::{Replica, ServerReport};
use crate::admin::{Failure, Http};

/// Port of Armor's admin API.
const ADMIN_PORT: u16 = 9090;

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
pub(super) async fn ask(http: &Http, address: &str, token: &SecretString) -> Result<Replica, Failure> {
    let config: ConfigAnswer = http.get((address, ADMIN_PORT), "config", token).await?;
    let servers: ServersAnswer = http.get((address, ADMIN_PORT), "servers", token).await?;
    Ok(Replica {
        revision: config.revision,
        credentials: config.credentials_revision,
        error: config.last_error,
        redis: config.redis.takes_events,
        unreachable: None,
        servers: servers.servers.into_iter().map(|server| (server.name.clone(), server)).collect(),
    })
}
