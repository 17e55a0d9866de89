//! Reading a JSON-RPC message along, byte by byte, without keeping it.
//!
//! Promises: memory is bounded whatever comes; the same bytes cut in other places give the same [`Facts`].
//! Must never fail on bytes that are no JSON: then the facts say that it is no message.

/// Longest key and longest value that are looked at. Longer ones are not among those that matter; an id
/// that is longer counts as unreadable.
const CAPTURE_LIMIT: usize = 1024;

/// What a message was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Raw JSON of `id`.
    pub id: Option<Vec<u8>>,
    /// Whether there is a `method`.
    pub has_method: bool,
    /// Whether there is a `result`.
    pub has_result: bool,
    /// Whether there is an `error`.
    pub has_error: bool,
    /// `result.isError` is `true`.
    pub is_error: bool,
    /// `error.code`, if it is an integer.
    pub code: Option<i64>,
    /// The text was one JSON object, closed.
    pub complete: bool,
}

impl Facts {
    /// Whether it answers a request.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.complete && !self.has_method && self.has_result != self.has_error
    }

    /// Whether it wants an answer.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.complete && self.has_method && self.id.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Top,
    Result,
    Error,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Nothing,
    Key,
    Value,
}

/// The reader.
#[derive(Debug)]
pub struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    section: Section,
    expect_key: bool,
    capture: Capture,
    captured: Vec<u8>,
    overflow: bool,
    key: Vec<u8>,
    started: bool,
    broken: bool,
    facts: Facts,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            depth: 0,
            in_string: false,
            escaped: false,
            section: Section::Top,
            expect_key: false,
            capture: Capture::Nothing,
            captured: Vec::new(),
            overflow: false,
            key: Vec::new(),
            started: false,
            broken: false,
            facts: Facts::default(),
        }
    }
}

