//! Making the canonical JSON of an event smaller than an event may be, for platforms that take less.
//!
//! Promises: what comes out is a JSON object whose `truncated` names every key that was left out, in addition to those
//! that it named before. Whole keys go, the long ones first and each time from the end of the object, because a number
//! or a verdict makes no room and loses the fact. Must never take out what tells which event it is and how it ended.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is never left out.
const CORE: [&str; 9] =
    ["schema_version", "event_id", "timestamp", "class", "event", "severity", "status", "action", "action.reason"];

/// The key that names those that were left out.
pub const TRUNCATED: &str = "truncated";
/// Its only entry where all the names would not fit: everything but what is there.
pub const EVERYTHING: &str = "*";
/// A value with more bytes than this is long.
const LONG: usize = 64;

/// One key of an event with its encoded value.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// The value as it is encoded in JSON.
    pub json: &'a RawValue,
}

/// The keys and values of a canonical event, in their order; `None` if it is no JSON object.
#[must_use]
pub fn fields(canonical: &[u8]) -> Option<Vec<Field<'_>>> {
    /// A `Cow` alone would be copied; within a type it borrows, but for a key with escapes.
    #[derive(Deserialize)]
    struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<Field<'de>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::with_capacity(64);
            while let Some(Key(key)) = map.next_key()? {
                fields.push(Field { key, json: map.next_value()? });
            }
            Ok(fields)
        }
    }
    // JSON is UTF-8: checked once as a whole, which is faster than string by string.
    serde_json::Deserializer::from_str(std::str::from_utf8(canonical).ok()?).deserialize_map(Pairs).ok()
}

/// An event without some of its keys.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Those that stay, as indices into what was planned for; never `truncated`, which is written anew.
    pub keep: Vec<usize>,
    /// What `truncated` says; empty where there is nothing to say.
    pub truncated: Vec<Cow<'a, str>>,
    /// Whether anything was left out now, and not before.
    pub cut: bool,
}

/// What an encoding makes of an event, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// What each field adds, all its separators counted; 0 for one that is written elsewhere.
    pub fields: &'a [usize],
    /// Everything else but the mark.
    pub fixed: usize,
    /// The mark without a name in it.
    pub mark: usize,
    /// What a name adds to the mark besides itself.
    pub name: usize,
    /// What there is room for.
    pub room: usize,
}

/// Chooses what to leave out.
#[must_use]
pub fn plan<'a>(fields: &'a [Field<'a>], sizes: Sizes<'_>) -> Plan<'a> {
    let mut keep: Vec<bool> = fields.iter().map(|field| field.key != TRUNCATED).collect();
    let mut truncated = already_truncated(fields);
    let before = truncated.len();
    let kept: usize = keep.iter().zip(sizes.fields).filter(|(keep, _)| **keep).map(|(_, size)| size).sum();
    let mut named: usize = truncated.iter().map(|name| name.len() + sizes.name).sum();
    if !truncated.is_empty() {
        named += sizes.mark;
    }
    let mut total = sizes.fixed + kept + named;
    let all = |keep: &[bool]| (0..keep.len()).filter(|i| keep[*i]).collect();
    if total <= sizes.room {
        return Plan { keep: all(&keep), truncated, cut: false };
    }

    let optional = |i: &usize| keep[*i] && sizes.fields[*i] > 0 && !CORE.contains(&&*fields[*i].key);
    let is_long = |i: &usize| fields[*i].json.get().len() > LONG;
    let (long, short): (Vec<usize>, Vec<usize>) = (0..fields.len()).rev().filter(optional).partition(is_long);
    for i in long.into_iter().chain(short) {
        if total <= sizes.room {
            break;
        }
        if truncated.is_empty() {
            total += sizes.mark;
        }
        keep[i] = false;
        total = total - sizes.fields[i] + fields[i].key.len() + sizes.name;
        truncated.push(Cow::Borrowed(&*fields[i].key));
    }
    let cut = truncated.len() > before;
    if total > sizes.room {
        truncated = vec![Cow::Borrowed(EVERYTHING)];
    }
    Plan { keep: all(&keep), truncated, cut }
}

