//! What a server lists: tools, prompts, resources, templates; each as the bytes that the server sent.
//!
//! Promises: an item passes to callers byte for byte, but for its name. Must never drop a field that this
//! code does not know.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::mcp::envelope;
use crate::mcp::splice;

/// The four lists of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl ListKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method asks for.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// The method.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The key of the list in the result.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The capability of a server that has such a list.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// The key by which an item is asked for.
    const fn id_key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// One item, as the server sent it.
#[derive(Debug)]
pub struct Item {
    /// The server's own name, URI or URI template.
    pub id: String,
    /// The whole object.
    raw: Box<RawValue>,
    /// Where the name stands in it.
    id_at: Range<usize>,
    /// `sha256:…` over the canonical JSON (RFC 8785); of tools only.
    pub hash: Option<String>,
    /// Names that a tool's input schema knows, sorted.
    properties: Box<[String]>,
}

impl Item {
    /// Reads an item; `None` if it has no name.
    #[must_use]
    pub fn parse(kind: ListKind, raw: Box<RawValue>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Ids<'a> {
            #[serde(borrow, default)]
            name: Option<&'a RawValue>,
            #[serde(borrow, default)]
            uri: Option<&'a RawValue>,
            #[serde(borrow, default, rename = "uriTemplate")]
            uri_template: Option<&'a RawValue>,
        }
        let (id, id_at) = {
            let ids: Ids<'_> = serde_json::from_str(raw.get()).ok()?;
            let piece = match kind.id_key() {
                "name" => ids.name,
                "uri" => ids.uri,
                _ => ids.uri_template,
            }?;
            let id = envelope::text(Some(piece))?.into_owned();
            (id, splice::position(raw.get().as_bytes(), piece)?)
        };
        let (hash, properties) = match kind {
            ListKind::Tools => definition(raw.get()),
            _ => (None, Box::default()),
        };
        Some(Self { id, raw, id_at, hash, properties })
    }

    /// Appends the object with another name.
    pub fn write(&self, name: &str, out: &mut Vec<u8>) {
        let raw = self.raw.get().as_bytes();
        out.extend_from_slice(&raw[..self.id_at.start]);
        out.extend_from_slice(splice::json_string(name).as_bytes());
        out.extend_from_slice(&raw[self.id_at.end..]);
    }

    /// The object as it came.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Whether a tool's input schema knows a parameter.
    #[must_use]
    pub fn knows(&self, parameter: &str) -> bool {
        self.properties.binary_search_by(|known| known.as_str().cmp(parameter)).is_ok()
    }
}

/// Hash of a tool's definition, and the names that its input schema knows.
fn definition(raw: &str) -> (Option<String>, Box<[String]>) {
    let Ok(value) = serde_json::from_str::<Value>(raw) else {
        return (None, Box::default());
    };
    let hash = serde_json_canonicalizer::to_vec(&value).ok().map(|canonical| sha256(&canonical));
    let mut properties: Vec<String> = value
        .pointer("/inputSchema/properties")
        .and_then(Value::as_object)
        .map(|map| map.keys().cloned().collect())
        .unwrap_or_default();
    properties.sort_unstable();
    (hash, properties.into_boxed_slice())
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The lists of one server in one era.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    lists: [std::sync::Arc<List>; 4],
}

/// One list.
#[derive(Debug, Default)]
pub struct List {
    /// In the server's order, without repetitions.
    pub items: Vec<Item>,
    /// Index into `items`, sorted by id.
    by_id: Vec<usize>,
    /// The shortest `ttlMs` of its pages; 0 if one has none.
    pub ttl_ms: u64,
}

impl List {
    /// A list; of items with the same name the first one counts.
    #[must_use]
    pub fn new(mut items: Vec<Item>, ttl_ms: u64) -> Self {
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| seen.insert(item.id.clone()));
        let mut by_id: Vec<usize> = (0..items.len()).collect();
        by_id.sort_unstable_by(|a, b| items[*a].id.cmp(&items[*b].id));
        Self { items, by_id, ttl_ms }
    }

    /// The item with this name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Item> {
        let at = self.by_id.binary_search_by(|i| self.items[*i].id.as_str().cmp(id)).ok()?;
        Some(&self.items[self.by_id[at]])
    }
}

impl Catalogue {
    /// One of the lists.
    #[must_use]
    pub fn list(&self, kind: ListKind) -> &List {
        &self.lists[kind as usize]
    }

    /// Puts a list in.
    pub fn set(&mut self, kind: ListKind, list: List) {
        self.lists[kind as usize] = std::sync::Arc::new(list);
    }

    /// Number and digest of the tools that are offered. The digest changes when a tool is added, removed or
    /// changed, and not when their order changes.
    #[must_use]
    pub fn tools_digest(&self, offers: impl Fn(&str) -> bool) -> (usize, String) {
        let list = self.list(ListKind::Tools);
        let mut hasher = Sha256::new();
        let mut count = 0;
        for &i in &list.by_id {
            let item = &list.items[i];
            if offers(&item.id) {
                count += 1;
                hasher.update((item.id.len() as u64).to_be_bytes());
                hasher.update(&item.id);
                hasher.update(item.hash.as_deref().unwrap_or_default());
            }
        }
        (count, format!("sha256:{}", hex::encode(hasher.finalize())))
    }

    /// Digest of one list, to see whether it changed.
    #[must_use]
    pub fn fingerprint(&self, kind: ListKind) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for item in &self.list(kind).items {
            hasher.update((item.raw.get().len() as u64).to_be_bytes());
            hasher.update(item.raw.get());
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(text: &str) -> Item {
        Item::parse(ListKind::Tools, RawValue::from_string(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn an_item_keeps_every_byte_but_its_name() {
        let text =
            r#"{"x-unknown": 1e400, "name" : "li\u0073t", "inputSchema":{"properties":{"b":{},"a":{}}},"z":"ü"}"#;
        let item = item(text);
        assert_eq!(item.id, "list");
        let mut out = Vec::new();
        item.write("crm__list", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text.replace(r#""li\u0073t""#, r#""crm__list""#));
    }

    #[test]
    fn the_schema_tells_which_parameters_are_known() {
        let item = item(r#"{"name":"t","inputSchema":{"properties":{"b":{},"a":{"properties":{"c":{}}}}}}"#);
        assert!(item.knows("a") && item.knows("b"));
        assert!(!item.knows("c") && !item.knows(""));
    }

    #[test]
    fn the_digest_does_not_depend_on_order_or_spelling() {
        let catalogue = |texts: &[&str]| {
            let mut catalogue = Catalogue::default();
            catalogue.set(ListKind::Tools, List::new(texts.iter().map(|t| item(t)).collect(), 0));
            catalogue.tools_digest(|name| name != "hidden")
        };
        let one = catalogue(&[r#"{"name":"a","d":1}"#, r#"{"name":"b"}"#]);
        assert_eq!(one.0, 2);
        assert_eq!(one, catalogue(&[r#"{"name":"b"}"#, r#"{"d": 1.0, "name":"a"}"#, r#"{"name":"hidden"}"#]));
        assert_ne!(one.1, catalogue(&[r#"{"name":"a","d":2}"#, r#"{"name":"b"}"#]).1);
    }

    proptest! {
        #[test]
        fn any_name_can_be_written(name in any::<String>()) {
            let item = item(r#"{"name":"t","k":[1]}"#);
            let mut out = Vec::new();
            item.write(&name, &mut out);
            let value: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(value, serde_json::json!({"name": name, "k": [1]}));
        }
    }
}
