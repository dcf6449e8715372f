//! Responses that come to a standstill: a caller that does not take what is there, or an upstream that
//! falls silent in the middle. Either would hold a connection, and its buffers, for ever.
//!
//! An upstream is waited for with a timer, and its silence ends the one response. A caller cannot be
//! waited for, since nobody asks for more of a body that it does not take: the body notes that it waits. On
//! HTTP/1.1 the worker's sweep ends the connection; on HTTP/2, the task of the stream ends the stream. On
//! either, the task ends what may not go on while it waits.

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

/// The body of a response, watched for standstill.
#[derive(Debug)]
pub struct StallWatch {
    body: ResponseBody,
    session: Arc<Session>,
    /// That of the task that answers.
    progress: Option<Arc<Progress>>,
    patience: Duration,
    /// Whether it is the caller who has to take something.
    unread: bool,
    /// Whether nothing more is to come of it, for whatever reason.
    ended: bool,
    /// How long the upstream may be silent yet; `None` unless it is.
    silence: Option<Pin<Box<Sleep>>>,
}

impl StallWatch {
    /// Watches `body`, of a response on `connection`.
    #[must_use]
    pub fn new(body: ResponseBody, connection: &ConnectionContext) -> Self {
        let session = Arc::clone(&connection.session);
        let patience = connection.worker.gateway.limits.stall_timeout;
        // Its header has to be taken before anybody asks for the body.
        session.activity.response_pending();
        let progress = Progress::of_this_task();
        if let Some(progress) = &progress {
            progress.answers(body.permission().cloned());
            progress.note(true);
        }
        Self { body, session, progress, patience, unread: true, ended: false, silence: None }
    }

    fn set_unread(&mut self, unread: bool) {
        match (self.unread, unread) {
            (false, true) => self.session.activity.response_pending(),
            (true, false) => self.session.activity.response_drained(),
            (true, true) => self.session.activity.response_progressed(),
            (false, false) => {}
        }
        if let Some(progress) = &self.progress
            && (self.unread || unread)
        {
            progress.note(unread);
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
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence = None;
            this.ended = !matches!(frame, Some(Ok(_)));
            this.set_unread(frame.is_some());
            return Poll::Ready(frame);
        }
        this.set_unread(false);
        let patience = this.patience;
        ready!(this.silence.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        this.ended = true;
        this.body.fail("upstream.body_timeout");
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
        let Some(progress) = &self.progress else { return };
        progress.answers(None);
        if let Some(reason) = progress.ended_for() {
            self.body.fail(reason);
        } else if progress.is_of_stream() && !self.ended && !self.body.is_end_stream() {
            self.session.request_cancelled();
        }
    }
}
