//! Text that is safe to keep: bounded, not empty, and free of characters that act instead of being read.
//!
//! Promises: cutting and cleaning happen once, where a value enters, so a queue of events has a known
//! size whatever a caller sends. Must never split a character.

use std::{borrow::Cow, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// An identity string: 1 to 256 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text {
    /// Shared, because the same user and pool are in event after event.
    value: Arc<str>,
    /// Whether bytes were cut off, which the event then says in `truncated`.
    cut: bool,
}

impl Text {
    /// `None` when nothing is left after cleaning: absent means unknown, and there are no empty strings.
    #[must_use]
    pub fn new(raw: &str) -> Option<Self> {
        // Twice the limit is enough to clean before cutting, and keeps the cost independent of the
        // length that a caller chose.
        let head = raw.floor_char_boundary(limits::TEXT_BYTES * 2);
        let cleaned = clean(&raw[..head]);
        let end = cleaned.floor_char_boundary(limits::TEXT_BYTES);
        let cut = head < raw.len() || end < cleaned.len();
        (end > 0).then(|| Self { value: cleaned[..end].into(), cut })
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.cut
    }

    /// Cuts to at most `bytes`, but keeps at least one character.
    pub(crate) fn shorten(&mut self, bytes: usize) {
        let first = self.value.chars().next().map_or(0, char::len_utf8);
        let end = self.value.floor_char_boundary(bytes).max(first);
        if end < self.value.len() {
            self.value = self.value[..end].into();
            self.cut = true;
        }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.value)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.value)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Copies once: a `Cow` would have been copied before.
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("1 to 256 bytes of text without control characters")
            }
            fn visit_str<E: serde::de::Error>(self, raw: &str) -> Result<Text, E> {
                match Text::new(raw) {
                    Some(text) if text.as_str() == raw => Ok(text),
                    _ => Err(E::custom("expected 1 to 256 bytes of text without control characters")),
                }
            }
        }
        deserializer.deserialize_str(Whole)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "1 to 256 bytes of UTF-8 without control characters.",
            "type": "string", "minLength": 1, "maxLength": limits::TEXT_BYTES,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        })
    }
}

/// At most `MAX` texts, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TextList<const MAX: usize> {
    values: Vec<Text>,
    cut: bool,
}

impl<const MAX: usize> TextList<MAX> {
    /// Keeps the first `MAX` texts that are not empty.
    pub fn new<S: AsRef<str>>(raw: impl IntoIterator<Item = S>) -> Self {
        let mut list = Self::default();
        for item in raw {
            if let Some(text) = Text::new(item.as_ref())
                && !list.push(text)
            {
                break;
            }
        }
        list
    }

    /// Adds one text; false, and noted as cut, when the list is full.
    pub fn push(&mut self, text: Text) -> bool {
        if self.values.len() >= MAX {
            self.cut = true;
            return false;
        }
        self.cut |= text.was_cut();
        self.values.push(text);
        true
    }

    /// The entries.
    #[must_use]
    pub fn as_slice(&self) -> &[Text] {
        &self.values
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn pop(&mut self) -> Option<Text> {
        let last = self.values.pop()?;
        self.cut = true;
        Some(last)
    }
}

impl<const MAX: usize> Serialize for TextList<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values.serialize(serializer)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for TextList<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<Text>::deserialize(deserializer)?;
        if values.is_empty() || values.len() > MAX {
            return Err(serde::de::Error::custom(format!("expected 1 to {MAX} texts")));
        }
        Ok(Self { values, cut: false })
    }
}

impl<const MAX: usize> JsonSchema for TextList<MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("TextList{MAX}").into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "items": generator.subschema_for::<Text>(), "minItems": 1, "maxItems": MAX,
        })
    }
}

/// One sentence from a fixed template: emitters can only name one that is in the code, so no identity
/// and no caller's text can be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message(Cow<'static, str>);

impl Message {
    /// A template. It is a constant of the program, which is why it is not checked again.
    #[must_use]
    pub const fn template(sentence: &'static str) -> Self {
        Self(Cow::Borrowed(sentence))
    }

    /// The sentence.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        let length = raw.chars().count();
        if length == 0 || length > limits::MESSAGE_CHARS || any_acts(&raw) {
            return Err(serde::de::Error::custom(
                "expected a message of 1 to 1024 characters without control characters",
            ));
        }
        Ok(Self(Cow::Owned(raw)))
    }
}

impl JsonSchema for Message {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": limits::MESSAGE_CHARS})
    }
}

/// Whether a character moves a cursor, ends a line or turns the direction of the text around it, and
/// so could make a log line read as something that it is not.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}'
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether any does. Most texts are ASCII, of which many bytes are looked at at once.
fn any_acts(raw: &str) -> bool {
    if raw.is_ascii() { raw.bytes().any(|byte| byte.is_ascii_control()) } else { raw.chars().any(acts) }
}

fn clean(raw: &str) -> Cow<'_, str> {
    if any_acts(raw) { Cow::Owned(raw.chars().filter(|c| !acts(*c)).collect()) } else { Cow::Borrowed(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_never_splits_a_character() {
        let text = Text::new(&"é".repeat(200)).unwrap();
        assert_eq!(text.as_str().len(), 256);
        assert!(text.was_cut());
        let text = Text::new(&format!("a{}", "é".repeat(200))).unwrap();
        assert_eq!(text.as_str().len(), 255);
    }

    #[test]
    fn text_of_nothing_but_control_characters_is_absent() {
        assert_eq!(Text::new(""), None);
        assert_eq!(Text::new("\u{0}\n\u{202e}\u{85}"), None);
    }

    #[test]
    fn line_breaks_and_direction_marks_are_removed() {
        let text = Text::new("al\nice\u{202e}@example.com").unwrap();
        assert_eq!(text.as_str(), "alice@example.com");
        assert!(!text.was_cut());
    }

    #[test]
    fn list_keeps_the_first_entries_and_says_that_it_was_cut() {
        let list = TextList::<2>::new(["a", "", "b", "c"]);
        assert_eq!(list.as_slice().len(), 2);
        assert!(list.was_cut());
        assert!(!TextList::<2>::new(["a", "b", ""]).was_cut());
    }
}
