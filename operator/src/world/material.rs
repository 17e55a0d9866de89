//! Contents of the Secrets and ConfigMaps that specs point at.
//!
//! The watch shows metadata only. Contents are read once per version of an object, and only of objects that a
//! spec names. Values are held in `secrecy` types and never printed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::api::DynamicObject;
use kube::{Api, Client};
use secrecy::{ExposeSecret, SecretSlice};
use thiserror::Error;
use tokio::sync::Mutex;

use super::cache::Cache;
use crate::conditions::Problem;

const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Kinds that a spec may point at for contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Secret,
    ConfigMap,
}

impl Source {
    /// The word in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Secret => "Secret",
            Source::ConfigMap => "ConfigMap",
        }
    }
}

/// What the metadata watch keeps of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Uid of the object.
    pub uid: String,
    /// Version of its contents.
    pub resource_version: String,
    /// For selectors.
    pub labels: BTreeMap<String, String>,
}

/// Contents of one version of an object.
#[derive(Debug)]
pub struct Material {
    /// Which kind of object.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// Identifies the version: uid and resourceVersion.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    data: BTreeMap<String, SecretSlice<u8>>,
}

/// A reference that was looked up: the contents, or that there is no such object.
pub type Lookup = Option<Arc<Material>>;

impl Material {
    /// Contents from plain values; for tests.
    pub fn new(source: Source, name: &str, version: &str, data: BTreeMap<String, Vec<u8>>) -> Self {
        let data = data.into_iter().map(|(key, value)| (key, value.into())).collect();
        let (labels, annotations) = Default::default();
        Material { source, name: name.to_owned(), version: version.to_owned(), labels, annotations, data }
    }

    /// The same with labels and annotations; for tests.
    pub fn with_metadata(self, labels: BTreeMap<String, String>, annotations: BTreeMap<String, String>) -> Self {
        Material { labels, annotations, ..self }
    }

    /// The value under a key, if it is there and not empty.
    pub fn value(&self, key: &str) -> Option<&SecretSlice<u8>> {
        self.data.get(key).filter(|value| !value.expose_secret().is_empty())
    }

    /// The value under a key, or what is wrong, naming the field that asked for it.
    ///
    /// # Errors
    /// The key is missing or its value is empty.
    pub fn require(&self, key: &str, field: &str) -> Result<&SecretSlice<u8>, Problem> {
        let (kind, name) = (self.source.as_str(), &self.name);
        match self.data.get(key) {
            None => Err(Problem::new(
                if self.source == Source::Secret { "SecretKeyMissing" } else { "ConfigMapKeyMissing" },
                format!("{kind} {name} has no key {key}, which {field} names: add the key, or correct {field}"),
            )),
            Some(value) if value.expose_secret().iter().all(u8::is_ascii_whitespace) => Err(Problem::new(
                if self.source == Source::Secret { "SecretEmpty" } else { "ConfigMapEmpty" },
                format!("{kind} {name} has an empty value under {key}, which {field} names: fill it in"),
            )),
            Some(value) => Ok(value),
        }
    }
}

/// The problem of a reference to nothing.
pub fn not_found(source: Source, name: &str, field: &str) -> Problem {
    let kind = source.as_str();
    Problem::new(
        if source == Source::Secret { "SecretNotFound" } else { "ConfigMapNotFound" },
        format!("{kind} {name}, which {field} names, does not exist in this namespace: create it, or correct {field}"),
    )
}

/// A read that failed.
#[derive(Debug, Error)]
#[error("{kind} {namespace}/{name} can not be read: {cause}")]
pub struct ReadError {
    kind: &'static str,
    namespace: String,
    name: String,
    cause: String,
}

/// Reads contents, once per version.
pub struct Materials {
    client: Client,
    known: Mutex<HashMap<(Source, String, String), Arc<Material>>>,
}

impl Materials {
    /// Reads through `client`.
    pub fn new(client: Client) -> Self {
        Materials { client, known: Mutex::default() }
    }

    /// The contents of an object, or `None` if the watch knows no such object.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub async fn get(
        &self,
        source: Source,
        metas: &Cache<Meta>,
        namespace: &str,
        name: &str,
    ) -> Result<Lookup, ReadError> {
        let key = (source, namespace.to_owned(), name.to_owned());
        let Some(meta) = metas.get(namespace, name) else {
            self.known.lock().await.remove(&key);
            return Ok(None);
        };
        let version = format!("{}:{}", meta.uid, meta.resource_version);
        if let Some(known) = self.known.lock().await.get(&key).filter(|known| known.version == version) {
            return Ok(Some(known.clone()));
        }
        let fail =
            |cause: String| ReadError { kind: source.as_str(), namespace: namespace.into(), name: name.into(), cause };
        let read = tokio::time::timeout(READ_TIMEOUT, self.read(source, namespace, name));
        let Some(material) =
            read.await.map_err(|_| fail("no answer in time".into()))?.map_err(|e| fail(e.to_string()))?
        else {
            return Ok(None);
        };
        let material = Arc::new(material);
        self.known.lock().await.insert(key, material.clone());
        Ok(Some(material))
    }

    /// The labels of a volume claim, if there is one. Claims are not watched: a cluster has many, and this is asked before
    /// a StatefulSet is first made.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub async fn claim_labels(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ReadError> {
        let fail = |cause: String| ReadError {
            kind: "PersistentVolumeClaim",
            namespace: namespace.into(),
            name: name.into(),
            cause,
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let read = tokio::time::timeout(READ_TIMEOUT, claims.get_metadata_opt(name));
        let found = read.await.map_err(|_| fail("no answer in time".into()))?.map_err(|e| fail(e.to_string()))?;
        Ok(found.map(|claim| claim.metadata.labels.unwrap_or_default()))
    }

    /// An object that no watch holds, because it does not fit its schema.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub async fn object(
        &self,
        api: &Api<DynamicObject>,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, ReadError> {
        let fail = |cause: String| ReadError { kind, namespace: namespace.into(), name: name.into(), cause };
        let read = tokio::time::timeout(READ_TIMEOUT, api.get_opt(name));
        read.await.map_err(|_| fail("no answer in time".into()))?.map_err(|e| fail(e.to_string()))
    }

    /// Forgets what no spec names any more.
    pub async fn retain(&self, is_named: impl Fn(Source, &str, &str) -> bool) {
        self.known.lock().await.retain(|(source, namespace, name), _| is_named(*source, namespace, name));
    }

    async fn read(&self, source: Source, namespace: &str, name: &str) -> kube::Result<Option<Material>> {
        let (metadata, data) = match source {
            Source::Secret => match Api::<Secret>::namespaced(self.client.clone(), namespace).get_opt(name).await? {
                Some(secret) => {
                    let data = secret.data.unwrap_or_default();
                    (secret.metadata, data.into_iter().map(|(key, value)| (key, value.0.into())).collect())
                }
                None => return Ok(None),
            },
            Source::ConfigMap => {
                match Api::<ConfigMap>::namespaced(self.client.clone(), namespace).get_opt(name).await? {
                    Some(map) => {
                        let data = map.data.unwrap_or_default();
                        (map.metadata, data.into_iter().map(|(key, value)| (key, value.into_bytes().into())).collect())
                    }
                    None => return Ok(None),
                }
            }
        };
        let version = format!("{}:{}", metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default());
        let (labels, annotations) = (metadata.labels.unwrap_or_default(), metadata.annotations.unwrap_or_default());
        Ok(Some(Material { source, name: name.to_owned(), version, labels, annotations, data }))
    }
}
