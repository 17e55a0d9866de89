//! ArcSight Common Event Format, version 0 of the format (Micro Focus, "Implementing ArcSight Common Event Format",
//! v26).
//!
//! Promises: `|` and `\` are escaped in the header, `=`, `\` and line breaks in the extension, so no text can begin
//! another key; every key of the event is in the message or named in `aigwTruncated`.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::destination::Routed;
use crate::destination::cut::{self, EVERYTHING, Field, Sizes, TRUNCATED};

/// Bytes of `Name`, which the format gives 512 characters; the messages of the schema are shorter.
const NAME_BYTES: usize = 128;
/// Bytes of `Device Version`, which the format gives 31 characters.
const VERSION_BYTES: usize = 31;
/// What names the keys that were left out.
const MARK: &str = "aigwTruncated";

/// The message in at most `room` bytes, and whether something was left out.
pub(super) fn message(event: &Routed<'_>, severity: u8, room: usize) -> (Vec<u8>, bool) {
    let record = event.record;
    let mut out = Vec::with_capacity(event.canonical.len() + 256);
    out.extend_from_slice(b"CEF:0|AI Gateway|ai-gateway|");
    header(record.component_version.as_str(), VERSION_BYTES, &mut out);
    header(record.event.as_str(), NAME_BYTES, &mut out);
    header(record.message.as_str(), NAME_BYTES, &mut out);
    out.extend_from_slice(match severity {
        0..=2 => b"10|",
        3 => b"8|",
        4 => b"6|",
        5 => b"4|",
        6 => b"3|",
        _ => b"1|",
    });

    let head = out.len();
    let fields = cut::fields(event.canonical).unwrap_or_default();
    let mut pairs = Vec::with_capacity(event.canonical.len() * 5 / 4);
    let ends: Vec<usize> = fields
        .iter()
        .map(|field| {
            extension(field, &mut pairs);
            pairs.len()
        })
        .collect();
    let start = |i: usize| if i == 0 { 0 } else { ends[i - 1] };
    let sizes: Vec<usize> = ends.iter().enumerate().map(|(i, end)| end - start(i)).collect();
    let mark = MARK.len() + "= ".len();
    let plan = cut::plan(&fields, Sizes { fields: &sizes, fixed: head, mark, name: ",".len(), room });
    for i in plan.keep {
        out.extend_from_slice(&pairs[start(i)..ends[i]]);
    }
    if !plan.truncated.is_empty() {
        pair(MARK, &plan.truncated.join(","), &mut out);
    }
    let mut cut = plan.cut;
    if out.len() > room {
        // Not an event of any version of the schema; the limit holds all the same.
        out.truncate(head);
        pair("externalId", &record.event_id.to_string(), &mut out);
        pair(MARK, EVERYTHING, &mut out);
        cut = true;
    }
    // The space after the last pair.
    out.pop();
    (out, cut)
}

/// A field of the header, and the `|` after it. It can not hold a line break, which no escape of the header has a word
/// for.
fn header(text: &str, bytes: usize, out: &mut Vec<u8>) {
    for c in text[..text.floor_char_boundary(bytes)].chars() {
        match c {
            '|' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            _ if c.is_control() => out.push(b' '),
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'|');
}

/// `KEY=VALUE `, with a label where the key needs one. Empty for what is in the header.
fn extension(field: &Field<'_>, out: &mut Vec<u8>) {
    let value = text(field.json.get());
    match &*field.key {
        "event" | TRUNCATED => {}
        "message" if value.len() <= NAME_BYTES => {}
        "message" => pair("msg", &value, out),
        "timestamp" => match value.parse::<jiff::Timestamp>() {
            Ok(at) => pair("rt", &at.as_millisecond().to_string(), out),
            Err(_) => pair("rt", &value, out),
        },
        "client.ip" => match value.parse() {
            Ok(IpAddr::V4(_)) => pair("src", &value, out),
            Ok(IpAddr::V6(_)) => labelled("c6a2", "Source IPv6 Address", &value, out),
            Err(_) => own_pair("client.ip", &value, out),
        },
        "tool.name" => labelled("cs1", "Tool", &value, out),
        "policy.name" => labelled("cs2", "Policy", &value, out),
        "agent.name" => labelled("cs3", "Agent", &value, out),
        key => match dictionary(key) {
            Some(word) => pair(word, &value, out),
            None => own_pair(key, &value, out),
        },
    }
}

/// Text as text; numbers and lists as their JSON.
fn text(json: &str) -> Cow<'_, str> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        Some(_) => serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}

fn labelled(key: &str, label: &str, value: &str, out: &mut Vec<u8>) {
    pair(&format!("{key}Label"), label, out);
    pair(key, value, out);
}

/// Keys that the format's dictionary has a word for.
fn dictionary(key: &str) -> Option<&'static str> {
    Some(match key {
        "event_id" => "externalId",
        "class" => "cat",
        "status" => "outcome",
        "action" => "act",
        "action.reason" => "reason",
        "user.email" => "suser",
        "user.id" => "suid",
        "client.user_agent" => "requestClientApplication",
        "mcp.server_name" => "destinationServiceName",
        "component.instance" => "dvchost",
        "request.bytes" => "in",
        "response.bytes" => "out",
        "repeat.count" => "cnt",
        _ => return None,
    })
}

/// With a key of our own: keys are alphanumeric, so `tool.parameters_hash` is `aigwToolParametersHash`.
fn own_pair(key: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"aigw");
    let mut upper = true;
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(if upper { byte.to_ascii_uppercase() } else { byte });
        }
        upper = !byte.is_ascii_alphanumeric();
    }
    value(text, out);
}

/// `KEY=VALUE `.
fn pair(key: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    value(text, out);
}

/// `=VALUE `, escaped.
fn value(text: &str, out: &mut Vec<u8>) {
    out.push(b'=');
    for byte in text.bytes() {
        match byte {
            b'=' => out.extend_from_slice(b"\\="),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.push(byte),
        }
    }
    out.push(b' ');
}
