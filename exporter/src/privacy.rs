//! What no destination of an export gets to see: values that are replaced by keyed hashes, and values that are left out.
//!
//! Promises: it happens before an event is shaped, so that no format can leak what it took out; what comes out is an event
//! of the schema. A hashed value has a key of its own (`user.email_hash`), because an address field refuses a hash, and is
//! normalised first: addresses of mail in lower case, IP addresses in canonical form. Must never take out what tells
//! which event it is and how it ended.

use std::net::IpAddr;

use daemon::hash::HashKey;
use events::{Record, limits};
use serde_json::value::RawValue;

use crate::destination::cut;
use crate::destination::invalid::Invalid;
use crate::destination::renamed::{Object, string};
use crate::mapping::HASHED;

/// What an event can not do without, besides what every event has.
const KEPT: [&str; 16] = [
    "schema_version",
    "event_id",
    "timestamp",
    "class",
    "event",
    "severity",
    "pool.id",
    "component.name",
    "component.version",
    "component.instance",
    "component.seq",
    "message",
    "truncated",
    "status",
    "action",
    "action.reason",
];

/// What is replaced and what is left out.
#[derive(Debug)]
pub struct Privacy {
    hash: Vec<String>,
    drop: Vec<String>,
    key: Option<HashKey>,
}

impl Privacy {
    /// Checks the keys.
    ///
    /// # Errors
    /// A key that does not exist, can not be hashed or can not be left out; hashing without a key.
    pub fn new(hash: Vec<String>, drop: Vec<String>, key: Option<HashKey>) -> Result<Self, Invalid> {
        check(&hash, &drop)?;
        if !hash.is_empty() && key.is_none() {
            return Err(Invalid::new("privacy.hashKeySecretRef", "must name a Secret with a key of at least 16 bytes"));
        }
        Ok(Self { hash, drop, key })
    }

    /// The event as the destinations see it; `None` where it is no event.
    #[must_use]
    pub fn apply(&self, canonical: &[u8]) -> Option<(Record, Vec<u8>)> {
        let fields = cut::fields(canonical)?;
        let mut out = Vec::with_capacity(canonical.len() + 512);
        let mut object = Object::begin(&mut out);
        for field in &fields {
            let key = &*field.key;
            if self.drop.iter().any(|dropped| dropped == key) {
                continue;
            }
            match self.key.as_ref().filter(|_| self.hash.iter().any(|hashed| hashed == key)) {
                Some(hasher) => {
                    let value = hashed(hasher, key, field.json)?;
                    object.key(&format!("{key}_hash")).extend_from_slice(&value);
                }
                None => object.any_key(key).extend_from_slice(field.json.get().as_bytes()),
            }
        }
        object.end();
        // Hashes can be longer than what they stand for.
        let out = cut::json(&out, limits::EVENT_BYTES).into_owned();
        Some((Record::from_json(&out).ok()?, out))
    }
}

/// Checks keys that privacy is to work on.
///
/// # Errors
/// The first that can not be used.
pub fn check(hash: &[String], drop: &[String]) -> Result<(), Invalid> {
    if let Some(key) = hash.iter().find(|key| !HASHED.contains(&key.as_str())) {
        return Err(Invalid::new("privacy.hash", format!("{key:?} can not be hashed: use {}", HASHED.join(", "))));
    }
    if let Some(key) = drop.iter().find(|key| !Record::KEYS.contains(&key.as_str())) {
        return Err(Invalid::new("privacy.drop", format!("there is no key {key:?}")));
    }
    if let Some(key) = drop.iter().find(|key| KEPT.contains(&key.as_str())) {
        return Err(Invalid::new("privacy.drop", format!("{key:?} can not be left out: it says what happened")));
    }
    match hash.iter().find(|key| drop.contains(key)) {
        Some(key) => Err(Invalid::new("privacy.drop", format!("{key:?} is in privacy.hash too"))),
        None => Ok(()),
    }
}

/// The hash of a text, or of each text of a list, as JSON.
fn hashed(hasher: &HashKey, key: &str, json: &RawValue) -> Option<Vec<u8>> {
    let hash = |text: &str| hasher.hash(normalised(key, text).as_bytes());
    let mut out = Vec::with_capacity(96);
    if json.get().starts_with('[') {
        let texts: Vec<String> = serde_json::from_str(json.get()).ok()?;
        out.push(b'[');
        for (i, text) in texts.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(&mut out, &hash(text));
        }
        out.push(b']');
    } else {
        let text: String = serde_json::from_str(json.get()).ok()?;
        string(&mut out, &hash(&text));
    }
    Some(out)
}

