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
    let mut step = Step { applier, store, errors: Vec::new() };

    // First what Pods mount and what they run as. The policies come before the Pods that they protect.
    let generated = step.all(generated).await;
    let identity = identity(&generated);
    let credentials = step.optional(credentials).await;
    let config = step.one(config).await;
    let accounts = step.all(accounts).await;
    let network_policies = step.all(network_policies).await;
    let pods_can_start = step.errors.is_empty();
    let service = step.one(service).await;

    // A workload without its configuration would crash; the one that runs goes on with its last good one.
    let (redis, deployment) = if pods_can_start {
        let redis = match redis {
            Some(RedisResources { service, stateful_set }) => Some(RedisResources {
                service: step.one(service).await,
                stateful_set: step.one(stateful_set.with_pod_annotation(SECRETS_IDENTITY, &identity)).await,
            }),
            None => None,
        };
        (redis, step.one(deployment.with_pod_annotation(SECRETS_IDENTITY, &identity)).await)
    } else {
        (redis.map(|redis| observe_redis(redis, store)), deployment.observed_only(store))
    };
    let disruption_budget = step.optional(disruption_budget).await;
    let errors = step.errors;
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
fn identity(generated: &[Child<Applied>]) -> String {
    let uids: Vec<&str> = generated.iter().filter_map(Child::uid).collect();
    hex::encode(Sha256::digest(uids.join("\n").as_bytes()))[..16].to_owned()
}

struct Step<'a> {
    applier: &'a Applier,
    store: &'a ChildStore,
    errors: Vec<ApplyError>,
}

impl Step<'_> {
    async fn one(&mut self, child: Child<Prepared>) -> Child<Applied> {
        match self.applier.apply(child.clone()).await {
            Ok(applied) => applied,
            Err(error) => {
                self.errors.push(error);
                child.observed_only(self.store)
            }
        }
    }

    async fn optional(&mut self, child: Option<Child<Prepared>>) -> Option<Child<Applied>> {
        match child {
            Some(child) => Some(self.one(child).await),
            None => None,
        }
    }

    async fn all(&mut self, children: Vec<Child<Prepared>>) -> Vec<Child<Applied>> {
        let answers = join_all(children.iter().map(|child| self.applier.apply(child.clone()))).await;
        let mut applied = Vec::with_capacity(answers.len());
        for (answer, child) in answers.into_iter().zip(children) {
            match answer {
                Ok(child) => applied.push(child),
                Err(error) => {
                    self.errors.push(error);
                    applied.push(child.observed_only(self.store));
                }
            }
        }
        applied
    }
}
