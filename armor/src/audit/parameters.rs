//! What is told of a call's arguments: names that the tool's schema knows, and a keyed hash.
//!
//! Promises: no value, and no name that a caller made up, leaves this module. Must never hold the
//! arguments after it returns.

use std::{borrow::Cow, collections::BTreeSet, fmt, io};

use daemon::hash::HashKey;
use events::{Text, TextList};
use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// What is told of a call's arguments.
#[derive(Clone, Debug)]
pub enum Parameters {
    /// Nothing.
    None,
    /// The names that the tool's schema knows.
    Names,
    /// Also a keyed hash of all arguments, by which equal calls can be found.
    NamesAndHashes(HashKey),
}

/// The hash of the canonical JSON (RFC 8785) of `arguments`. `None` for what has no canonical form: no JSON, nested
/// deeper than 128, or a number beyond a double; and for more than `HASHED_BYTES_MAX`.
#[must_use]
pub fn hash(key: &HashKey, arguments: &[u8]) -> Option<String> {
    if arguments.len() > HASHED_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(arguments).ok()?;
    let mut hasher = key.hasher();
    write_canonical(&value, &mut hasher).ok()?;
    Some(hasher.finish())
}

/// Most bytes of arguments that are hashed. The decoded form may take a hundred times as much memory, and a caller
/// must not be able to fill the process's.
const HASHED_BYTES_MAX: usize = 256 << 10;

/// RFC 8785 in one pass: the general serializer copies each level once more, which a caller could make
/// expensive by nesting.
fn write_canonical(value: &Value, out: &mut impl io::Write) -> io::Result<()> {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            // Section 3.2.3: names sort by their UTF-16 code units.
            members.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.write_all(b"{")?;
            for (i, (name, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.write_all(b",")?;
                }
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":")?;
                write_canonical(member, out)?;
            }
            out.write_all(b"}")
        }
        Value::Array(items) => {
            out.write_all(b"[")?;
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.write_all(b",")?;
                }
                write_canonical(item, out)?;
            }
            out.write_all(b"]")
        }
        // Section 3.2.2.3: numbers as ECMAScript prints a double.
        Value::Number(number) => out.write_all(&serde_json_canonicalizer::to_vec(number)?),
        // serde_json escapes strings as section 3.2.2.2 asks.
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(serde_json::to_writer(out, value)?),
    }
}

/// The names of the arguments that `known` knows, sorted, and how many others there are. `None` for what
/// is not an object.
pub(super) fn names<const MAX: usize>(arguments: &[u8], known: impl Fn(&str) -> bool) -> Option<(TextList<MAX>, u64)> {
    let mut deserializer = serde_json::Deserializer::from_slice(arguments);
    let (known, unknown) = deserializer.deserialize_map(Names(known)).ok()?;
    let mut list = TextList::default();
    for name in known {
        if !list.push(name) {
            break;
        }
    }
    Some((list, unknown))
}

struct Names<F>(F);

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Names<F> {
    type Value = (BTreeSet<Text>, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut known = BTreeSet::new();
        let mut unknown = 0;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            map.next_value::<IgnoredAny>()?;
            match Text::new(&name) {
                Some(text) if (self.0)(&name) => {
                    known.insert(text);
                }
                _ => unknown += 1,
            }
        }
        Ok((known, unknown))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn key() -> HashKey {
        HashKey::new(b"0123456789abcdef0123456789abcdef").unwrap()
    }

    fn told(arguments: &str, known: &[&str]) -> Option<(Vec<String>, u64)> {
        let (names, unknown) = names::<64>(arguments.as_bytes(), |name| known.contains(&name))?;
        let names = names.as_slice().iter().map(ToString::to_string);
        Some((names.collect(), unknown))
    }

    #[test]
    fn names_that_the_schema_does_not_know_are_only_counted() {
        let arguments = r#"{"title": "x", "my password is hunter2": 1, "body": {"title": 2}, "": 0}"#;
        assert_eq!(told(arguments, &["title", "body", "customer"]), Some((vec!["body".into(), "title".into()], 2)));
        assert_eq!(told("{}", &["title"]), Some((vec![], 0)));
    }

    #[test]
    fn what_is_not_an_object_has_no_names() {
        for arguments in ["[1]", "null", "", "{\"a\":", "\"a\""] {
            assert_eq!(told(arguments, &["a"]), None, "{arguments}");
        }
    }

    #[test]
    fn hash_has_the_id_of_its_key() {
        // printf %s '{"a":1}' | openssl dgst -sha256 -hmac KEY, and sha256sum of KEY.
        assert_eq!(
            hash(&key(), br#"{ "a": 1.0 }"#).unwrap(),
            "hmac-sha256:3eb1bd43:f0546246da9e2349100c845a8561214788d75d900f3c086a72fcfa03bb1f42ab"
        );
    }

    #[test]
    fn equal_arguments_have_equal_hashes_and_others_do_not() {
        let hash = |text: &str| super::hash(&key(), text.as_bytes());
        assert_eq!(hash(r#"{"b":[1,2],"a":"\u00e9"}"#), hash(r#" {"a" : "é", "b":[1.0, 2e0]}"#));
        assert_ne!(hash(r#"{"a":[1,2]}"#), hash(r#"{"a":[2,1]}"#));
        assert_ne!(hash(r#"{"a":"1"}"#), hash(r#"{"a":1}"#));
        let other = HashKey::new(b"another key of enough bytes").unwrap();
        assert_ne!(hash("{}"), super::hash(&other, b"{}"));
    }

    #[test]
    fn what_has_no_canonical_form_has_no_hash() {
        let deep = "[".repeat(200_000);
        let large = format!("[{}0]", "0,".repeat(HASHED_BYTES_MAX / 2));
        for arguments in ["", "{", "1e999", deep.as_str(), large.as_str()] {
            assert_eq!(hash(&key(), arguments.as_bytes()), None);
        }
    }

    #[test]
    fn short_key_is_refused_and_no_key_is_shown() {
        assert!(HashKey::new(b"0123456789abcde").is_none());
        assert!(!format!("{:?}", key()).contains("0123456789"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::from),
                vec((any::<String>(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_that_of_the_reference(value in json()) {
            let mut ours = Vec::new();
            write_canonical(&value, &mut ours).unwrap();
            prop_assert_eq!(ours, serde_json_canonicalizer::to_vec(&value).unwrap());
        }

        #[test]
        fn any_bytes_are_taken(bytes in vec(any::<u8>(), 0..200)) {
            let _ = hash(&key(), &bytes);
            if let Some((names, _)) = names::<64>(&bytes, |_| true) {
                prop_assert!(names.as_slice().is_sorted());
            }
        }
    }
}
