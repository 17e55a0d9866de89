//! Names, labels and annotations of everything that the operator makes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Field manager of every child.
pub const FIELD_MANAGER: &str = "ai-gateway-operator";
/// Field manager of every status.
pub const STATUS_MANAGER: &str = "ai-gateway-operator-status";

/// Label that selects what this operator made; watches of children are filtered by it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label with the name of the pool that a child serves.
pub const POOL_LABEL: &str = "aigateway.dev/pool";
/// Label with the component that a Pod belongs to.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label with the name of the object that owns a child.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Hash of the desired state that a child was last applied with.
pub const DESIRED_HASH: &str = "aigateway.dev/desired-hash";
/// Hash over name, uid and resourceVersion of the Secrets that a credentials Secret was copied from.
pub const SOURCES_HASH: &str = "aigateway.dev/sources-hash";
/// On a Pod template: identity of the generated Secrets, so that Pods roll once when one was made anew.
pub const SECRETS_IDENTITY: &str = "aigateway.dev/secrets-identity";
/// On a Pod: the configuration that the kubelet was last nudged to refresh.
pub const CONFIG_NUDGE: &str = "aigateway.dev/config-revision";

/// Longest name that is a DNS label, and so fits a Service and a label value.
const NAME_MAX: usize = 63;
/// Longest name of a StatefulSet: its Pods have a label with it and up to eleven characters more.
const STATEFUL_SET_NAME_MAX: usize = 52;
/// The child that is a StatefulSet, with what has the same name.
const STATEFUL_SET: &str = "redis";

/// `<owner>-<suffix>`, cut with a hash of the whole where it would be longer than 63 characters (for Redis 52).
///
/// Dots of the owner's name become dashes, with the same hash, because a Service name is a DNS label.
pub fn child_name(owner: &str, suffix: &str) -> String {
    let plain = format!("{owner}-{suffix}");
    let most = if suffix == STATEFUL_SET { STATEFUL_SET_NAME_MAX } else { NAME_MAX };
    if plain.len() <= most && !owner.contains('.') {
        return plain;
    }
    let hash = &hex::encode(Sha256::digest(plain.as_bytes()))[..8];
    let room = most - suffix.len() - hash.len() - 2;
    let head: String = owner.chars().take(room).collect::<String>().replace('.', "-");
    format!("{}-{hash}-{suffix}", head.trim_end_matches('-'))
}

/// Labels of a child; those of `selector` among them.
pub fn labels(component: &str, instance: &str, pool: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    labels.insert("app.kubernetes.io/part-of".into(), "ai-gateway".into());
    labels.insert(MANAGED_BY.into(), FIELD_MANAGER.into());
    labels.insert(POOL_LABEL.into(), pool.into());
    labels
}

/// The labels that select a component's Pods. They can never change on a running workload, so no version is in them.
pub fn selector(component: &str, instance: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), component.into()),
        (COMPONENT_LABEL.into(), component.into()),
        (INSTANCE_LABEL.into(), instance.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_names_stay_as_they_are() {
        assert_eq!(child_name("prod", "armor"), "prod-armor");
    }

    #[test]
    fn names_that_share_a_cut_head_stay_apart() {
        let (a, b) = ("x".repeat(62) + "a", "x".repeat(62) + "b");
        assert_ne!(child_name(&a, "armor"), child_name(&b, "armor"));
        assert_ne!(child_name("a.b", "mcp"), child_name("a-b", "mcp"));
    }

    proptest! {
        #[test]
        fn every_child_name_is_a_dns_label(owner in "[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", suffix in "armor|redis|armor-credentials|mcp") {
            let name = child_name(&owner, &suffix);
            let most = if suffix == "redis" { 52 } else { 63 };
            prop_assert!(name.len() <= most);
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.ends_with(&suffix));
        }
    }
}
