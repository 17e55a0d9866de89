//! PodMonitors of the Prometheus operator, for the Pods that have metrics.

use serde_json::json;

use super::exporter::COMPONENT;
use super::parts::meta;
use crate::child::{Child, Kind, Prepared};
use crate::names::{POOL_LABEL, selector};
use crate::pool::validate::ValidatedPool;

pub(super) fn pod_monitors(pool: &ValidatedPool) -> Result<Vec<Child<Prepared>>, serde_json::Error> {
    if !pool.pod_monitors {
        return Ok(Vec::new());
    }
    let exporter = (!pool.exports.is_empty()).then_some(COMPONENT);
    ["armor"].into_iter().chain(exporter).map(|component| pod_monitor(pool, component)).collect()
}

fn pod_monitor(pool: &ValidatedPool, component: &str) -> Result<Child<Prepared>, serde_json::Error> {
    let object = json!({
        "metadata": meta(pool, component, component),
        "spec": {
            "selector": {"matchLabels": selector(component, &pool.name)},
            "podTargetLabels": [POOL_LABEL],
            "podMetricsEndpoints": [{"port": "admin", "path": "/metrics"}],
        },
    });
    Child::desired(Kind::PodMonitor, &pool.owner, &object)
}
