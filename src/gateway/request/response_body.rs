//! Response bodies: counted, and aborted when the client loses its permission.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::Coded;
use crate::gateway::message::request_body::without_reserved_trailers;
use crate::gateway::request::authorization::{Authorization, ResponsePermission};
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::pool::ConnectionLease;

/// Response body. Its end or its drop finishes the request's record.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// Set after the end or the trailers. The length alone does not tell: a chunked body has none.
    ended: bool,
    /// `None` if a tunnel finishes the record.
    record: Option<RequestRecord>,
}

#[derive(Debug)]
enum Content {
    /// Text of the gateway.
    Own(Option<Bytes>),
    /// Body from the upstream, with the connection it arrives on.
    Upstream { incoming: Incoming, lease: Option<ConnectionLease>, permission: Arc<ResponsePermission> },
}

impl ResponseBody {
    /// Body with a text of the gateway.
    pub fn own(text: impl Into<Bytes>, record: RequestRecord) -> Self {
        let text = text.into();
        let content = Content::Own((!text.is_empty()).then_some(text));
        Self { content, ended: false, record: Some(record) }
    }

    /// Empty body of a 101 response, whose record the tunnel finishes.
    pub const fn none() -> Self {
        Self { content: Content::Own(None), ended: true, record: None }
    }

    /// Body from the upstream on the connection of `lease`, sent while `authorization` lasts.
    pub fn upstream(
        incoming: Incoming,
        lease: ConnectionLease,
        authorization: Authorization,
        record: RequestRecord,
    ) -> Self {
        let permission = ResponsePermission::of(authorization);
        let content = Content::Upstream { incoming, lease: Some(lease), permission };
        Self { content, ended: false, record: Some(record) }
    }

    /// Permission of the response, unless nothing can withdraw it.
    #[must_use]
    pub fn permission(&self) -> Option<&Arc<ResponsePermission>> {
        match &self.content {
            Content::Upstream { permission, .. } => Some(permission),
            Content::Own(_) => None,
        }
    }

    /// Longest silence of the upstream; `None` for no limit.
    #[must_use]
    pub fn silence_timeout(&self) -> Option<Duration> {
        match &self.content {
            Content::Upstream { lease, .. } => lease.as_ref().and_then(ConnectionLease::body_timeout),
            Content::Own(_) => None,
        }
    }

    /// Record the code of a failure.
    pub fn fail(&mut self, reason: &'static str) {
        if let Some(record) = &mut self.record {
            record.fail(reason);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = &mut *self;
        let (incoming, lease, permission) = match &mut this.content {
            Content::Own(text) => {
                let text = text.take();
                if let (Some(text), Some(record)) = (&text, &mut this.record) {
                    record.sent(text.len());
                }
                return Poll::Ready(text.map(|text| Ok(Frame::data(text))));
            }
            Content::Upstream { incoming, lease, permission } => (incoming, lease, permission),
        };
        let frame = Pin::new(&mut *incoming).poll_frame(cx);
        // No frame follows the trailers, and hyper does not poll for one.
        this.ended |= match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        // A complete response is not watched: it needs no more waiting.
        if !this.ended
            && let Poll::Ready(problem) = permission.poll_denied(cx)
        {
            this.fail(problem.code());
            return Poll::Ready(Some(Err(ResponseBodyError::Forbidden { code: problem.code() })));
        }
        match ready!(frame) {
            Some(Ok(frame)) => {
                if let Some(record) = &mut this.record {
                    record.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                // The lease is there until the drop.
                let Some(lease) = lease else { return Poll::Ready(None) };
                Poll::Ready(Some(Ok(without_reserved_trailers(frame, lease.reserved()))))
            }
            Some(Err(source)) => {
                this.fail(RequestEnd::UpstreamBody.code());
                Poll::Ready(Some(Err(ResponseBodyError::Upstream { source })))
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
            || match &self.content {
                Content::Own(text) => text.is_none(),
                Content::Upstream { incoming, .. } => incoming.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |t| u64::try_from(t.len()).unwrap_or(u64::MAX)))
            }
            Content::Upstream { incoming, .. } => incoming.size_hint(),
        }
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
