//! From an McpServer and what it points at to what Armor is told of it. Pure.
//!
//! Both controllers come here: the McpServer's for its own status, the Pool's for the configuration that it
//! renders. So the two can not disagree about which servers are in.

use std::collections::{BTreeMap, BTreeSet};

use crds::McpServer;
use crds::mcp_server::{OutboundAuth, SecretHeader};
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretSlice};

use crate::certificates::check_ca;
use crate::conditions::Problem;
use crate::names::child_name;
use crate::world::{Lookup, Source, not_found};

/// The longest pattern that Armor takes. The schema counts characters.
const GLOB_BYTES: usize = 256;

/// What an McpServer's references lead to.
#[derive(Debug, Default)]
pub struct References {
    /// By Secret name.
    pub secrets: BTreeMap<String, Lookup>,
    /// The ConfigMap of `remote.caRef`.
    pub ca: Option<Lookup>,
}

/// A server as it goes into `armor.yaml`.
#[derive(Debug)]
pub struct Programmed {
    /// Name of the McpServer.
    pub name: String,
    /// Prefix of its tools; empty for none.
    pub prefix: String,
    /// URL of its endpoint.
    pub url: String,
    /// Certificates to trust.
    pub ca: Option<Credential>,
    /// What Armor shows to the server.
    pub auth: Outbound,
    /// Limit of one request.
    pub timeout: String,
    /// Globs of offered tools.
    pub allow: Vec<String>,
    /// Globs of withheld tools.
    pub deny: Vec<String>,
}

/// Credentials towards a server.
#[derive(Debug)]
pub enum Outbound {
    /// None.
    None,
    /// A bearer token.
    Bearer(Credential),
    /// Headers by name.
    Headers(Vec<(String, Credential)>),
}

/// A value that is copied into the pool's credentials.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Name of its file in Armor's directory of secrets.
    pub file: String,
    /// Where it comes from: changes whenever the value may have.
    pub origin: String,
    /// The value.
    pub value: SecretSlice<u8>,
}

impl Credential {
    /// Bytes in the Secret of the copies.
    pub fn size(&self) -> usize {
        self.file.len() + self.value.expose_secret().len()
    }
}

impl Programmed {
    /// What is copied into the pool's credentials.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        let auth: Vec<&Credential> = match &self.auth {
            Outbound::None => Vec::new(),
            Outbound::Bearer(credential) => vec![credential],
            Outbound::Headers(headers) => headers.iter().map(|(_, credential)| credential).collect(),
        };
        self.ca.iter().chain(auth)
    }

    /// Bytes of its credentials in the Secret of the copies.
    pub fn credentials_size(&self) -> usize {
        self.credentials().map(Credential::size).sum()
    }

    /// Bytes that it takes in the configuration, at most about so many: with the names of fields, indentation and escapes.
    pub fn document_size(&self) -> usize {
        const FIXED: usize = 2_048;
        const PER_PATTERN: usize = 16;
        let escaped = |text: &str| text.escape_default().count();
        let patterns = self.allow.iter().chain(&self.deny).map(|glob| escaped(glob) + PER_PATTERN).sum::<usize>();
        FIXED + escaped(&self.url) + patterns
    }
}

/// The problem of an McpServer, by the condition that it makes false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `Accepted`.
    NotAccepted(Problem),
    /// `ResolvedRefs`.
    Unresolved(Problem),
}

impl Fault {
    /// The problem itself.
    pub fn problem(&self) -> &Problem {
        match self {
            Fault::NotAccepted(problem) | Fault::Unresolved(problem) => problem,
        }
    }
}

/// The prefix of a server's tools.
pub fn prefix(server: &McpServer) -> String {
    server.spec.prefix.clone().unwrap_or_else(|| server.name_any())
}

/// Servers of one pool whose tools can not be told apart from an earlier server's, with the reason.
///
/// The earlier one stays: by creation time, then by name, so that the outcome does not depend on the order in
/// which a watch shows them.
pub fn collisions(servers: &[&McpServer]) -> BTreeMap<String, Problem> {
    let mut ordered = servers.to_vec();
    ordered.sort_by_key(|server| (server.metadata.creation_timestamp.clone().map(|time| time.0), server.name_any()));
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for server in ordered {
        let (name, prefix) = (server.name_any(), prefix(server));
        let other =
            if prefix.is_empty() || taken.contains_key("") { taken.values().next() } else { taken.get(&prefix) };
        match other {
            Some(other) if prefix.is_empty() || taken.contains_key("") => {
                let message = format!(
                    "spec.prefix: a server without a prefix must be the only one of its pool, and McpServer {other} \
                     is there too: make this McpServer anew with a prefix, or put it into a pool of its own"
                );
                refused.insert(name, Problem::new("PrefixCollision", message));
            }
            Some(other) => {
                let message = format!(
                    "spec.prefix: McpServer {other} of the same pool has the prefix {prefix} already: make this \
                     McpServer anew with another prefix"
                );
                refused.insert(name, Problem::new("PrefixCollision", message));
            }
            None => {
                taken.insert(prefix, name);
            }
        }
    }
    refused
}

