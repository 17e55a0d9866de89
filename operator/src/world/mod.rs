//! What the operator knows of the cluster, kept by watches. Reconciles read from here and do not ask the API server for
//! state, but for objects that do not fit their schema.

mod cache;
mod material;
mod pods;
mod wake;
mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{McpServer, Pool, SiemExport};
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, DeserializeGuard};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

pub use cache::{Cache, Key};
pub use material::{Lookup, Material, Materials, Meta, ReadError, Source, not_found};
pub use pods::PodState;
pub(crate) use wake::queue;
pub use wake::{Receivers, Wake};
pub use watches::run;

use crate::armor::ArmorView;
use crate::audit::{PoolId, Trail};
use crate::child::{Applier, ChildStore};
use crate::exporter::PoolExporters;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::siem_export;
use crate::status::StatusWriter;

/// One scope of namespaces: all, or a single one. References never leave a namespace, so scopes are independent.
pub struct Scope {
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// For reads of contents.
    pub client: Client,
    /// Flags of the process.
    pub settings: Arc<Settings>,
    /// The Pools.
    pub pools: Store<DeserializeGuard<Pool>>,
    /// The McpServers.
    pub servers: Store<DeserializeGuard<McpServer>>,
    /// The SiemExports.
    pub exports: Store<DeserializeGuard<SiemExport>>,
    /// What Pools and McpServers own.
    pub children: Arc<ChildStore>,
    /// Pods of children.
    pub pods: Arc<Cache<PodState>>,
    /// Metadata of Secrets that are not ours.
    pub secrets: Cache<Meta>,
    /// Metadata of ConfigMaps that are not ours.
    pub config_maps: Cache<Meta>,
    /// Whether each StorageClass is the default one. Empty where the operator may not list them.
    pub storage_classes: Cache<bool>,
    /// Contents of Secrets and ConfigMaps.
    pub materials: Materials,
    /// What Armor says.
    pub armor: Arc<ArmorView>,
    /// The exporters.
    pub exporter: Arc<PoolExporters>,
    /// The writer of children.
    pub applier: Applier,
    /// The writer of status.
    pub status: StatusWriter,
    /// What the audit trails of the pools are told.
    pub trail: Arc<Trail>,
    /// Asks for reconciles.
    pub wake: Wake,
    /// Counters.
    pub metrics: Metrics,
    /// Facts about the cluster that do not change while the process runs.
    pub cluster: ClusterFacts,
}

/// Read once at start.
#[derive(Clone, Debug, Default)]
pub struct ClusterFacts {
    /// Uid of the namespace `kube-system`, which names the cluster in events.
    pub id: Option<String>,
    /// Version of the API server.
    pub version: Option<String>,
}

impl Scope {
    /// The well-formed McpServers that name a pool.
    pub fn servers_of(&self, namespace: &str, pool: &str) -> Vec<Arc<DeserializeGuard<McpServer>>> {
        self.servers.state_filter(|server| {
            server.0.as_ref().is_ok_and(|s| {
                s.metadata.namespace.as_deref() == Some(namespace)
                    && s.spec.pool_ref.name == pool
                    && s.metadata.deletion_timestamp.is_none()
            })
        })
    }

    /// The well-formed SiemExports that are for a pool.
    pub fn exports_of(
        &self,
        namespace: &str,
        pool: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<Arc<DeserializeGuard<SiemExport>>> {
        self.exports.state_filter(|export| {
            export.0.as_ref().is_ok_and(|e| {
                e.metadata.namespace.as_deref() == Some(namespace)
                    && siem_export::selects(e, pool, labels)
                    && e.metadata.deletion_timestamp.is_none()
            })
        })
    }

    /// A pool, as its events name it, if there is one of this name.
    pub fn pool_id(&self, namespace: &str, name: &str) -> Option<PoolId> {
        let pool = self.pools.get(&ObjectRef::new(name).within(namespace))?;
        Some(PoolId { uid: pool.uid()?, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The pools that a SiemExport is for, as their events name them.
    pub fn pools_of(&self, export: &SiemExport) -> Vec<PoolId> {
        let namespace = export.namespace().unwrap_or_default();
        let pools = self.pools.state_filter(|pool| {
            pool.namespace().as_deref() == Some(&namespace)
                && siem_export::selects(export, &pool.name_any(), pool.labels())
        });
        let id = |pool: &Arc<DeserializeGuard<Pool>>| {
            Some(PoolId { uid: pool.uid()?, namespace: namespace.clone(), name: pool.name_any() })
        };
        pools.iter().filter_map(id).collect()
    }

    /// An object that does not fit its schema, so that the watch holds nothing but its metadata.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub async fn unreadable<K>(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, ReadError>
    where
        K: Resource<DynamicType = ()>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        self.materials.object(&api, kind, namespace, name).await
    }

    /// The newest status of such an object, of which `stand_in` has the metadata: what else it says outlives its fault.
    ///
    /// # Errors
    /// As `unreadable`.
    pub async fn status_of_unreadable<K, S>(&self, kind: &'static str, stand_in: &K) -> Result<S, ReadError>
    where
        K: Resource<DynamicType = ()>,
        S: DeserializeOwned + Clone + Default + Send + Sync + 'static,
    {
        let namespace = stand_in.namespace().unwrap_or_default();
        let object = self.unreadable::<K>(kind, &namespace, &stand_in.name_any()).await?;
        let same = object.filter(|object| object.uid() == stand_in.uid());
        let seen = same.and_then(|object| S::deserialize(object.data.get("status")?).ok());
        Ok(self.status.newest(stand_in, seen.as_ref()))
    }

    /// Contents of a Secret or ConfigMap.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub async fn material(&self, source: Source, namespace: &str, name: &str) -> Result<Lookup, ReadError> {
        let metas = match source {
            Source::Secret => &self.secrets,
            Source::ConfigMap => &self.config_maps,
        };
        self.materials.get(source, metas, namespace, name).await
    }

    /// Caches whose first list is not complete yet, by name.
    pub fn pending(&self) -> Vec<String> {
        let mut pending: Vec<String> = self.children.pending().iter().map(|kind| kind.as_str().to_owned()).collect();
        let caches = [
            ("Pod", self.pods.is_ready()),
            ("Secret (metadata)", self.secrets.is_ready()),
            ("ConfigMap (metadata)", self.config_maps.is_ready()),
        ];
        pending.extend(caches.iter().filter(|(_, ready)| !ready).map(|(name, _)| (*name).to_owned()));
        pending
    }
}
