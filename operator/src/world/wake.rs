//! Asks for reconciles, from wherever something changed.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crds::{McpServer, Pool, SiemExport};
use futures::Stream;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::siem_export::selects;

type PoolRef = ObjectRef<DeserializeGuard<Pool>>;
type ServerRef = ObjectRef<DeserializeGuard<McpServer>>;
type ExportRef = ObjectRef<DeserializeGuard<SiemExport>>;

/// Sends objects to the reconcile queues. The queues drop duplicates, so their length is bounded by the
/// number of objects.
#[derive(Clone)]
pub struct Wake {
    pools: UnboundedSender<PoolRef>,
    servers: UnboundedSender<ServerRef>,
    exports: UnboundedSender<ExportRef>,
    known_servers: Store<DeserializeGuard<McpServer>>,
    known_exports: Store<DeserializeGuard<SiemExport>>,
    known_pools: Store<DeserializeGuard<Pool>>,
}

/// The receiving ends.
pub struct Receivers {
    pub(crate) pools: UnboundedReceiver<PoolRef>,
    pub(crate) servers: UnboundedReceiver<ServerRef>,
    pub(crate) exports: UnboundedReceiver<ExportRef>,
}

impl Wake {
    /// The sending and the receiving ends.
    pub fn channel(
        known_pools: Store<DeserializeGuard<Pool>>,
        known_servers: Store<DeserializeGuard<McpServer>>,
        known_exports: Store<DeserializeGuard<SiemExport>>,
    ) -> (Wake, Receivers) {
        let (pools, pools_rx) = unbounded_channel();
        let (servers, servers_rx) = unbounded_channel();
        let (exports, exports_rx) = unbounded_channel();
        let wake = Wake { pools, servers, exports, known_servers, known_exports, known_pools };
        (wake, Receivers { pools: pools_rx, servers: servers_rx, exports: exports_rx })
    }

    // A send fails only when the queue is gone, which is at shutdown: then nothing is left to be done.

    /// Asks for a reconcile of a Pool.
    pub fn pool(&self, namespace: &str, name: &str) {
        let _ = self.pools.send(ObjectRef::new(name).within(namespace));
    }

    /// Asks for a reconcile of an McpServer.
    pub fn server(&self, namespace: &str, name: &str) {
        let _ = self.servers.send(ObjectRef::new(name).within(namespace));
    }

    /// Asks for a reconcile of a SiemExport.
    pub fn export(&self, namespace: &str, name: &str) {
        let _ = self.exports.send(ObjectRef::new(name).within(namespace));
    }

    /// Asks for reconciles of every SiemExport that is for a pool with these labels.
    pub fn exports_of(&self, namespace: &str, pool: &str, labels: &BTreeMap<String, String>) {
        for export in self.known_exports.state() {
            let Ok(export) = &export.0 else { continue };
            if export.metadata.namespace.as_deref() == Some(namespace) && selects(export, pool, labels) {
                self.export(namespace, &export.name_any());
            }
        }
    }

    /// Asks for reconciles of every pool that a SiemExport is for, and of their other SiemExports: where the room of a
    /// pool's exporter ends, one changes what becomes of another.
    pub fn pools_of(&self, export: &SiemExport) {
        let namespace = export.namespace().unwrap_or_default();
        for pool in self.known_pools.state() {
            let (name, labels) = (pool.name_any(), pool.labels());
            if pool.namespace().as_deref() == Some(namespace.as_str()) && selects(export, &name, labels) {
                self.pool(&namespace, &name);
                self.exports_of(&namespace, &name, labels);
            }
        }
    }

    /// Asks for reconciles of every Pool of a namespace.
    pub fn pools_in(&self, namespace: &str) {
        for pool in self.known_pools.state() {
            if pool.namespace().as_deref() == Some(namespace) {
                self.pool(namespace, &pool.name_any());
            }
        }
    }

    /// Asks for reconciles of a Pool and of every McpServer that names it.
    pub fn pool_and_servers(&self, namespace: &str, pool: &str) {
        self.pool(namespace, pool);
        self.servers_of(namespace, pool);
    }

    /// Asks for reconciles of a Pool and of every SiemExport that is for it.
    pub fn pool_and_exports(&self, namespace: &str, pool: &str) {
        self.pool(namespace, pool);
        let known = self.known_pools.get(&ObjectRef::new(pool).within(namespace));
        let labels = known.map(|pool| pool.labels().clone()).unwrap_or_default();
        self.exports_of(namespace, pool, &labels);
    }

    /// Asks for reconciles of every McpServer that names a Pool.
    pub fn servers_of(&self, namespace: &str, pool: &str) {
        for server in self.known_servers.state() {
            let Ok(server) = &server.0 else { continue };
            if server.metadata.namespace.as_deref() == Some(namespace) && server.spec.pool_ref.name == pool {
                self.server(namespace, server.metadata.name.as_deref().unwrap_or_default());
            }
        }
    }
}

/// A queue as the controller runtime wants it.
pub(crate) fn queue<K>(
    receiver: UnboundedReceiver<ObjectRef<K>>,
) -> impl Stream<Item = Result<ReconcileRequest<K>, Infallible>>
where
    K: kube::runtime::reflector::Lookup + kube::Resource<DynamicType = ()>,
{
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|object| (Ok(ReconcileRequest::from(object)), receiver))
    })
}
