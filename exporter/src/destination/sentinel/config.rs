//! The `sentinel` block.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Policy;
use crate::destination::invalid::Invalid;

/// The version of the API that is spoken.
const API_VERSION: &str = "2023-01-01";

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The logs ingestion URL of the data collection rule (DCR), or of a data collection endpoint (DCE).
    pub endpoint: String,
    /// The immutable id of the rule: `dcr-` and 32 hexadecimal digits.
    pub rule_id: String,
    /// The stream that the rule declares: `Custom-…`.
    pub stream: String,
    /// The directory of the application: a GUID.
    pub tenant_id: String,
    /// The application: a GUID.
    pub client_id: String,
    /// How the application proves itself.
    #[serde(default)]
    pub identity: Identity,
    /// Which of Microsoft's clouds.
    #[serde(default)]
    pub cloud: Cloud,
    /// Instead of the cloud's `https://login…`: a private authority host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// How an application proves itself to Entra ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Identity {
    /// By a secret.
    #[default]
    ClientSecret,
    /// By the token of the Pod's service account, which Entra ID trusts by federation (Azure Workload Identity).
    WorkloadIdentity,
}

/// Microsoft's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Cloud {
    /// Azure.
    #[default]
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
}

impl Cloud {
    /// Where tokens are asked for.
    const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// What the hosts that take logs end in.
    const fn ingestion(self) -> &'static str {
        match self {
            Self::Public => ".ingest.monitor.azure.com",
            Self::UsGovernment => ".ingest.monitor.azure.us",
            Self::China => ".ingest.monitor.azure.cn",
        }
    }

    /// What a token is asked for.
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Self::Public => "https://monitor.azure.com/.default",
            Self::UsGovernment => "https://monitor.azure.us/.default",
            Self::China => "https://monitor.azure.cn/.default",
        }
    }
}

/// As it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) url: Url,
    pub(super) token_url: Url,
    pub(super) client_id: String,
    pub(super) cloud: Cloud,
    pub(super) identity: Identity,
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that can not be used.
    pub fn new(spec: Spec, policy: Policy) -> Result<Self, Invalid> {
        let mut url = origin(policy, "endpoint", &spec.endpoint)?;
        // The Pod's identity is not the author's: no Secret that was shared says where it may be sent to.
        if spec.identity == Identity::WorkloadIdentity && policy == Policy::STRICT {
            if spec.authority.is_some() {
                return Err(Invalid::new(
                    "authority",
                    "is for ClientSecret: the Pod's identity goes to Microsoft alone",
                ));
            }
            let ending = spec.cloud.ingestion();
            if !url.host_str().is_some_and(|host| host.ends_with(ending)) {
                let rule = format!("must be a host that ends in {ending}: the Pod's identity goes to Microsoft alone");
                return Err(Invalid::new("endpoint", rule));
            }
        }
        let rule = spec.rule_id.strip_prefix("dcr-");
        if !rule.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(Invalid::new("ruleId", "must be dcr- and 32 hexadecimal digits: the rule's immutable id"));
        }
        let is_stream = |name: &str| {
            let known = name.starts_with("Custom-") || name.starts_with("Microsoft-");
            known && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !is_stream(&spec.stream) {
            let rule = "must begin with Custom- or Microsoft- and have at most 128 letters, digits, - and _";
            return Err(Invalid::new("stream", rule));
        }
        url.set_path(&format!("/dataCollectionRules/{}/streams/{}", spec.rule_id, spec.stream));
        url.set_query(Some(&format!("api-version={API_VERSION}")));
        let mut token_url = origin(policy, "authority", spec.authority.as_deref().unwrap_or(spec.cloud.authority()))?;
        token_url.set_path(&format!("/{}/oauth2/v2.0/token", guid("tenantId", &spec.tenant_id)?));
        let client_id = guid("clientId", &spec.client_id)?.to_owned();
        Ok(Self { url, token_url, client_id, cloud: spec.cloud, identity: spec.identity })
    }

    /// Where requests go to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where the application's secret goes to.
    #[must_use]
    pub fn token_url(&self) -> &Url {
        &self.token_url
    }

    /// How the application proves itself, and so what [`super::token::request`] is to be given.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

/// A URL with nothing after the host.
fn origin(policy: Policy, field: &'static str, text: &str) -> Result<Url, Invalid> {
    let url = policy.parse_url(text).map_err(|problem| Invalid::new(field, problem))?;
    if url.path() != "/" || url.query().is_some() {
        return Err(Invalid::new(field, "must have no path and no query"));
    }
    Ok(url)
}

fn guid<'a>(field: &'static str, text: &'a str) -> Result<&'a str, Invalid> {
    let is_guid = text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_guid { Ok(text) } else { Err(Invalid::new(field, "must be a GUID")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(changes: Value) -> Result<Config, String> {
        let mut spec = json!({
            "endpoint": "https://mcp-audit-ab12.westeurope-1.ingest.monitor.azure.com",
            "ruleId": "dcr-00000000000000000000000000000abc",
            "stream": "Custom-AiGatewayAgentEvent",
            "tenantId": "11111111-2222-3333-4444-555555555555",
            "clientId": "66666666-7777-8888-9999-aaaaaaaaaaaa",
        });
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let spec: Spec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
        Config::new(spec, Policy::STRICT).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_made_of_the_fields() {
        let config = config(json!({"cloud": "UsGovernment"})).unwrap();
        assert_eq!(
            config.url.as_str(),
            "https://mcp-audit-ab12.westeurope-1.ingest.monitor.azure.com/dataCollectionRules/\
             dcr-00000000000000000000000000000abc/streams/Custom-AiGatewayAgentEvent?api-version=2023-01-01"
        );
        assert_eq!(
            config.token_url.as_str(),
            "https://login.microsoftonline.us/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token"
        );
    }

    #[test]
    fn every_refusal_names_the_field() {
        for (change, expected) in [
            (json!({"endpoint": "http://a.example.com"}), "endpoint: must begin with https://"),
            (json!({"endpoint": "https://a.example.com/x"}), "endpoint: must have no path and no query"),
            (json!({"ruleId": "dcr-1/../x"}), "ruleId: must be dcr- and 32 hexadecimal digits"),
            (json!({"ruleId": "00000000000000000000000000000abc"}), "ruleId: must be dcr- and"),
            (json!({"stream": "AiGateway_CL"}), "stream: must begin with Custom- or Microsoft-"),
            (json!({"stream": "Custom-a/b"}), "stream: must begin with Custom- or Microsoft-"),
            (json!({"tenantId": "contoso.example.com"}), "tenantId: must be a GUID"),
            (json!({"clientId": "66666666-7777-8888-9999-aaaaaaaaaaag"}), "clientId: must be a GUID"),
            (json!({"authority": "https://login.example.com/x"}), "authority: must have no path and no query"),
            (json!({"identity": "password"}), "unknown variant `password`"),
            (json!({"clientSecret": "x"}), "unknown field `clientSecret`"),
        ] {
            let error = config(change).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
