//! Response bodies: counted, and aborted when the client loses its permission.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::Coded;
use crate::gateway::message::request_body::without_reserved_trailers;
use crate::gateway::request::authorization::{Authorization, ResponsePermission};
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::pool::ConnectionLease;

/// Longest body that is taken as a whole, if it arrives with the head.
const MAX_COMPLETE: u64 = 64 << 10;

/// Response body. Its end or its drop finishes the request's record.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// Set after the end or the trailers. The length alone does not tell: a chunked body has none.
    ended: bool,
    /// Permission to send it, until a task watches that.
    authorization: Option<Authorization>,
    /// `None` if a tunnel finishes the record.
    record: Option<RequestRecord>,
}

#[derive(Debug)]
enum Content {
    /// All of the body: a text of the gateway, or a body that arrived with its head.
    Complete(Option<Bytes>),
    /// Body that the upstream broke off, with the error that is still to be reported.
    Broken { error: Option<hyper::Error>, length: u64 },
    /// Body from the upstream, with its first bytes, and the connection the others arrive on.
    Upstream { first: Option<Bytes>, incoming: Incoming, lease: Option<ConnectionLease> },
}

impl ResponseBody {
    /// Body with a text of the gateway.
    pub fn own(text: impl Into<Bytes>, record: RequestRecord) -> Self {
        let text = text.into();
        let content = Content::Complete((!text.is_empty()).then_some(text));
        Self { content, ended: false, authorization: None, record: Some(record) }
    }

    /// Empty body of a 101 response, whose record the tunnel finishes.
    pub const fn none() -> Self {
        Self { content: Content::Complete(None), ended: true, authorization: None, record: None }
    }

    /// Body from the upstream on the connection of `lease`, sent while `authorization` lasts.
    pub fn upstream(
        incoming: Incoming,
        lease: ConnectionLease,
        authorization: Authorization,
        record: RequestRecord,
    ) -> Self {
        let content = Content::arriving(incoming, lease);
        Self { content, ended: false, authorization: Some(authorization), record: Some(record) }
    }

    /// Take the authorization, to be watched by the task that sends the response.
    pub fn take_authorization(&mut self) -> Option<Authorization> {
        self.authorization.take()
    }

    /// Longest silence of the upstream; `None` for no limit.
    #[must_use]
    pub fn silence_timeout(&self) -> Option<Duration> {
        match &self.content {
            Content::Upstream { lease, .. } => lease.as_ref().and_then(ConnectionLease::body_timeout),
            Content::Complete(_) | Content::Broken { .. } => None,
        }
    }

    /// Record the code of a failure.
    pub fn fail(&mut self, reason: &'static str) {
        if let Some(record) = &mut self.record {
            record.fail(reason);
        }
    }
}

impl ResponseBody {
    /// Next frame, as a body has it, while `permission` lasts.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        permission: &ResponsePermission,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let (first, incoming, lease) = match &mut self.content {
            Content::Complete(text) => {
                let text = text.take();
                if let (Some(text), Some(record)) = (&text, &mut self.record) {
                    record.sent(text.len());
                }
                return Poll::Ready(text.map(|text| Ok(Frame::data(text))));
            }
            Content::Broken { error, .. } => {
                let error = error.take().map(|source| Err(ResponseBodyError::Upstream { source }));
                self.fail(RequestEnd::UpstreamBody.code());
                return Poll::Ready(error);
            }
            Content::Upstream { first, incoming, lease } => (first, incoming, lease),
        };
        let frame = match first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut *incoming).poll_frame(cx),
        };
        // No frame follows the trailers, and hyper does not poll for one.
        self.ended |= match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        // A complete response is not watched: it needs no more waiting.
        if !self.ended
            && let Poll::Ready(problem) = permission.poll_denied(cx)
        {
            self.fail(problem.code());
            return Poll::Ready(Some(Err(ResponseBodyError::Forbidden { code: problem.code() })));
        }
        match ready!(frame) {
            Some(Ok(frame)) => {
                if let Some(record) = &mut self.record {
                    record.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                // The lease is there until the drop.
                let Some(lease) = lease else { return Poll::Ready(None) };
                Poll::Ready(Some(Ok(without_reserved_trailers(frame, &lease.rules().reserved))))
            }
            Some(Err(source)) => {
                self.fail(RequestEnd::UpstreamBody.code());
                Poll::Ready(Some(Err(ResponseBodyError::Upstream { source })))
            }
            None => Poll::Ready(None),
        }
    }

    /// True if no frame follows.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.ended
            || match &self.content {
                Content::Complete(text) => text.is_none(),
                Content::Broken { .. } => false,
                Content::Upstream { first, incoming, .. } => first.is_none() && incoming.is_end_stream(),
            }
    }

    /// Bounds of the length of what follows.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        let length = |bytes: &Option<Bytes>| {
            bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        };
        match &self.content {
            Content::Complete(text) => SizeHint::with_exact(length(text)),
            Content::Broken { length, .. } => SizeHint::with_exact(*length),
            Content::Upstream { first: None, incoming, .. } => incoming.size_hint(),
            // Only a body of a known length has first bytes.
            Content::Upstream { first, incoming, .. } => {
                SizeHint::with_exact(length(first).saturating_add(incoming.size_hint().lower()))
            }
        }
    }
}

impl Content {
    /// Content that arrives as `incoming` on the connection of `lease`. Most short bodies arrive with the head: they
    /// are taken as a whole, so that the connection is ready for the next request, and nothing is left to wait for.
    fn arriving(mut incoming: Incoming, lease: ConnectionLease) -> Self {
        let length = incoming.size_hint().exact();
        let is_short = length.is_some_and(|length| length <= MAX_COMPLETE);
        // The rest of a request is sent on the connection until the end of the response.
        if !is_short || !lease.is_upload_finished() {
            return Self::Upstream { first: None, incoming, lease: Some(lease) };
        }
        let mut first = None;
        if !incoming.is_end_stream() {
            // Without a waker: the next poll registers one.
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut incoming).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => first = frame.into_data().ok(),
                Poll::Ready(Some(Err(source))) => {
                    return Self::Broken { error: Some(source), length: length.unwrap_or_default() };
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        if incoming.is_end_stream() {
            lease.release();
            return Self::Complete(first);
        }
        Self::Upstream { first, incoming, lease: Some(lease) }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let complete = self.is_end_stream();
        if let Content::Upstream { lease, .. } = &mut self.content
            && let Some(lease) = lease.take()
            && complete
        {
            lease.release();
        }
        if let Some(record) = &mut self.record {
            record.finish(complete);
        }
    }
}

/// Reason why a response body ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseBodyError {
    /// The permission was withdrawn while the response was sent.
    #[error("the client may no longer receive this response ({code})")]
    Forbidden {
        /// Code of the reason.
        code: &'static str,
    },
    /// The upstream sent nothing for too long.
    #[error("the upstream stopped in the middle of the body")]
    Silent,
    /// The upstream's body ended early.
    #[error("the upstream's body ended early")]
    Upstream {
        /// Cause.
        source: hyper::Error,
    },
}
