//! The body of an answer on its way from a server to a caller.
//!
//! Promises: every frame passes as it comes; silence is bounded by an idle limit, not a total one; a stream that
//! breaks off before its answer ends with an error that the caller can read, unless the server lets the caller
//! ask for the rest. A caller that goes away drops this body, and with it the request to the server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::scan::{Facts, Scan};
use super::sse::{self, SseScan};
use crate::upstream::exchange::MAX_ANSWER_BYTES;
use crate::upstream::{Fault, FaultReason};

/// How often a silent stream says that it is alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream in which the server waits for the caller (a question to a person) may be silent this long.
const WAITING_FOR_CALLER: Duration = Duration::from_secs(600);
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Who follows an answer: told of what passes, and asked what to tell the caller when it breaks off.
pub trait Follow: Send {
    /// Bytes passed.
    fn passed(&mut self, bytes: usize);
    /// A whole message passed.
    fn message(&mut self, facts: &Facts);
    /// Nothing more comes: the message to end with, if the caller still waits for its answer. `resumable`:
    /// the caller can ask the server for the rest.
    fn ended(&mut self, fault: Option<Fault>, resumable: bool) -> Option<Vec<u8>>;
}

enum Reader {
    Events(SseScan),
    Json(Scan, usize),
}

/// The body.
pub struct Relay<F, B = Incoming> {
    body: B,
    /// Passed first: what was read of the body to judge it.
    head: Option<Bytes>,
    reader: Reader,
    follow: F,
    idle: Option<(Duration, Duration)>,
    deadline: Pin<Box<Sleep>>,
    keep_alive: Option<Pin<Box<Sleep>>>,
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    done: bool,
}

impl<F: Follow + Unpin, B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Relay<F, B> {
    /// A stream of events. `idle`: how long it may be silent; `None`: for ever.
    pub fn events(body: B, follow: F, idle: Option<Duration>) -> Self {
        Self {
            keep_alive: Some(Box::pin(sleep(KEEP_ALIVE))),
            ..Self::new(body, Reader::Events(SseScan::default()), follow, idle)
        }
    }

    /// One JSON text, of which `head` has been read already.
    pub fn json(body: B, head: Bytes, follow: F, idle: Duration) -> Self {
        Self { head: Some(head), ..Self::new(body, Reader::Json(Scan::default(), 0), follow, Some(idle)) }
    }

    /// Ends the stream when this is ready: a stream without an end would keep the process from its own.
    pub fn cut_when(mut self, cut: impl Future<Output = ()> + Send + 'static) -> Self {
        self.cut = Some(Box::pin(cut));
        self
    }

    fn new(body: B, reader: Reader, follow: F, idle: Option<Duration>) -> Self {
        let limit = idle.unwrap_or(WAITING_FOR_CALLER);
        Self {
            body,
            head: None,
            reader,
            follow,
            idle: idle.map(|configured| (configured, configured)),
            deadline: Box::pin(sleep(limit)),
            keep_alive: None,
            cut: None,
            done: false,
        }
    }

    /// Reads along. The error: the caller gets no more.
    fn read(&mut self, data: &Bytes) -> Result<(), Fault> {
        let follow = &mut self.follow;
        follow.passed(data.len());
        let size = match &mut self.reader {
            Reader::Events(scan) => {
                let mut waiting = None;
                scan.feed(data, |facts| {
                    waiting = Some(facts.is_request());
                    follow.message(&facts);
                });
                if let (Some(waiting), Some((limit, configured))) = (waiting, &mut self.idle) {
                    *limit = match waiting {
                        true => WAITING_FOR_CALLER.max(*configured),
                        false => *configured,
                    };
                }
                scan.event_bytes()
            }
            Reader::Json(scan, total) => {
                scan.feed(data);
                *total += data.len();
                *total
            }
        };
        if size > MAX_ANSWER_BYTES {
            return Err(Fault {
                too_large: true,
                ..Fault::new(
                    FaultReason::ProtocolError,
                    format!("the server's answer is larger than {MAX_ANSWER_BYTES} bytes"),
                )
            });
        }
        Ok(())
    }

    /// Nothing more comes from the server.
    fn end(&mut self, fault: Option<Fault>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.done = true;
        match &mut self.reader {
            Reader::Events(scan) => {
                let resumable = scan.has_ids();
                let between = scan.between_events();
                let last = self.follow.ended(fault, resumable).map(|message| {
                    let event = sse::event(&message);
                    // An event that was cut off must not swallow this one.
                    match between {
                        true => event,
                        false => [b"\n\n", event.as_slice()].concat(),
                    }
                });
                Poll::Ready(last.map(|event| Ok(Frame::data(event.into()))))
            }
            Reader::Json(scan, _) => {
                let facts = scan.take();
                if fault.is_none() && facts.complete {
                    self.follow.message(&facts);
                    self.follow.ended(None, false);
                    return Poll::Ready(None);
                }
                let fault =
                    fault.unwrap_or_else(|| Fault::protocol("the server's answer broke off: see the server's own log"));
                self.follow.ended(Some(fault.clone()), false);
                // The beginning has been passed on, so that only breaking off tells the caller.
                Poll::Ready(Some(Err(fault)))
            }
        }
    }

    fn pass(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Err(fault) = self.read(&data) {
            return self.end(Some(fault));
        }
        let now = Instant::now();
        let limit = self.idle.map_or(WAITING_FOR_CALLER, |(limit, _)| limit);
        self.deadline.as_mut().reset(now + limit);
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.as_mut().reset(now + KEEP_ALIVE);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl<F: Follow + Unpin, B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Relay<F, B> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if let Some(head) = this.head.take()
            && !head.is_empty()
        {
            return this.pass(head);
        }
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return this.pass(data),
                    // Trailers mean nothing here.
                    Err(_) => {}
                },
                Poll::Ready(Some(Err(error))) => {
                    let fault = Fault::client(&error);
                    return this.end(Some(fault));
                }
                Poll::Ready(None) => return this.end(None),
                Poll::Pending => break,
            }
        }
        if let Some(cut) = &mut this.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            return this.end(None);
        }
        if let Some((limit, _)) = this.idle
            && this.deadline.as_mut().poll(cx).is_ready()
        {
            return this.end(Some(Fault::timeout(limit)));
        }
        let Some(keep_alive) = &mut this.keep_alive else {
            return Poll::Pending;
        };
        ready!(keep_alive.as_mut().poll(cx));
        keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        // Register for the next one.
        let _ = keep_alive.as_mut().poll(cx);
        match &this.reader {
            Reader::Events(scan) if scan.between_events() => Poll::Ready(Some(Ok(Frame::data(COMMENT)))),
            _ => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}
