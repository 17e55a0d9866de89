//! The very bodies that the operator writes, from its own builders.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use crds::Pool;
use operator::names::{DESIRED_HASH, SECRETS_IDENTITY};
use operator::pool::{Dereferenced, build, configuration, validate};
use operator::settings::{Cli, Command, Settings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where the Pools are.
pub const NAMESPACE: &str = "bench";
/// As long as the random values that the operator generates.
const GENERATED: &str = "0123456789012345678901234567890123456789012";

/// The Pool with this number: the least that a user writes, without replicas because no node is there to run them.
pub fn pool(number: usize) -> Value {
    json!({
        "apiVersion": "aigateway.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": format!("pool-{number:04}"), "namespace": NAMESPACE},
        "spec": {
            "auth": {"anonymous": true},
            "armor": {"replicas": 0},
            // No volume: the controller of volumes would repeat Events about each claim for ever.
            "redis": {"managed": {"persistence": {"enabled": false}}},
        },
    })
}

/// Arguments of the operator under test.
pub fn operator_args(http_port: u16) -> Vec<String> {
    let port = http_port.to_string();
    [
        "run",
        "--leader-elect",
        "true",
        "--namespace",
        "ai-gateway-system",
        "--pod-name",
        "bench",
        "--log-format",
        "json",
        "--http-port",
        &port,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Settings as the operator under test reads them.
pub fn settings() -> Result<Settings> {
    let program = "ai-gateway-operator".to_owned();
    match Cli::try_parse_from(std::iter::once(program).chain(operator_args(8080)))?.command {
        Command::Run(settings) => Ok(*settings),
        Command::Crds { .. } => Err(anyhow!("the arguments say run")),
    }
}

/// Hash of the configuration of a pool, as its status tells it.
pub fn revision(pool: &Pool, cluster_id: &str) -> Result<String> {
    Ok(configured(pool, cluster_id)?.1.revision)
}

/// Every child of a pool.
pub fn children(pool: &Pool, cluster_id: &str, settings: &Settings) -> Result<Vec<Value>> {
    let (pool, configuration) = configured(pool, cluster_id)?;
    Ok(build(&pool, &configuration, settings)?.manifests().into_iter().map(stamped).collect())
}

fn configured(pool: &Pool, cluster_id: &str) -> Result<(validate::ValidatedPool, operator::pool::Configuration)> {
    // The pools of a benchmark point at nothing.
    let outcome =
        validate::validate(pool, &Dereferenced::default()).map_err(|fault| anyhow!("{}", fault.problem().message))?;
    let configuration = configuration(&outcome.pool, Some(cluster_id)).context("configuration")?;
    Ok((outcome.pool, configuration))
}

/// Adds what the operator adds while it applies: random values, the hash of the desired state, and the identity of Secrets.
fn stamped(mut body: Value) -> Value {
    if body["kind"] == "Secret" {
        body["stringData"] = json!({"value": GENERATED});
        return body;
    }
    if body["spec"].get("template").is_some() {
        body["spec"]["template"]["metadata"]["annotations"][SECRETS_IDENTITY] = json!(&GENERATED[..16]);
    }
    let hash = hex::encode(Sha256::digest(body.to_string()));
    body["metadata"]["annotations"][DESIRED_HASH] = json!(&hash[..16]);
    body
}

/// Those children of `after` that `before` does not have in the same form.
pub fn changed(before: &[Value], after: Vec<Value>) -> Vec<Value> {
    after.into_iter().filter(|child| !before.contains(child)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(level: &str) -> Pool {
        let mut body = pool(7);
        body["metadata"]["uid"] = json!("pool-uid");
        body["spec"]["armor"]["logLevel"] = json!(level);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_pool_has_twelve_children_each_with_the_annotation_that_the_operator_writes() {
        let children = children(&made("info"), "cluster-uid", &settings().unwrap()).unwrap();
        assert_eq!(children.len(), 12);
        for child in children.iter().filter(|child| child["kind"] != "Secret") {
            assert_eq!(child["metadata"]["annotations"][DESIRED_HASH].as_str().unwrap().len(), 16, "{child}");
        }
    }

    #[test]
    fn the_edited_field_changes_the_configuration_alone() {
        let settings = settings().unwrap();
        let of = |level: &str| children(&made(level), "cluster-uid", &settings).unwrap();
        let changed = changed(&of("info"), of("debug"));
        let kinds: Vec<&str> = changed.iter().filter_map(|child| child["kind"].as_str()).collect();
        assert_eq!(kinds, ["ConfigMap"]);
        assert_ne!(revision(&made("info"), "c").unwrap(), revision(&made("debug"), "c").unwrap());
    }
}