/// Checks everything about one server that does not depend on the others of its pool.
///
/// # Errors
/// The first thing that keeps the server out of the configuration.
pub fn validate(server: &McpServer, references: &References) -> Result<Programmed, Fault> {
    let name = server.name_any();
    let spec = &server.spec;
    let url = match (&spec.remote, &spec.workload) {
        (Some(remote), None) => {
            check_url(&remote.url)
                .map_err(|wrong| Fault::NotAccepted(Problem::new("InvalidUrl", format!("spec.remote.url {wrong}"))))?;
            remote.url.clone()
        }
        (None, Some(workload)) => format!(
            "http://{}.{}.svc:{}{}",
            child_name(&name, "mcp"),
            server.namespace().unwrap_or_default(),
            workload.port.unwrap_or(8080),
            workload.path.as_deref().unwrap_or("/mcp"),
        ),
        _ => {
            let message = "spec: set exactly one of remote and workload";
            return Err(Fault::NotAccepted(Problem::new("InvalidSpec", message)));
        }
    };
    let globs = |list: &Option<Vec<String>>, field: &str| {
        let list = list.clone().unwrap_or_default();
        let refuse = |what: &str| {
            let message = format!("spec.tools.{field} has {what}: remove it, or write a tool name or a glob");
            Err(Fault::NotAccepted(Problem::new("InvalidSpec", message)))
        };
        if list.iter().any(|glob| glob.trim().is_empty()) {
            return refuse("an empty pattern");
        }
        if list.iter().any(|glob| glob.len() > GLOB_BYTES) {
            return refuse(&format!("a pattern of more than {GLOB_BYTES} bytes"));
        }
        Ok(list)
    };
    let tools = spec.tools.as_ref();
    let allow = match tools {
        Some(tools) if tools.allow.is_some() => globs(&tools.allow, "allow")?,
        _ => vec!["*".to_owned()],
    };
    let deny = tools.map_or(Ok(Vec::new()), |tools| globs(&tools.deny, "deny"))?;
    Ok(Programmed {
        prefix: prefix(server),
        url,
        ca: ca(server, references).map_err(Fault::Unresolved)?,
        auth: outbound(&name, spec.auth.as_ref(), references).map_err(Fault::Unresolved)?,
        timeout: spec.timeout.clone().unwrap_or_else(|| "30s".to_owned()),
        allow,
        deny,
        name,
    })
}

/// What Armor would refuse, and with it the configuration of the whole pool. The text is not repeated: it may hold a
/// credential.
fn check_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text)
        .map_err(|error| format!("is no URL ({error}): write one such as https://crm.example.com/mcp"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("is no http or https URL: write one such as https://crm.example.com/mcp".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password: use spec.auth with a Secret".into());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (#...): remove it".into());
    }
    Ok(())
}

/// Names of the Secrets that a server points at.
pub fn secret_names(server: &McpServer) -> BTreeSet<String> {
    let auth = server.spec.auth.as_ref();
    let bearer = auth.and_then(|auth| auth.bearer.as_ref()).map(|bearer| bearer.secret_ref.name.clone());
    let headers = auth.and_then(|auth| auth.headers.as_ref()).into_iter().flatten();
    bearer.into_iter().chain(headers.map(|header| header.secret_ref.name.clone())).collect()
}

fn ca(server: &McpServer, references: &References) -> Result<Option<Credential>, Problem> {
    let Some(ca_ref) = server.spec.remote.as_ref().and_then(|remote| remote.ca_ref.as_ref()) else { return Ok(None) };
    let field = "spec.remote.caRef";
    let Some(Some(material)) = &references.ca else {
        return Err(not_found(Source::ConfigMap, &ca_ref.name, field));
    };
    let value = material.require(ca_ref.key(), field)?.clone();
    let file = format!("server-{}-ca.crt", server.name_any());
    check_ca(ca_ref, field, value.expose_secret())?;
    Ok(Some(Credential { file, origin: format!("{}/{}", material.version, ca_ref.key()), value }))
}

fn outbound(name: &str, auth: Option<&OutboundAuth>, references: &References) -> Result<Outbound, Problem> {
    let credential = |reference: &crds::common::SecretKeyRef, field: &str, file: String| {
        let Some(Some(material)) = references.secrets.get(&reference.name) else {
            return Err(not_found(Source::Secret, &reference.name, field));
        };
        let value = material.require(&reference.key, field)?.clone();
        Ok(Credential { file, origin: format!("{}/{}", material.version, reference.key), value })
    };
    match auth {
        Some(OutboundAuth { bearer: Some(bearer), .. }) => {
            let file = format!("server-{name}-bearer");
            Ok(Outbound::Bearer(credential(&bearer.secret_ref, "spec.auth.bearer.secretRef", file)?))
        }
        Some(OutboundAuth { headers: Some(headers), .. }) => {
            let one = |(index, header): (usize, &SecretHeader)| {
                let field = format!("spec.auth.headers[{}].secretRef", header.name);
                let file = format!("server-{name}-header-{index}");
                Ok((header.name.clone(), credential(&header.secret_ref, &field, file)?))
            };
            Ok(Outbound::Headers(headers.iter().enumerate().map(one).collect::<Result<_, Problem>>()?))
        }
        _ => Ok(Outbound::None),
    }
}
