//! The block of a destination: which platform it is, and that platform's fields.
//!
//! Adding a destination adds a variant here and a row to each function.

use serde::{Deserialize, Serialize};
use url::Url;

use super::invalid::Invalid;
use super::{
    coralogix, datadog, elasticsearch, event_bridge, otlp, sentinel, splunk, stdout, sumo_logic, syslog, webhook,
};
use crate::address::Policy;

/// One platform's fields, as they are written. Secrets are not among them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Block {
    Splunk(splunk::Spec),
    Datadog(datadog::Spec),
    Otlp(otlp::Spec),
    Syslog(syslog::Spec),
    Sentinel(sentinel::Spec),
    EventBridge(event_bridge::Spec),
    SumoLogic(sumo_logic::Spec),
    Coralogix(coralogix::Spec),
    Elasticsearch(elasticsearch::Spec),
    Webhook(webhook::Spec),
    Stdout(stdout::Spec),
}

/// A secret that a block refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretField {
    /// The field of the block in the SiemExport.
    pub name: &'static str,
    /// Whether the destination can not do without.
    pub required: bool,
}

const fn required(name: &'static str) -> SecretField {
    SecretField { name, required: true }
}

const fn optional(name: &'static str) -> SecretField {
    SecretField { name, required: false }
}

impl Block {
    /// The platform, as the field of the SiemExport is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Splunk(_) => "splunk",
            Self::Datadog(_) => "datadog",
            Self::Otlp(_) => "otlp",
            Self::Syslog(_) => "syslog",
            Self::Sentinel(_) => "sentinel",
            Self::EventBridge(_) => "eventBridge",
            Self::SumoLogic(_) => "sumoLogic",
            Self::Coralogix(_) => "coralogix",
            Self::Elasticsearch(_) => "elasticsearch",
            Self::Webhook(_) => "webhook",
            Self::Stdout(_) => "stdout",
        }
    }

    /// The secrets that the block may refer to.
    #[must_use]
    pub const fn secrets(&self) -> &'static [SecretField] {
        match self {
            Self::Splunk(_) => &const { [required("tokenSecretRef")] },
            Self::Datadog(_) => &const { [required("apiKeySecretRef")] },
            Self::Otlp(_) => &const { [optional("secretRef")] },
            Self::Sentinel(spec) => match spec.identity {
                sentinel::Identity::ClientSecret => &const { [required("clientSecretRef")] },
                sentinel::Identity::WorkloadIdentity => &[],
            },
            Self::EventBridge(_) => {
                &const {
                    [
                        optional("accessKeyIdSecretRef"),
                        optional("secretAccessKeySecretRef"),
                        optional("sessionTokenSecretRef"),
                    ]
                }
            }
            Self::SumoLogic(_) => &const { [required("urlSecretRef")] },
            Self::Coralogix(_) | Self::Elasticsearch(_) => &const { [required("secretRef")] },
            Self::Webhook(_) => &const { [required("secretRef"), optional("previousSecretRef")] },
            Self::Syslog(_) | Self::Stdout(_) => &[],
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn check(&self, policy: Policy) -> Result<(), Invalid> {
        self.hosts(policy).map(drop)
    }

    /// The hosts that get the block's secrets. None for `sumoLogic`, whose URL is its secret, and for `stdout`.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn hosts(&self, policy: Policy) -> Result<Vec<String>, Invalid> {
        let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
        Ok(match self.clone() {
            Self::Splunk(spec) => vec![host(splunk::Config::new(spec, policy)?.url())],
            Self::Datadog(spec) => vec![host(datadog::Config::new(spec, policy)?.url())],
            Self::Otlp(spec) => vec![host(otlp::Config::new(spec, policy)?.url())],
            Self::Syslog(spec) => vec![syslog::Config::new(spec, policy)?.host().to_owned()],
            Self::Sentinel(spec) => {
                let config = sentinel::Config::new(spec, policy)?;
                vec![host(config.url()), host(config.token_url())]
            }
            Self::EventBridge(spec) => vec![host(event_bridge::Config::new(spec, policy)?.url())],
            Self::SumoLogic(spec) => {
                sumo_logic::Config::new(spec)?;
                Vec::new()
            }
            Self::Coralogix(spec) => vec![host(coralogix::Config::new(spec, policy)?.url())],
            Self::Elasticsearch(spec) => vec![host(elasticsearch::Config::new(spec, policy)?.url())],
            Self::Webhook(spec) => vec![host(webhook::Config::new(spec, policy)?.url())],
            Self::Stdout(_) => Vec::new(),
        })
    }
}
