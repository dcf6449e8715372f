//! Response bodies: counted, and aborted when the client loses its permission.

use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::error::Coded;
use crate::gateway::message::request_body::without_reserved_trailers;
use crate::gateway::request::authorization::{Authorization, ResponsePermission};
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::body::{UpstreamBody, UpstreamBodyError};

/// Longest body that is taken as a whole, if it arrives with the head.
const MAX_COMPLETE: u64 = 64 << 10;

/// Response body. Its end or its drop finishes the request's record. It is boxed: a response is moved a dozen times
/// until it is sent.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// Set after the end or the trailers. The length alone does not tell: a chunked body has none.
    ended: bool,
    /// Permission to send it, until a task watches that.
    authorization: Option<Authorization>,
    /// `None` if a tunnel finishes the record.
    record: Option<Box<RequestRecord>>,
}

#[derive(Debug)]
enum Content {
    /// All of the body: a text of the gateway, or a body that arrived with its head.
    Complete(Option<Bytes>),
    /// Body that the upstream broke off, with the error that is still to be reported, once what came before it is sent.
    Broken { error: Option<UpstreamBodyError>, length: u64, is_next: bool },
    /// Body from the upstream, with its first bytes; `None` after the end.
    Upstream { first: Option<Bytes>, body: Option<UpstreamBody> },
}

impl ResponseBody {
    /// Body with a text of the gateway.
    pub fn own(text: impl Into<Bytes>, record: Box<RequestRecord>) -> Box<Self> {
        let text = text.into();
        let content = Content::Complete((!text.is_empty()).then_some(text));
        Box::new(Self { content, ended: false, authorization: None, record: Some(record) })
    }

    /// Empty body of a 101 response, whose record the tunnel finishes.
    pub fn none() -> Box<Self> {
        Box::new(Self { content: Content::Complete(None), ended: true, authorization: None, record: None })
    }

    /// Body from the upstream, sent while `authorization` lasts.
    pub fn upstream(
        body: UpstreamBody,
        authorization: Authorization,
        record: Box<RequestRecord>,
    ) -> Box<Self> {
        let content = Content::arriving(body);
        Box::new(Self { content, ended: false, authorization: Some(authorization), record: Some(record) })
    }

    /// Take the authorization, to be watched by the task that sends the response.
    pub fn take_authorization(&mut self) -> Option<Authorization> {
        self.authorization.take()
    }

    /// Longest silence of the upstream; `None` for no limit.
    #[must_use]
    pub fn silence_timeout(&self) -> Option<Duration> {
        match &self.content {
            Content::Upstream { body, .. } => body.as_ref().and_then(UpstreamBody::timeout),
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
        let (first, body) = match &mut self.content {
            Content::Complete(text) => {
                let text = text.take();
                if let (Some(text), Some(record)) = (&text, &mut self.record) {
                    record.sent(text.len());
                }
                return Poll::Ready(text.map(|text| Ok(Frame::data(text))));
            }
            Content::Broken { is_next, .. } if !*is_next => {
                *is_next = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Content::Broken { error, .. } => {
                let error = error.take().map(|source| Err(ResponseBodyError::Upstream { source }));
                self.fail(RequestEnd::UpstreamBody.code());
                return Poll::Ready(error);
            }
            Content::Upstream { first, body } => (first, body),
        };
        // The body is there until the drop.
        let Some(body) = body else { return Poll::Ready(None) };
        let frame = match first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => body.poll_frame(cx),
        };
        // No frame follows the trailers, and hyper does not poll for one.
        self.ended |= match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || body.is_end_stream(),
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
                Poll::Ready(Some(Ok(without_reserved_trailers(frame, &body.rules().reserved))))
            }
            Some(Err(source)) => {
                // hyper sends nothing more after an error, not even what it has.
                self.content = Content::Broken { error: Some(source), length: 0, is_next: true };
                cx.waker().wake_by_ref();
                Poll::Pending
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
                Content::Upstream { first, body } => {
                    first.is_none() && body.as_ref().is_none_or(UpstreamBody::is_end_stream)
                }
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
            Content::Upstream { first: None, body: Some(body) } => body.size_hint(),
            // Only a body of a known length has first bytes.
            Content::Upstream { first, body } => {
                let rest = body.as_ref().and_then(UpstreamBody::remaining).unwrap_or_default();
                SizeHint::with_exact(length(first).saturating_add(rest))
            }
        }
    }
}

impl Content {
    /// Content that arrives as `body`. Most short bodies arrive with the head: they are taken as a whole, so that the
    /// connection is ready for the next request, and nothing is left to wait for.
    fn arriving(mut body: UpstreamBody) -> Self {
        let length = body.remaining();
        // The rest of a request is sent on the connection until the end of the response.
        if !body.is_request_sent() || length.is_none_or(|length| length > MAX_COMPLETE) {
            return Self::Upstream { first: None, body: Some(body) };
        }
        let mut first = None;
        if !body.is_end_stream() {
            // Without a waker: the next poll registers one.
            match body.poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(frame))) => first = frame.into_data().ok(),
                Poll::Ready(Some(Err(source))) => {
                    let length = length.unwrap_or_default();
                    return Self::Broken { error: Some(source), length, is_next: false };
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        if body.is_end_stream() {
            body.release();
            return Self::Complete(first);
        }
        Self::Upstream { first, body: Some(body) }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let complete = self.is_end_stream();
        if let Content::Upstream { body, .. } = &mut self.content
            && let Some(body) = body.take()
            && complete
        {
            body.release();
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
        source: UpstreamBodyError,
    },
}
