//! The protobuf of a log record, written without its messages being built first: that takes less than half of the time,
//! and shaping bounds how many events a core delivers. The field numbers are those of
//! `opentelemetry/proto/logs/v1/logs.proto` and `common/v1/common.proto`; the tests read what is written with the
//! official types.
//!
//! Must never be used for anything but log records: every field number here fits into a tag of one byte.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::destination::renamed::{Name, Value, integer};
use crate::mapping::OWN_PREFIX;

/// Wire types (Protocol Buffers, "Encoding").
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;

/// `AnyValue`.
#[derive(Clone, Debug, PartialEq)]
pub enum Any<'a> {
    /// `string_value`, 1.
    Text(Cow<'a, str>),
    /// `bool_value`, 2.
    Bool(bool),
    /// `int_value`, 3.
    Int(i64),
    /// `double_value`, 4.
    Double(f64),
    /// `array_value`, 5, whose `values`, 1, these are.
    List(Vec<Any<'a>>),
}

impl<'a> Any<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A value of an event.
    pub fn of(value: Value<'a>) -> Self {
        match value {
            Value::Integer(number) => Self::Int(number),
            Value::Json(raw) if raw.get().starts_with('[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
                Self::List(items.into_iter().map(Self::scalar).collect())
            }
            Value::Json(raw) => Self::scalar(raw),
        }
    }

    /// What the schema does not have (objects, lists in lists, null) stays JSON text.
    fn scalar(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes() {
            // Most texts have no escapes and are what is between the quotes.
            [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => Self::text(&json[1..json.len() - 1]),
            [b'"', ..] => Self::Text(Cow::Owned(serde_json::from_str(json).unwrap_or_default())),
            [b't', ..] => Self::Bool(true),
            [b'f', ..] => Self::Bool(false),
            [b'-' | b'0'..=b'9', ..] => match integer(json) {
                Some(number) => Self::Int(number),
                None => json.parse().map_or_else(|_| Self::text(json), Self::Double),
            },
            _ => Self::text(json),
        }
    }

    /// The bytes of the message.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => delimited_len(text.len()),
            Self::Bool(_) => 2,
            Self::Int(number) => 1 + varint_len(number.cast_unsigned()),
            Self::Double(_) => 9,
            Self::List(items) => delimited_len(Self::items_len(items)),
        }
    }

    fn items_len(items: &[Self]) -> usize {
        items.iter().map(|item| delimited_len(item.len())).sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => bytes(out, 1, text.as_bytes()),
            Self::Bool(value) => integer_field(out, 2, u64::from(*value)),
            Self::Int(number) => integer_field(out, 3, number.cast_unsigned()),
            Self::Double(number) => fixed(out, 4, number.to_bits()),
            Self::List(items) => {
                head(out, 5, Self::items_len(items));
                for item in items {
                    head(out, 1, item.len());
                    item.write(out);
                }
            }
        }
    }
}

/// A `LogRecord` that is being written.
#[derive(Debug)]
pub struct LogRecord(Vec<u8>);

impl LogRecord {
    /// Begins one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// `time_unix_nano`, 1, and `observed_time_unix_nano`, 11: the event was seen when it happened.
    pub fn time(&mut self, unix_nano: u64) {
        fixed(&mut self.0, 1, unix_nano);
        fixed(&mut self.0, 11, unix_nano);
    }

    /// `severity_number`, 2, and `severity_text`, 3.
    pub fn severity(&mut self, number: i32, text: &str) {
        integer_field(&mut self.0, 2, u64::from(number.unsigned_abs()));
        bytes(&mut self.0, 3, text.as_bytes());
    }

    /// `body`, 5.
    pub fn body(&mut self, text: &str) {
        let body = Any::text(text);
        head(&mut self.0, 5, body.len());
        body.write(&mut self.0);
    }

    /// One of `attributes`, 6: a `KeyValue` of `key`, 1, and `value`, 2.
    pub fn attribute(&mut self, name: Name<'_>, value: &Any<'_>) {
        let key = match name {
            Name::Theirs(name) => name.len(),
            Name::Own(key) => OWN_PREFIX.len() + 1 + key.len(),
        };
        let value_len = value.len();
        let out = &mut self.0;
        head(out, 6, delimited_len(key) + delimited_len(value_len));
        head(out, 1, key);
        match name {
            Name::Theirs(name) => out.extend_from_slice(name.as_bytes()),
            Name::Own(key) => {
                out.extend_from_slice(OWN_PREFIX.as_bytes());
                out.push(b'.');
                out.extend(key.bytes().map(|byte| if byte == b'.' { b'_' } else { byte }));
            }
        }
        head(out, 2, value_len);
        value.write(out);
    }

    /// `trace_id`, 9.
    pub fn trace_id(&mut self, id: &[u8; 16]) {
        bytes(&mut self.0, 9, id);
    }

    /// `event_name`, 12.
    pub fn event_name(&mut self, name: &str) {
        bytes(&mut self.0, 12, name.as_bytes());
    }

    /// A `ScopeLogs` with nothing but this record in its `log_records`, 2.
    pub fn into_scope_logs(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + 4);
        bytes(&mut out, 2, &self.0);
        out
    }
}

fn tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    // Fields up to 15, which is all that there are here, have a tag of one byte.
    out.push(field << 3 | wire);
}

fn head(out: &mut Vec<u8>, field: u8, len: usize) {
    tag(out, field, LENGTH);
    varint(out, len as u64);
}

fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

fn integer_field(out: &mut Vec<u8>, field: u8, number: u64) {
    tag(out, field, VARINT);
    varint(out, number);
}

fn fixed(out: &mut Vec<u8>, field: u8, bits: u64) {
    tag(out, field, FIXED_64);
    out.extend_from_slice(&bits.to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Seven bits a byte, at least one byte.
fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// A field of `len` bytes with its tag and length.
fn delimited_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn official(any: &Any<'_>) -> AnyValue {
        let value = match any {
            Any::Text(text) => any_value::Value::StringValue(text.to_string()),
            Any::Bool(value) => any_value::Value::BoolValue(*value),
            Any::Int(number) => any_value::Value::IntValue(*number),
            Any::Double(number) => any_value::Value::DoubleValue(*number),
            Any::List(items) => {
                any_value::Value::ArrayValue(ArrayValue { values: items.iter().map(official).collect() })
            }
        };
        AnyValue { value: Some(value) }
    }

    fn value() -> impl Strategy<Value = Any<'static>> {
        let scalar = prop_oneof![
            ".{0,300}".prop_map(|text| Any::Text(Cow::Owned(text))),
            any::<bool>().prop_map(Any::Bool),
            any::<i64>().prop_map(Any::Int),
            (-1e300..1e300).prop_map(Any::Double),
        ];
        prop_oneof![4 => scalar.clone(), 1 => prop::collection::vec(scalar, 0..40).prop_map(Any::List)]
    }

    proptest! {
        #[test]
        fn any_value_is_written_as_the_official_encoder_writes_it(any in value()) {
            let mut out = Vec::new();
            any.write(&mut out);
            prop_assert_eq!(out.len(), any.len());
            prop_assert_eq!(out, official(&any).encode_to_vec());
        }

        #[test]
        fn any_number_has_the_length_that_is_said(number in any::<u64>(), shift in 0..64u32) {
            let mut out = Vec::new();
            varint(&mut out, number >> shift);
            prop_assert_eq!(out.len(), varint_len(number >> shift));
        }
    }
}
