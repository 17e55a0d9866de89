//! Applies the children of a pool, in an order that lets no Pod start before what it reads.

use futures::future::join_all;
use sha2::{Digest, Sha256};

use super::build::{PoolResources, RedisResources};
use crate::child::{Applied, Applier, ApplyError, Child, ChildKey, ChildStore, Prepared};
use crate::names::SECRETS_IDENTITY;

/// Applies everything that can be applied; one child that fails does not hold back those that do not need it.
pub async fn apply(
    resources: PoolResources<Prepared>,
    applier: &Applier,
    store: &ChildStore,
) -> (PoolResources<Applied>, Vec<ApplyError>) {
    let PoolResources {
        generated,
        credentials,
        accounts,
        network_policies,
        redis,
        config,
        service,
        deployment,
        disruption_budget,
    } = resources;
    let step = Step { applier, store };

    // First what Pods mount and what they run as; the policies come before the Pods that they protect.
    let (generated, credentials, config, accounts, network_policies, service) = tokio::join!(
        step.all(generated),
        step.all(credentials.into_iter().collect()),
        step.one(config),
        step.all(accounts),
        step.all(network_policies),
        step.one(service),
    );
    let identity = identity(&generated.0);
    // Redis reads one of them alone, and should not restart for the others.
    let redis_identity = redis.as_ref().map(|redis| {
        let password = |child: &&Child<Applied>| child.key.name == redis.stateful_set.key.name;
        self::identity(generated.0.iter().filter(password))
    });
    let mut errors = Vec::new();
    let generated = keep(generated, &mut errors);
    let credentials = keep(credentials, &mut errors).pop();
    let config = keep(config, &mut errors);
    let accounts = keep(accounts, &mut errors);
    let network_policies = keep(network_policies, &mut errors);
    let pods_can_start = errors.is_empty();
    let service = keep(service, &mut errors);

    // A workload without its configuration would crash; the one that runs goes on with its last good one.
    let (redis, deployment, disruption_budget) = tokio::join!(
        async {
            match redis {
                Some(redis) if pods_can_start => {
                    let identity = redis_identity.unwrap_or_default();
                    let stateful_set = redis.stateful_set.with_pod_annotation(SECRETS_IDENTITY, &identity);
                    let (service, stateful_set) = tokio::join!(step.one(redis.service), step.one(stateful_set));
                    (Some((service.0, stateful_set.0)), [service.1, stateful_set.1].concat())
                }
                Some(redis) => {
                    let seen = observe_redis(redis, store);
                    (Some((seen.service, seen.stateful_set)), Vec::new())
                }
                None => (None, Vec::new()),
            }
        },
        async {
            if pods_can_start {
                step.one(deployment.with_pod_annotation(SECRETS_IDENTITY, &identity)).await
            } else {
                (deployment.observed_only(store), Vec::new())
            }
        },
        step.all(disruption_budget.into_iter().collect()),
    );
    let redis = keep(redis, &mut errors).map(|(service, stateful_set)| RedisResources { service, stateful_set });
    let deployment = keep(deployment, &mut errors);
    let disruption_budget = keep(disruption_budget, &mut errors).pop();
    let applied = PoolResources {
        generated,
        credentials,
        accounts,
        network_policies,
        redis,
        config,
        service,
        deployment,
        disruption_budget,
    };
    (applied, errors)
}

/// What is in the cluster of the children of a paused pool.
pub fn observe(resources: PoolResources<Prepared>, store: &ChildStore) -> PoolResources<Applied> {
    let see = |child: Child<Prepared>| child.observed_only(store);
    PoolResources {
        generated: resources.generated.into_iter().map(see).collect(),
        credentials: resources.credentials.map(see),
        accounts: resources.accounts.into_iter().map(see).collect(),
        network_policies: resources.network_policies.into_iter().map(see).collect(),
        redis: resources.redis.map(|redis| observe_redis(redis, store)),
        config: see(resources.config),
        service: see(resources.service),
        deployment: see(resources.deployment),
        disruption_budget: resources.disruption_budget.map(see),
    }
}

fn observe_redis(redis: RedisResources<Prepared>, store: &ChildStore) -> RedisResources<Applied> {
    RedisResources {
        service: redis.service.observed_only(store),
        stateful_set: redis.stateful_set.observed_only(store),
    }
}

impl<S> PoolResources<S> {
    fn children(&self) -> impl Iterator<Item = &Child<S>> {
        let PoolResources {
            generated,
            credentials,
            accounts,
            network_policies,
            redis,
            config,
            service,
            deployment,
            disruption_budget,
        } = self;
        let first = generated.iter().chain(credentials).chain(accounts).chain(network_policies);
        let redis = redis.iter().flat_map(|redis| [&redis.service, &redis.stateful_set]);
        first.chain([config, service]).chain(redis).chain([deployment]).chain(disruption_budget)
    }
}

impl PoolResources<Applied> {
    /// Names of every child that is wanted.
    pub fn keys(&self) -> Vec<ChildKey> {
        self.children().map(|child| child.key.clone()).collect()
    }
}

impl PoolResources<Prepared> {
    /// The desired bodies, for golden files.
    pub fn manifests(&self) -> Vec<serde_json::Value> {
        self.children().map(Child::manifest).collect()
    }
}

/// Changes when a generated Secret was made anew.
fn identity<'a>(generated: impl IntoIterator<Item = &'a Child<Applied>>) -> String {
    let uids: Vec<&str> = generated.into_iter().filter_map(Child::uid).collect();
    hex::encode(Sha256::digest(uids.join("\n").as_bytes()))[..16].to_owned()
}

/// The result of a step, after its errors were put with those of the others.
fn keep<T>((result, failed): (T, Vec<ApplyError>), errors: &mut Vec<ApplyError>) -> T {
    errors.extend(failed);
    result
}

struct Step<'a> {
    applier: &'a Applier,
    store: &'a ChildStore,
}

impl Step<'_> {
    /// Applies a child; one that fails is as the watch shows it.
    async fn one(&self, child: Child<Prepared>) -> (Child<Applied>, Vec<ApplyError>) {
        match self.applier.apply(child.clone()).await {
            Ok(applied) => (applied, Vec::new()),
            Err(error) => (child.observed_only(self.store), vec![error]),
        }
    }

    async fn all(&self, children: Vec<Child<Prepared>>) -> (Vec<Child<Applied>>, Vec<ApplyError>) {
        let (applied, errors): (Vec<_>, Vec<_>) =
            join_all(children.into_iter().map(|child| self.one(child))).await.into_iter().unzip();
        (applied, errors.concat())
    }
}
