//! The values of an event under the names of a platform, and how they are written.
//!
//! Promises: whatever the canonical event holds comes out once, under the names of [`crate::mapping`]; text goes
//! through unchanged. Everything is taken from the canonical JSON, because that is what privacy has gone over.
//!
//! Must never make a document that a platform refuses for one value: the platforms' integers have 64 bits and a sign,
//! so a larger one becomes the largest. A server can report any number of tokens, and must not be able to make the
//! record of its call disappear.

use std::net::IpAddr;

use serde_json::value::RawValue;

use super::cut::Field;
use crate::mapping::{Lookup, OWN_PREFIX, Platform, Target};

/// The name of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// The platform's.
    Theirs(&'static str),
    /// Our key, for which the platform has no name.
    Own(&'a str),
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// As it is encoded in the canonical event.
    Json(&'a RawValue),
    /// A number that was converted.
    Integer(i64),
}

/// Calls `write` for every value, in the order of the event.
pub fn each<'f>(fields: &'f [Field<'f>], platform: Platform, mut write: impl FnMut(Name<'f>, Value<'f>)) {
    let mut rows = Lookup::new(platform);
    for Field { key, json } in fields {
        let (own, value) = (Name::Own(key), Value::Json(json));
        match rows.target(key) {
            Target::Own => write(own, value),
            Target::As(name) => write(Name::Theirs(name), value),
            Target::Both(one, other) => {
                write(Name::Theirs(one), value);
                write(Name::Theirs(other), value);
            }
            Target::Nanoseconds(name) => match nanoseconds(json.get()) {
                Some(ns) => write(Name::Theirs(name), Value::Integer(ns)),
                None => write(own, value),
            },
            Target::Address(name) => {
                let is_address = json.get().trim_matches('"').parse::<IpAddr>().is_ok();
                write(if is_address { Name::Theirs(name) } else { own }, value);
            }
            Target::Placed(_) => {}
        }
    }
}

/// Milliseconds with 3 decimals, as nanoseconds.
#[must_use]
pub fn nanoseconds(ms: &str) -> Option<i64> {
    let us = (ms.parse::<f64>().ok()? * 1_000.0).round();
    // Up to 2^53 microseconds a double is exact, and the nanoseconds fit.
    (0.0..=9_007_199_254_740_992.0).contains(&us).then(|| us as i64 * 1_000)
}

/// An integer of the schema, at most the largest of 64 bits with a sign. `None` for all that is no integer.
#[must_use]
pub fn integer(json: &str) -> Option<i64> {
    match json.parse::<i64>() {
        Ok(number) => Some(number),
        Err(_) => (json.len() >= 19 && json.bytes().all(|byte| byte.is_ascii_digit())).then_some(i64::MAX),
    }
}

/// A JSON string. Writing one to memory cannot fail.
pub fn string(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

impl Value<'_> {
    /// As JSON on one line: some formats end an event at a line break, and nothing says that a canonical event has none
    /// between its values.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Json(raw) => {
                let json = raw.get();
                match json.as_bytes() {
                    [b'[' | b'{', ..] => compact(out, json),
                    [b'0'..=b'9', ..] if json.len() >= 19 => match integer(json) {
                        Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
                        None => out.extend_from_slice(json.as_bytes()),
                    },
                    _ => out.extend_from_slice(json.as_bytes()),
                }
            }
        }
    }
}

/// Valid JSON without the white space between its tokens.
fn compact(out: &mut Vec<u8>, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
}

/// A JSON object that is being written.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins one.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// A key that is a name of ours or of a platform's schema and needs no escapes; the value is to follow.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A key of an event as it is. It may be one that this version does not know, and may hold anything.
    pub fn any_key(&mut self, key: &str) -> &mut Vec<u8> {
        self.comma();
        string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// A key with a text.
    pub fn text(&mut self, name: &str, text: &str) {
        string(self.key(name), text);
    }

    /// A key of an event without a counterpart, its dots as underscores. It may be one that this version does not know,
    /// and may hold anything.
    pub fn own_key(&mut self, key: &str) -> &mut Vec<u8> {
        self.comma();
        // The keys of the schema need no escapes.
        if key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.')) {
            self.out.push(b'"');
            self.out.extend(key.bytes().map(|byte| if byte == b'.' { b'_' } else { byte }));
            self.out.push(b'"');
        } else {
            string(self.out, &key.replace('.', "_"));
        }
        self.out.push(b':');
        self.out
    }

    /// The values of an event: those that the platform has names for as keys of this object, the others in one object
    /// under `rest`.
    pub fn values(&mut self, fields: &[Field<'_>], platform: Platform, rest: &str) {
        let mut own = Vec::with_capacity(1_536);
        let mut others = Object::begin(&mut own);
        each(fields, platform, |name, value| match name {
            Name::Theirs(name) => value.write(self.key(name)),
            Name::Own(key) => value.write(others.own_key(key)),
        });
        others.end();
        self.key(rest).extend_from_slice(&own);
    }

    /// Ends it.
    pub fn end(self) {
        self.out.push(b'}');
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }
}

/// The values of a nested document, whose names are paths (`http.request.id`).
#[derive(Debug, Default)]
pub struct Nested<'a> {
    named: Vec<(&'static str, Leaf<'a>)>,
    own: Vec<u8>,
}

