//! Which lists have changed, for clients that want to be told.
//!
//! Promises: a change that a client would see in its next list is told, once, also one that comes from the
//! configuration. Must never tell of a change that a client of the other era would see.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::select_all;
use sha2::{Digest, Sha256};

use crate::gateway::{Gateway, Running};
use crate::mcp::Era;
use crate::upstream::catalogue::ListKind;

/// Watches the lists of all servers.
pub struct Changes {
    gateway: Arc<Gateway>,
    era: Era,
    seen: [[u8; 32]; 4],
}

impl Changes {
    /// From now on.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, running: &Running, era: Era) -> Self {
        Self { gateway, era, seen: fingerprints(running, era) }
    }

    /// The lists that changed since the last time; waits until there is one.
    pub async fn next(&mut self) -> Vec<ListKind> {
        loop {
            let mut swaps = self.gateway.swaps();
            let Some(running) = self.gateway.running() else {
                return std::future::pending().await;
            };
            // Subscribed before it is looked at, so that no change falls in between.
            let mut watches: Vec<_> = running.servers.iter().map(|s| s.offers()).collect();
            let now = fingerprints(&running, self.era);
            let changed: Vec<ListKind> =
                ListKind::ALL.into_iter().filter(|kind| now[*kind as usize] != self.seen[*kind as usize]).collect();
            self.seen = now;
            if !changed.is_empty() {
                return changed;
            }
            let mut waits = vec![swaps.changed().boxed()];
            waits.extend(watches.iter_mut().map(|watch| watch.changed().boxed()));
            select_all(waits).await.0.ok();
        }
    }
}

/// Digests of digests: the lists themselves are read when a probe brings others.
fn fingerprints(running: &Running, era: Era) -> [[u8; 32]; 4] {
    ListKind::ALL.map(|kind| {
        let mut hasher = Sha256::new();
        for server in &running.servers {
            if let Some(digest) = server.offers().borrow().list(era, kind) {
                hasher.update(server.prefix.as_ref());
                hasher.update([0]);
                hasher.update(digest);
            }
        }
        hasher.finalize().into()
    })
}
