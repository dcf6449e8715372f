//! Writer of requests: head and body, framed as RFC 9112 has it, in the task that waits for the response.
//!
//! An upstream may respond before it has read a request, and close. The rest of the request then fails to be written,
//! while the response is there to be read (RFC 9112, section 9.6). So a failed write ends nothing: the rest of the
//! request is discarded, and reading tells the end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use crate::gateway::message::field_lines::push_field;
use crate::gateway::message::request_body::{RequestBody, RequestBodyError};

/// Most frames of a body that are discarded after a failed write.
const MAX_DISCARDED: usize = 16;

/// End of a chunk, and of a body after a chunk.
const CHUNK_END: &[u8] = b"\r\n";
const BODY_END: &[u8] = b"\r\n0\r\n\r\n";

/// Framing of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is no body.
    Empty,
    /// Number of bytes.
    Length(u64),
    /// Chunked transfer coding, with the trailers that the head announces.
    Chunked(Option<Arc<[HeaderName]>>),
}

/// Head as it is sent, with the body and what the exchange depends on.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// Head, with the empty line at its end.
    pub head: Vec<u8>,
    /// Framing that the head states.
    pub framing: RequestFraming,
    /// Content, which is read from the client while it is sent.
    pub body: RequestBody,
    /// True for HEAD.
    pub is_head: bool,
    /// True if it asks for an upgrade to WebSocket.
    pub asks_upgrade: bool,
    /// True if it can be sent again, since it cannot take effect twice.
    pub is_repeatable: bool,
    /// True if no other request may follow on its connection.
    pub binds_connection: bool,
}

/// Writer of one request after another.
#[derive(Debug)]
pub(super) struct RequestWriter {
    half: OwnedWriteHalf,
    /// Head and lines of the framing, of which `written` bytes are written.
    lines: Vec<u8>,
    written: usize,
    /// Part of the body that follows them, and what follows it.
    data: Bytes,
    tail: &'static [u8],
    /// Framing of what is to come of the body.
    framing: RequestFraming,
    body: Option<RequestBody>,
    /// Set once the upstream has stopped reading.
    unwritable: bool,
    /// Set after a reset, for the reading side.
    reset: Arc<AtomicBool>,
    discarded: usize,
}

impl RequestWriter {
    /// Writer to `half`, which sets `reset` after a reset of the connection: the kernel reports that once, to the write
    /// that failed, and then an end of the stream.
    pub(super) const fn new(half: OwnedWriteHalf, reset: Arc<AtomicBool>) -> Self {
        Self {
            half,
            lines: Vec::new(),
            written: 0,
            data: Bytes::new(),
            tail: b"",
            framing: RequestFraming::Empty,
            body: None,
            unwritable: false,
            reset,
            discarded: 0,
        }
    }

    /// Begin a request, after the one before it was sent.
    pub(super) fn begin(&mut self, head: Vec<u8>, framing: RequestFraming, body: RequestBody) {
        self.lines = head;
        self.written = 0;
        self.discarded = 0;
        match framing {
            RequestFraming::Empty | RequestFraming::Length(0) => self.finish(),
            framing => (self.framing, self.body) = (framing, Some(body)),
        }
    }

    /// Take back the head of a request without a body.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    /// True once the upstream has stopped reading.
    pub(super) const fn is_unwritable(&self) -> bool {
        self.unwritable
    }

    /// Write half, to be joined with the other one.
    pub(super) fn into_half(self) -> OwnedWriteHalf {
        self.half
    }

    /// Ready once the whole request is written.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RequestBodyError>> {
        loop {
            // The first part of the body is written together with the head.
            let is_next_wanted = self.data.is_empty() && self.tail.is_empty() && self.has_more();
            let waits = is_next_wanted && self.poll_body(cx)?.is_pending();
            ready!(self.poll_write(cx));
            match self.has_more() {
                true if waits => return Poll::Pending,
                true => {}
                // A request that did not reach the upstream is never sent.
                false if self.unwritable => return Poll::Pending,
                false => return Poll::Ready(Ok(())),
            }
        }
    }

    /// True if more of the body is to come.
    fn has_more(&self) -> bool {
        self.framing != RequestFraming::Empty
    }

    /// Take the next part of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, RequestBodyError> {
        if self.unwritable && self.discarded == MAX_DISCARDED {
            return Ok(Poll::Pending);
        }
        let Some(body) = &mut self.body else { return Err(RequestBodyError::Length) };
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(frame) => frame.transpose()?,
        };
        let ends = body.is_end_stream();
        self.discarded += usize::from(self.unwritable);
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => self.push_data(data, ends)?,
            Some(Err(frame)) => self.push_end(frame.into_trailers().ok().as_ref())?,
            None => self.push_end(None)?,
        }
        Ok(Poll::Ready(()))
    }

    fn push_data(&mut self, data: Bytes, ends: bool) -> Result<(), RequestBodyError> {
        if data.is_empty() {
            return if ends { self.push_end(None) } else { Ok(()) };
        }
        match &mut self.framing {
            RequestFraming::Empty => return Err(RequestBodyError::Length),
            RequestFraming::Length(remaining) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                *remaining = remaining.checked_sub(length).ok_or(RequestBodyError::Length)?;
                if *remaining == 0 {
                    self.finish();
                } else if ends {
                    return Err(RequestBodyError::Length);
                }
            }
            RequestFraming::Chunked(_) => {
                let size = format!("{:x}\r\n", data.len());
                self.lines.extend_from_slice(size.as_bytes());
                self.tail = if ends { BODY_END } else { CHUNK_END };
                if ends {
                    self.finish();
                }
            }
        }
        self.data = data;
        Ok(())
    }

    /// End the body, which has no more data.
    fn push_end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), RequestBodyError> {
        let RequestFraming::Chunked(announced) = std::mem::replace(&mut self.framing, RequestFraming::Empty)
        else {
            return Err(RequestBodyError::Length);
        };
        self.finish();
        self.lines.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            if announced.as_ref().is_some_and(|announced| announced.contains(name)) {
                push_field(&mut self.lines, name, value.as_bytes());
            }
        }
        self.lines.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Take nothing more of the body.
    fn finish(&mut self) {
        self.framing = RequestFraming::Empty;
        self.body = None;
    }

    /// Ready once everything that was taken is written, or discarded since writing has failed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.unwritable {
            let lines = self.lines.get(self.written..).unwrap_or_default();
            if lines.is_empty() && self.data.is_empty() && self.tail.is_empty() {
                if self.has_more() {
                    self.lines.clear();
                    self.written = 0;
                }
                return Poll::Ready(());
            }
            let slices = [IoSlice::new(lines), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            let half = Pin::new(&mut self.half);
            let written = match (self.data.is_empty(), self.tail.is_empty()) {
                (true, true) => half.poll_write(cx, lines),
                _ => half.poll_write_vectored(cx, &slices),
            };
            match ready!(written) {
                Ok(0) => self.unwritable = true,
                Ok(length) => self.advance(length),
                Err(error) => {
                    self.unwritable = true;
                    // A broken pipe follows an orderly end of the stream; other errors may have cut a response short.
                    if error.kind() != io::ErrorKind::BrokenPipe {
                        self.reset.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        self.data.clear();
        self.tail = b"";
        Poll::Ready(())
    }

    fn advance(&mut self, written: usize) {
        let of_lines = written.min(self.lines.len() - self.written);
        self.written += of_lines;
        let of_data = (written - of_lines).min(self.data.len());
        self.data.advance(of_data);
        self.tail = self.tail.get(written - of_lines - of_data..).unwrap_or_default();
    }
}
