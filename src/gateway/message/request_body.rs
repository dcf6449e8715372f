//! Request bodies, streamed to the upstream: byte count, size limit, and progress.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{EXPECT, HeaderValue};
use http::{Version, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::{Clock, turn_time};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::headers;
use crate::gateway::message::reserved_headers::ReservedHeaders;

/// Most bytes read of a body that is discarded.
const DISCARD_LIMIT: usize = 64 << 10;

/// Longest time spent on a body that is discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time that a body waits for the upstream's 100 (Continue). Many upstreams never send one (RFC 9110,
/// section 10.1.1).
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time that a refusal waits for the end of a short body.
const SHORT_BODY_TIMEOUT: Duration = Duration::from_millis(250);

/// Progress of a request body, shared by the task that reads it and the task that waits for the response.
#[derive(Debug)]
pub struct Upload {
    rules: Arc<ForwardingRules>,
    clock: Arc<dyn Clock>,
    started: Instant,
    bytes: AtomicU64,
    last_progress: AtomicU64,
    finished: AtomicBool,
    over_limit: AtomicBool,
    broken: AtomicBool,
    /// Notified when the upstream asks for the body.
    wanted: Notify,
}

impl Upload {
    /// Fields that the messages of this exchange may not have.
    pub fn reserved(&self) -> &ReservedHeaders {
        &self.rules.reserved
    }

    /// Rules for the header fields of the messages of this exchange.
    pub fn rules(&self) -> &ForwardingRules {
        &self.rules
    }

    /// Record that the upstream sent 100 (Continue).
    pub fn go_on(&self) {
        self.wanted.notify_one();
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True once the whole body was passed on.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// True if the body exceeds the limit.
    pub fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }

    /// True if reading from the client failed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Time of the last byte; before the first one, time of the request.
    pub fn last_progress(&self) -> Instant {
        self.started + Duration::from_micros(self.last_progress.load(Ordering::Relaxed))
    }

    fn advance(&self, bytes: usize) -> u64 {
        let elapsed = turn_time(&*self.clock).saturating_duration_since(self.started);
        let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.last_progress.store(elapsed, Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}

/// Request body from the client.
///
/// If it is dropped before its end, for example because the request is refused, the client may still be sending.
/// On HTTP/2, up to 64 KiB more are read: a stream with unread bytes is reset (RFC 9113, section 8.1), and some
/// clients, such as curl 7.88, then lose the response. On HTTP/1.1, only what has arrived is read, and the
/// connection closes in stages if that is not all.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` for an empty body.
    incoming: Option<Incoming>,
    upload: Arc<Upload>,
    at_most: u64,
    version: Version,
    /// Set while the client waits for 100 (Continue), which hyper sends when the body is first polled.
    awaits_continue: bool,
    /// Set while the body waits for the upstream's 100 (Continue).
    gate: Option<ContinueGate>,
}

/// Wait for the upstream to ask for the body.
struct ContinueGate(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for ContinueGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinueGate").finish_non_exhaustive()
    }
}

impl RequestBody {
    /// Wrap the body of the request with `head`, which started at `started` on `clock`, with a limit of `at_most`
    /// bytes, and trailers as the `rules` have it.
    pub fn new(
        incoming: Incoming,
        head: &request::Parts,
        at_most: u64,
        clock: Arc<dyn Clock>,
        started: Instant,
        rules: Arc<ForwardingRules>,
    ) -> Self {
        let upload = Upload {
            rules,
            clock,
            started,
            bytes: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
            finished: AtomicBool::new(incoming.is_end_stream()),
            over_limit: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            wanted: Notify::new(),
        };
        Self {
            incoming: Some(incoming),
            upload: Arc::new(upload),
            at_most,
            version: head.version,
            awaits_continue: expects_continue(head),
            gate: None,
        }
    }

    /// Empty body of a request in this version, which shares its `upload` with another.
    pub fn empty(upload: Arc<Upload>, version: Version) -> Self {
        Self { incoming: None, upload, at_most: 0, version, awaits_continue: false, gate: None }
    }

    /// Rules for the header fields of the messages of this exchange.
    pub fn rules(&self) -> &Arc<ForwardingRules> {
        &self.upload.rules
    }

    /// Leave it to the upstream to ask for the body, if the client waits to be asked. Returns true if it does, so that
    /// the upstream has to be told.
    #[must_use]
    pub fn await_upstream(&mut self) -> bool {
        let waits = self.awaits_continue && !self.is_end_stream();
        if waits {
            let upload = Arc::clone(&self.upload);
            let wanted = async move { drop(timeout(CONTINUE_TIMEOUT, upload.wanted.notified()).await) };
            self.gate = Some(ContinueGate(Box::pin(wanted)));
        }
        waits
    }

    /// Take the body, and leave an empty copy.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::empty(Arc::clone(&self.upload), self.version);
        std::mem::replace(self, empty)
    }

    /// Read on to the end of a short body that is not forwarded, so that an HTTP/1.1 connection can carry the next
    /// request. Many clients send a header and a short body one after the other.
    pub async fn finish_if_short(&mut self) {
        let limit = u64::try_from(DISCARD_LIMIT).unwrap_or(u64::MAX);
        let is_wanted =
            self.version != Version::HTTP_2 && !self.awaits_continue && !self.upload.is_finished();
        if !is_wanted || self.size_hint().lower() > limit {
            return;
        }
        let reading =
            async { while self.upload.bytes() <= limit && matches!(self.frame().await, Some(Ok(_))) {} };
        let _ = timeout(SHORT_BODY_TIMEOUT, reading).await;
    }

    /// Wait until the body is known to be empty or not. On HTTP/2 the end of a stream may follow its header in an
    /// empty DATA frame (RFC 9113, section 8.1). A body that is not empty cannot be passed on afterwards.
    ///
    /// # Errors
    /// [`RequestBodyError`] if reading from the client failed.
    pub async fn wait_until_empty(&mut self) -> Result<bool, RequestBodyError> {
        if self.version != Version::HTTP_2 || self.size_hint().lower() > 0 {
            return Ok(self.is_end_stream());
        }
        while let Some(frame) = self.frame().await {
            if !frame?.data_ref().is_some_and(Bytes::is_empty) {
                return Ok(false);
            }
        }
        self.incoming = None;
        Ok(true)
    }

    /// Read what has arrived, unless that would ask for more.
    fn read_arrived(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut arrived = !self.awaits_continue && !self.upload.is_finished();
        while arrived {
            arrived = matches!(Pin::new(&mut *self).poll_frame(&mut cx), Poll::Ready(Some(Ok(_))));
        }
    }

    /// Progress, also after the body was passed on.
    pub fn upload(&self) -> Arc<Upload> {
        Arc::clone(&self.upload)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.0.as_mut().poll(cx));
            self.gate = None;
        }
        self.awaits_continue = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(source)) => {
                self.upload.broken.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(RequestBodyError::Broken { source })));
            }
            None => {
                self.upload.finished.store(true, Ordering::Relaxed);
                return Poll::Ready(None);
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        if self.upload.advance(length) > self.at_most {
            self.upload.over_limit.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(RequestBodyError::TooLarge { at_most: self.at_most })));
        }
        // hyper does not poll beyond the trailers or the last byte of a known length. On HTTP/2, the end of
        // the stream may come later than that byte.
        if frame.is_trailers() || self.is_end_stream() || self.size_hint().exact() == Some(0) {
            self.upload.finished.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(Ok(without_reserved_trailers(frame, self.upload.reserved()))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.is_end_stream() || self.upload.is_broken() {
            return;
        }
        if self.version != Version::HTTP_2 {
            self.read_arrived();
            return;
        }
        // There is no runtime if the body is dropped at shutdown.
        if let Some(incoming) = self.incoming.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(DISCARD_TIMEOUT, discard(incoming)));
        }
    }
}

/// Check for the expectation `100-continue` (RFC 9110, section 10.1.1), which HTTP/1.0 does not have.
fn expects_continue(head: &request::Parts) -> bool {
    let expectation = head.headers.get(EXPECT).map(HeaderValue::as_bytes);
    head.version != Version::HTTP_10
        && expectation.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Read and discard up to [`DISCARD_LIMIT`] bytes.
async fn discard(mut incoming: Incoming) {
    let mut left = DISCARD_LIMIT;
    while let Some(Ok(frame)) = incoming.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Remove restricted fields from a frame of trailers; a client could forge them there as well as in the
/// header.
pub(in crate::gateway) fn without_reserved_trailers(
    frame: Frame<Bytes>,
    reserved: &ReservedHeaders,
) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::filter_trailers(&mut trailers, reserved);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Request body that cannot be passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// The client's body ended early.
    #[error("the client's body ended early")]
    Broken {
        /// Cause.
        source: hyper::Error,
    },
    /// The body is not as long as its header says.
    #[error("the client's body is not as long as its header says")]
    Length,
    /// The body exceeds the limit.
    #[error("the body is larger than {at_most} bytes")]
    TooLarge {
        /// Limit in bytes.
        at_most: u64,
    },
}
