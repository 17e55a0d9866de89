//! The health of each component, and since when it has it.

use std::time::Duration;

use crds::status::Component;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Built, Facts};
use crate::child::WorkloadStatus;
use crate::conditions::Conditions;
use crate::pool::validate::Redis;

/// Health of each component: `Progressing` until it was ready once, `Degraded` when it was and is not.
pub(super) fn components(
    facts: &Facts<'_>,
    built: &Built<'_>,
    conditions: &Conditions<'_>,
    redis: Option<&WorkloadStatus>,
    armor: &WorkloadStatus,
    exporter: Option<&WorkloadStatus>,
) -> Vec<Component> {
    let pool = &built.outcome.pool;
    let one = |name: &str, type_: &str, desired: i32, ready: i32, image: Option<String>| {
        let before = facts.previous.components.iter().find(|component| component.name == name);
        let is_ready = conditions.get(type_).is_some_and(|condition| condition.status == "True");
        judged(name, image, before, is_ready, (desired, ready), &facts.now)
    };
    let armor_image = pool.armor.image.clone().unwrap_or_else(|| facts.settings.armor_image.clone());
    let mut components = vec![one("armor", "ArmorReady", pool.replicas, armor.ready, Some(armor_image))];
    match (&pool.redis, redis) {
        (Redis::Managed { spec, .. }, Some(status)) => {
            let image = spec.image.clone().unwrap_or_else(|| facts.settings.redis_image.clone());
            components.push(one("redis", "RedisReady", 1, status.ready, Some(image)));
        }
        _ => components.push(one("redis", "RedisReady", 0, 0, None)),
    }
    if let Some(status) = exporter {
        let image = pool.exporter.image.clone().unwrap_or_else(|| facts.settings.exporter_image.clone());
        components.push(one("exporter", "ExporterReady", pool.exporter_replicas, status.ready, Some(image)));
    }
    components
}

/// A component with its health, and since when it has had it.
pub(super) fn judged(
    name: &str,
    image: Option<String>,
    before: Option<&Component>,
    is_ready: bool,
    (desired, ready): (i32, i32),
    now: &Time,
) -> Component {
    let health = match before.map(|component| component.health.as_str()) {
        _ if is_ready => "Healthy",
        Some("Healthy" | "Degraded") => "Degraded",
        _ => "Progressing",
    };
    let since = before.filter(|component| component.health == health).map(|component| component.since.clone());
    Component {
        name: name.to_owned(),
        desired,
        ready: ready.min(desired),
        image,
        health: health.to_owned(),
        since: since.unwrap_or_else(|| now.clone()),
    }
}

/// Zero for a time that has not come yet.
pub(super) fn elapsed(since: &Time, now: &Time) -> Duration {
    Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default()
}