/// A value of a nested document.
#[derive(Clone, Copy, Debug)]
pub enum Leaf<'a> {
    /// Of the event.
    Value(Value<'a>),
    /// A text.
    Text(&'a str),
    /// JSON that is written as it is.
    Literal(&'static str),
}

impl<'a> Nested<'a> {
    /// The values of an event.
    #[must_use]
    pub fn of(fields: &'a [Field<'a>], platform: Platform) -> Self {
        let mut nested = Self { named: Vec::with_capacity(64), own: Vec::with_capacity(1_024) };
        let mut own = Object::begin(&mut nested.own);
        each(fields, platform, |name, value| match name {
            Name::Theirs(path) => nested.named.push((path, Leaf::Value(value))),
            Name::Own(key) => value.write(own.own_key(key)),
        });
        own.end();
        nested
    }

    /// One more.
    pub fn add(&mut self, path: &'static str, leaf: Leaf<'a>) {
        self.named.push((path, leaf));
    }

    /// The document. Paths that share a parent must share all of it: none may be the parent of another.
    pub fn write(mut self, out: &mut Vec<u8>) {
        self.named.sort_unstable_by_key(|(path, _)| *path);
        out.push(b'{');
        let mut open = "";
        for (path, leaf) in self.named {
            let parent = path.rfind('.').map_or("", |dot| &path[..dot]);
            enter(out, open, parent);
            open = parent;
            string(out, &path[parent.len() + usize::from(!parent.is_empty())..]);
            out.push(b':');
            match leaf {
                Leaf::Value(value) => value.write(out),
                Leaf::Text(text) => string(out, text),
                Leaf::Literal(json) => out.extend_from_slice(json.as_bytes()),
            }
            out.push(b',');
        }
        enter(out, open, "");
        string(out, OWN_PREFIX);
        out.push(b':');
        out.extend_from_slice(&self.own);
        out.push(b'}');
    }
}

/// Closes the objects of the path `from` that are not of `to`, and opens the others of `to`.
fn enter(out: &mut Vec<u8>, from: &str, to: &str) {
    if from == to {
        return;
    }
    let shared = from.split('.').zip(to.split('.')).take_while(|(a, b)| a == b && !a.is_empty()).count();
    for _ in from.split('.').filter(|part| !part.is_empty()).skip(shared) {
        // Every value is followed by a comma; the last of an object's is taken back.
        out.pop();
        out.extend_from_slice(b"},");
    }
    for part in to.split('.').filter(|part| !part.is_empty()).skip(shared) {
        string(out, part);
        out.extend_from_slice(b":{");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::cut;

    fn written(json: &str) -> String {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let mut out = Vec::new();
        Value::Json(raw).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_on_one_line_and_texts_keep_their_spaces() {
        assert_eq!(written("[ \"a b\",\n \"c\\\"\\n d\\\\\" ]"), r#"["a b","c\"\n d\\"]"#);
        assert_eq!(written("\"a\\u0000 b\""), "\"a\\u0000 b\"");
        assert_eq!(written("48.213"), "48.213");
        assert_eq!(written("-9223372036854775808"), "-9223372036854775808");
    }

    #[test]
    fn integer_that_no_platform_can_hold_is_the_largest() {
        assert_eq!(written("18446744073709551615"), "9223372036854775807");
        assert_eq!(written("9223372036854775807"), "9223372036854775807");
        assert_eq!(written("0.1000000000000000055511151231257827"), "0.1000000000000000055511151231257827");
    }

    #[test]
    fn milliseconds_become_whole_nanoseconds() {
        assert_eq!(nanoseconds("48.213"), Some(48_213_000));
        assert_eq!(nanoseconds("0.001"), Some(1_000));
        assert_eq!(nanoseconds("0.0"), Some(0));
        assert_eq!(nanoseconds("1125899906842.624"), Some(1_125_899_906_842_624_000));
        assert_eq!(nanoseconds("-1"), None);
        assert_eq!(nanoseconds("\"1\""), None);
    }

    #[test]
    fn what_is_no_address_does_not_go_where_addresses_go() {
        for (json, expected) in [
            (r#"{"client.ip":"2001:db8:1:2::"}"#, r#"{"client":{"ip":"2001:db8:1:2::"},"ai_gateway":{}}"#),
            (r#"{"client.ip":"unknown"}"#, r#"{"ai_gateway":{"client_ip":"unknown"}}"#),
        ] {
            let mut out = Vec::new();
            Nested::of(&cut::fields(json.as_bytes()).unwrap(), Platform::Ecs).write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn paths_become_one_object_for_each_parent() {
        let mut nested = Nested { named: vec![], own: b"{}".to_vec() };
        for path in ["b.c.d", "a", "b.e", "b.c.f", "g.h.i.j"] {
            nested.add(path, Leaf::Literal("1"));
        }
        let mut out = Vec::new();
        nested.write(&mut out);
        let expected = r#"{"a":1,"b":{"c":{"d":1,"f":1},"e":1},"g":{"h":{"i":{"j":1}}},"ai_gateway":{}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn key_that_this_version_does_not_know_is_escaped() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.own_key("later.\"key\n").extend_from_slice(b"1");
        object.own_key("action.reason").extend_from_slice(b"2");
        object.end();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, serde_json::json!({"later_\"key\n": 1, "action_reason": 2}));
    }
}