fn normalised(key: &str, text: &str) -> String {
    match key {
        "user.email" => text.to_lowercase(),
        "client.ip" => {
            text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_canonical().to_string())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SAMPLE: &str = include_str!("../../events/samples/tool_call.json");

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn key() -> HashKey {
        HashKey::new(b"a key of at least sixteen bytes").unwrap()
    }

    fn applied(hash: &[&str], drop: &[&str], event: &str) -> (Record, Value, String) {
        let privacy = Privacy::new(texts(hash), texts(drop), Some(key())).unwrap();
        let (record, json) = privacy.apply(event.as_bytes()).unwrap();
        let text = String::from_utf8(json.clone()).unwrap();
        (record, serde_json::from_slice(&json).unwrap(), text)
    }

    #[test]
    fn hashed_value_has_a_key_of_its_own_and_dropped_one_is_gone() {
        let (record, json, text) = applied(&["user.email", "client.ip", "user.groups"], &["user.id"], SAMPLE);
        assert_eq!(json["user.email_hash"], key().hash(b"alice@example.com"));
        assert_eq!(json["client.ip_hash"], key().hash(b"192.0.2.10"));
        assert_eq!(json["user.groups_hash"][1], key().hash(b"oncall"));
        for gone in ["user.email", "client.ip", "user.groups", "user.id"] {
            assert!(json.get(gone).is_none(), "{gone}");
        }
        assert!(record.user_email.is_none() && record.user_id.is_none() && record.user_groups.is_none());
        for secret in ["alice@example.com", "192.0.2.10", "oncall", "00u1a2b3c4"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let before: Value = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(json["event_id"], before["event_id"]);
        assert_eq!(json["tool.name"], before["tool.name"]);
    }

    #[test]
    fn equal_values_in_other_spellings_have_equal_hashes() {
        let of = |email: &str, ip: &str| {
            let event = SAMPLE.replace("alice@example.com", email).replace("192.0.2.10", ip);
            let (_, json, _) = applied(&["user.email", "client.ip"], &[], &event);
            (json["user.email_hash"].clone(), json["client.ip_hash"].clone())
        };
        assert_eq!(of("Alice@Example.com", "::ffff:192.0.2.10"), of("alice@example.com", "192.0.2.10"));
        assert_ne!(of("bob@example.com", "192.0.2.11"), of("alice@example.com", "192.0.2.10"));
    }

    #[test]
    fn hashes_that_make_an_event_too_long_cut_it_and_it_says_so() {
        let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
        event["user.groups"] = (0..32).map(|i| format!("{i:0>250}")).collect::<Vec<_>>().into();
        event["tool.parameter_fields"] = (0..24).map(|i| format!("p{i:0>250}")).collect::<Vec<_>>().into();
        let event = event.to_string();
        assert!(event.len() > 14_000 && event.len() <= limits::EVENT_BYTES, "{}", event.len());
        let (_, json, text) = applied(&["user.groups", "agent.id"], &[], &event);
        assert!(text.len() <= limits::EVENT_BYTES);
        assert!(json.get("user.groups").is_none());
    }

    #[test]
    fn every_refusal_names_the_field_and_the_key() {
        let refused = |hash: &[&str], drop: &[&str]| check(&texts(hash), &texts(drop)).unwrap_err().to_string();
        assert!(
            refused(&["tool.name"], &[]).starts_with(r#"privacy.hash: "tool.name" can not be hashed: use user.email"#)
        );
        assert_eq!(refused(&[], &["user.mail"]), r#"privacy.drop: there is no key "user.mail""#);
        assert!(refused(&[], &["event_id"]).starts_with(r#"privacy.drop: "event_id" can not be left out"#));
        assert_eq!(refused(&["user.id"], &["user.id"]), r#"privacy.drop: "user.id" is in privacy.hash too"#);
        let error = Privacy::new(texts(&["user.id"]), vec![], None).unwrap_err().to_string();
        assert!(error.starts_with("privacy.hashKeySecretRef: must name a Secret"), "{error}");
        assert!(Privacy::new(vec![], texts(&["user.id"]), None).is_ok());
    }

    #[test]
    fn every_key_that_can_be_hashed_can_be_dropped_and_nothing_that_is_kept() {
        for key in HASHED {
            assert!(!KEPT.contains(&key) && Record::KEYS.contains(&key), "{key}");
        }
    }
}
