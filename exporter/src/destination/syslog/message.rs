//! RFC 5424 messages, up to where MSG begins.
//!
//! Promises: each header field is of printable ASCII and within its length limit; values of structured data are escaped
//! by 6.3.3.

use std::io::Write as _;

use events::{Record, Severity};

use super::config::{Config, level};
use crate::destination::Routed;

/// 6.2.4.
const HOSTNAME_BYTES: usize = 255;
/// 6.2.7.
const MSGID_BYTES: usize = 32;
/// 7.2.4: of `swVersion`.
const VERSION_CHARS: usize = 32;

/// The syslog severity of an event: what the destination's map says, or the one of the same name; there is none between
/// warning and informational that an event could have.
pub(super) fn severity(event: &Routed<'_>) -> u8 {
    event.level.and_then(level).unwrap_or(match event.record.severity {
        Severity::Critical => 2,
        Severity::Error => 3,
        Severity::Warn => 4,
        Severity::Info => 6,
        Severity::Debug => 7,
    })
}

/// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA ` with the space before MSG.
pub(super) fn head(config: &Config, event: &Routed<'_>) -> Vec<u8> {
    let record = event.record;
    let mut out = Vec::with_capacity(512);
    // Writing to memory cannot fail.
    let _ = write!(out, "<{}>1 ", config.facility * 8 + severity(event));
    timestamp(record, &mut out);
    out.push(b' ');
    name(record.component_instance.as_str(), HOSTNAME_BYTES, &mut out);
    out.push(b' ');
    out.extend_from_slice(config.app_name.as_bytes());
    out.extend_from_slice(b" - ");
    name(record.event.as_str(), MSGID_BYTES, &mut out);
    out.push(b' ');

    let version = record.component_version.as_str();
    let end = version.char_indices().nth(VERSION_CHARS).map_or(version.len(), |(at, _)| at);
    // 7.2: `origin` is registered, so it needs no enterprise number.
    out.extend_from_slice(b"[origin");
    param("software", &config.app_name, &mut out);
    param("swVersion", &version[..end], &mut out);
    out.push(b']');
    if let Some(number) = config.enterprise_number {
        let _ = write!(out, "[aiGateway@{number}");
        // All of it is in MSG too; a quarter of the message leaves room for that.
        let most = out.len() + config.max_bytes / 4;
        for (key, value) in filtered_by(record) {
            if let Some(value) = value {
                let before = out.len();
                param(key, value, &mut out);
                if out.len() > most {
                    out.truncate(before);
                }
            }
        }
        out.push(b']');
    }
    out.push(b' ');
    out
}

/// 6.2.3. A year that does not have four digits is no RFC 3339: the nil value.
fn timestamp(record: &Record, out: &mut Vec<u8>) {
    let before = out.len();
    let _ = write!(out, "{:.3}", record.timestamp.timestamp());
    if out.get(before + 4) != Some(&b'-') {
        out.truncate(before);
        out.push(b'-');
    }
}

/// A header field: PRINTUSASCII, at least one character.
fn name(text: &str, limit: usize, out: &mut Vec<u8>) {
    let printable = |c: char| if c.is_ascii_graphic() { c as u8 } else { b'?' };
    out.extend(text.chars().map(printable).take(limit));
}

/// ` NAME="VALUE"`. The name is one of ours.
fn param(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What receivers filter by before they look into a message.
fn filtered_by(record: &Record) -> [(&'static str, Option<&str>); 9] {
    [
        ("class", Some(record.class.as_str())),
        ("severity", Some(record.severity.as_str())),
        ("status", record.status.map(events::Status::as_str)),
        ("action", record.action.map(events::Action::as_str)),
        ("action.reason", record.action_reason.map(events::ActionReason::as_str)),
        ("pool.name", record.pool_name.as_ref().map(events::Text::as_str)),
        ("mcp.server_name", record.mcp_server_name.as_ref().map(events::Text::as_str)),
        ("tool.name", record.tool_name.as_ref().map(events::Text::as_str)),
        ("user.email", record.user_email.as_ref().map(events::Text::as_str)),
    ]
}
