//! Server-sent events (WHATWG HTML, 9.2), read along.
//!
//! Promises: line ends of all three kinds; bounded memory in [`SseScan`], bounded by the caller's cap in
//! [`SseReader`]. Must never change a byte.

use super::scan::{Facts, Scan};

/// Longest field name that is told apart: `event`, `retry` and `data` are shorter.
const FIELD_LIMIT: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In the field name.
    Field,
    /// After the colon of a `data` line, before its optional space.
    DataStart,
    /// In the value of a `data` line.
    Data,
    /// In a line that does not matter.
    Skip,
}

/// Splits a stream into lines and hands on what matters.
#[derive(Debug)]
pub(super) struct Lines {
    line: Line,
    field: Vec<u8>,
    after_cr: bool,
    blank: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self { line: Line::Field, field: Vec::new(), after_cr: false, blank: true }
    }
}

/// What the lines are made of.
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    DataEnd,
    Id,
    /// The event ends before this place of what was fed.
    EventEnd(usize),
}

impl Lines {
    pub(super) fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(Piece<'_>)) {
        let mut i = 0;
        while i < bytes.len() {
            let byte = bytes[i];
            if self.after_cr {
                self.after_cr = false;
                if byte == b'\n' {
                    i += 1;
                    continue;
                }
            }
            if matches!(byte, b'\n' | b'\r') {
                self.after_cr = byte == b'\r';
                i += 1;
                self.end_line(i, &mut on);
                continue;
            }
            match self.line {
                Line::Field => {
                    self.blank = false;
                    if byte == b':' {
                        self.line = self.value_of_field(&mut on);
                    } else if self.field.len() < FIELD_LIMIT {
                        self.field.push(byte);
                    } else {
                        self.line = Line::Skip;
                    }
                    i += 1;
                }
                Line::DataStart => {
                    self.line = Line::Data;
                    if byte == b' ' {
                        i += 1;
                    }
                }
                Line::Data | Line::Skip => {
                    let rest = &bytes[i..];
                    let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
                    if self.line == Line::Data {
                        on(Piece::Data(&rest[..end]));
                    }
                    i += end;
                }
            }
        }
    }

    fn value_of_field(&self, on: &mut impl FnMut(Piece<'_>)) -> Line {
        match self.field.as_slice() {
            b"data" => Line::DataStart,
            b"id" => {
                on(Piece::Id);
                Line::Skip
            }
            _ => Line::Skip,
        }
    }

    fn end_line(&mut self, at: usize, on: &mut impl FnMut(Piece<'_>)) {
        let was_blank = self.line == Line::Field && self.field.is_empty();
        // A field without a colon has an empty value.
        let bare_data = self.line == Line::Field && self.field == b"data";
        if matches!(self.line, Line::Data | Line::DataStart) || bare_data {
            on(Piece::DataEnd);
        }
        if was_blank {
            on(Piece::EventEnd(at));
        }
        self.blank = was_blank;
        self.line = Line::Field;
        self.field.clear();
    }

    /// Whether a comment could be put in here.
    fn between_events(&self) -> bool {
        self.blank && self.line == Line::Field && self.field.is_empty()
    }
}

/// Follows a stream and tells what each event's message was.
#[derive(Debug, Default)]
pub struct SseScan {
    lines: Lines,
    scan: Scan,
    has_ids: bool,
    event_bytes: usize,
}

impl SseScan {
    /// Reads on; `on` gets the facts of each event that carried a message.
    pub fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(Facts)) {
        let (scan, has_ids, event_bytes) = (&mut self.scan, &mut self.has_ids, &mut self.event_bytes);
        self.lines.feed(bytes, |piece| match piece {
            Piece::Data(data) => {
                *event_bytes += data.len();
                scan.feed(data);
            }
            // Lines of one event are joined by a newline, which in JSON is only space.
            Piece::DataEnd => scan.feed(b"\n"),
            Piece::Id => *has_ids = true,
            Piece::EventEnd(_) => {
                *event_bytes = 0;
                if !scan.is_empty() {
                    on(scan.take());
                }
            }
        });
    }

    /// Whether a comment could be put in here without cutting an event.
    #[must_use]
    pub fn between_events(&self) -> bool {
        self.lines.between_events()
    }

    /// Whether the server numbers its events, so that a client can ask for the rest elsewhere.
    #[must_use]
    pub fn has_ids(&self) -> bool {
        self.has_ids
    }

    /// Size of the data of the event that is not finished yet.
    #[must_use]
    pub fn event_bytes(&self) -> usize {
        self.event_bytes
    }
}

/// Collects the data of whole events, for Armor's own requests.
#[derive(Debug, Default)]
pub struct SseReader {
    lines: Lines,
    data: Vec<u8>,
}

impl SseReader {
    /// Reads on; `on` gets the data of each event that has any.
    pub fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(&[u8])) {
        let data = &mut self.data;
        self.lines.feed(bytes, |piece| match piece {
            Piece::Data(part) => data.extend_from_slice(part),
            Piece::DataEnd => data.push(b'\n'),
            Piece::Id => {}
            Piece::EventEnd(_) => {
                if data.last() == Some(&b'\n') {
                    data.pop();
                }
                if !data.is_empty() {
                    on(data);
                }
                data.clear();
            }
        });
    }

    /// Size of what is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.data.len()
    }
}

/// An event with one message.
#[must_use]
pub fn event(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(stream: &str, cuts: &[usize]) -> Vec<String> {
        let mut reader = SseReader::default();
        let mut found = Vec::new();
        let bytes = stream.as_bytes();
        let mut from = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            let to = cut.clamp(from, bytes.len());
            reader.feed(&bytes[from..to], |data| {
                found.push(String::from_utf8_lossy(data).into_owned());
            });
            from = to;
        }
        found
    }

    #[test]
    fn events_of_every_form_are_read() {
        let stream = ": ping\n\nid: 1\ndata:\n\ndata: a\ndata:b\n\nevent: x\r\ndata:  c\r\n\r\ndatum: no\n\ndata: d\r\rdata\n\ndata: cut";
        assert_eq!(read(stream, &[]), ["a\nb", " c", "d"]);
    }

    #[test]
    fn the_scan_knows_where_an_event_ends() {
        let mut scan = SseScan::default();
        let mut seen = Vec::new();
        assert!(scan.between_events());
        scan.feed(b"id: 4\ndata: {\"id\":1,", |f| seen.push(f));
        assert!(!scan.between_events());
        assert!(scan.has_ids());
        scan.feed(b"\ndata: \"result\":{\"isError\":true}}\n", |f| seen.push(f));
        assert!(!scan.between_events());
        assert!(seen.is_empty());
        scan.feed(b"\n", |f| seen.push(f));
        assert!(scan.between_events());
        assert!(seen[0].is_response() && seen[0].is_error);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            stream in "(data: ?[a-z{}]{0,4}|id: 1|:c|data|event: e|)(\r\n|\n|\r)((data: ?[a-z]{0,4}|)(\r\n|\n|\r)){0,8}",
            mut cuts in prop::collection::vec(0usize..80, 0..6)
        ) {
            cuts.sort_unstable();
            prop_assert_eq!(read(&stream, &cuts), read(&stream, &[]));
        }

        #[test]
        fn an_event_comes_back(message in "[^\r\n]{1,40}") {
            let stream = String::from_utf8(event(message.as_bytes())).unwrap();
            prop_assert_eq!(read(&stream, &[]), vec![message]);
        }
    }
}
