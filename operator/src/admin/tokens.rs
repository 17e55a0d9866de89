//! The admin tokens of pools, read once from their Secrets.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use tokio::sync::Mutex;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Tokens by the uid of the Secret: one that was made anew has another.
pub(crate) struct Tokens {
    client: Client,
    known: Mutex<HashMap<String, SecretString>>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Tokens { client, known: Mutex::default() }
    }

    /// The token in the Secret with this name and uid. `is_used` says which uids are still needed; the others are
    /// forgotten.
    pub(crate) async fn get(
        &self,
        namespace: &str,
        (name, uid): &(String, String),
        is_used: impl Fn(&str) -> bool,
    ) -> Option<SecretString> {
        if let Some(token) = self.known.lock().await.get(uid) {
            return Some(token.clone());
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = tokio::time::timeout(CALL_TIMEOUT, secrets.get_opt(name)).await.ok()?.ok()??;
        let value = secret.data?.remove("token")?;
        let token = SecretString::from(String::from_utf8(value.0).ok()?.trim().to_owned());
        let mut known = self.known.lock().await;
        known.retain(|uid, _| is_used(uid));
        known.insert(uid.clone(), token.clone());
        Some(token)
    }

    /// Has the token read again: a Pod does not take it.
    pub(crate) async fn forget(&self, uid: &str) {
        self.known.lock().await.remove(uid);
    }
}