fn already_truncated<'a>(fields: &'a [Field<'a>]) -> Vec<Cow<'a, str>> {
    let Some(field) = fields.iter().find(|field| field.key == TRUNCATED) else { return Vec::new() };
    let names: Vec<String> = serde_json::from_str(field.json.get()).unwrap_or_default();
    names.into_iter().map(Cow::Owned).collect()
}

/// The canonical JSON in at most `room` bytes, as it is where it fits.
///
/// `room` must be at least 512: the core and a mark have fewer bytes.
#[must_use]
pub fn json(canonical: &[u8], room: usize) -> Cow<'_, [u8]> {
    if canonical.len() <= room {
        return Cow::Borrowed(canonical);
    }
    match fields(canonical).map(|fields| shorter(&fields, room)) {
        Some(cut) if cut.len() <= room => Cow::Owned(cut),
        // Not an event of any version of the schema; the limit holds all the same.
        _ => Cow::Borrowed(br#"{"truncated":["*"]}"#),
    }
}

fn shorter(fields: &[Field<'_>], room: usize) -> Vec<u8> {
    // `"key":value,` and `"name",`; the keys of the schema need no escapes.
    let sizes: Vec<usize> = fields.iter().map(|field| field.key.len() + field.json.get().len() + 4).collect();
    let mark = TRUNCATED.len() + "\"\":[],".len();
    let plan = plan(fields, Sizes { fields: &sizes, fixed: "{}".len(), mark, name: "\"\",".len(), room });
    let mut out = Vec::with_capacity(room);
    out.push(b'{');
    for i in plan.keep {
        quoted(&fields[i].key, &mut out);
        out.push(b':');
        out.extend_from_slice(fields[i].json.get().as_bytes());
        out.push(b',');
    }
    quoted(TRUNCATED, &mut out);
    out.extend_from_slice(b":[");
    for (i, name) in plan.truncated.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        quoted(name, &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

/// A JSON string. Writing one to memory cannot fail.
fn quoted(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cut(event: &Value, room: usize) -> Value {
        let canonical = serde_json::to_vec(event).unwrap();
        let bytes = super::json(&canonical, room);
        assert!(bytes.len() <= room, "{} > {room}", bytes.len());
        serde_json::from_slice(&bytes).unwrap()
    }

    fn event() -> Value {
        // serde_json sorts the keys of a Value: `a` comes first, `z` last.
        json!({
            "event_id": "01M7YF71AT0000000000000001", "status": "blocked",
            "a.long": "x".repeat(400), "m.number": 7, "y.long": "y".repeat(400), "z.short": "z",
        })
    }

    #[test]
    fn what_fits_is_left_alone() {
        let bytes = serde_json::to_vec(&event()).unwrap();
        assert!(matches!(json(&bytes, bytes.len()), Cow::Borrowed(same) if same == bytes));
    }

    #[test]
    fn long_values_go_first_and_from_the_end_and_are_named() {
        let once = cut(&event(), 900);
        assert_eq!(once["truncated"], json!(["y.long"]));
        assert_eq!((&once["m.number"], &once["z.short"]), (&json!(7), &json!("z")));
        assert_eq!(cut(&event(), 512)["truncated"], json!(["y.long", "a.long"]));
    }

    #[test]
    fn what_was_cut_before_stays_named() {
        let mut before = event();
        before["truncated"] = json!(["user.groups"]);
        assert_eq!(cut(&before, 900)["truncated"], json!(["user.groups", "y.long"]));
    }

    #[test]
    fn the_limit_holds_for_what_is_no_event() {
        for bytes in [&b"[1,2"[..], br#""text""#, br#"{"event_id":"#] {
            let long = [bytes, &[b' '; 600]].concat();
            assert_eq!(&*json(&long, 512), br#"{"truncated":["*"]}"#);
        }
        let core = format!(r#"{{"schema_version":"{}"}}"#, "1".repeat(600));
        assert_eq!(&*json(core.as_bytes(), 512), br#"{"truncated":["*"]}"#);
    }

    #[test]
    fn the_core_stays_and_a_star_stands_for_names_that_do_not_fit() {
        let mut many = event();
        for i in 0..40 {
            many[format!("number.with_a_long_name.{i}")] = json!(i);
        }
        let least = cut(&many, 512);
        assert_eq!(least["truncated"], json!(["*"]));
        assert_eq!(least["event_id"], event()["event_id"]);
        assert_eq!(least["status"], "blocked");
    }
}
