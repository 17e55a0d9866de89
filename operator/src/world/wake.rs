//! Asks for reconciles, from wherever something changed.

use std::convert::Infallible;

use crds::{McpServer, Pool};
use futures::Stream;
use kube::core::DeserializeGuard;
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type PoolRef = ObjectRef<DeserializeGuard<Pool>>;
type ServerRef = ObjectRef<DeserializeGuard<McpServer>>;

/// Sends objects to the two reconcile queues. The queues drop duplicates, so their length is bounded by the
/// number of objects.
#[derive(Clone)]
pub struct Wake {
    pools: UnboundedSender<PoolRef>,
    servers: UnboundedSender<ServerRef>,
    known_servers: Store<DeserializeGuard<McpServer>>,
}

/// The receiving ends.
pub struct Receivers {
    pub(crate) pools: UnboundedReceiver<PoolRef>,
    pub(crate) servers: UnboundedReceiver<ServerRef>,
}

impl Wake {
    /// The sending and the receiving ends.
    pub fn channel(known_servers: Store<DeserializeGuard<McpServer>>) -> (Wake, Receivers) {
        let (pools, pools_rx) = unbounded_channel();
        let (servers, servers_rx) = unbounded_channel();
        (Wake { pools, servers, known_servers }, Receivers { pools: pools_rx, servers: servers_rx })
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

    /// Asks for reconciles of a Pool and of every McpServer that names it.
    pub fn pool_and_servers(&self, namespace: &str, pool: &str) {
        self.pool(namespace, pool);
        self.servers_of(namespace, pool);
    }

    /// Asks for reconciles of a Pool and of every SiemExport that selects it.
    pub fn pool_and_exports(&self, namespace: &str, pool: &str) {
        self.pool(namespace, pool);
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
