//! Request bodies on their way to the upstream: counted, limited, passed on chunk by chunk.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::gateway::message::headers;

/// How much is read of a body that nobody wants.
const UNWANTED: usize = 64 << 10;

/// How long it may take to come.
const UNWANTED_WITHIN: Duration = Duration::from_secs(1);

/// How far the body of a request has come; shared between the side that reads and the side that waits.
#[derive(Debug)]
pub struct Upload {
    begun: Instant,
    bytes: AtomicU64,
    last_progress: AtomicU64,
    finished: AtomicBool,
    over_limit: AtomicBool,
    broken: AtomicBool,
}

impl Upload {
    /// How many bytes of the body have been read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether all of it has been handed on.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// Whether it turned out larger than it may be.
    pub fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }

    /// Whether the caller's side of it failed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// When the last byte of it came, or the request itself.
    pub fn last_progress(&self) -> Instant {
        self.begun + Duration::from_micros(self.last_progress.load(Ordering::Relaxed))
    }

    fn advance(&self, bytes: usize) -> u64 {
        let elapsed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_progress.store(elapsed, Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}

/// The body of a request on its way to whoever wants it.
///
/// Dropped before its end, as when the request is refused, a little of it is read yet: on HTTP/2 a stream
/// that ends with bytes unread is reset (RFC 9113, section 8.1), and callers there are, curl 7.88 among
/// them, that lose the answer to that reset.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once it is known that nothing comes.
    incoming: Option<Incoming>,
    upload: Arc<Upload>,
    at_most: u64,
    version: Version,
}

impl RequestBody {
    /// Passes `incoming` on, of a request in `version`, at most `at_most` bytes of it.
    pub fn new(incoming: Incoming, version: Version, at_most: u64) -> Self {
        let upload = Upload {
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
            finished: AtomicBool::new(incoming.is_end_stream()),
            over_limit: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        };
        Self { incoming: Some(incoming), upload: Arc::new(upload), at_most, version }
    }

    /// A body without a byte that shares the account of this one, which has none either.
    pub fn empty_copy(&self) -> Self {
        Self { incoming: None, upload: Arc::clone(&self.upload), at_most: 0, version: self.version }
    }

    /// How far it has come, also after it has been handed over.
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
        if self.is_end_stream() {
            self.upload.finished.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(Ok(without_reserved_trailers(frame))))
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
        let Some(incoming) = self.incoming.take() else { return };
        // On HTTP/1.1, hyper does the same before the next request.
        if self.version != Version::HTTP_2 || incoming.is_end_stream() || self.upload.is_broken() {
            return;
        }
        // It may be dropped because the runtime ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(UNWANTED_WITHIN, waste(incoming)));
        }
    }
}

/// Reads the beginning of a body that nobody wants.
async fn waste(mut incoming: Incoming) {
    let mut left = UNWANTED;
    while let Some(Ok(frame)) = incoming.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Trailers are headers too: what may not be said in front may not be said behind.
pub(in crate::gateway) fn without_reserved_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::trailers(&mut trailers);
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
    /// The body exceeds the limit.
    #[error("the body is larger than {at_most} bytes")]
    TooLarge {
        /// Limit in bytes.
        at_most: u64,
    },
}
