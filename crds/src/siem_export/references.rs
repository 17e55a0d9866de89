//! What a SiemExport points at.

use std::collections::BTreeSet;

use super::{Destination, SiemExportSpec};
use crate::common::SecretKeyRef;

impl Destination {
    /// The keys of Secrets that its block names, by field.
    pub fn secrets(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let mut found: Vec<(&'static str, Option<&SecretKeyRef>)> = Vec::new();
        let Destination {
            splunk,
            datadog,
            otlp,
            syslog: _,
            sentinel,
            event_bridge,
            sumo_logic,
            coralogix,
            elasticsearch,
            webhook,
            stdout: _,
            ..
        } = self;
        found.extend(splunk.iter().map(|block| ("tokenSecretRef", Some(&block.token_secret_ref))));
        found.extend(datadog.iter().map(|block| ("apiKeySecretRef", Some(&block.api_key_secret_ref))));
        found.extend(otlp.iter().map(|block| ("secretRef", block.secret_ref.as_ref())));
        found.extend(sentinel.iter().map(|block| ("clientSecretRef", block.client_secret_ref.as_ref())));
        if let Some(block) = event_bridge {
            found.push(("accessKeyIdSecretRef", block.access_key_id_secret_ref.as_ref()));
            found.push(("secretAccessKeySecretRef", block.secret_access_key_secret_ref.as_ref()));
            found.push(("sessionTokenSecretRef", block.session_token_secret_ref.as_ref()));
        }
        found.extend(sumo_logic.iter().map(|block| ("urlSecretRef", Some(&block.url_secret_ref))));
        found.extend(coralogix.iter().map(|block| ("secretRef", Some(&block.secret_ref))));
        found.extend(elasticsearch.iter().map(|block| ("secretRef", Some(&block.secret_ref))));
        if let Some(block) = webhook {
            found.push(("secretRef", Some(&block.secret_ref)));
            found.push(("previousSecretRef", block.previous_secret_ref.as_ref()));
        }
        found.into_iter().filter_map(|(field, reference)| Some((field, reference?))).collect()
    }
}

impl SiemExportSpec {
    /// Names of the Secrets that it points at.
    pub fn secret_names(&self) -> BTreeSet<&str> {
        let blocks =
            self.destinations.iter().flat_map(|one| one.secrets()).map(|(_, reference)| reference.name.as_str());
        let tls = self.destinations.iter().filter_map(|one| one.tls.as_ref()?.client_certificate_ref.as_ref());
        let hash_key = self.privacy.iter().filter_map(|privacy| privacy.hash_key_secret_ref.as_ref());
        blocks.chain(tls.map(|secret| secret.name.as_str())).chain(hash_key.map(|key| key.name.as_str())).collect()
    }

    /// Names of the ConfigMaps that it points at.
    pub fn config_map_names(&self) -> BTreeSet<&str> {
        let tls = self.destinations.iter().filter_map(|one| one.tls.as_ref()?.ca_ref.as_ref());
        tls.map(|ca| ca.name.as_str()).collect()
    }
}