impl Scan {
    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            // Most of a large message is the inside of strings that do not matter.
            if self.in_string && !self.escaped && self.capture == Capture::Nothing {
                let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\')) else {
                    return;
                };
                self.string_byte(rest[at]);
                rest = &rest[at + 1..];
                continue;
            }
            if self.in_string {
                self.string_byte(byte);
            } else {
                self.byte(byte);
            }
            rest = tail;
        }
    }

    /// What has been seen so far; `complete` once the object is closed.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether any byte of a message has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.started && !self.broken
    }

    /// Takes what was seen and is ready for the next message.
    pub fn take(&mut self) -> Facts {
        std::mem::take(self).facts
    }

    fn string_byte(&mut self, byte: u8) {
        self.keep(byte);
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
            if self.capture == Capture::Key {
                self.key = std::mem::take(&mut self.captured);
                if self.overflow {
                    self.key.clear();
                }
                self.capture = Capture::Nothing;
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return,
            _ if self.facts.complete || self.broken => {
                // Something follows the message.
                self.broken = true;
                self.facts.complete = false;
                return;
            }
            b'"' => {
                self.in_string = true;
                if self.depth == 0 {
                    self.broken = true;
                } else if self.looks_at_keys() && self.expect_key {
                    self.expect_key = false;
                    self.start(Capture::Key);
                }
                self.keep(byte);
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(),
            b':' => {
                if self.looks_at_keys() && self.capture == Capture::Nothing {
                    self.start(Capture::Value);
                }
            }
            b',' => {
                if self.looks_at_keys() {
                    self.end_value();
                    self.expect_key = true;
                } else {
                    self.keep(byte);
                }
            }
            _ => {
                if self.depth == 0 {
                    self.broken = true;
                }
                self.keep(byte);
            }
        }
        self.started = true;
    }

    fn open(&mut self, byte: u8) {
        if self.depth == 0 {
            self.broken = byte != b'{';
            self.expect_key = true;
        } else if self.depth == 1 {
            let section = match self.field() {
                b"result" => Section::Result,
                b"error" => Section::Error,
                _ => Section::Other,
            };
            self.note_presence();
            self.capture = Capture::Nothing;
            self.section = if byte == b'{' { section } else { Section::Other };
            self.expect_key = true;
        } else if self.depth == 2 {
            self.capture = Capture::Nothing;
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        if self.looks_at_keys() {
            self.end_value();
        }
        let Some(depth) = self.depth.checked_sub(1) else {
            self.broken = true;
            return;
        };
        self.depth = depth;
        if self.depth == 1 {
            self.section = Section::Top;
            self.expect_key = false;
        } else if self.depth == 0 && !self.broken {
            self.facts.complete = true;
        }
    }

    /// Whether the current container is one whose keys matter.
    fn looks_at_keys(&self) -> bool {
        self.depth == 1 || (self.depth == 2 && matches!(self.section, Section::Result | Section::Error))
    }

    fn start(&mut self, capture: Capture) {
        self.capture = capture;
        self.captured.clear();
        self.overflow = false;
    }

    fn keep(&mut self, byte: u8) {
        if self.capture == Capture::Nothing {
            return;
        }
        if self.captured.len() < CAPTURE_LIMIT {
            self.captured.push(byte);
        } else {
            self.overflow = true;
            if self.capture == Capture::Value {
                self.note_presence();
                self.capture = Capture::Nothing;
            }
        }
    }

    /// The current key as text, without its quotes. A key can be spelled with escapes.
    fn field(&mut self) -> &[u8] {
        if self.key.contains(&b'\\')
            && let Ok(text) = serde_json::from_slice::<String>(&self.key)
        {
            self.key = format!("\"{text}\"").into_bytes();
        }
        self.key.strip_prefix(b"\"").and_then(|k| k.strip_suffix(b"\"")).unwrap_or_default()
    }

    fn note_presence(&mut self) {
        if self.depth != 1 {
            return;
        }
        match self.field() {
            b"method" => self.facts.has_method = true,
            b"result" => self.facts.has_result = true,
            b"error" => self.facts.has_error = true,
            _ => {}
        }
    }

    fn end_value(&mut self) {
        if self.capture != Capture::Value {
            return;
        }
        self.capture = Capture::Nothing;
        self.note_presence();
        let value = std::mem::take(&mut self.captured);
        let section = self.section;
        match (self.depth, section, self.field()) {
            (1, _, b"id") => self.facts.id = Some(value),
            (2, Section::Result, b"isError") => self.facts.is_error = value == b"true",
            (2, Section::Error, b"code") => {
                self.facts.code = std::str::from_utf8(&value).ok().and_then(|t| t.parse().ok());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn scan(text: &str) -> Facts {
        let mut scan = Scan::default();
        scan.feed(text.as_bytes());
        scan.take()
    }

    #[test]
    fn outcomes_are_told_apart() {
        let ok = scan(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"isError":true}],"x":{"isError":true}}}"#);
        assert!(ok.is_response() && !ok.is_error);
        assert_eq!(ok.id.as_deref(), Some(&b"7"[..]));

        let failed = scan(r#"{"result" : {"isError" : true , "content":[]}, "id":"a,b}","jsonrpc":"2.0"}"#);
        assert!(failed.is_response() && failed.is_error);
        assert_eq!(failed.id.as_deref(), Some(&br#""a,b}""#[..]));

        let error = scan(r#"{"jsonrpc":"2.0","id":1,"error":{"message":"x","data":{"code":1},"code":-32602}}"#);
        assert!(error.is_response());
        assert_eq!(error.code, Some(-32602));

        let request = scan(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"result":{}}}"#);
        assert!(request.is_request() && !request.is_response());
        let notification = scan(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#);
        assert!(!notification.is_request() && !notification.is_response() && notification.complete);
        assert!(scan(r#"{"id":1,"result":null}"#).is_response());
        assert!(scan(r#"{"id":1,"result":{}}"#).is_response());
    }

    #[test]
    fn an_outcome_can_not_be_hidden() {
        assert!(scan(r#"{"id":1,"result":{"isErr\u006fr":true}}"#).is_error);
        assert!(scan(r#"{"id":1,"r\u0065sult":{"isError":true}}"#).is_error);
        let long = "x".repeat(5000);
        assert!(scan(&format!(r#"{{"id":1,"result":{{"{long}":"{long}","isError":true}}}}"#)).is_error);
        assert!(!scan(r#"{"id":1,"result":{"a":"\"isError\":true"}}"#).is_error);
    }

    #[test]
    fn what_is_no_message_is_not_complete() {
        for text in ["", "{", "[]", "nonsense", "\"{}\"", "{}{}", "{\"id\":1} x", "}", "]]]"] {
            assert!(!scan(text).complete, "{text}");
        }
        // Broken inside, closed outside: the body is checked elsewhere where that matters.
        assert!(!scan(r#"{"id":1}"#).is_response());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(
                    prop_oneof![".{0,6}", Just("isError".to_owned()), Just("result".to_owned())],
                    inner,
                    0..5
                )
                .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser_wherever_the_bytes_are_cut(
            result in any_json(), id in any_json(), cut in any::<prop::sample::Index>(), pretty in any::<bool>()
        ) {
            let message = json!({ "jsonrpc": "2.0", "id": id, "result": result });
            let text = if pretty { serde_json::to_string_pretty(&message) } else { serde_json::to_string(&message) }.unwrap();
            let at = cut.index(text.len());
            let mut scan = Scan::default();
            scan.feed(&text.as_bytes()[..at]);
            scan.feed(&text.as_bytes()[at..]);
            let facts = scan.take();
            prop_assert!(facts.is_response());
            prop_assert_eq!(facts.is_error, message["result"]["isError"] == json!(true));
            if !id.is_object() && !id.is_array() {
                let raw = facts.id.unwrap();
                prop_assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap(), id);
            }
        }

        #[test]
        fn never_fails(bytes in any::<Vec<u8>>()) {
            let mut scan = Scan::default();
            scan.feed(&bytes);
            scan.take();
        }
    }
}
