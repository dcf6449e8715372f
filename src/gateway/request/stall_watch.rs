//! Stalled responses: the client stops reading, or the upstream stops sending. Without a limit, a client would
//! hold a connection and its buffers forever.
//!
//! An upstream may be silent for as long as it likes, as event streams are, unless it has a `body_timeout`. A
//! timer watches that, and the silence fails the response. No timer can watch the client, since hyper does not
//! poll a body that is not read. So the body records that it waits. On HTTP/1.1 the worker's
//! sweep closes the connection; on HTTP/2 the task of the stream aborts the stream. In both cases the task
//! aborts a response whose permission is withdrawn while it waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::h2_executor::Progress;
use crate::gateway::request::response_body::{ResponseBody, ResponseBodyError};
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::request_end::RequestEnd;

/// Response body, watched for stalls.
#[derive(Debug)]
pub struct StallWatch {
    body: Box<ResponseBody>,
    session: Arc<Session>,
    /// Progress of the task that serves the request.
    progress: Arc<Progress>,
    /// Longest silence of the upstream; `None` for no limit.
    silence_timeout: Option<Duration>,
    /// Set while data waits for the client.
    unread: bool,
    /// Set once the client was sent the header, when hyper polls the body.
    begun: bool,
    /// Set after the last frame or an error.
    ended: bool,
    /// Timer of the upstream's silence; `None` while it sends.
    silence_timer: Option<Pin<Box<Sleep>>>,
}

impl StallWatch {
    /// Watch `body`, of a response on `connection`.
    #[must_use]
    pub fn new(mut body: Box<ResponseBody>, connection: &ConnectionContext) -> Self {
        let session = Arc::clone(&connection.session);
        let silence_timeout = body.silence_timeout();
        // The client has to read the header before hyper polls the body.
        session.activity.response_pending();
        let progress = Progress::current().unwrap_or_else(|| {
            let clock = Arc::clone(&connection.worker.gateway.clock);
            Arc::new(Progress::new(session.protocol, clock))
        });
        if let Some(authorization) = body.take_authorization() {
            progress.permission().begin(authorization);
        }
        progress.update(true);
        Self {
            body,
            session,
            progress,
            silence_timeout,
            unread: true,
            begun: false,
            ended: false,
            silence_timer: None,
        }
    }

    fn set_unread(&mut self, unread: bool) {
        match (self.unread, unread) {
            (false, true) => self.session.activity.response_pending(),
            (true, false) => self.session.activity.response_drained(),
            (true, true) => self.session.activity.response_progressed(),
            (false, false) => {}
        }
        if self.unread || unread {
            self.progress.update(unread);
        }
        self.unread = unread;
    }
}

impl Body for StallWatch {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = &mut *self;
        this.begun = true;
        if let Poll::Ready(frame) = this.body.poll_frame(cx, this.progress.permission()) {
            this.silence_timer = None;
            this.ended = !matches!(frame, Some(Ok(_)));
            this.set_unread(frame.is_some());
            return Poll::Ready(frame);
        }
        this.set_unread(false);
        let Some(timeout) = this.silence_timeout else { return Poll::Pending };
        ready!(this.silence_timer.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        this.ended = true;
        this.body.fail(RequestEnd::UpstreamBodyTimeout.code());
        Poll::Ready(Some(Err(ResponseBodyError::Silent)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.set_unread(false);
        self.progress.permission().end();
        if let Some(reason) = self.progress.abort_reason() {
            self.body.fail(reason);
        } else if self.progress.is_http2_stream() && !self.begun && !self.body.is_end_stream() {
            // A response that has begun may be ended at any time: a stream of events has no other end.
            self.session.request_cancelled();
        }
    }
}
