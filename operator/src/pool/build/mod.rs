//! From a `ValidatedPool` to the objects that it needs. Pure.

mod armor;
mod config;
mod exporter;
mod monitors;
mod network;
mod parts;
mod redis;
mod secrets;

use crate::child::{Child, Prepared};
use crate::settings::Settings;
use crate::world::ClusterFacts;

use super::validate::ValidatedPool;

pub use config::{Configuration, configuration};
pub use exporter::{ExporterResources, exporter_credentials};
pub(crate) use network::{ingress_policy, pods, rule};
pub(crate) use redis::CLAIM;

/// Ports of the pool's containers.
pub(crate) mod port {
    /// MCP, HTTP or HTTPS.
    pub(crate) const MCP: i32 = 8080;
    /// Armor's admin API.
    pub(crate) const ADMIN: i32 = 9090;
    /// The exporter's API.
    pub(crate) const EXPORTER: i32 = 9091;
    /// Redis.
    pub(crate) const REDIS: i32 = 6379;
}

/// Every child of a pool.
///
/// `apply` takes the set apart field by field, so a new one does not compile until it is applied.
#[derive(Debug)]
pub struct PoolResources<S> {
    /// Secrets that are made once.
    pub generated: Vec<Child<S>>,
    /// Copies of values that users own; absent when there are none.
    pub credentials: Option<Child<S>>,
    /// ServiceAccounts.
    pub accounts: Vec<Child<S>>,
    /// NetworkPolicies; empty when switched off.
    pub network_policies: Vec<Child<S>>,
    /// Redis, where the operator runs it.
    pub redis: Option<RedisResources<S>>,
    /// `armor.yaml`.
    pub config: Child<S>,
    /// The Service of the gateways.
    pub service: Child<S>,
    /// The gateways.
    pub deployment: Child<S>,
    /// Keeps gateways during drains; absent for a single one.
    pub disruption_budget: Option<Child<S>>,
    /// What delivers the audit trail, where a SiemExport selects the pool.
    pub exporter: Option<ExporterResources<S>>,
    /// PodMonitors; empty where none is wanted.
    pub pod_monitors: Vec<Child<S>>,
}

/// A managed Redis.
#[derive(Debug)]
pub struct RedisResources<S> {
    /// Its Service.
    pub service: Child<S>,
    /// Redis itself.
    pub stateful_set: Child<S>,
}

/// Builds every child.
///
/// # Errors
/// When an object can not be written as JSON or YAML, which is a defect of this program.
pub fn build(
    pool: &ValidatedPool,
    configuration: &Configuration,
    settings: &Settings,
) -> Result<PoolResources<Prepared>, serde_json::Error> {
    let redis = match &pool.redis {
        super::validate::Redis::Managed { spec, volume } => Some(RedisResources {
            service: redis::service(pool)?,
            stateful_set: redis::stateful_set(pool, spec, volume, settings)?,
        }),
        super::validate::Redis::External { .. } => None,
    };
    let exporter = configuration.exporter.as_ref().map(|document| exporter::resources_of(pool, document, settings));
    Ok(PoolResources {
        generated: secrets::generated(pool)?,
        credentials: secrets::credentials(pool)?,
        accounts: armor::accounts(pool)?,
        network_policies: network::policies(pool, settings)?,
        redis,
        config: config::config_map(pool, configuration)?,
        service: armor::service(pool)?,
        deployment: armor::deployment(pool, settings)?,
        disruption_budget: armor::disruption_budget(pool)?,
        exporter: exporter.transpose()?,
        pod_monitors: monitors::pod_monitors(pool)?,
    })
}

/// The configuration with the facts that only the process knows.
///
/// # Errors
/// As `build`.
pub fn configure(pool: &ValidatedPool, cluster: &ClusterFacts) -> Result<Configuration, serde_json::Error> {
    configuration(pool, cluster.id.as_deref())
}
