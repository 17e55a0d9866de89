//! Credentials: rotation without a restart, keys, generated Secrets, and that no value shows up anywhere.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, SYSTEM, eventually, kubectl};

use crate::lifecycle::call;
use crate::{MANAGED, pool, workload};

/// Uids of the gateways of the Pool prod.
pub fn armor_pods(ns: &Namespace) -> Result<Vec<String>> {
    let pods = ns.list("pods", "app.kubernetes.io/component=armor,app.kubernetes.io/instance=prod")?;
    Ok(pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str().map(str::to_owned)).collect())
}

/// Makes a key for a user and its Secret, labelled for the pool prod; gives the key.
pub fn api_key(ns: &Namespace, user: &str) -> Result<String> {
    let armor = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/armor");
    let armor = std::env::var("ARMOR_BIN").unwrap_or_else(|_| armor.to_owned());
    let address = format!("{user}@example.com");
    let made = Command::new(armor)
        .args(["api-key", "create", "--user", &address, "--name", user, "--label", "keys=prod"])
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stderr)?;
    let key =
        said.split_whitespace().find(|word| word.starts_with("agw_")).context("the key is shown once")?.to_owned();
    let manifest = String::from_utf8(made.stdout)?;
    ensure!(!manifest.contains(&key), "the Secret holds the key itself");
    ns.apply(&manifest)?;
    Ok(key)
}

#[test]
fn a_rotated_token_reaches_the_server_without_a_restart() -> Result<()> {
    let ns = Namespace::new("e2e-rotate")?;
    ns.kubectl(&["create", "secret", "generic", "expected", "--from-literal=TOKEN=planted-right-token"])?;
    ns.kubectl(&["create", "secret", "generic", "token", "--from-literal=value=planted-wrong-token"])?;
    ns.apply(&pool("prod"))?;
    ns.apply(
        "apiVersion: aigateway.dev/v1alpha1\nkind: McpServer\nmetadata: {name: guarded}\nspec:\n  poolRef: {name: prod}\n  \
         workload:\n    image: localhost/example-mcp:dev\n    args: [--name, guarded, --bearer-token-env, TOKEN]\n    \
         envFrom: [{secretRef: {name: expected}}]\n  auth: {bearer: {secretRef: {name: token, key: value}}}\n",
    )?;
    ns.active("prod", 120)?;
    let refused = ns.condition("mcpserver", "guarded", ("Ready", "False", "OutboundAuthFailed"), 60)?;
    ensure!(!refused.to_string().contains("planted"), "{refused}");
    let pods = armor_pods(&ns)?;
    ns.patch("secret", "token", &serde_json::json!({"stringData": {"value": "planted-right-token"}}))?;
    ns.condition("mcpserver", "guarded", ("Ready", "True", "Connected"), 60)?;
    ensure!(armor_pods(&ns)? == pods, "a rotation rolled Pods");
    let said = call(&ns, "prod", "guarded__add", r#"{"a":2,"b":3}"#, None)?;
    ensure!(said.contains('5'), "{said}");

    // Nothing that people read holds a value.
    let logs = kubectl(&["-n", SYSTEM, "logs", "-l", "app=ai-gateway-operator", "--tail=-1"])?;
    let armor = ns.kubectl(&["logs", "deployment/prod-armor"])?;
    let objects =
        ns.kubectl(&["get", "configmaps,pools,mcpservers,deployments,statefulsets,pods,events", "-o", "yaml"])?;
    let redis = ns.kubectl(&["exec", "prod-redis-0", "--", "sh", "-c", "true"]);
    ensure!(redis.is_err(), "the Redis image has a shell");
    for (place, text) in [("operator's log", &logs), ("Armor's log", &armor), ("objects", &objects)] {
        ensure!(!text.contains("planted-"), "a secret value is in the {place}");
        ensure!(!text.is_empty(), "{place} were read");
    }
    Ok(())
}

#[test]
fn api_keys_let_their_holders_in_and_nobody_else() -> Result<()> {
    let ns = Namespace::new("e2e-keys")?;
    let yaml = pool("prod").replace("{anonymous: true}", "{apiKeys: {secretSelector: {matchLabels: {keys: prod}}}}");
    ns.apply(&(yaml + &workload("tickets", "prod")))?;
    ns.condition("pool", "prod", ("ResolvedRefs", "False", "NoApiKeys"), 60)?;
    let key = api_key(&ns, "alice")?;
    ns.condition("pool", "prod", ("ResolvedRefs", "True", ""), 30)?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", ""), 60)?;
    let said = call(&ns, "prod", "tickets__echo", r#"{"text":"in"}"#, Some(&key))?;
    ensure!(said.contains("tickets: in"), "{said}");
    for wrong in [None, Some("agw_wrong")] {
        ensure!(call(&ns, "prod", "tickets__echo", r#"{"text":"in"}"#, wrong).is_err(), "{wrong:?} was let in");
    }
    // A key that is taken away stops to work, without a new Pod.
    let pods = armor_pods(&ns)?;
    ns.kubectl(&["delete", "secret", "alice"])?;
    eventually("the key is refused", Duration::from_secs(30), || {
        ensure!(call(&ns, "prod", "tickets__echo", r#"{"text":"in"}"#, Some(&key)).is_err(), "it still works");
        Ok(())
    })?;
    ensure!(armor_pods(&ns)? == pods, "taking a key away rolled Pods");
    Ok(())
}

#[test]
fn a_generated_secret_that_was_deleted_is_made_anew_and_pods_roll_once() -> Result<()> {
    let ns = Namespace::new("e2e-generated")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    let generated = ns.list("secrets", MANAGED)?;
    ensure!(generated.len() == 3, "Redis password, admin token and hash key: {generated:?}");
    for before in generated {
        let name = before["metadata"]["name"].as_str().unwrap_or_default();
        let generation = ns.get("deployment", "prod-armor")?["metadata"]["generation"].as_i64();
        ns.kubectl(&["delete", "secret", name])?;
        let after = eventually("the Secret is made anew", Duration::from_secs(30), || ns.get("secret", name))?;
        ensure!(before["data"] != after["data"], "{name} has other content");
        eventually("the gateways roll", Duration::from_secs(30), || {
            let now = ns.get("deployment", "prod-armor")?["metadata"]["generation"].as_i64();
            ensure!(now == generation.map(|g| g + 1), "{name}: generation {now:?}, before {generation:?}");
            Ok(())
        })?;
        ns.kubectl(&["rollout", "status", "statefulset/prod-redis", "--timeout=120s"])?;
        ns.kubectl(&["rollout", "status", "deployment/prod-armor", "--timeout=120s"])?;
        ns.active("prod", 90)?;
    }
    let said = call(&ns, "prod", "tickets__echo", r#"{"text":"again"}"#, None)?;
    ensure!(said.contains("tickets: again"), "{said}");
    Ok(())
}
