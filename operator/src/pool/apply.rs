//! Applies the children of a pool, in an order that lets no Pod start before what it reads.

use futures::future::join_all;
use sha2::{Digest, Sha256};

use super::build::{ExporterResources, PoolResources, RedisResources};
use crate::child::{Applied, Applier, ApplyError, Child, ChildKey, ChildStore, Kind, Prepared};
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
        exporter,
        pod_monitors,
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
    let redis_name = redis.as_ref().map(|redis| redis.stateful_set.key.name.clone());
    let is_redis = |child: &Child<Applied>| Some(&child.key.name) == redis_name.as_ref();
    let redis_identity = self::identity(generated.0.iter().filter(|child| is_redis(child)));
    let mut errors = Vec::new();
    let generated = keep(generated, &mut errors);
    let credentials = keep(credentials, &mut errors).pop();
    let config = keep(config, &mut errors);
    let accounts = keep(accounts, &mut errors);
    let network_policies = keep(network_policies, &mut errors);
    let pods_can_start = errors.is_empty();
    let service = keep(service, &mut errors);
    let password = generated.iter().find(|child| is_redis(child));

    // A workload without its configuration would crash; the one that runs goes on with its last good one.
    let (redis, deployment, disruption_budget, exporter, pod_monitors) = tokio::join!(
        async {
            match redis {
                Some(redis) if pods_can_start => {
                    let stateful_set = redis.stateful_set.with_pod_annotation(SECRETS_IDENTITY, &redis_identity);
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
        async {
            match exporter {
                Some(exporter) => {
                    let (applied, errors) = step.exporter(exporter, password, pods_can_start).await;
                    (Some(applied), errors)
                }
                None => (None, Vec::new()),
            }
        },
        step.pod_monitors(pod_monitors),
    );
    let redis = keep(redis, &mut errors).map(|(service, stateful_set)| RedisResources { service, stateful_set });
    let deployment = keep(deployment, &mut errors);
    let disruption_budget = keep(disruption_budget, &mut errors).pop();
    let exporter = keep(exporter, &mut errors);
    let pod_monitors = keep(pod_monitors, &mut errors);
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
        exporter,
        pod_monitors,
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
        exporter: resources.exporter.map(|exporter| observe_exporter(exporter, store)),
        pod_monitors: resources.pod_monitors.into_iter().map(see).collect(),
    }
}

fn observe_redis(redis: RedisResources<Prepared>, store: &ChildStore) -> RedisResources<Applied> {
    RedisResources {
        service: redis.service.observed_only(store),
        stateful_set: redis.stateful_set.observed_only(store),
    }
}

fn observe_exporter(exporter: ExporterResources<Prepared>, store: &ChildStore) -> ExporterResources<Applied> {
    let see = |child: Child<Prepared>| child.observed_only(store);
    ExporterResources {
        admin: see(exporter.admin),
        credentials: exporter.credentials.map(see),
        account: exporter.account.map(see),
        network_policy: exporter.network_policy.map(see),
        config: see(exporter.config),
        service: see(exporter.service),
        deployment: see(exporter.deployment),
        disruption_budget: exporter.disruption_budget.map(see),
    }
}

impl<S> ExporterResources<S> {
    fn children(&self) -> impl Iterator<Item = &Child<S>> {
        let ExporterResources {
            admin,
            credentials,
            account,
            network_policy,
            config,
            service,
            deployment,
            disruption_budget,
        } = self;
        let first = [admin].into_iter().chain(credentials).chain(account).chain(network_policy);
        first.chain([config, service, deployment]).chain(disruption_budget)
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
            exporter,
            pod_monitors,
        } = self;
        let first = generated.iter().chain(credentials).chain(accounts).chain(network_policies);
        let redis = redis.iter().flat_map(|redis| [&redis.service, &redis.stateful_set]);
        let armor = first.chain([config, service]).chain(redis).chain([deployment]).chain(disruption_budget);
        armor.chain(exporter.iter().flat_map(ExporterResources::children)).chain(pod_monitors)
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

    /// Applies the exporter: what its Pods mount, run as and are protected by, and then them.
    async fn exporter(
        &self,
        exporter: ExporterResources<Prepared>,
        password: Option<&Child<Applied>>,
        pods_can_start: bool,
    ) -> (ExporterResources<Applied>, Vec<ApplyError>) {
        let ExporterResources {
            admin,
            credentials,
            account,
            network_policy,
            config,
            service,
            deployment,
            disruption_budget,
        } = exporter;
        let (admin, credentials, account, network_policy, config, service, disruption_budget) = tokio::join!(
            self.one(admin),
            self.all(credentials.into_iter().collect()),
            self.all(account.into_iter().collect()),
            self.all(network_policy.into_iter().collect()),
            self.one(config),
            self.one(service),
            self.all(disruption_budget.into_iter().collect()),
        );
        let mut errors = Vec::new();
        let admin = keep(admin, &mut errors);
        let credentials = keep(credentials, &mut errors).pop();
        let account = keep(account, &mut errors).pop();
        let network_policy = keep(network_policy, &mut errors).pop();
        let config = keep(config, &mut errors);
        let deployment = if pods_can_start && errors.is_empty() {
            let identity = identity([&admin].into_iter().chain(password));
            let deployment = deployment.with_pod_annotation(SECRETS_IDENTITY, &identity);
            keep(self.one(deployment).await, &mut errors)
        } else {
            deployment.observed_only(self.store)
        };
        let service = keep(service, &mut errors);
        let disruption_budget = keep(disruption_budget, &mut errors).pop();
        let applied = ExporterResources {
            admin,
            credentials,
            account,
            network_policy,
            config,
            service,
            deployment,
            disruption_budget,
        };
        (applied, errors)
    }

    /// Applies PodMonitors where the cluster has the kind.
    async fn pod_monitors(&self, children: Vec<Child<Prepared>>) -> (Vec<Child<Applied>>, Vec<ApplyError>) {
        if self.store.is_served(Kind::PodMonitor) {
            return self.all(children).await;
        }
        (children.into_iter().map(|child| child.observed_only(self.store)).collect(), Vec::new())
    }

    async fn all(&self, children: Vec<Child<Prepared>>) -> (Vec<Child<Applied>>, Vec<ApplyError>) {
        let (applied, errors): (Vec<_>, Vec<_>) =
            join_all(children.into_iter().map(|child| self.one(child))).await.into_iter().unzip();
        (applied, errors.concat())
    }
}
