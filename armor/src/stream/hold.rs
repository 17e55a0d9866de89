//! A stream in which the servers' requests get other ids.
//!
//! A pool of several servers has to know whose request a caller's response answers, so that it writes that into
//! the request's id. Promises: every event but those passes byte for byte, a response as it comes, without
//! waiting for its end. Must never hold more than [`MAX_HELD_BYTES`]: an event that is larger passes as it is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::scan::Scan;
use super::sse::{self, Lines, Piece};

/// Largest request of a server that gets through.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Gives a request another id: the new message, or nothing to leave it as it is.
pub type Rewrite = Box<dyn Fn(&[u8]) -> Option<Bytes> + Send>;

/// The stream.
pub struct Hold {
    body: Incoming,
    events: Events,
}

impl Hold {
    /// Rewrites the requests in a stream.
    #[must_use]
    pub fn new(body: Incoming, rewrite: Rewrite) -> Self {
        Self { body, events: Events::new(rewrite) }
    }
}

impl Body for Hold {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let data = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.events.feed(&data),
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.events.finish(),
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
            if self.events.finished {
                return Poll::Ready(None);
            }
        }
    }
}

struct Events {
    rewrite: Rewrite,
    lines: Lines,
    scan: Scan,
    /// The bytes of the event so far, if it is held.
    raw: Vec<u8>,
    /// Its message so far, if it is held.
    data: Vec<u8>,
    /// The event passes as it comes.
    passing: bool,
    finished: bool,
}

impl Events {
    fn new(rewrite: Rewrite) -> Self {
        Self {
            rewrite,
            lines: Lines::default(),
            scan: Scan::default(),
            raw: Vec::new(),
            data: Vec::new(),
            passing: false,
            finished: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        let Self { rewrite, lines, scan, raw, data, passing, .. } = self;
        lines.feed(bytes, |piece| match piece {
            Piece::Data(part) => {
                scan.feed(part);
                if !*passing {
                    data.extend_from_slice(part);
                }
            }
            Piece::DataEnd => {
                scan.feed(b"\n");
                if !*passing {
                    data.push(b'\n');
                }
            }
            Piece::Id => {}
            Piece::EventEnd(end) => {
                let facts = scan.take();
                let changed = match !*passing && facts.is_request() {
                    true => rewrite(data.trim_ascii_end()),
                    false => None,
                };
                match changed {
                    Some(message) => {
                        // The second half of the line end of the event before.
                        if raw.first().or(bytes[from..end].first()) == Some(&b'\n') {
                            out.push(b'\n');
                        }
                        out.extend_from_slice(&sse::event(&message));
                    }
                    None => {
                        out.append(raw);
                        out.extend_from_slice(&bytes[from..end]);
                    }
                }
                from = end;
                raw.clear();
                data.clear();
                *passing = false;
            }
        });
        // What is a response can be no request, and may be large.
        let facts = scan.facts();
        *passing |= (facts.has_result || facts.has_error) && !facts.has_method;
        *passing |= raw.len() + bytes.len() - from > MAX_HELD_BYTES;
        if *passing {
            out.append(raw);
            data.clear();
            out.extend_from_slice(&bytes[from..]);
        } else {
            raw.extend_from_slice(&bytes[from..]);
        }
        out
    }

    fn finish(&mut self) -> Vec<u8> {
        self.finished = true;
        std::mem::take(&mut self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stream: &str, cuts: &[usize]) -> String {
        let mut events = Events::new(Box::new(|message| {
            let text = String::from_utf8(message.to_vec()).unwrap();
            Some(text.replace("\"id\":1", "\"id\":\"new\"").into())
        }));
        let mut out = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            let to = cut.clamp(from, stream.len());
            out.extend(events.feed(&stream.as_bytes()[from..to]));
            from = to;
        }
        out.extend(events.finish());
        String::from_utf8(out).unwrap()
    }

    const STREAM: &str = concat!(
        "id: 9\ndata:\n\n",
        ": comment\r\n\r\n",
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\n",
        "data: \"method\":\"elicitation/create\",\"params\":{}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{\"id\":1}}\r\r",
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"id\":1}}\n\n",
        "data: cut off"
    );

    #[test]
    fn only_requests_change() {
        let expected = STREAM.replace(
            "\"id\":1,\ndata: \"method\":\"elicitation/create\",\"params\":{}}",
            "\"id\":\"new\",\n\"method\":\"elicitation/create\",\"params\":{}}",
        );
        assert_eq!(run(STREAM, &[]), expected);
    }

    #[test]
    fn a_response_is_not_held() {
        let mut events = Events::new(Box::new(|_| None));
        let out = events.feed(b"data: {\"id\":1,\"result\":{\"a\":\"");
        assert_eq!(out, b"data: {\"id\":1,\"result\":{\"a\":\"");
        assert_eq!(events.feed(b"b\"}}"), b"b\"}}");
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(mut cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(run(STREAM, &cuts), run(STREAM, &[]));
        }
    }
}
