//! Reading what was written: strictly, and then value by value against the canonical event.

use std::fmt;

use events::Record;
use exporter::answer::{Answer, Outcome, Verdict};
use exporter::destination::Request;
use exporter::mapping::{Lookup, Platform, Target};
use http::{HeaderMap, StatusCode};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::support::{Case, samples};

/// A JSON document in which no key is twice: platforms refuse such a document, or keep any of the two.
pub struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON without nulls and without repeated keys")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = vec![];
                while let Some(Strict(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut read = Map::new();
                while let Some((key, Strict(value))) = map.next_entry::<String, _>()? {
                    if read.insert(key.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("{key} is twice")));
                    }
                }
                Ok(read.into())
            }
        }
        deserializer.deserialize_any(Any).map(Strict)
    }
}

pub fn strict(json: &[u8]) -> Value {
    serde_json::from_slice::<Strict>(json).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(json))).0
}

/// Compares every value of an event with what `find` finds: by the platform's name, or by our own key (with
/// underscores). Returns how many were found, which tells the caller what else the document holds.
pub fn compare(case: &Case, platform: Platform, find: impl Fn(Result<&str, &str>) -> Option<Value>) -> usize {
    let mut rows = Lookup::new(platform);
    let mut found = 0;
    for (key, value) in case.value().as_object().unwrap() {
        let mut check = |name: Result<&str, &str>, expected: Value| {
            assert_eq!(find(name), Some(expected), "{key} as {name:?}");
            found += 1;
        };
        let own = key.replace('.', "_");
        // No platform's integers are larger.
        let value = if value.as_u64().is_some_and(|n| n > i64::MAX as u64) { json!(i64::MAX) } else { value.clone() };
        match rows.target(key) {
            Target::Own => check(Err(&own), value),
            Target::As(name) => check(Ok(name), value),
            Target::Both(one, other) => {
                check(Ok(one), value.clone());
                check(Ok(other), value);
            }
            Target::Nanoseconds(name) => {
                let us = (value.as_f64().unwrap() * 1_000.0).round() as i64;
                check(Ok(name), json!(us * 1_000));
            }
            Target::Address(name) => match value.as_str().unwrap().parse::<std::net::IpAddr>() {
                Ok(_) => check(Ok(name), value),
                Err(_) => check(Err(&own), value),
            },
            Target::Placed(_) => {}
        }
    }
    found
}

/// What is at a path of a nested document.
pub fn at(document: &Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(document, |value, part| value.get(part)).cloned()
}

/// How many values a nested document has.
pub fn leaves(document: &Value) -> usize {
    document.as_object().map_or(1, |object| object.values().map(leaves).sum())
}

/// The published sample with the most keys.
pub fn sample() -> Case {
    samples().into_iter().find(|(name, _)| name == "tool_call").unwrap().1
}

/// An event with every key that there is, and every hash, and one that a later version may add.
pub fn everything() -> Case {
    let mut event = sample().value();
    // Every key but one is in some sample, which knows what its value may be.
    let published: Vec<Value> = samples().into_iter().map(|(_, case)| case.value()).collect();
    for row in exporter::mapping::ROWS {
        let sampled = published.iter().find_map(|sample| sample.get(row.key)).cloned();
        let value = match row.key {
            "truncated" => json!(["user.groups"]),
            key => sampled.unwrap_or_else(|| json!(format!("value of {key}"))),
        };
        event.as_object_mut().unwrap().entry(row.key).or_insert(value);
    }
    let record = Record::from_json(event.to_string().as_bytes()).unwrap();
    let mut case = Case::new(record);
    for row in exporter::mapping::ROWS.iter().filter(|row| row.key.ends_with("_hash")) {
        if !Record::KEYS.contains(&row.key) {
            case = case.with(row.key, "hmac-sha256:a1b2c3d4:00ff");
        }
    }
    case.with("later.key", "of a later version")
}

/// An event that is larger than any platform takes.
pub fn oversized() -> Case {
    let mut case = sample();
    for i in 0..200 {
        case = case.with(&format!("later.key_{i}"), &"x".repeat(8_000));
    }
    case
}

/// A request as text: enough for another implementation to compare with.
pub fn text(request: &Request) -> String {
    let mut headers: Vec<String> =
        request.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    headers.sort_unstable();
    let (url, headers) = (&request.url, headers.concat());
    let gzip = if request.compress { "content-encoding: gzip\n" } else { "" };
    format!("POST {url}\n{headers}{gzip}\n{}", String::from_utf8_lossy(&request.body))
}

/// A verdict as one word and its code, which is what a table can hold.
pub fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered => "delivered".into(),
        Verdict::Retry { code, after: None } => format!("retry {}", code.as_str()),
        Verdict::Retry { code, after: Some(after) } => format!("retry {} after {}", code.as_str(), after.as_secs()),
        Verdict::Split { code } => format!("split {}", code.as_str()),
        Verdict::Drop { code } => format!("drop {}", code.as_str()),
        Verdict::Auth { code } => format!("auth {}", code.as_str()),
        Verdict::Config { code, field } => format!("config {} {field}", code.as_str()),
    }
}

/// Asks for the outcome of an answer, and writes it as a table can hold it: one word, or one for each event.
pub fn judged(outcome: impl Fn(&Answer<'_>, usize) -> Outcome, status: u16, body: &[u8], events: usize) -> String {
    let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
    let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body };
    match outcome(&answer, events) {
        Outcome::All(verdict) => word(&verdict),
        Outcome::Each(verdicts) => {
            assert_eq!(verdicts.len(), events, "one verdict for each event");
            verdicts.iter().map(word).collect::<Vec<_>>().join(", ")
        }
    }
}
